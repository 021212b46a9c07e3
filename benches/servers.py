"""Starts the servers that are measured, each pinned to one core, each with nothing on disk."""

import os
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from benches import processes

SERVER_CPU = 0
ROOT = Path(__file__).resolve().parent.parent
MAXCLIENTS = 12_000

_HOST = "127.0.0.1"
_START_TIMEOUT_S = 30
_STOP_TIMEOUT_S = 30


class BenchError(Exception):
    """The benchmark cannot go on; says what was expected."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A server program; `command` is what comes before its options."""

    name: str
    command: tuple[str, ...]
    version: str
    ours: bool


@dataclass(slots=True)
class Server:
    """A running server."""

    kind: Kind
    port: int
    process: subprocess.Popen[bytes]
    pids: tuple[int, ...] = field(default=())

    @property
    def address(self) -> str:
        """Where clients connect."""
        return f"{_HOST}:{self.port}"

    def cpu_seconds(self) -> float:
        """CPU time of all processes since they started."""
        return processes.cpu_seconds(self.pids)

    def memory(self) -> processes.Memory:
        """Resident memory of all processes."""
        return processes.memory(self.pids)

    def check_processes(self) -> None:
        """The processes are those of the start: nothing died, nothing was replaced."""
        now = processes.tree(self.process.pid)
        if now != self.pids:
            raise BenchError(f"{self.kind.name}: processes were {self.pids} and are {now}")


def find_kinds(peers: bool) -> dict[str, Kind]:
    """The servers that can be started here, by name."""
    kinds = {}
    ours = _find_ours()
    if ours:
        version = _output([ours, "--version"]).removeprefix("yggdrasil").strip()
        kinds["yggdrasil"] = Kind("yggdrasil", (ours, "serve"), version, ours=True)
    for name in ("redis", "valkey") if peers else ():
        command = _find_peer(name)
        if command:
            words = _output([*command, "--version"]).split()
            version = next((word[2:] for word in words if word.startswith("v=")), "unknown")
            kinds[name] = Kind(name, command, version, ours=False)
    return kinds


@contextmanager
def running(kind: Kind, shards: int = 1, **options: object) -> Iterator[Server]:
    """A server of this kind, from the moment it answers; stopped at the end.

    Options are those that both have, with underscores.
    """
    with tempfile.TemporaryDirectory(prefix="yggdrasil-bench-") as directory:
        log_path = Path(directory, "server.log")
        with log_path.open("wb") as log:
            port = _free_port()
            process = _start(kind, port, shards, directory, log, options)
            try:
                _wait_until_ready(kind, process, port, log_path)
                server = Server(kind, port, process, processes.tree(process.pid))
                _check_pinned(server)
                yield server
                server.check_processes()
            finally:
                _stop(process)


def _find_ours() -> str | None:
    in_venv = ROOT / ".venv/bin/yggdrasil"
    return str(in_venv) if in_venv.exists() else shutil.which("yggdrasil")


def _find_peer(name: str) -> tuple[str, ...] | None:
    """From BENCH_REDIS or BENCH_VALKEY, from the path, or from a tree for chroot named by PEERS_ROOT."""
    given = os.environ.get(f"BENCH_{name.upper()}")
    if given:
        return tuple(shlex.split(given))
    found = shutil.which(f"{name}-server")
    if found:
        return (found,)
    root = Path(os.environ.get("PEERS_ROOT", "/opt/peers"))
    if (root / f"usr/bin/{name}-server").exists():
        return ("chroot", str(root), f"{name}-server")
    return None


def _output(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _start(
    kind: Kind, port: int, shards: int, directory: str, log: BinaryIO, others: dict[str, object]
) -> subprocess.Popen[bytes]:
    pinned = ["taskset", "-c", str(SERVER_CPU), *kind.command]
    options: dict[str, object] = {"port": port, "bind": _HOST, "maxclients": MAXCLIENTS}
    by_default: dict[str, object]
    options |= {name.replace("_", "-"): value for name, value in others.items()}
    if kind.ours:
        # As the others, which keep nothing unless they are told to.
        by_default = {"shards": shards, "dir": directory, "worker-port-base": 0, "ack": "none"}
    else:
        by_default = {"save": "", "appendonly": "no", "daemonize": "no"}
    options = by_default | options
    arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    # What the caller configured for a node of their own is not what is measured.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("YGGDRASIL_")}
    return subprocess.Popen([*pinned, *arguments], cwd=directory, env=environment, stdout=log, stderr=subprocess.STDOUT)


def _wait_until_ready(kind: Kind, process: subprocess.Popen[bytes], port: int, log_path: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        if (_says_ready(log_path) if kind.ours else True) and _answers(port):
            return
        time.sleep(0.02)
    tail = log_path.read_text(errors="replace")[-2_000:]
    raise BenchError(f"{kind.name} did not get ready on port {port}; it said:\n{tail}")


def _says_ready(log_path: Path) -> bool:
    return any(line.startswith("ready") for line in log_path.read_text(errors="replace").splitlines())


def _answers(port: int) -> bool:
    try:
        with socket.create_connection((_HOST, port), timeout=5) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64) == b"+PONG\r\n"
    except OSError:
        return False


def _check_pinned(server: Server) -> None:
    for pid in server.pids:
        if os.sched_getaffinity(pid) != {SERVER_CPU}:
            raise BenchError(f"{server.kind.name}: process {pid} does not stay on core {SERVER_CPU}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    """A port that the kernel chooses, so that two benchmarks at a time are not in each other's way."""
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])
