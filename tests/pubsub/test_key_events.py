"""Events of keys reach subscribers of every worker, whoever owns the keys: also of transactions, uploads and time."""

from collections.abc import Iterator

import pytest
from tests.targets import Target, configured
from tests.wire import OK, Push, Wire

KEYS = [f"key:{number}".encode() for number in range(12)]


@pytest.fixture
def subscribers(target: Target) -> Iterator[list[Wire]]:
    """A subscriber to all events by their names, on each worker."""
    with configured(target.connect(2), notify_keyspace_events="EA"):
        opened = [target.connect(3, port=port) for port in (target.port, *target.worker_ports)]
        for subscriber in opened:
            subscriber("PSUBSCRIBE", "__keyevent@0__:*")
        yield opened


def heard(subscriber: Wire, count: int) -> list[tuple[str, bytes]]:
    """The next events, each with its key."""
    events = []
    for _ in range(count):
        push = subscriber.read()
        assert isinstance(push, Push)
        events.append((push.items[2].decode().split(":")[1], push.items[3]))
    return events


def test_every_subscriber_hears_of_every_key(target: Target, subscribers: list[Wire]) -> None:
    writers = [target.connect(2, port=port) for port in target.worker_ports]
    for writer in writers:
        for key in KEYS:
            writer("SET", key, "v")
    for subscriber in subscribers:
        events = heard(subscriber, len(KEYS) * len(writers))
        assert sorted(events) == sorted(("set", key) for key in KEYS for _ in writers)


def test_what_changes_several_shards_is_told_by_each(target: Target, subscribers: list[Wire]) -> None:
    writer = target.connect(2)
    assert writer("MSET", *(part for key in KEYS for part in (key, b"v"))) == OK
    assert writer("RENAME", KEYS[0], b"new") == OK
    assert writer("COPY", KEYS[1], b"copy") == 1
    assert writer("DEL", *KEYS[1:]) == len(KEYS) - 1
    changes = [("rename_from", KEYS[0]), ("rename_to", b"new"), ("copy_to", b"copy")]
    expected = [("set", key) for key in KEYS] + changes + [("del", key) for key in KEYS[1:]]
    for subscriber in subscribers:
        assert sorted(heard(subscriber, len(expected))) == sorted(expected)


def test_a_transaction_is_told_when_it_is_done(target: Target, subscribers: list[Wire]) -> None:
    writer = target.connect(2)
    writer("MULTI")
    for key in KEYS:
        writer("SET", key, "v")
        writer("INCR", key)
    replies = writer("EXEC")
    assert [reply for reply in replies if reply == OK] == [OK] * len(KEYS)
    for subscriber in subscribers:
        assert heard(subscriber, len(KEYS)) == [("set", key) for key in KEYS]


def test_time_is_told(target: Target, subscribers: list[Wire]) -> None:
    writer = target.connect(2)
    for key in KEYS:
        writer("SET", key, "v", "PX", 20)
    told = [*(("set", key) for key in KEYS), *(("expire", key) for key in KEYS), *(("expired", key) for key in KEYS)]
    for subscriber in subscribers:
        assert sorted(heard(subscriber, len(told))) == sorted(told)


def test_an_upload_is_told_when_it_is_seen(node_target: Target) -> None:
    writer, subscriber = node_target.connect(2), node_target.connect(3)
    with configured(writer, notify_keyspace_events="EA"):
        subscriber("PSUBSCRIBE", "__keyevent@0__:*")
        for key in KEYS:
            upload = writer("PUT_STREAM", "BEGIN", key, "EX", 100)
            writer("PUT_STREAM", "APPEND", upload, "value")
            writer("PUT_STREAM", "COMMIT", upload)
            assert heard(subscriber, 2) == [("set", key), ("expire", key)]
