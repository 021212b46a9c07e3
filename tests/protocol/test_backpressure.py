"""More than the ways between workers can hold: nothing fails, nothing is lost, others are still served."""

import threading
import time

import pytest
from tests.targets import Target
from tests.wire import OK, Wire, encode


@pytest.mark.parametrize("size", [100, 20_000, 300_000])
def test_floods_of_writes_from_every_worker_to_every_shard(target: Target, resp: int, size: int) -> None:
    count = max(20, min(2_000, 20_000_000 // size // 8))
    clients = [target.connect(resp, port=port) for port in (target.port, *target.worker_ports) * 2]
    failures: list[BaseException] = []

    def flood(number: int, c: Wire) -> None:
        try:
            value = bytes([number]) * size
            data = b"".join(encode("SET", f"{number}:{i % 50}", value + b"%d" % i) for i in range(count))
            assert c.exchange(data, count) == [OK] * count
            for i in range(count - min(50, count), count):
                assert c("GET", f"{number}:{i % 50}") == value + b"%d" % i
        except BaseException as error:  # noqa: BLE001 - reported by the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=flood, args=item) for item in enumerate(clients)]
    for thread in threads:
        thread.start()
    with target.connect(resp) as other:
        while any(thread.is_alive() for thread in threads):
            assert other("PING") == "PONG"
            time.sleep(0.01)
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def test_large_values_read_by_many_from_other_workers(target: Target, resp: int) -> None:
    values = {f"big:{i}": bytes([i]) * 2_000_000 for i in range(6)}
    writer = target.connect(resp)
    for key, value in values.items():
        assert writer("SET", key, value) == OK
    clients = [target.connect(resp, port=port) for port in target.worker_ports * 2]
    for c in clients:
        for key in values:
            c.send("GET", key)
            c.send("APPEND", f"log:{key}", "x")
            c.send("MGET", key, "absent")
    for c in clients:
        for value in values.values():
            assert c.read() == value
            assert isinstance(c.read(), int)
            assert c.read() == [value, None]


def test_a_transaction_larger_than_a_ring(target: Target, resp: int) -> None:
    value = b"v" * 100_000
    for port in target.worker_ports:
        c = target.connect(resp, port=port)
        requests = [
            ("MULTI",),
            *[("SET", f"k{i}", value) for i in range(100)],
            ("MGET", *[f"k{i}" for i in range(100)]),
        ]
        replies = c.exchange(b"".join(encode(*request) for request in requests) + encode("EXEC"), len(requests) + 1)
        assert replies[-1] == [OK] * 100 + [[value] * 100]
        pairs = [part for i in range(100) for part in (f"k{i}", value + b"2")]
        assert c("MSET", *pairs) == OK
        assert c("MGET", *[f"k{i}" for i in range(100)]) == [value + b"2"] * 100
        assert c("DEL", *[f"k{i}" for i in range(100)]) == 100
