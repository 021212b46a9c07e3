"""CLUSTER: what cluster-aware clients learn, and that it is true."""

import re
from itertools import pairwise
from typing import Any

import pytest
from tests.targets import Target
from tests.wire import NOT_AN_INTEGER, OK, Error, Verbatim, Wire, arity, expect, pairs, text_of

pytestmark = pytest.mark.all_servers

SLOT = Error("ERR Invalid slot")
SLOT_OR_NUMBER = Error("ERR Invalid slot or number of keys")


@pytest.fixture
def c(clustered: Target, resp: int) -> Wire:
    return clustered.connect(resp)


def crc16(data: bytes) -> int:
    """CRC-16/XMODEM, as cluster clients compute it."""
    value = 0
    for byte in data:
        value ^= byte << 8
        for _ in range(8):
            value = (value << 1 ^ 0x1021) & 0xFFFF if value & 0x8000 else value << 1
    return value


def hash_slot(key: bytes) -> int:
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return crc16(key) % 16384


def slot_owners(c: Wire) -> list[tuple[int, int, int, bytes]]:
    """(first slot, last slot, port, node id), in order."""
    return sorted((row[0], row[1], row[2][1], row[2][2]) for row in c("CLUSTER", "SLOTS"))


@pytest.mark.parametrize(
    "key",
    [
        b"foo",
        b"",
        b"a",
        b"{foo}bar",
        b"x{foo}",
        b"foo{}{bar}",
        b"foo{{bar}}zap",
        b"foo{bar}{zap}",
        b"{",
        b"{}",
        b"}{",
        b"\xff\0",
    ],
)
def test_keyslot(c: Wire, key: bytes) -> None:
    assert c("CLUSTER", "KEYSLOT", key) == hash_slot(key)


def test_known_slots(c: Wire) -> None:
    expect(c, ("CLUSTER KEYSLOT foo", 12182), ("CLUSTER KEYSLOT {foo}bar", 12182), ("CLUSTER KEYSLOT 123456789", 12739))


def test_slots_cover_everything_once(c: Wire, clustered: Target) -> None:
    owners = slot_owners(c)
    assert owners[0][0] == 0
    assert owners[-1][1] == 16383
    for (_, last, _, _), (first, _, _, _) in pairwise(owners):
        assert first == last + 1
    assert {port for _, _, port, _ in owners} == set(clustered.worker_ports)
    assert len({node_id for _, _, _, node_id in owners}) == len(clustered.worker_ports)


@pytest.mark.both_protocols
def test_shape_of_slots(c: Wire, resp: int) -> None:
    for first, last, node in c("CLUSTER", "SLOTS"):
        assert 0 <= first <= last <= 16383
        assert isinstance(node[0], bytes)
        assert isinstance(node[1], int)
        assert re.fullmatch(rb"[0-9a-f]{40}", node[2])
        assert pairs(node[3]) == {} or b"hostname" in pairs(node[3])


def test_shards_say_the_same_as_slots(c: Wire) -> None:
    found = []
    for shard in c("CLUSTER", "SHARDS"):
        fields = pairs(shard)
        (node,) = fields[b"nodes"]
        node = pairs(node)
        assert node[b"role"] == b"master"
        assert node[b"health"] == b"online"
        assert {b"id", b"port", b"ip", b"endpoint", b"replication-offset"} <= set(node)
        numbers = fields[b"slots"]
        for first, last in zip(numbers[::2], numbers[1::2], strict=True):
            found.append((first, last, node[b"port"], node[b"id"]))
    assert sorted(found) == slot_owners(c)


