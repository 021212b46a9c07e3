"""Nobody ever sees half of a transaction or of an MSET, however it is read."""

import os
import random
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from tests.targets import Servers, Target, emptied
from tests.wire import OK, Wire

SECONDS = float(os.environ.get("YGGDRASIL_ATOMICITY_SECONDS", "3"))
KEYS = [f"counter:{i}" for i in range(8)]
STAMPS = [f"stamp:{i}" for i in range(8)]
ACCOUNTS = [f"account:{i}" for i in range(6)]
BALANCE = 1000

Step = Callable[[Wire, random.Random], None]


@pytest.fixture(params=["peer", "node2", "node4"])
def crowd(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Target]:
    yield from emptied(servers.get(request.param))


def count_up(c: Wire, source: random.Random) -> None:
    """All counters go up by one, in any order."""
    keys = source.sample(KEYS, len(KEYS))
    replies = c.pipeline([("MULTI",), *[("INCR", key) for key in keys], ("EXEC",)])
    assert len(set(replies[-1])) == 1, replies


def read_counters_at_once(c: Wire, source: random.Random) -> None:
    values = c("MGET", *source.sample(KEYS, len(KEYS)))
    assert len(set(values)) == 1, values


def read_counters_in_a_transaction(c: Wire, source: random.Random) -> None:
    values = c.pipeline([("MULTI",), *[("GET", key) for key in KEYS], ("EXEC",)])[-1]
    assert len(set(values)) == 1, values


def never_backwards(values: list[bytes | None]) -> None:
    """Who has seen n at one key finds at least n at every key read later."""
    numbers = [int(value or 0) for value in values]
    assert numbers == sorted(numbers)


def any_order(source: random.Random) -> list[str]:
    keys = source.choice([KEYS, STAMPS])
    return source.choice([keys, keys[::-1], source.sample(keys, len(keys))])


def read_one_by_one(c: Wire, source: random.Random) -> None:
    never_backwards([c("GET", key) for key in any_order(source)])


def read_in_a_pipeline(c: Wire, source: random.Random) -> None:
    never_backwards(c.pipeline([("GET", key) for key in any_order(source)]))


def transfer(c: Wire, source: random.Random) -> None:
    """Moves an amount from one account to another."""
    giver, taker = source.sample(ACCOUNTS, 2)
    amount = source.randrange(1, 50)
    c.pipeline([("MULTI",), ("DECRBY", giver, amount), ("INCRBY", taker, amount), ("EXEC",)])


def sum_accounts(c: Wire, source: random.Random) -> None:
    values = c("MGET", *source.sample(ACCOUNTS, len(ACCOUNTS)))
    assert sum(int(value) for value in values) == BALANCE * len(ACCOUNTS), values


def appear_and_vanish(c: Wire, source: random.Random) -> None:
    if source.random() < 0.5:
        c("MSET", "here:a", 1, "here:b", 1, "here:c", 1, "here:d", 1)
    else:
        c("DEL", "here:d", "here:a", "here:c", "here:b")


def all_or_none_are_here(c: Wire, source: random.Random) -> None:
    if source.random() < 0.5:
        assert c("EXISTS", "here:a", "here:b", "here:c", "here:d") in (0, 4)
    else:
        assert len(set(c("MGET", "here:c", "here:a", "here:d", "here:b"))) == 1


def wander(c: Wire, source: random.Random) -> None:
    """One key goes from place to place."""
    places = [f"place:{i}" for i in range(4)]
    c("RENAME", source.choice(places), source.choice(places))


def exactly_one_place(c: Wire, source: random.Random) -> None:
    assert c("EXISTS", "place:0", "place:1", "place:2", "place:3") == 1


def stamps_upwards() -> Step:
    number = 0

    def stamp(c: Wire, source: random.Random) -> None:
        nonlocal number
        number += 1
        keys = source.sample(STAMPS, len(STAMPS))
        if source.random() < 0.5:
            assert c("MSET", *[part for key in keys for part in (key, number)]) == OK
        else:
            replies = c.pipeline([("MULTI",), *[("SET", key, number) for key in keys], ("EXEC",)])
            assert replies[-1] == [OK] * len(keys)

    return stamp


def read_stamps_at_once(c: Wire, source: random.Random) -> None:
    values = c("MGET", *source.sample(STAMPS, len(STAMPS)))
    assert len(set(values)) == 1, values


