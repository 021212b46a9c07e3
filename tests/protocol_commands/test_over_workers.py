"""What looks at or steers the node does so on all workers, whichever of them is asked. Ours only."""

import os
import signal
from collections.abc import Iterator

import pytest
from tests.node import Node
from tests.targets import Target, configured
from tests.wire import OK, Verbatim, Wire, eventually, info, pairs, text_of


@pytest.fixture
def each(node3: Target) -> list[Wire]:
    """A connection to the own port of each worker."""
    return [node3.connect(3, port=port) for port in node3.worker_ports]


@pytest.fixture
def own_node() -> Iterator[Node]:
    """A node for one test."""
    with Node(shards=2) as started:
        yield started


def listed(c: Wire, *options: str) -> list[dict[str, str]]:
    lines = text_of(c("CLIENT", "LIST", *options)).splitlines()
    return [dict(part.split("=", 1) for part in line.split(" ")) for line in lines]


def test_clients_of_all_workers_are_listed_by_each(each: list[Wire]) -> None:
    ids = [c("CLIENT", "ID") for c in each]
    for c in each:
        found = listed(c)
        assert [int(client["id"]) for client in found] == sorted(int(client["id"]) for client in found)
        assert set(ids) <= {int(client["id"]) for client in found}
        assert {client["io-thread"] for client in found} >= {"0", "1", "2"}


def test_any_worker_kills_any_client(each: list[Wire], node3: Target) -> None:
    for c in each:
        for port in node3.worker_ports:
            victim = node3.connect(port=port)
            assert c("CLIENT", "KILL", "ID", victim("CLIENT", "ID")) == 1
            assert victim.is_closed()
    # Those of the test before may have left unnoticed as yet.
    eventually(lambda: info(each[0], "clients")["pubsub_clients"] == "0")
    victims = [node3.connect(port=port) for port in node3.worker_ports]
    for victim in victims:
        assert victim("SUBSCRIBE", "x")
    assert each[0]("CLIENT", "KILL", "TYPE", "pubsub") == 3
    assert all(victim.is_closed() for victim in victims)


def test_a_client_that_does_not_read_is_killed_at_once(each: list[Wire], node3: Target) -> None:
    victim = node3.connect(port=node3.worker_ports[0])
    victim_id = victim("CLIENT", "ID")
    assert victim("SET", "big", bytes(1_000_000)) == OK
    for _ in range(30):
        victim.send("GET", "big")
    eventually(lambda: {client["id"]: client["cmd"] for client in listed(each[1])}[str(victim_id)] == "get")
    assert each[1]("CLIENT", "KILL", "ID", victim_id) == 1
    eventually(lambda: str(victim_id) not in {client["id"] for client in listed(each[1])})


def test_a_pause_holds_the_clients_of_every_worker(each: list[Wire], node3: Target) -> None:
    others = [node3.connect(port=port) for port in node3.worker_ports]
    assert each[0]("CLIENT", "PAUSE", 20_000) == OK
    for other in others:
        other.send("PING")
    assert all(other.silent(0.02) for other in others)
    assert each[2]("CLIENT", "UNPAUSE") == OK
    assert [other.read() for other in others] == ["PONG"] * 3


def test_any_worker_unblocks_any_client(each: list[Wire], node3: Target) -> None:
    eventually(lambda: info(each[2], "clients")["blocked_clients"] == "0")
    waiting = node3.connect(port=node3.worker_ports[1])
    waiting_id = waiting("CLIENT", "ID")
    waiting.send("WAIT", 1, 0)
    eventually(lambda: "b" in {c["id"]: c["flags"] for c in listed(each[0])}[str(waiting_id)])
    assert info(each[2], "clients")["blocked_clients"] == "1"
    assert each[0]("CLIENT", "UNBLOCK", waiting_id) == 1
    assert waiting.read() == 0
    assert each[0]("CLIENT", "UNBLOCK", waiting_id) == 0


