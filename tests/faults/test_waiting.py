"""Workers that are killed while clients wait for elements of lists: nobody waits for ever, and nothing is lost."""

from functools import partial

from tests.faults.test_killed_workers import back, keys_by_shard, kill
from tests.node import HOST, Node
from tests.wire import Error, Wire, eventually, info


def blocked(c: Wire, count: int) -> bool:
    return info(c, "clients")["blocked_clients"] == str(count)


def test_an_owner_that_dies_ends_the_wait_for_its_keys(node: Node) -> None:
    names = [keys[0] for keys in keys_by_shard(node, 1)]
    ports = node.worker_ports
    with (
        Wire(HOST, ports[0]) as one,
        Wire(HOST, ports[0]) as all_,
        Wire(HOST, ports[1]) as other,
        Wire(HOST, ports[1]) as c,
    ):
        one.send("BLPOP", names[2], 0)
        all_.send("BLPOP", *names, 0)
        other.send("BLPOP", names[0], names[1], 0)
        eventually(partial(blocked, c, 3))
        old = kill(node, 2)
        for waiting in (one, all_):
            reply = waiting.read()
            assert isinstance(reply, Error)
            assert "restarted" in reply.text
        # The one that waits for others has not noticed.
        assert c("RPUSH", names[0], "element") == 1
        assert other.read() == [names[0].encode(), b"element"]
        eventually(partial(back, node, 2, old))
        for waiting in (one, all_):
            waiting.send("BLPOP", *names, 0)
        eventually(partial(blocked, c, 2))
        assert c("RPUSH", names[2], 1, 2, 3) == 3
        assert sorted(waiting.read()[1] for waiting in (one, all_)) == [b"1", b"2"]
        assert c("LRANGE", names[2], 0, -1) == [b"3"]


def test_a_worker_that_dies_takes_nothing_for_its_clients(node: Node) -> None:
    names = [keys[0] for keys in keys_by_shard(node, 1)]
    with Wire(HOST, node.worker_ports[0]) as c:
        requests: tuple[tuple[str | bytes | int, ...], ...] = (
            ("BLPOP", names[0], 0),
            ("BLPOP", *names, 0),
            ("BLMOVE", names[0], names[1], "LEFT", "LEFT", 0),
        )
        for request in requests:
            waiting = Wire(HOST, node.worker_ports[2])
            waiting.send(*request)
            eventually(partial(blocked, c, 1))
            old = kill(node, 2)
            assert waiting.read_all() == b""
            waiting.close()
            assert c("RPUSH", names[0], "element") == 1
            assert c("LRANGE", names[0], 0, -1) == [b"element"]
            assert c("DEL", names[0]) == 1
            eventually(partial(back, node, 2, old))
