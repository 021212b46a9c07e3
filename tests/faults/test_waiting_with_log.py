"""Workers that are killed while clients wait, with a log: what was acknowledged is given once, or is still there.

Whoever gets an error instead of an element may have taken one; nobody else misses any.
"""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from tests.durability.test_recovery import serving
from tests.faults.test_killed_workers import back, keys_by_shard, kill
from tests.node import HOST, Node
from tests.wire import OK, ConnectionEndedError, Error, Wire, eventually, info

SHARDS = 3
KILLS = 6


class Client(threading.Thread):
    """A client that does something again and again, whatever becomes of its connection."""

    def __init__(self, port: int, act: Callable[[Wire], None]) -> None:
        super().__init__()
        self._port, self._act = port, act
        self._ending = threading.Event()
        self.unknown = 0
        """Requests of which nobody knows whether they were executed."""
        self.failure: BaseException | None = None

    def run(self) -> None:
        """Until it is told to end."""
        try:
            while not self._ending.is_set():
                self._connected()
        except BaseException as error:  # noqa: BLE001 - the thread of the test raises it
            self.failure = error

    def _connected(self) -> None:
        try:
            with Wire(HOST, self._port) as c:
                while c("CLIENT", "ACK", "SYNC") != OK:
                    pass
                while not self._ending.is_set():
                    self.unknown += 1
                    self._act(c)
                    self.unknown -= 1
        except (OSError, ConnectionEndedError, RefusedError):
            return

    def end(self) -> None:
        """Waits for its last request."""
        self._ending.set()
        self.join(60)
        assert not self.is_alive()
        assert self.failure is None, self.failure


class RefusedError(Exception):
    """An error as a reply."""


def asked(c: Wire, *request: str | bytes | float) -> object:
    """The reply, unless it is an error."""
    reply = c(*request)
    if isinstance(reply, Error):
        assert "restarted" in reply.text or reply.text.startswith("LOADING"), reply.text
        raise RefusedError(reply.text)
    return reply


@contextmanager
def clients(all_: list[Client]) -> Iterator[None]:
    for client in all_:
        client.start()
    try:
        yield
    finally:
        for client in all_:
            client.end()


def kill_some(node: Node, seed: int) -> None:
    """Kills one worker after the other, each when the one before is replaced."""
    chance = random.Random(seed)
    for _ in range(KILLS):
        shard = chance.randrange(SHARDS)
        old = kill(node, shard)
        eventually(partial(back, node, shard, old))


def settled(node: Node, *request: str | float) -> object:
    """The reply, when all shards are there."""

    def reply() -> tuple[object] | None:
        try:
            with Wire(HOST, node.port) as c:
                found = c(*request)
        except (OSError, ConnectionEndedError):
            return None
        return None if isinstance(found, Error) else (found,)

    return eventually(reply)[0]


@pytest.mark.parametrize("seed", [1, 2])
def test_elements_of_lists_are_given_once(tmp_path: Path, seed: int) -> None:
    print(f"seed {seed}")  # noqa: T201 - said where it fails
    with serving(tmp_path, shards=SHARDS) as (node, _):
        names = [keys[0] for keys in keys_by_shard(node, 1)]
        pushed: list[str] = []
        popped: list[str] = []
        numbers = count()

        def push(wire: Wire) -> None:
            number = next(numbers)
            value = f"element-{number}"
            asked(wire, "RPUSH", names[number % SHARDS], value)
            pushed.append(value)

        def pop(keys: list[str], wire: Wire) -> None:
            reply = asked(wire, "BLPOP", *keys, 1)
            if isinstance(reply, list):
                popped.append(reply[1].decode())

        ports = node.worker_ports
        poppers = [Client(ports[at], partial(pop, [names[at - 1]])) for at in range(SHARDS)]
        poppers += [Client(ports[at], partial(pop, names)) for at in range(SHARDS)]
        pushers = [Client(port, push) for port in ports]
        with clients(poppers), clients(pushers):
            kill_some(node, seed)
            eventually(lambda: len(popped) > 20)
        left: list[str] = []
        for name in names:
            elements = settled(node, "LRANGE", name, 0, -1)
            assert isinstance(elements, list)
            left += [element.decode() for element in elements]
        found = popped + left
        assert len(found) == len(set(found)), "an element was given twice"
        missing = set(pushed) - set(found)
        assert len(missing) <= sum(client.unknown for client in poppers), missing


@pytest.mark.parametrize("seed", [3, 4])
def test_entries_of_streams_are_given_to_one_consumer_or_stay(tmp_path: Path, seed: int) -> None:
    print(f"seed {seed}")  # noqa: T201 - said where it fails
    with serving(tmp_path, shards=SHARDS) as (node, c):
        names = [keys[0] for keys in keys_by_shard(node, 1)]
        for name in names:
            assert c("XGROUP", "CREATE", name, "g", "$", "MKSTREAM") == OK
        added: list[tuple[str, bytes]] = []
        given: list[tuple[str, bytes]] = []
        numbers = count()

        def add(wire: Wire) -> None:
            name = names[next(numbers) % SHARDS]
            entry = asked(wire, "XADD", name, "*", "f", "v")
            assert isinstance(entry, bytes)
            added.append((name, entry))

        def read(consumer: str, keys: list[str], wire: Wire) -> None:
            streams = (*keys, *[">"] * len(keys))
            head = ("XREADGROUP", "GROUP", "g", consumer, "COUNT", 2, "BLOCK", 500, "STREAMS")
            reply = asked(wire, *head, *streams)
            if isinstance(reply, list):
                given.extend((name.decode(), entry[0]) for name, entries in reply for entry in entries)

        ports = node.worker_ports
        readers = [Client(ports[at], partial(read, f"one{at}", [names[at - 1]])) for at in range(SHARDS)]
        readers += [Client(ports[at], partial(read, f"all{at}", names)) for at in range(SHARDS)]
        adders = [Client(port, add) for port in ports]
        with clients(readers), clients(adders):
            kill_some(node, seed)
            eventually(lambda: len(given) > 20)
        assert len(given) == len(set(given)), "an entry was given twice"
        pending: set[tuple[str, bytes]] = set()
        for name in names:
            entries = settled(node, "XPENDING", name, "g", "-", "+", 1_000_000)
            assert isinstance(entries, list)
            pending |= {(name, entry[0]) for entry in entries}
            rest = settled(node, "XREADGROUP", "GROUP", "g", "last", "STREAMS", name, ">")
            new = {(name, entry[0]) for entry in rest[0][1]} if isinstance(rest, list) else set()
            assert not new & pending
            pending |= new
        # Nobody has acknowledged anything: what was given, and whatever else was added, waits for that.
        assert set(given) <= pending
        assert set(added) <= pending


def test_who_waits_for_replicas_goes_on_when_others_die(tmp_path: Path) -> None:
    with serving(tmp_path, shards=SHARDS) as (node, _):
        ports = node.worker_ports
        with Wire(HOST, ports[0]) as stays, Wire(HOST, ports[1]) as leaves:
            for waiting in (stays, leaves):
                assert waiting("CLIENT", "ACK", "SYNC") == OK
                assert waiting("SET", "key", "v") == OK
            leaves.send("WAIT", 1, 0)
            stays.send("WAIT", 1, 3000)
            old = kill(node, 1)
            assert leaves.read_all() == b""
            eventually(partial(back, node, 1, old))
            assert stays.read() == 0
        assert settled(node, "GET", "key") == b"v"
        with Wire(HOST, ports[0]) as again:
            eventually(lambda: info(again, "clients")["blocked_clients"] == "0")
