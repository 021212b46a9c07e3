"""A node of one's own: started for a test or a notebook, on free ports, and gone with its block."""

import contextlib
import os
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from yggdrasil._core import YggdrasilError

if TYPE_CHECKING:
    from yggdrasil.client import AsyncClient, Client

HOST = "127.0.0.1"
READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
_ATTEMPTS = 3
_LOG_LINES = 40
_FINALIZE_TIMEOUT_S = 5.0


class NodeError(YggdrasilError):
    """The node did not start or did not end well; the message has the end of its log."""


class Node:
    """A running node. `with Node(shards=2, maxmemory="100mb") as node: node.client().set("key", "value")`.

    Outside of a block, `Node(...).start()` and `stop()` do the same; a node that is not stopped ends with the program.
    """

    process: subprocess.Popen[str]
    """The supervisor."""
    dir: Path
    port: int
    """The port that all workers share; 0 without TCP."""
    worker_ports: list[int]
    """The own port of each worker."""
    tls_port: int
    """The same for TLS; 0 without."""
    tls_worker_ports: list[int]
    """The own port of each worker for TLS."""
    admin_port: int
    """The port of /metrics; 0 for none."""
    unixsocket: str

    def __init__(
        self,
        shards: int = 1,
        *,
        directory: Path | str | None = None,
        keep_directory: bool = False,
        **options: str | int | Path | None,
    ) -> None:
        """Options are those of `yggdrasil serve`, with underscores; paths are relative to the current directory.

        One that is None keeps its default. Without a directory it gets one that goes when it ends, unless that is to
        be kept. No option is taken from the environment.
        """
        self.host = HOST
        self._shards = shards
        self._directory = None if directory is None else Path(directory).absolute()
        self._keep_directory = keep_directory or directory is not None
        self._options = options
        self._clients: list[Client] = []
        self._end: weakref.finalize[Any, Any] | None = None

    def start(self) -> Self:
        """Starts it, and waits until it serves; NodeError when it does not."""
        if self._end is not None and self._end.alive:
            raise NodeError("the node runs already")
        self.dir = self._directory or Path(tempfile.mkdtemp(prefix="yggdrasil-"))
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._start_once()
            except NodeError as error:
                # Another process may have taken a port that was free a moment ago.
                is_given = bool(self._free_ports().keys() & self._options.keys())
                if "in use" not in str(error) or is_given or attempt == _ATTEMPTS:
                    self._remove_directory()
                    raise
            else:
                break
        return self

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        """Ends it as a signal does, and returns its exit status."""
        try:
            return self._ended(signal_number)
        finally:
            self._forget()

    def _ended(self, signal_number: int) -> int:
        for client in self._clients:
            client.close()
        self._clients.clear()
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        try:
            return self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise NodeError(self._told(f"the node did not stop in {STOP_TIMEOUT_S:.0f} s")) from None

    def kill(self) -> None:
        """Ends the supervisor as a crash would; its children end with it."""
        self.process.kill()
        self.process.wait()

    def client(self, **arguments: Any) -> "Client":
        """A client, which is closed when the node stops. Arguments are those of `yggdrasil.client.Client`."""
        from yggdrasil.client import Client  # noqa: PLC0415 - `import yggdrasil` stays light

        client = Client(**self._address(arguments))
        self._clients.append(client)
        return client

    def async_client(self, **arguments: Any) -> "AsyncClient":
        """A client for asyncio, which the caller closes."""
        from yggdrasil.client import AsyncClient  # noqa: PLC0415 - `import yggdrasil` stays light

        return AsyncClient(**self._address(arguments))

    def _address(self, arguments: dict[str, Any]) -> dict[str, Any]:
        if not self.port:
            return {"unix_socket_path": self.unixsocket, **arguments}
        return {"host": self.host, "port": self.port, **arguments}

    @property
    def pid(self) -> int:
        """The process of the supervisor."""
        return self.process.pid

    @property
    def near(self) -> str:
        """The URL at which processes of this machine read its memory, for `client(near=...)`."""
        return f"unix://{self.dir}/near.sock"

    @property
    def log_file(self) -> Path:
        """The file that its log goes to."""
        return self.dir / "node.log"

    def log(self) -> str:
        """All that it has logged."""
        return self.log_file.read_text() if self.log_file.exists() else ""

    def __enter__(self) -> Self:
        return self if self._end is not None else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        was_killed = self.process.poll() == -signal.SIGKILL
        try:
            status = self._ended(signal.SIGTERM)
            failure = self._told(f"the node ended with status {status}") if status != 0 and not was_killed else ""
        finally:
            self._forget()
        if failure and kind is None:
            raise NodeError(failure)

    def _start_once(self) -> None:
        options = {
            "shards": self._shards,
            "dir": self.dir,
            "bind": HOST,
            "worker_port_base": 0,
            "admin_port": 0,
            **self._free_ports(),
            # What goes with the node is not worth keeping.
            "ack": "auto" if self._keep_directory else "none",
            "unixsocket": self.dir / "node.sock",
            **self._options,
        }
        given = {name: value for name, value in options.items() if value is not None}
        arguments = [part for name, value in given.items() for part in (f"--{name.replace('_', '-')}", _text(value))]
        with self.log_file.open("a") as log:
            # In its own directory, so that a configuration file of another node is not taken for its own.
            self.process = subprocess.Popen(
                command("serve", *arguments),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment(),
                cwd=self.dir,
            )
        self._end = weakref.finalize(self, _end, self.process)
        try:
            ready = self._ready()
        except BaseException:
            self.kill()
            self._end()
            raise
        self.port = int(ready["port"])
        self.worker_ports = [int(one) for one in ready["worker_ports"].split(",") if one]
        self.tls_port = int(ready.get("tls_port", 0))
        self.tls_worker_ports = [int(one) for one in ready.get("tls_worker_ports", "").split(",") if one]
        self.admin_port = int(ready["admin_port"])
        self.unixsocket = ready["unixsocket"]

    def _free_ports(self) -> dict[str, int]:
        """Options that each try to start has anew."""
        return {"port": free_port()}

    def _ready(self) -> dict[str, str]:
        """What the line says that a node prints when it serves."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + READY_TIMEOUT_S
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([self.process.stdout], [], [], left)[0]:
                break
            line = self.process.stdout.readline()
            if not line:
                status = self.process.wait()
                raise NodeError(self._told(f"the node ended with status {status} before it was ready"))
            if line.startswith("ready "):
                return dict(pair.split("=", 1) for pair in shlex.split(line)[1:])
        raise NodeError(self._told(f"the node was not ready in {READY_TIMEOUT_S:.0f} s"))

    def _told(self, what: str) -> str:
        return "\n".join([what, *self.log().splitlines()[-_LOG_LINES:]])

    def _forget(self) -> None:
        if self._end is not None:
            self._end()
        self._remove_directory()

    def _remove_directory(self) -> None:
        if not self._keep_directory:
            shutil.rmtree(self.dir, ignore_errors=True)


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def command(*arguments: str) -> list[str]:
    """The `yggdrasil` command with these arguments, as this interpreter has it."""
    # -P: modules that lie in the current directory are none of ours.
    return [sys.executable, "-P", "-m", "yggdrasil", *arguments]


def environment() -> dict[str, str]:
    """The environment without variables that a node would read."""
    return {name: value for name, value in os.environ.items() if not name.startswith("YGGDRASIL_")}


def _text(value: str | float | Path) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case Path():
            return str(value.absolute())
        case _:
            return str(value)


def _end(process: subprocess.Popen[str]) -> None:
    """Ends a node that was not stopped, and what is left of one that was."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_FINALIZE_TIMEOUT_S)
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