SINGLY: list[Step] = [read_one_by_one] * 4
AT_ONCE: list[Step] = [
    read_counters_at_once,
    read_counters_in_a_transaction,
    sum_accounts,
    all_or_none_are_here,
    exactly_one_place,
    read_stamps_at_once,
]
PIPELINED: list[Step] = [read_in_a_pipeline] * 4

LONG = [f"{{long}}:{i}" for i in range(2000)]
NAMES = [f"{{name}}:{i}" for i in range(3)]
# Reads that name these, which do not exist, concern several shards.
ELSEWHERE = [f"elsewhere:{i}" for i in range(8)]


def ends(source: random.Random) -> list[str]:
    return source.choice([[LONG[0], LONG[-1]], [LONG[-1], LONG[0]]])


def write_all_upwards() -> Step:
    number = 0

    def write(c: Wire, source: random.Random) -> None:
        nonlocal number
        number += 1
        keys = source.choice([LONG, LONG[::-1]])
        assert c("MSET", *[part for key in keys for part in (key, number)]) == OK

    return write


def read_both_ends(c: Wire, source: random.Random) -> None:
    first, last, *elsewhere = c("MGET", *ends(source), *ELSEWHERE)
    assert (first, elsewhere) == (last, [None] * len(ELSEWHERE))


def read_from_end_to_end(c: Wire, source: random.Random) -> None:
    never_backwards(c.pipeline([("GET", key) for key in ends(source)]))


def come_and_go(c: Wire, source: random.Random) -> None:
    if source.random() < 0.5:
        assert c("MSET", *[part for key in LONG for part in (key, 1)]) == OK
    else:
        c("DEL", *source.choice([LONG, LONG[::-1]]))


def both_ends_or_none(c: Wire, source: random.Random) -> None:
    assert c("EXISTS", *ends(source), *ELSEWHERE) in (0, 2)


def change_names(c: Wire, source: random.Random) -> None:
    c("RENAME", source.choice(NAMES), source.choice(NAMES))


def one_name(c: Wire, source: random.Random) -> None:
    assert c("EXISTS", *NAMES, *ELSEWHERE) == 1


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("readers", [AT_ONCE + SINGLY, PIPELINED], ids=["singly", "pipelined"])
def test_no_half_is_ever_seen(crowd: Target, readers: list[Step]) -> None:
    setup = crowd.connect()
    assert setup("MSET", *[part for key in ACCOUNTS for part in (key, BALANCE)]) == OK
    assert setup("SET", "place:0", "here") == OK
    writers: list[Step] = [count_up, count_up, transfer, transfer, appear_and_vanish, wander, stamps_upwards()]
    together(crowd, writers + readers)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("writer", "readers"),
    [
        (write_all_upwards, [read_both_ends, read_from_end_to_end]),
        (lambda: come_and_go, [both_ends_or_none]),
        (lambda: change_names, [one_name]),
    ],
    ids=["mset", "del", "rename"],
)
def test_no_half_is_seen_of_keys_with_one_tag(crowd: Target, writer: Callable[[], Step], readers: list[Step]) -> None:
    """Keys of one shard need no reservation of others, and readers of other workers look at any moment."""
    assert crowd.connect()("SET", NAMES[0], "here") == OK
    together(crowd, [writer(), *readers * len(crowd.worker_ports or [0])])


def together(crowd: Target, steps: list[Step]) -> None:
    """Takes steps over and over, each on a connection of its own, on all workers."""
    seconds = min(SECONDS, 1.0) if crowd.is_peer else SECONDS
    failures: list[BaseException] = []
    connected = threading.Barrier(len(steps))

    def run(number: int, step: Step) -> None:
        source = random.Random(number)
        ports = (crowd.port, *crowd.worker_ports)
        try:
            with Wire(crowd.host, ports[number % len(ports)]) as connection:
                connected.wait()
                end = time.monotonic() + seconds
                # Everyone takes its step at least once, however short its turns are.
                step(connection, source)
                while time.monotonic() < end and not failures:
                    step(connection, source)
        except BaseException as error:  # noqa: BLE001 - the thread that waits reports it
            failures.append(error)
            connected.abort()

    threads = [threading.Thread(target=run, args=item) for item in enumerate(steps)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds + 120)
        assert not thread.is_alive(), "a client got no reply"
    if failures:
        raise failures[0]