@pytest.mark.both_protocols
def test_nodes_says_the_same_as_slots(c: Wire, resp: int, clustered: Target) -> None:
    reply = c("CLUSTER", "NODES")
    assert isinstance(reply, bytes if resp == 2 else Verbatim)
    found, myself = [], []
    for line in text_of(reply).splitlines():
        node_id, address, flags, primary, *_, state, slots = [*line.split(" ", 8), ""][:9]
        assert state == "connected"
        port = int(re.match(r"[^@]*:(\d+)@", address)[1])  # type: ignore[index]
        if "myself" in flags.split(","):
            myself.append(node_id.encode())
            assert c("CLUSTER", "MYID") == node_id.encode()
        if "slave" in flags.split(","):
            # The common port of several workers.
            assert port == clustered.port
            assert slots == ""
            continue
        assert primary == "-"
        assert "master" in flags.split(",")
        for part in slots.split():
            first, _, last = part.partition("-")
            found.append((int(first), int(last or first), port, node_id.encode()))
    assert sorted(found) == slot_owners(c)
    assert len(myself) == 1
    own = clustered.connect(resp, port=clustered.worker_ports[-1])
    assert own("CLUSTER", "MYID") in {node_id for _, _, _, node_id in slot_owners(c)}


def test_managers_that_put_the_address_they_know_in_place_of_myself_count_each_key_once(
    node_target: Target, resp: int
) -> None:
    """The way of `redis-cli --cluster info`."""
    for port in (node_target.port, *node_target.worker_ports):
        c = node_target.connect(resp, port=port)
        assert c("MSET", *(part for number in range(30) for part in (f"key:{number}", "x"))) == OK
        counts = []
        for line in text_of(c("CLUSTER", "NODES")).splitlines():
            _, address, flags, *_ = line.split(" ")
            place = port if "myself" in flags else int(address.partition("@")[0].rpartition(":")[2])
            if "master" in flags:
                counts.append(node_target.connect(resp, port=place)("DBSIZE"))
        assert len(counts) == len(node_target.worker_ports)
        assert sum(counts) == 30


def test_the_common_port_is_a_replica_of_the_worker_behind_it(node3: Target, resp: int) -> None:
    c = node3.connect(resp)
    own_id = c("CLUSTER", "MYID")
    masters = [node_id for _, _, _, node_id in slot_owners(c)]
    listed = {master: c("CLUSTER", "REPLICAS", master) for master in masters}
    ((master, (line,)),) = [(master, lines) for master, lines in listed.items() if lines]
    assert line.startswith(own_id + b" ")
    assert b" myself,slave %s " % master in line
    assert c("CLUSTER", "SLAVES", master) == [line]
    assert c("CLUSTER", "REPLICAS", own_id) == Error("ERR The specified node is not a master")
    own = node3.connect(resp, port=node3.worker_ports[masters.index(master)])
    assert own("CLUSTER", "MYSHARDID") == c("CLUSTER", "MYSHARDID")
    assert own("CLUSTER", "REPLICAS", master) == []


def test_each_worker_knows_itself(clustered: Target, resp: int) -> None:
    owners = {port: node_id for _, _, port, node_id in slot_owners(clustered.connect(resp))}
    for port in clustered.worker_ports:
        assert clustered.connect(resp, port=port)("CLUSTER", "MYID") == owners[port]


def test_all_workers_tell_the_same_map(clustered: Target, resp: int) -> None:
    maps = [slot_owners(clustered.connect(resp, port=port)) for port in (clustered.port, *clustered.worker_ports) * 2]
    assert all(one == maps[0] for one in maps)


@pytest.mark.both_protocols
def test_info(c: Wire, resp: int, clustered: Target) -> None:
    reply = c("CLUSTER", "INFO")
    assert isinstance(reply, bytes if resp == 2 else Verbatim)
    fields = dict(line.split(":") for line in text_of(reply).split("\r\n") if line)
    assert fields["cluster_state"] == "ok"
    assert fields["cluster_slots_assigned"] == fields["cluster_slots_ok"] == "16384"
    assert fields["cluster_slots_fail"] == fields["cluster_slots_pfail"] == "0"
    assert fields["cluster_size"] == str(len(clustered.worker_ports))
    assert fields["cluster_known_nodes"] == str(len(text_of(c("CLUSTER", "NODES")).splitlines()))


