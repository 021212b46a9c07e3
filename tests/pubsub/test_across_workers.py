"""Messages reach subscribers wherever they are connected: counts, order, introspection, slow subscribers."""

from collections.abc import Callable

import pytest
from tests.targets import Target, configured
from tests.wire import OK, Push, Wire, encode, eventually

pytestmark = pytest.mark.both_protocols


def everywhere(target: Target, resp: int, each: int = 2) -> list[Wire]:
    """Connections to every worker, by its own port and by the common one."""
    return [target.connect(resp, port=port) for port in (target.port, *target.worker_ports) for _ in range(each)]


def items(reply: object) -> list[object]:
    if isinstance(reply, Push):
        return reply.items
    assert isinstance(reply, list), reply
    return reply


def test_every_subscriber_hears_every_publisher(target: Target, resp: int) -> None:
    subscribers, publishers = everywhere(target, resp), everywhere(target, resp)
    for subscriber in subscribers:
        assert items(subscriber("SUBSCRIBE", "news")) == [b"subscribe", b"news", 1]
        assert items(subscriber("PSUBSCRIBE", "ne*")) == [b"psubscribe", b"ne*", 2]
    for i, publisher in enumerate(publishers):
        assert publisher("PUBLISH", "news", i) == 2 * len(subscribers)
    for subscriber in subscribers:
        heard = [items(subscriber.read()) for _ in range(2 * len(publishers))]
        messages = [message for message in heard if message[0] == b"message"]
        matches = [message for message in heard if message[0] == b"pmessage"]
        assert [message[2] for message in messages] == [str(i).encode() for i in range(len(publishers))]
        assert [message[3] for message in matches] == [str(i).encode() for i in range(len(publishers))]


def test_shard_messages_reach_every_worker(target: Target, resp: int) -> None:
    subscribers, publishers = everywhere(target, resp), everywhere(target, resp)
    for subscriber in subscribers:
        assert items(subscriber("SSUBSCRIBE", "orders")) == [b"ssubscribe", b"orders", 1]
    for i, publisher in enumerate(publishers):
        assert publisher("SPUBLISH", "orders", i) == len(subscribers)
    for subscriber in subscribers:
        for i in range(len(publishers)):
            assert items(subscriber.read()) == [b"smessage", b"orders", str(i).encode()]


def test_the_order_of_one_publisher_is_kept(target: Target, resp: int) -> None:
    subscribers, publishers = everywhere(target, resp, 1), everywhere(target, resp, 1)
    for subscriber in subscribers:
        subscriber("SUBSCRIBE", "news")
    for p, publisher in enumerate(publishers):
        publisher.send_raw(b"".join(encode("PUBLISH", "news", f"{p}:{i}") for i in range(200)))
    for publisher in publishers:
        assert [publisher.read() for _ in range(200)] == [len(subscribers)] * 200
    for subscriber in subscribers:
        numbers: dict[int, list[int]] = {p: [] for p in range(len(publishers))}
        for _ in range(200 * len(publishers)):
            text = items(subscriber.read())[2]
            assert isinstance(text, bytes)
            p, number = map(int, text.split(b":"))
            numbers[p].append(number)
        assert all(heard == list(range(200)) for heard in numbers.values())


def test_a_message_published_in_a_transaction(target: Target, resp: int) -> None:
    subscribers = everywhere(target, resp)
    for subscriber in subscribers:
        subscriber("SUBSCRIBE", "news")
    publisher = target.connect(resp)
    replies = publisher.pipeline([("MULTI",), ("SET", "k", "v"), ("PUBLISH", "news", "k"), ("EXEC",)])
    assert replies[-1] == [OK, len(subscribers)]
    for subscriber in subscribers:
        assert items(subscriber.read())[2] == b"k"


def test_a_subscriber_that_hears_of_a_write_can_read_it(target: Target) -> None:
    writer = target.connect()
    readers = everywhere(target, 3)
    for reader in readers:
        reader("SUBSCRIBE", "changes")
    for i in range(50):
        writer.send_raw(encode("SET", f"k{i}", i) + encode("PUBLISH", "changes", f"k{i}"))
        assert [writer.read(), writer.read()] == [OK, len(readers)]
        for reader in readers:
            key = items(reader.read())[2]
            assert isinstance(key, bytes)
            assert reader("GET", key) == str(i).encode()