def test_a_client_that_goes_away_while_it_waits_is_forgotten(each: list[Wire], node3: Target) -> None:
    waiting = node3.connect(port=node3.worker_ports[1])
    waiting.send("WAIT", 1, 0)
    eventually(lambda: info(each[0], "clients")["blocked_clients"] == "1")
    waiting.reset_connection()
    eventually(lambda: info(each[0], "clients")["blocked_clients"] == "0")


def test_options_and_statistics_are_the_nodes(each: list[Wire]) -> None:
    with configured(each[0], timeout=123):
        assert [pairs(c("CONFIG", "GET", "timeout"))[b"timeout"] for c in each] == [b"123"] * 3
    for number, c in enumerate(each):
        assert c("SET", f"key{number}", "v") == OK
    assert each[1]("CONFIG", "RESETSTAT") == OK
    for c in each:
        assert c("ECHO", "x") == b"x"
    stats = [info(c, "commandstats")["cmdstat_echo"] for c in each]
    assert [one.split(",")[0] for one in stats] == ["calls=3"] * 3
    histogram = pairs(pairs(each[2]("LATENCY", "HISTOGRAM", "echo"))[b"echo"])
    assert histogram[b"calls"] == 3
    assert info(each[0], "keyspace")["db0"].startswith("keys=3,")


def test_slow_requests_of_all_workers_have_ids_of_their_own(each: list[Wire]) -> None:
    assert each[0]("SLOWLOG", "RESET") == OK
    assert each[1]("CLIENT", "SETNAME", "second") == OK
    with configured(each[0], slowlog_log_slower_than=0):
        for c in each:
            assert c("ECHO", "slow") == b"slow"
        for number in range(10):
            assert each[1]("SET", f"k{number}", "v") == OK
    entries = each[2]("SLOWLOG", "GET", -1)
    assert len({entry[0] for entry in entries}) == len(entries)
    echoes = [entry for entry in entries if entry[3] == [b"ECHO", b"slow"]]
    assert [entry[4] for entry in echoes] == [c.address.encode() for c in reversed(each)]
    sets = [entry for entry in entries if entry[3][0] == b"SET"]
    assert len(sets) == 10, "each is logged once, by the worker that executed it"
    assert {(entry[4], entry[5]) for entry in sets} == {(each[1].address.encode(), b"second")}
    with configured(each[0], slowlog_log_slower_than=-1):
        assert each[0]("SLOWLOG", "RESET") == OK
        assert [c("SLOWLOG", "LEN") for c in each] == [0, 0, 0]


def test_latency_events_of_all_workers(each: list[Wire]) -> None:
    with configured(each[0], latency_monitor_threshold=2):
        assert each[0]("LATENCY", "RESET") is not None
        assert each[1]("DEBUG", "SLEEP", "0.01") == OK
        assert [entry[0] for entry in each[2]("LATENCY", "LATEST")] == [b"command"]
    # RESET itself may be slow, which would be an event under the threshold.
    assert each[0]("LATENCY", "RESET", "command") == 1
    assert each[1]("LATENCY", "LATEST") == []


def test_memory_of_a_key_of_any_shard(each: list[Wire]) -> None:
    for number in range(12):
        assert each[0]("SET", f"key{number}", bytes(100)) == OK
        usage = [c("MEMORY", "USAGE", f"key{number}") for c in each]
        assert usage[0] == usage[1] == usage[2]
        assert 100 < usage[0] < 300
        assert "encoding:raw" in each[number % 3]("DEBUG", "OBJECT", f"key{number}")
    stats = pairs(each[1]("MEMORY", "STATS"))
    assert stats[b"keys.count"] == 12
    assert {b"shard.0", b"shard.1", b"shard.2"} <= set(stats)
    table = each[2]("DEBUG", "JMAP")
    assert isinstance(table, Verbatim)
    assert len(text_of(table).splitlines()) == 4


