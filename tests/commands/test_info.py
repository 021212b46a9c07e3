"""INFO: sections, fields, counters."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.targets import Target, configured
from tests.wire import OK, Wire, eventually, info, text_of

pytestmark = pytest.mark.all_servers

SECTIONS = [
    "Server",
    "Clients",
    "Memory",
    "Persistence",
    "Stats",
    "Replication",
    "CPU",
    "Errorstats",
    "Cluster",
    "Keyspace",
]
# Fields that monitoring reads and that mean the same with us.
FIELDS = {
    "server": "redis_version redis_mode os arch_bits process_id run_id tcp_port server_time_usec uptime_in_seconds "
    "uptime_in_days executable config_file",
    "clients": "connected_clients maxclients blocked_clients pubsub_clients watching_clients total_watched_keys",
    "memory": "used_memory used_memory_human used_memory_rss used_memory_rss_human used_memory_peak maxmemory "
    "maxmemory_human maxmemory_policy total_system_memory mem_fragmentation_ratio",
    "persistence": "loading aof_enabled",
    "stats": "total_connections_received total_commands_processed instantaneous_ops_per_sec total_net_input_bytes "
    "total_net_output_bytes rejected_connections expired_keys evicted_keys keyspace_hits keyspace_misses "
    "pubsub_channels pubsub_patterns pubsubshard_channels total_error_replies client_query_buffer_limit_disconnections "
    "client_output_buffer_limit_disconnections",
    "replication": "role connected_slaves master_replid master_repl_offset",
    "cpu": "used_cpu_sys used_cpu_user",
    "cluster": "cluster_enabled",
}


def test_sections_in_their_order(c: Wire) -> None:
    text = text_of(c("INFO"))
    found = [line[2:] for line in text.split("\r\n") if line.startswith("# ")]
    assert [name for name in found if name in SECTIONS] == SECTIONS
    assert text.endswith("\r\n")
    assert "\r\n\r\n# " in text
    assert "Commandstats" not in found
    everything = text_of(c("INFO", "everything"))
    assert "# Commandstats\r\n" in everything
    assert "# Latencystats\r\n" in everything


@pytest.mark.parametrize("section", sorted(FIELDS))
def test_fields(c: Wire, section: str) -> None:
    text = text_of(c("INFO", section))
    assert text.startswith(f"# {section.capitalize() if section != 'cpu' else 'CPU'}\r\n")
    assert not set(FIELDS[section].split()) - set(info(c, section))
    assert info(c, section.upper()).keys() == info(c, section).keys()


def test_choice_of_sections(c: Wire) -> None:
    assert text_of(c("INFO", "nosuch")) == ""
    both = text_of(c("INFO", "server", "clients", "nosuch", "server"))
    assert both.count("# ") == 2
    assert both.index("# Server") < both.index("# Clients")
    assert text_of(c("INFO", "default")).count("# ") == text_of(c("INFO")).count("# ")
    assert "# Commandstats" in text_of(c("INFO", "all"))


def test_keyspace(c: Wire) -> None:
    assert info(c, "keyspace") == {}
    assert c("MSET", "a", 1, "b", 2, "c", 3) == OK
    assert c("SET", "d", 4, "EX", 100) == OK
    assert c("SELECT", 7) == OK
    assert c("SET", "k", "v") == OK
    databases = info(c, "keyspace")
    assert set(databases) == {"db0", "db7"}
    fields = dict(part.split("=") for part in databases["db0"].split(","))
    assert fields["keys"] == "4"
    assert fields["expires"] == "1"
    assert "avg_ttl" in fields
    assert databases["db7"] == "keys=1,expires=0,avg_ttl=0,subexpiry=0"
    assert c("HSET", "h", "f", 1, "g", 2) == 2
    assert c("HEXPIRE", "h", 100, "FIELDS", 1, "f") == [1]
    assert info(c, "keyspace")["db7"].endswith(",subexpiry=1")


def test_expired_fields_are_counted(c: Wire) -> None:
    assert c("CONFIG", "RESETSTAT") == OK
    assert c("HSET", "h", "f", 1, "g", 2, "i", 3) == 3
    assert c("HPEXPIRE", "h", 1, "FIELDS", 2, "f", "g") == [1, 1]
    eventually(lambda: info(c, "stats")["expired_subkeys"] == "2")
    assert c("HKEYS", "h") == [b"i"]


def test_keys_that_clients_wait_for(c: Wire, connect: Callable[[], Wire]) -> None:
    one, two, three = connect(), connect(), connect()
    one.send("BLPOP", "a", "b", 0)
    two.send("BLPOP", "b", 100)
    assert c("XGROUP", "CREATE", "x", "g", "$", "MKSTREAM") == OK
    three.send("XREADGROUP", "GROUP", "g", "me", "BLOCK", 0, "STREAMS", "x", ">")
    fields = ("blocked_clients", "total_blocking_keys", "total_blocking_keys_on_nokey", "clients_in_timeout_table")

    def counts() -> list[str]:
        found = info(c, "clients")
        return [found[field] for field in fields]

    eventually(lambda: counts() == ["3", "3", "1", "1"])
    assert c("RPUSH", "b", "v", "w") == 2
    assert c("DEL", "x") == 1
    for client in (one, two, three):
        client.read()
    eventually(lambda: counts() == ["0", "0", "0", "0"])


def test_hits_and_misses(c: Wire) -> None:
    keys = [f"k{i}" for i in range(30)]
    assert c("MSET", *[part for key in keys for part in (key, "v")]) == OK
    assert c("CONFIG", "RESETSTAT") == OK
    for key in keys:
        c("GET", key)
    c("MGET", *keys, "absent1")
    c("GET", "absent2")
    c("EXISTS", "absent3", keys[0])
    stats = info(c, "stats")
    assert stats["keyspace_hits"] == "61"
    assert stats["keyspace_misses"] == "3"


def test_counts_of_connections_and_commands(c: Wire, connect: Callable[[], Wire]) -> None:
    before = info(c)
    others = [connect() for _ in range(8)]
    for other in others:
        assert other("PING") == "PONG"
    after = info(c)
    assert int(after["total_connections_received"]) >= int(before["total_connections_received"]) + 8
    assert int(after["total_commands_processed"]) >= int(before["total_commands_processed"]) + 8
    assert int(after["connected_clients"]) >= 9
    assert int(after["total_net_input_bytes"]) > int(before["total_net_input_bytes"])
    assert int(after["total_net_output_bytes"]) > int(before["total_net_output_bytes"])


def test_counts_of_watchers_and_subscribers(c: Wire, connect: Callable[[], Wire]) -> None:
    fields = ["pubsub_clients", "watching_clients", "total_watched_keys", "pubsub_channels", "pubsub_patterns"]

    def counts() -> list[str]:
        now = info(c)
        return [now[field] for field in fields]

    # Clients of the test before may have left unnoticed as yet.
    eventually(lambda: counts() == ["0"] * 5)
    one, two, three = connect(), connect(), connect()
    one("SUBSCRIBE", "a")
    two("PSUBSCRIBE", "p*")
    three("WATCH", "k")
    assert counts() == ["2", "1", "1", "1", "1"]


def test_commandstats(c: Wire) -> None:
    assert c("CONFIG", "RESETSTAT") == OK
    for i in range(5):
        c("SET", f"k{i}", "v")
    c("SET", "k")
    c("SET", "k", "v", "EX", 0)
    c("CLIENT", "ID")
    stats = info(c, "commandstats")
    fields = dict(part.split("=") for part in stats["cmdstat_set"].split(","))
    assert list(fields) == ["calls", "usec", "usec_per_call", "rejected_calls", "failed_calls"]
    assert fields["calls"] == "6"
    assert fields["rejected_calls"] == "1"
    assert fields["failed_calls"] == "1"
    assert "cmdstat_client|id" in stats
    latency = info(c, "latencystats")
    assert latency["latency_percentiles_usec_set"].startswith("p50=")
    with configured(c, latency_tracking_info_percentiles=""):
        assert info(c, "latencystats")["latency_percentiles_usec_set"] == ""


def test_identity(c: Wire, target: Target) -> None:
    fields = info(c, "server")
    assert fields["redis_version"].split(".")[0] in ("7", "8")
    assert len(fields["run_id"]) == 40
    assert fields["tcp_port"] == str(target.port)
    assert Path(f"/proc/{fields['process_id']}").exists()
    assert info(c, "replication")["role"] == "master"


def test_memory_follows_the_data(c: Wire) -> None:
    def used() -> int:
        return int(info(c, "memory")["used_memory"])

    for i in range(16):
        assert c("SET", f"big{i}", bytes(1_000_000)) == OK
    full = used()
    assert full >= 16_000_000
    assert c("FLUSHALL") == OK
    eventually(lambda: used() < full - 12_000_000)


def test_no_field_of_redis_is_missing_without_a_reason(c: Wire, peer: Target) -> None:
    theirs = peer.connect()
    here = {
        "gcc_version",  # what the program was built with
        "redis_build_id",
        "atomicvar_api",
        "dump_payload_sanitizations",  # RESTORE always checks
        "unexpected_error_replies",  # errors to replicas
        "lazyfreed_objects",  # all large values are freed in steps
        "expire_cycle_cpu_milliseconds",  # keys expire by a wheel, not by a cycle
        "total_reads_processed",  # of system calls nobody keeps count
        "total_writes_processed",
        "reply_buffer_shrinks",
        "reply_buffer_expands",
        "eventloop_cycles",  # the loop is libuv's
        "eventloop_duration_sum",
        "eventloop_duration_cmd_sum",
        "instantaneous_eventloop_cycles_per_sec",
        "instantaneous_eventloop_duration_usec",
    }
    sections = [section for section in SECTIONS if section not in ("Errorstats", "Keyspace")]
    missing = {field for section in sections for field in info(theirs, section).keys() - info(c, section).keys()}
    assert missing - here == set()