def test_keys_in_slots(c: Wire) -> None:
    keys = {f"{{tag}}{i}".encode() for i in range(20)}
    slot = hash_slot(b"tag")
    for key in keys:
        assert c("SET", key, "v") == OK
    assert c("CLUSTER", "COUNTKEYSINSLOT", slot) == 20
    assert c("CLUSTER", "COUNTKEYSINSLOT", (slot + 1) % 16384) == 0
    assert set(c("CLUSTER", "GETKEYSINSLOT", slot, 100)) == keys
    some = c("CLUSTER", "GETKEYSINSLOT", slot, 5)
    assert len(some) == 5
    assert set(some) <= keys
    assert c("CLUSTER", "GETKEYSINSLOT", slot, 0) == []
    assert c("UNLINK", *sorted(keys)[:15]) == 15
    assert c("CLUSTER", "COUNTKEYSINSLOT", slot) == 5
    assert c("FLUSHALL") == OK
    assert c("CLUSTER", "COUNTKEYSINSLOT", slot) == 0


def test_every_key_is_counted_in_its_slot(c: Wire) -> None:
    keys = [f"key:{i}".encode() for i in range(300)]
    for key in keys:
        assert c("SET", key, "v") == OK
    slots = sorted({hash_slot(key) for key in keys})
    listed: list[bytes] = []
    for slot in slots:
        found: Any = c("CLUSTER", "GETKEYSINSLOT", slot, 1000)
        assert c("CLUSTER", "COUNTKEYSINSLOT", slot) == len(found)
        assert {hash_slot(key) for key in found} == {slot}
        listed += found
    assert sorted(listed) == sorted(keys)


def test_refusals(c: Wire) -> None:
    expect(
        c,
        ("CLUSTER COUNTKEYSINSLOT 16384", SLOT),
        ("CLUSTER COUNTKEYSINSLOT -1", SLOT),
        ("CLUSTER COUNTKEYSINSLOT x", NOT_AN_INTEGER),
        ("CLUSTER GETKEYSINSLOT 16384 1", SLOT_OR_NUMBER),
        ("CLUSTER GETKEYSINSLOT -1 1", SLOT_OR_NUMBER),
        ("CLUSTER GETKEYSINSLOT 0 -1", SLOT_OR_NUMBER),
        ("CLUSTER GETKEYSINSLOT 0 x", NOT_AN_INTEGER),
        ("CLUSTER GETKEYSINSLOT x 1", NOT_AN_INTEGER),
        ("CLUSTER KEYSLOT", arity("cluster|keyslot")),
        ("CLUSTER SLOTS x", arity("cluster|slots")),
        ("CLUSTER FOO", Error("ERR unknown subcommand 'FOO'. Try CLUSTER HELP.")),
        ("CLUSTER", arity("cluster")),
    )
    assert c("CLUSTER", "HELP")[0] == "CLUSTER <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"


def test_cluster_modes_of_a_connection(c: Wire) -> None:
    expect(c, ("READONLY", OK), ("READWRITE", OK), ("ASKING", OK), ("READONLY x", arity("readonly")))


def test_nothing_is_moved_on_the_common_port(node_target: Target, resp: int) -> None:
    """Ours only: Redis redirects a key of another node, we serve it."""
    connections = [node_target.connect(resp) for _ in range(8)]
    for i in range(200):
        assert connections[i % 8]("SET", f"key:{i}", i) == OK
        assert connections[(i + 3) % 8]("GET", f"key:{i}") == str(i).encode()


def test_keys_of_several_slots_in_one_request(node_target: Target, resp: int) -> None:
    """Ours only: Redis answers CROSSSLOT."""
    for port in (node_target.port, *node_target.worker_ports):
        c = node_target.connect(resp, port=port)
        assert c("MSET", "a", 1, "b", 2, "c", 3, "d", 4) == OK
        assert c("MGET", "a", "b", "c", "d") == [b"1", b"2", b"3", b"4"]
        assert c("DEL", "a", "b", "c", "d") == 4


def test_the_owner_answers_for_its_slots(node_target: Target, resp: int) -> None:
    """Ours only: on its own port each worker serves its keys (and any other, without redirecting)."""
    admin = node_target.connect(resp)
    owners = slot_owners(admin)
    for i in range(200):
        key = f"key:{i}".encode()
        slot = hash_slot(key)
        port = next(port for first, last, port, _ in owners if first <= slot <= last)
        owner = node_target.connect(resp, port=port)
        assert owner("SET", key, i) == OK
        assert admin("GET", key) == str(i).encode()
        owner.close()
