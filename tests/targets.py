"""The servers under test: the peer Redis and our node, each started once a run."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.node import Node, NodeError
from tests.peer import Peer, PeerMissingError
from tests.wire import OK, Wire, eventually, pairs, text_of


@dataclass
class Target:
    """A server under test."""

    name: str
    host: str
    port: int
    worker_ports: tuple[int, ...] = ()
    server: Any = None
    opened: list[Wire] = field(default_factory=list)
    _addresses: set[str] = field(default_factory=set, init=False)

    @property
    def is_peer(self) -> bool:
        """Whether this is the peer Redis."""
        return self.name == "peer"

    def connect(self, resp: int = 2, *, port: int | None = None, timeout: float = 20.0) -> Wire:
        """A new connection, closed at the end of the test."""
        connection = Wire(self.host, port or self.port, timeout=timeout)
        self.opened.append(connection)
        self._addresses.add(connection.address)
        if resp != 2:
            connection.hello(resp)
        return connection

    def close_connections(self) -> None:
        """Closes what the test has opened, and waits until the server has noticed: the next test may count clients."""
        with Wire(self.host, self.port) as admin:
            # A port that the test has closed early may be this one's by now.
            self._addresses.discard(admin.address)
            for connection in self.opened:
                connection.close()
            self.opened.clear()
            eventually(lambda: self._addresses.isdisjoint(_clients(admin)))
        self._addresses.clear()


def _clients(connection: Wire) -> list[str]:
    """The addresses of all clients."""
    return re.findall(r"\baddr=(\S+)", text_of(connection("CLIENT", "LIST")))


class Servers:
    """The servers of this run, each started when first asked for."""

    def __init__(self) -> None:
        self._targets: dict[str, Target] = {}
        self._missing: dict[str, str] = {}
        self._broken: dict[str, str] = {}
        self._running = ExitStack()

    def get(self, name: str) -> Target:
        """The server of that name; skips the test where it cannot run here."""
        if name in self._missing:
            pytest.skip(self._missing[name])
        if name in self._broken:
            pytest.fail(f"{name} did not start: {self._broken[name]}", pytrace=False)
        if name not in self._targets:
            try:
                self._targets[name] = self._started(name)
            except PeerMissingError as missing:
                self._missing[name] = str(missing)
                pytest.skip(str(missing))
            except Exception as error:
                self._broken[name] = str(error)
                raise
        return self._targets[name]

    def _started(self, name: str) -> Target:
        try:
            return self._start(name)
        except (NodeError, AssertionError, OSError):
            # All tests of this server depend on it; a machine that was too busy once gets a second chance.
            return self._start(name)

    def _start(self, name: str) -> Target:
        kind, _, variant = name.partition("-")
        debug = "no" if variant == "without-debug" else "yes"
        if variant == "cluster" and kind == "peer":
            peer = self._running.enter_context(closing(Peer.cluster()))
            return Target(kind, peer.host, peer.port, (peer.port,), peer)
        if kind == "peer":
            peer = self._running.enter_context(closing(Peer("--enable-debug-command", debug)))
            return Target(kind, peer.host, peer.port, (peer.port,), peer)
        node = self._running.enter_context(Node(shards=int(kind.removeprefix("node")), enable_debug_command=debug))
        return Target(kind, "127.0.0.1", node.port, tuple(node.worker_ports), node)

    def stop(self) -> None:
        """Ends all of them."""
        self._running.close()


def emptied(target: Target) -> Iterator[Target]:
    """The server without keys; closes the connections of the test at its end."""
    with Wire(target.host, target.port) as admin:
        assert admin("FLUSHALL") == OK
    yield target
    target.close_connections()


@contextmanager
def configured(connection: Wire, **options: str | int) -> Iterator[None]:
    """Sets options by their Redis names (with `_` for `-`) and puts the old values back."""
    before = {}
    for name, value in options.items():
        option = name.replace("_", "-")
        before[option] = pairs(connection("CONFIG", "GET", option))[option.encode()]
        assert connection("CONFIG", "SET", option, value) == OK
    try:
        yield
    finally:
        for option, old in before.items():
            assert connection("CONFIG", "SET", option, old) == OK
