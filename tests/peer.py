"""The peer: a Redis 8 from the peers' root, on a free port, nothing kept on disk."""

import os
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path
from typing import Self

from tests.node import HOST, free_port
from tests.wire import Wire, eventually

_ATTEMPTS = 3


class PeerMissingError(Exception):
    """The peer cannot be started here; the text says why."""


def peers_root() -> Path:
    """Where the peers are installed."""
    return Path(os.environ.get("PEERS_ROOT", "/opt/peers"))


def peer_command(program: str, *arguments: str) -> list[str]:
    """The command line of a program of the peers; PeerMissingError if it is not there."""
    root = peers_root()
    if not (root / "usr/bin" / program).exists():
        raise PeerMissingError(f"no {program} below {root} (set PEERS_ROOT)")
    if os.geteuid() != 0:
        raise PeerMissingError(f"chroot into {root} needs root")
    chroot = shutil.which("chroot") or "/usr/sbin/chroot"
    return [chroot, str(root), program, *arguments]


class Peer:
    """A running Redis, or Valkey by `program`."""

    def __init__(self, *options: str, clustered: bool = False, program: str = "redis-server") -> None:
        self.host = HOST
        for attempt in range(_ATTEMPTS):
            self.port = free_port()
            arguments = ["--port", str(self.port), "--bind", self.host, "--save", "", "--appendonly", "no"]
            arguments += ["--enable-protected-configs", "yes", *options]
            if clustered:
                arguments += ["--cluster-port", str(free_port())]
            command = peer_command(program, *arguments)
            self.log = tempfile.TemporaryFile()  # noqa: SIM115 - kept open as long as the process
            self.process = subprocess.Popen(command, stdout=self.log, stderr=subprocess.STDOUT)
            try:
                eventually(self._answers)
                return
            except AssertionError as error:
                self.close()
                # Another process may have taken a port that was free a moment ago.
                if "in use" not in str(error) or attempt == _ATTEMPTS - 1:
                    raise

    @classmethod
    def cluster(cls) -> Self:
        """A cluster of one node that serves all slots."""
        config = f"/tmp/nodes-{uuid.uuid4().hex}.conf"
        peer = cls("--cluster-enabled", "yes", "--cluster-config-file", config, clustered=True)
        with Wire(peer.host, peer.port) as connection:
            assert connection("CLUSTER", "ADDSLOTSRANGE", 0, 16383) == "OK"
            eventually(lambda: b"cluster_state:ok" in connection("CLUSTER", "INFO"))
        return peer

    def connect(self) -> Wire:
        """A new connection."""
        return Wire(self.host, self.port)

    def _answers(self) -> bool:
        assert self.process.poll() is None, self._output()
        try:
            with Wire(self.host, self.port) as connection:
                return bool(connection("PING") == "PONG")
        except OSError:
            return False

    def _output(self) -> str:
        self.log.seek(0)
        return self.log.read().decode()

    def close(self) -> None:
        """Ends the process and waits for it."""
        self.process.kill()
        self.process.wait()
        self.log.close()
