"""A real node for tests: started by the command line, on free ports, in a directory of its own."""

import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"
READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
_ATTEMPTS = 3


class NodeError(Exception):
    """The node did not do what a test took for granted; the message has the end of its log."""


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def command(*arguments: str) -> list[str]:
    """The `yggdrasil` command with these arguments."""
    return [sys.executable, "-m", "yggdrasil", *arguments]


def environment() -> dict[str, str]:
    """The environment without variables that a node would read."""
    return {name: value for name, value in os.environ.items() if not name.startswith("YGGDRASIL_")}


class Node:
    """A running node. `with Node.start(shards=3, maxmemory="10mb") as node: ...`

    Leaving the block stops it and checks that it ended well. Its directory goes unless YGGDRASIL_TEST_KEEP is set.
    """

    def __init__(self, process: subprocess.Popen[str], directory: Path, ready: dict[str, str]) -> None:
        self.process = process
        self.dir = directory
        self.host = HOST
        self.port = int(ready["port"])
        self.worker_ports = [int(port) for port in ready["worker_ports"].split(",") if port]
        self.admin_port = int(ready["admin_port"])
        self.unixsocket = ready["unixsocket"]
        self.log_file = directory / "node.log"

    @classmethod
    def start(cls, shards: int = 3, directory: Path | None = None, **options: object) -> Self:
        """Starts a node and waits for its ready line. Options are those of the command line with underscores.

        One that is None is left to its default.
        """
        chosen = directory or Path(tempfile.mkdtemp(prefix="yggdrasil-test-"))
        for attempt in range(_ATTEMPTS):
            flags: dict[str, object] = {
                "shards": shards,
                "dir": chosen,
                "bind": HOST,
                "port": free_port(),
                "worker_port_base": 0,
                "admin_port": free_port(),
                "unixsocket": chosen / "node.sock",
                **options,
            }
            try:
                return cls._start_once(chosen, flags)
            except NodeError as error:
                # Another process may have taken a port that was free a moment ago.
                if "in use" not in str(error) or {"port", "admin_port"} & options.keys() or attempt == _ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")

    @classmethod
    def _start_once(cls, directory: Path, flags: dict[str, object]) -> Self:
        given = {name: value for name, value in flags.items() if value is not None}
        arguments = [part for name, value in given.items() for part in (f"--{name.replace('_', '-')}", str(value))]
        log_file = directory / "node.log"
        with log_file.open("a") as log:
            process = subprocess.Popen(
                command("serve", *arguments), stdout=subprocess.PIPE, stderr=log, text=True, env=environment()
            )
        try:
            return cls(process, directory, _ready(process, log_file))
        except BaseException:
            process.kill()
            process.wait()
            _close(process)
            raise

    @property
    def pid(self) -> int:
        """The supervisor's."""
        return self.process.pid

    def pids(self) -> dict[str, int]:
        """The node's processes: supervisor, shard-0, shard-1 ..., steward, spare."""
        found = {"supervisor": self.pid}
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        for pid in map(int, children.read_text().split()):
            try:
                name = Path(f"/proc/{pid}/comm").read_text().strip()
            except OSError:
                continue
            if name.startswith("ygg-"):
                found[name.removeprefix("ygg-")] = pid
        return found

    def all_pids(self) -> dict[str, int]:
        """`pids`, once the spare is there, which is started last and waits for its role."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        while "spare" not in (found := self.pids()):
            if time.monotonic() > deadline:
                raise NodeError(f"there is no spare process\n{_tail(self.log_file)}")
            time.sleep(0.01)
        return found

    def log(self) -> str:
        """All that the node has logged."""
        return self.log_file.read_text()

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        """Ends the node and returns its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        try:
            return self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise NodeError(f"the node did not stop in {STOP_TIMEOUT_S:.0f} s\n{_tail(self.log_file)}") from None

    def kill(self) -> None:
        """Ends the supervisor as a crash would."""
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        killed = self.process.poll() == -signal.SIGKILL
        status = self.stop()
        _close(self.process)
        tail = _tail(self.log_file)
        if "YGGDRASIL_TEST_KEEP" not in os.environ:
            shutil.rmtree(self.dir, ignore_errors=True)
        if status != 0 and not killed and kind is None:
            raise NodeError(f"the node ended with status {status}\n{tail}")


def wait_until_gone(pids: dict[str, int]) -> None:
    """Until none of the processes exists any more."""
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while left := {name: pid for name, pid in pids.items() if Path(f"/proc/{pid}").exists()}:
        if time.monotonic() > deadline:
            raise NodeError(f"still there: {left}")
        time.sleep(0.01)


def _ready(process: subprocess.Popen[str], log_file: Path) -> dict[str, str]:
    assert process.stdout is not None
    deadline = time.monotonic() + READY_TIMEOUT_S
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([process.stdout], [], [], left)[0]:
            break
        line = process.stdout.readline()
        if not line:
            raise NodeError(f"the node ended with status {process.wait()} before it was ready\n{_tail(log_file)}")
        word, *pairs = line.split()
        if word == "ready":
            return dict(pair.split("=", 1) for pair in pairs)
    raise NodeError(f"the node was not ready in {READY_TIMEOUT_S:.0f} s\n{_tail(log_file)}")


def _tail(log_file: Path) -> str:
    return "\n".join(log_file.read_text().splitlines()[-40:]) if log_file.exists() else ""


def _close(process: subprocess.Popen[str]) -> None:
    if process.stdout is not None:
        process.stdout.close()
