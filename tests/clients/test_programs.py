"""redis-cli and redis-benchmark against the server."""

import json
import subprocess

import pytest
from tests.peer import PeerMissingError, peer_command
from tests.targets import Target, configured
from tests.wire import OK, encode


def program(name: str, target: Target, *arguments: str | int, data: bytes | None = None) -> bytes:
    """The output of a program of the peers, run against the server."""
    try:
        command = peer_command(name, "-h", target.host, "-p", str(target.port), *map(str, arguments))
    except PeerMissingError as missing:
        pytest.skip(str(missing))
    done = subprocess.run(command, input=data, capture_output=True, timeout=50, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def cli(target: Target, *arguments: str | int, data: bytes | None = None) -> bytes:
    return program("redis-cli", target, *arguments, data=data)


@pytest.mark.parametrize("protocol", ["-2", "-3"])
def test_single_commands(target: Target, protocol: str) -> None:
    assert cli(target, protocol, "SET", "k", "two words") == b"OK\n"
    assert cli(target, protocol, "GET", "k") == b"two words\n"
    assert cli(target, protocol, "--no-raw", "GET", "absent") == b"(nil)\n"
    assert cli(target, protocol, "--no-raw", "INCR", "n") == b"(integer) 1\n"
    assert cli(target, protocol, "--no-raw", "MGET", "k", "n") == b'1) "two words"\n2) "1"\n'
    assert cli(target, protocol, "INCR", "k") == b"ERR value is not an integer or out of range\n\n"
    assert cli(target, protocol, "-n", "5", "DBSIZE") == b"0\n"
    assert cli(target, protocol, "-r", "5", "INCR", "n").split() == [b"2", b"3", b"4", b"5", b"6"]
    assert json.loads(cli(target, protocol, "--json", "MGET", "k", "n")) == ["two words", "6"]
    assert b"role:master" in cli(target, protocol, "INFO", "replication")


def test_the_value_from_standard_input(target: Target) -> None:
    value = bytes(range(256)) * 500
    assert cli(target, "-x", "SET", "k", data=value) == b"OK\n"
    assert target.connect()("GET", "k") == value
    assert cli(target, "GET", "k") == value + b"\n"


def test_a_session_of_lines(target: Target) -> None:
    lines = b"MULTI\nSET a 1\nINCR a\nEXEC\nSELECT 3\nDBSIZE\nSELECT 0\nGET a\nHELLO 3\nPING\n"
    output = cli(target, data=lines).split(b"\n")
    assert output[:6] == [b"OK", b"QUEUED", b"QUEUED", b"OK", b"2", b"OK"]
    assert b"PONG" in output


def test_scan(target: Target) -> None:
    c = target.connect()
    names = {f"key:{i}" for i in range(2_000)}
    c.pipeline([("SET", name, "v") for name in names])
    assert set(cli(target, "--scan").decode().split()) == names
    assert set(cli(target, "--scan", "--pattern", "key:1??", "--count", 50).decode().split()) == {
        f"key:1{i:02}" for i in range(100)
    }


def test_bigkeys_memkeys_and_keystats(target: Target) -> None:
    c = target.connect()
    for i in range(300):
        assert c("SET", f"key:{i}", "v" * i) == OK
    assert b'Biggest string found so far "key:299" with 299 bytes' in cli(target, "--bigkeys").replace(
        b"\"'", b'"'
    ) or (b"key:299" in cli(target, "--bigkeys"))
    assert b"key:2" in cli(target, "--memkeys")
    assert b"key:2" in cli(target, "--keystats")


def test_hotkeys_under_an_lfu_policy(target: Target) -> None:
    c = target.connect()
    with configured(c, maxmemory_policy="allkeys-lfu"):
        for i in range(50):
            assert c("SET", f"key:{i}", "v") == OK
        assert b"Sampled 50 keys" in cli(target, "--hotkeys")


def test_mass_insertion(target: Target) -> None:
    data = b"".join(encode("SET", f"key:{i}", f"value {i}") for i in range(20_000))
    output = cli(target, "--pipe", data=data)
    assert b"errors: 0, replies: 20000" in output
    c = target.connect()
    assert c("DBSIZE") == 20_000
    assert c("GET", "key:12345") == b"value 12345"


def test_mass_insertion_counts_errors(target: Target) -> None:
    output = program_that_may_fail(target, encode("SET", "k", "v") + encode("INCR", "k") + encode("NOSUCH"))
    assert b"errors: 2, replies: 3" in output


def program_that_may_fail(target: Target, data: bytes) -> bytes:
    try:
        command = peer_command("redis-cli", "-h", target.host, "-p", str(target.port), "--pipe")
    except PeerMissingError as missing:
        pytest.skip(str(missing))
    return subprocess.run(command, input=data, capture_output=True, timeout=50, check=False).stdout


def test_latency(target: Target) -> None:
    least, most, mean, samples = cli(target, "--latency", "-i", "0.2", "--raw").split()[:4]
    assert float(least) <= float(mean) <= float(most)
    assert int(samples) > 0


def test_a_password(target: Target) -> None:
    with configured(target.connect(), requirepass="secret"):
        assert b"NOAUTH" in cli(target, "PING")
        assert cli(target, "-a", "secret", "--no-auth-warning", "PING") == b"PONG\n"
        assert cli(target, "-a", "secret", "--no-auth-warning", "-3", "PING") == b"PONG\n"


BENCHMARK = ("-q", "--csv", "-c", "10", "-d", "64", "-r", "1000")


@pytest.mark.parametrize("depth", [1, 16, 64])
def test_benchmark(target: Target, depth: int) -> None:
    output = program(
        "redis-benchmark", target, *BENCHMARK, "-n", "3000", "-P", depth, "-t", "ping,set,get,incr,mset"
    ).decode()
    rows = [line.split(",") for line in output.splitlines()[1:]]
    names = {row[0].strip('"').split(" ")[0] for row in rows}
    assert {"PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "MSET"} <= names
    assert all(float(row[1].strip('"')) > 0 for row in rows)


def test_benchmark_of_any_command(target: Target) -> None:
    output = program("redis-benchmark", target, "-q", "-n", "1000", "-P", "8", "-3", "SET", "k:__rand_int__", "v")
    assert b"requests per second" in output


def test_benchmark_of_a_cluster(node3: Target) -> None:
    output = program(
        "redis-benchmark", node3, *BENCHMARK, "--cluster", "-n", "3000", "-P", "8", "-t", "set,get"
    ).decode()
    assert '"SET"' in output
    assert '"GET"' in output
