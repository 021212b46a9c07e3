"""redis-cli and the benchmarks of Redis and Valkey."""

import json
import subprocess

import pytest
from tests.peer import PeerMissingError, peer_command
from tests.targets import Target, configured
from tests.wire import OK, encode

pytestmark = pytest.mark.all_servers


def command_line(name: str, target: Target, *arguments: str | int) -> list[str]:
    """The command line of a program of the peers for the server."""
    try:
        return peer_command(name, "-h", target.host, "-p", str(target.port), *map(str, arguments))
    except PeerMissingError as missing:
        pytest.skip(str(missing))


def program(name: str, target: Target, *arguments: str | int, data: bytes | None = None) -> bytes:
    """The output of a program of the peers, run against the server."""
    command = command_line(name, target, *arguments)
    done = subprocess.run(command, input=data, capture_output=True, timeout=200, check=False)
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


def test_bigkeys_of_all_types(target: Target) -> None:
    c = target.connect()
    c.pipeline(
        [
            ("RPUSH", "list", *range(300)),
            ("HSET", "hash", *range(200)),
            ("SADD", "set", *range(50)),
            ("ZADD", "scores", 1, "a", 2, "b"),
            ("XADD", "stream", "*", "f", "v"),
            ("SET", "string", "x" * 100),
        ]
    )
    shown = cli(target, "--bigkeys").decode()
    assert "300 items" in shown
    assert "100 fields" in shown
    assert "50 members" in shown
    assert "1 entries" in shown
    assert "100 bytes" in shown


def test_stat(target: Target) -> None:
    """It prints on and on, so it is ended after the first lines."""
    command = command_line("redis-cli", target, "--stat", "-i", "0.05")
    with subprocess.Popen(command, stdout=subprocess.PIPE) as shown:
        assert shown.stdout is not None
        lines = [shown.stdout.readline() for _ in range(5)]
        shown.terminate()
    assert lines[1].split()[:3] == [b"keys", b"mem", b"clients"]
    assert lines[2].split()[0] == b"0"


def test_a_look_at_the_cluster(clustered: Target) -> None:
    c = clustered.connect()
    for i in range(100):
        assert c("SET", f"key:{i}", "v") == OK
    at = f"{clustered.host}:{clustered.port}"
    checked = cli(clustered, "--cluster", "check", at)
    assert b"All 16384 slots covered" in checked
    assert b"All nodes agree about slots configuration" in checked
    assert b"100 keys in %d masters" % len(clustered.worker_ports) in cli(clustered, "--cluster", "info", at)


def test_a_replica_gets_the_keys_and_no_more(node3: Target) -> None:
    done = subprocess.run(command_line("redis-cli", node3, "--replica"), capture_output=True, timeout=50, check=False)
    assert done.returncode != 0
    assert b"Full resync done" in done.stdout + done.stderr
    assert b"Server closed the connection" in done.stdout + done.stderr


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
    command = command_line("redis-cli", target, "--pipe")
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
# All that redis-benchmark measures unless it is told otherwise.
ALL_TESTS = {
    *("PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "LPUSH", "RPUSH", "LPOP", "RPOP", "SADD", "HSET", "SPOP"),
    *("ZADD", "ZPOPMIN", "LRANGE_100", "LRANGE_300", "LRANGE_500", "LRANGE_600", "MSET", "XADD"),
}


def measured(output: bytes) -> set[str]:
    """The names of the tests in a report, each with a rate."""
    rows = [line.replace('"', "").split(",") for line in output.decode().splitlines() if line.startswith('"')]
    rows = [row for row in rows if row[0] != "test"]
    assert all(float(row[1]) > 0 for row in rows)
    return {row[0].split(" ")[0] for row in rows}


@pytest.mark.parametrize("depth", [1, 16])
def test_the_whole_benchmark(target: Target, depth: int) -> None:
    assert measured(program("redis-benchmark", target, *BENCHMARK, "-n", "500", "-P", depth)) == ALL_TESTS


def test_deep_pipelines(target: Target) -> None:
    output = program("redis-benchmark", target, *BENCHMARK, "-n", "3000", "-P", 64, "-t", "ping,set,get,incr,mset")
    assert measured(output) == {"PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "MSET"}


def test_the_benchmark_of_valkey(target: Target) -> None:
    """All but a function that calls `server`, which Redis has not either."""
    tests = "ping,set,get,incr,lpush,rpush,lpop,rpop,sadd,hset,spop,zadd,zpopmin,lrange,mset,xadd"
    assert measured(program("valkey-benchmark", target, *BENCHMARK, "-n", "500", "-P", 4, "-t", tests)) == ALL_TESTS


def test_benchmark_of_any_command(target: Target) -> None:
    output = program("redis-benchmark", target, "-q", "-n", "1000", "-P", "8", "-3", "SET", "k:__rand_int__", "v")
    assert b"requests per second" in output


def test_benchmark_of_a_cluster(node3: Target) -> None:
    assert measured(program("redis-benchmark", node3, *BENCHMARK, "--cluster", "-n", "1000", "-P", "8")) == ALL_TESTS