def test_info_names_every_shard(each: list[Wire], node3: Target) -> None:
    shards = [value for name, value in info(each[0], "shards").items() if name.startswith("shard")]
    fields = [dict(part.split("=") for part in shard.split(",")) for shard in shards]
    assert [int(shard["port"]) for shard in fields] == list(node3.worker_ports)
    assert all(int(shard["pid"]) > 0 for shard in fields)
    assert int(info(each[0], "memory")["used_memory_rss"]) > 10_000_000


def test_rates_are_measured(each: list[Wire]) -> None:
    def rate() -> int:
        for _ in range(50):
            each[0]("PING")
        return int(info(each[1], "stats")["instantaneous_ops_per_sec"])

    assert eventually(lambda: rate() > 50)


def test_commands_inside_of_a_transaction(each: list[Wire]) -> None:
    for c in each:
        requests = [("MULTI",), ("SET", "a", "1"), ("INFO", "keyspace"), ("CLIENT", "LIST"), ("DBSIZE",), ("EXEC",)]
        *_, replies = c.pipeline(requests)
        assert replies[0] == OK
        assert "db0:keys=1" in text_of(replies[1])
        assert replies[3] == 1


def test_a_worker_that_dies_is_left_out(own_node: Node) -> None:
    with Wire("127.0.0.1", own_node.worker_ports[0]) as c:
        victim = own_node.pids()["shard-1"]
        os.kill(victim, signal.SIGSTOP)
        c.send("CLIENT", "LIST")
        assert c.silent(0.05), "it is asked like all others"
        os.kill(victim, signal.SIGKILL)
        assert c.address in text_of(c.read())
        eventually(lambda: own_node.pids().get("shard-1", victim) != victim)
        eventually(lambda: "restarts=1" in info(c, "shards")["shard1"])
        assert len(c("CLUSTER", "SLOTS")) == 2


def test_any_worker_ends_the_node() -> None:
    node = Node(shards=2).start()
    try:
        with Wire("127.0.0.1", node.worker_ports[1]) as c:
            c.send("SHUTDOWN", "NOSAVE")
            assert c.is_closed()
        assert node.process.wait(30) == 0
    finally:
        with node:
            pass


def test_a_stopping_node_does_not_wait_for_clients_that_wait() -> None:
    with Node(shards=2, shutdown_timeout=120) as node, Wire("127.0.0.1", node.port) as c:
        assert c.pipeline([("SET", "k", "v"), ("WAIT", 0, 0)]) == [OK, 0]
        c.send("WAIT", 1, 0)
        assert c.silent(0.05)
        node.process.send_signal(signal.SIGTERM)
        assert c.read() == 0
        assert node.process.wait(30) == 0


def test_debug_for_local_clients_only() -> None:
    with (
        Node(shards=1, enable_debug_command="local") as node,
        Wire("127.0.0.1", node.port) as tcp,
        Wire("127.0.0.1", 0, path=node.unixsocket) as unix,
    ):
        assert tcp("DEBUG", "SLEEP", 0) == OK
        assert unix("DEBUG", "SLEEP", 0) == OK
        assert unix("CLUSTER", "SLOTS")[0][2][:2] == [b"127.0.0.1", node.worker_ports[0]]


def test_clients_of_the_unix_socket_have_its_path_for_address(node: Node) -> None:
    address = f"{node.unixsocket}:0"
    with Wire("127.0.0.1", 0, path=node.unixsocket) as one, Wire("127.0.0.1", node.port) as admin:
        fields = dict(field.partition("=")[::2] for field in text_of(one("CLIENT", "INFO")).split())
        assert (fields["addr"], fields["laddr"]) == (address, address)
        assert address in text_of(admin("CLIENT", "LIST"))
        assert admin("CLIENT", "KILL", "LADDR", address) == 1


def test_the_host_of_the_cluster_is_the_one_the_client_reached() -> None:
    with Node(shards=2, bind="0.0.0.0") as node:
        for host in ("127.0.0.1", "127.0.0.2"):
            with Wire(host, node.port) as c:
                assert {row[2][0] for row in c("CLUSTER", "SLOTS")} == {host.encode()}