def test_introspection_over_all_workers(target: Target, resp: int) -> None:
    subscribers = everywhere(target, resp)
    asker = target.connect(resp)
    for subscriber in subscribers:
        subscriber("SUBSCRIBE", "news")
        subscriber("PSUBSCRIBE", "n*")
        subscriber("SSUBSCRIBE", "orders")
    subscribers[0]("SUBSCRIBE", "only:one")
    subscribers[0]("PSUBSCRIBE", "only*")
    count = len(subscribers)
    assert sorted(asker("PUBSUB", "CHANNELS")) == [b"news", b"only:one"]
    assert asker("PUBSUB", "CHANNELS", "only:*") == [b"only:one"]
    assert asker("PUBSUB", "CHANNELS", "x*") == []
    assert asker("PUBSUB", "NUMSUB") == []
    assert asker("PUBSUB", "NUMSUB", "news", "absent", "only:one", "orders") == [
        b"news",
        count,
        b"absent",
        0,
        b"only:one",
        1,
        b"orders",
        0,
    ]
    assert asker("PUBSUB", "NUMPAT") == 2, "patterns, not clients"
    assert asker("PUBSUB", "SHARDCHANNELS") == [b"orders"]
    assert asker("PUBSUB", "SHARDCHANNELS", "x*") == []
    assert asker("PUBSUB", "SHARDNUMSUB", "orders", "news") == [b"orders", count, b"news", 0]
    for subscriber in subscribers:
        subscriber.close()
    eventually(lambda: asker("PUBSUB", "CHANNELS") == [])
    assert asker("PUBSUB", "NUMPAT") == 0
    assert asker("PUBSUB", "SHARDCHANNELS") == []


def test_hundreds_of_subscribers(target: Target, resp: int) -> None:
    subscribers = [target.connect(resp) for _ in range(200)]
    for i, subscriber in enumerate(subscribers):
        subscriber.send("SUBSCRIBE", f"room:{i % 10}", "all")
    for subscriber in subscribers:
        subscriber.read()
        subscriber.read()
    publisher = target.connect(resp)
    assert publisher("PUBLISH", "all", "x" * 1000) == 200
    assert publisher("PUBLISH", "room:3", "y") == 20
    for i, subscriber in enumerate(subscribers):
        assert items(subscriber.read())[1:] == [b"all", b"x" * 1000]
        if i % 10 == 3:
            assert items(subscriber.read())[1:] == [b"room:3", b"y"]


def test_large_messages(target: Target, resp: int) -> None:
    subscribers = everywhere(target, resp, 1)
    for subscriber in subscribers:
        subscriber("SUBSCRIBE", "big")
    for length in (16_383, 16_385, 70_000, 1_500_000):
        message = bytes(i % 251 for i in range(length))
        assert target.connect(resp)("PUBLISH", "big", message) == len(subscribers)
        for subscriber in subscribers:
            assert items(subscriber.read()) == [b"message", b"big", message]


def test_a_subscriber_that_does_not_read_is_cut_off(target: Target, resp: int) -> None:
    admin = target.connect()
    with configured(admin, client_output_buffer_limit="pubsub 1mb 0 0"):
        slow, good = everywhere(target, resp, 1), everywhere(target, resp, 1)
        for subscriber in slow + good:
            subscriber("SUBSCRIBE", "flood")
        publisher = target.connect(resp)
        for _ in range(400):
            receivers = publisher("PUBLISH", "flood", bytes(100_000))
            for subscriber in good:
                assert len(str(items(subscriber.read())[1])) > 0
            if receivers == len(good):
                break
        else:
            raise AssertionError(f"still {receivers} receivers after 40 MB")
        for subscriber in slow:
            rest = subscriber.read_all()
            assert len(rest) < 40_000_000
        for subscriber in good:
            assert subscriber.silent(0.0)


@pytest.mark.parametrize("how", ["close", "reset"])
def test_subscribers_that_leave_are_forgotten(target: Target, resp: int, how: str) -> None:
    subscribers = everywhere(target, resp, 5)
    for subscriber in subscribers:
        subscriber("SUBSCRIBE", "news")
    publisher = target.connect(resp)
    assert publisher("PUBLISH", "news", "x") == len(subscribers)
    for subscriber in subscribers[::2]:
        if how == "close":
            subscriber.close()
        else:
            subscriber.reset_connection()
    left = len(subscribers) - len(subscribers[::2])
    eventually(lambda: publisher("PUBLISH", "news", "y") == left)


def test_publishing_while_others_subscribe_and_leave(target: Target, resp: int, connect: Callable[[], Wire]) -> None:
    steady = everywhere(target, resp, 1)
    for subscriber in steady:
        subscriber("SUBSCRIBE", "news")
    publisher = connect()
    for i in range(60):
        passing = target.connect(resp, port=target.worker_ports[i % len(target.worker_ports)])
        passing("SUBSCRIBE", "news")
        assert publisher("PUBLISH", "news", i) >= len(steady) + 1
        passing.close()
    for subscriber in steady:
        assert [items(subscriber.read())[2] for _ in range(60)] == [str(i).encode() for i in range(60)]
