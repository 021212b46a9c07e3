"""MEMORY CAPTURE: what a node writes of its requests, and what `yggdrasil simulate` makes of it."""

import bisect
import itertools
import random
from pathlib import Path

import pytest
from tests.node import Node
from tests.targets import Target
from tests.wire import OK, Error, Wire, eventually, info, pairs

from yggdrasil.simulate import run

MIB = 1024 * 1024
SYNTAX = "ERR syntax error"


def status(c: Wire, verb: str = "STATUS") -> dict[str, object]:
    """The reply of CAPTURE STATUS or STOP."""
    reply = pairs(c("MEMORY", "CAPTURE", verb))
    return {name.decode(): value for name, value in reply.items()}


def keys_of(file: Path) -> dict[bytes, list[tuple[str, int]]]:
    """What a capture has of each key: kind and bytes."""
    data = file.read_bytes()
    assert data[:7] == b"YGGCAP\x01"
    found: dict[bytes, list[tuple[str, int]]] = {}
    at = 8
    while at < len(data):
        key, at, value, shift = data[at : at + 8], at + 8, 0, 0
        while True:
            value |= (data[at] & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if data[at - 1] < 0x80:
                break
        found.setdefault(key, []).append(("write" if value & 1 else "read", value >> 1))
    return found


@pytest.fixture
def directory(node_target: Target) -> Path:
    """The directory of the node under test."""
    found: Path = node_target.server.dir
    for old in found.glob("capture-*"):
        old.unlink()
    return found


def test_reads_and_writes_are_recorded_with_their_sizes(node_target: Target, directory: Path, resp: int) -> None:
    c = node_target.connect(resp)
    assert c("MEMORY", "CAPTURE", "START", "capture-all", "SAMPLE", 1) == OK
    assert status(c)["running"] == 1
    assert c("GET", "never written") is None
    assert c("SET", "number", 1234) == OK
    assert c("SET", "text", "v" * 100) == OK
    assert c("SET", "text", "v" * 90) == OK
    assert c("GET", "text") == b"v" * 90
    assert c("APPEND", "text", "v" * 10) == 100
    assert c("MGET", "text", "number", "neither") == [b"v" * 100, b"1234", None]
    assert c("SET", "long", b"x" * 300_000) == OK
    assert c("GET", "long") == b"x" * 300_000
    ended = status(c, "STOP")
    file = directory / "capture-all"
    assert (ended["running"], ended["dropped"], ended["ended"]) == (0, 0, b"stopped")
    assert (ended["bytes"], ended["file"]) == (file.stat().st_size, str(file).encode())
    assert file.stat().st_mode & 0o777 == 0o600
    text = [("write", 104), ("write", 94), ("read", 94), ("write", 104), ("read", 104)]
    number = [("write", 14), ("read", 14)]
    long = [("write", 300_004), ("read", 300_004)]
    found = keys_of(file)
    assert sorted(found.values()) == sorted([[("read", 0)], [("read", 0)], number, text, long])
    assert ended["requests"] == sum(len(one) for one in found.values())
    assert b"text" not in file.read_bytes()


def test_a_key_is_recorded_always_or_never(node_target: Target, directory: Path) -> None:
    c = node_target.connect()
    assert c("MEMORY", "CAPTURE", "START", "capture-sample", "SAMPLE", 8) == OK
    for _ in range(3):
        for start in range(0, 2000, 200):
            assert c("MSET", *itertools.chain.from_iterable((f"k{i}", "v") for i in range(start, start + 200))) == OK
            assert c("MGET", *(f"k{i}" for i in range(start, start + 200))) == [b"v"] * 200
    status(c, "STOP")
    found = keys_of(directory / "capture-sample")
    assert 150 < len(found) < 350
    assert {len(one) for one in found.values()} == {6}


def test_it_ends_by_itself(node_target: Target, directory: Path) -> None:
    c = node_target.connect()
    assert c("MEMORY", "CAPTURE", "START", "capture-few", "SAMPLE", 1, "REQUESTS", 100) == OK
    for number in range(100):
        assert c("SET", f"k{number}", "v") == OK
    eventually(lambda: status(c)["running"] == 0)
    assert status(c)["ended"] == b"it has as many requests as it should"
    size = (directory / "capture-few").stat().st_size
    assert c("SET", "later", "v") == OK
    assert c("MEMORY", "CAPTURE", "STOP") == Error("ERR there is no capture under way")
    assert (directory / "capture-few").stat().st_size == size
    assert c("MEMORY", "CAPTURE", "START", "capture-short", "SECONDS", 1) == OK
    eventually(lambda: status(c)["running"] == 0)
    assert status(c)["ended"] == b"it has taken as long as it should"


def test_nothing_is_overwritten_and_nothing_leaves_the_directory(node_target: Target, directory: Path) -> None:
    c, other = node_target.connect(), node_target.connect()
    for name in ("../capture", "/tmp/capture", ".capture", "", "a/b", "x" * 201, "a b", b"\xff", "capture\n"):
        assert "is no name for a capture" in c("MEMORY", "CAPTURE", "START", name).text
    (directory / "capture-there").write_bytes(b"mine")
    (directory / "capture-link").symlink_to(directory / "capture-behind")
    for name in ("capture-there", "capture-link"):
        assert "exists already" in c("MEMORY", "CAPTURE", "START", name).text
    assert (directory / "capture-there").read_bytes() == b"mine"
    assert not (directory / "capture-behind").exists()
    assert c("MEMORY", "CAPTURE", "START", "capture-one") == OK
    assert "is under way" in other("MEMORY", "CAPTURE", "START", "capture-two").text
    assert status(other, "STOP")["running"] == 0
    assert not (directory / "capture-two").exists()


def test_wrong_arguments(node_target: Target) -> None:
    c = node_target.connect()
    for options in (("SAMPLE",), ("EVERY", 2), ("SAMPLE", 2, "SECONDS")):
        assert c("MEMORY", "CAPTURE", "START", "capture", *options) == Error(SYNTAX)
    for options in (("SAMPLE", 3), ("SAMPLE", 0), ("SAMPLE", 1 << 21), ("SECONDS", -1), ("REQUESTS", 10**12)):
        assert c("MEMORY", "CAPTURE", "START", "capture", *options).text.startswith(f"ERR {options[0]} is")
    for wrong in (("BEGIN",), ("START",), ("STOP", "now")):
        assert "unknown subcommand" in c("MEMORY", "CAPTURE", *wrong).text
    [row] = c("COMMAND", "INFO", "memory|capture")
    assert "admin" in {str(flag) for flag in row[2]}


@pytest.mark.slow
@pytest.mark.parametrize("shards", [1, 3])
def test_the_simulator_sees_the_hit_ratio_of_the_node(shards: int) -> None:
    """A cache with Zipf traffic: what is read and missing is written."""
    keys, limit, at_once = 60_000, 48 * MIB, 32
    weights = list(itertools.accumulate(1 / (rank + 1) for rank in range(keys)))
    numbers = random.Random(7)
    with Node(shards=shards, maxmemory=limit) as node, Wire(node.host, node.port) as c:

        def requests(count: int) -> None:
            for _ in range(count // at_once):
                ranks = [bisect.bisect(weights, numbers.random() * weights[-1]) for _ in range(at_once)]
                names = list(dict.fromkeys(f"key:{rank}" for rank in ranks))
                found = c.pipeline([("GET", name) for name in names])
                missing = [name for name, value in zip(names, found, strict=True) if value is None]
                c.pipeline([("SET", name, "v" * 1600) for name in missing])

        def counted() -> tuple[int, int]:
            stats = info(c, "stats")
            return int(stats["keyspace_hits"]), int(stats["keyspace_misses"])

        assert c("MEMORY", "CAPTURE", "START", "capture", "SAMPLE", 1) == OK
        requests(300_000)
        hits, misses = counted()
        assert status(c, "STOP")["dropped"] == 0
        real = hits / (hits + misses)
        [outcome] = run(node.dir / "capture", memory=[limit], policies=["tinylfu"])
    assert 0.4 < real < 0.9
    assert abs(outcome.hit_ratio - real) < 0.03, outcome
