"""Scripts and functions: what a transcript cannot say, such as restarts, other clients, and time."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.node import HOST, Node, NodeError
from tests.wire import Error, Wire, eventually, info

ENDLESS = "while true do end"
LIBRARY = """#!lua name=lib
redis.register_function('count', function(keys) return redis.call('incr', keys[1]) end)"""
RATE_LIMITER = """local n = redis.call('incr', KEYS[1])
if n == 1 then redis.call('expire', KEYS[1], ARGV[1]) end
return n"""

pytestmark = pytest.mark.slow


def started(directory: Path, shards: int, **options: str | int) -> Node:
    """A node on a directory that stays."""
    return Node(shards=shards, directory=directory, **options)


def wires(stack: ExitStack, node: Node, count: int) -> list[Wire]:
    """Connections, each of which comes to any worker."""
    return [stack.enter_context(Wire(HOST, node.port)) for _ in range(count)]


@pytest.fixture(params=[1, 3])
def shards(request: pytest.FixtureRequest) -> int:
    """Both kinds of node."""
    count: int = request.param
    return count


@pytest.fixture
def node(shards: int) -> Iterator[Node]:
    """A node that answers BUSY soon."""
    with Node(shards=shards, busy_reply_threshold=100) as node:
        yield node


def test_libraries_are_kept_before_their_change_is_answered(node: Node) -> None:
    """Whichever worker answers: a node that is killed with the answer on its way has the change."""
    for number, port in enumerate(node.worker_ports * 3):
        with Wire(HOST, port) as wire:
            code = LIBRARY.replace("lib", f"lib{number}").replace("count", f"count{number}")
            assert wire("FUNCTION", "LOAD", code) == b"lib%d" % number
            assert b"lib%d" % number in (node.dir / "functions.rdb").read_bytes()
    with Wire(HOST, node.port) as wire:
        assert wire("FUNCTION", "DELETE", "lib0") == "OK"
        assert b"lib0" not in (node.dir / "functions.rdb").read_bytes()
        assert wire("FUNCTION", "FLUSH") == "OK"
        assert b"lib1" not in (node.dir / "functions.rdb").read_bytes()


def test_a_change_of_libraries_that_cannot_be_kept_is_not_made(node: Node) -> None:
    draft = node.dir / "functions.rdb.new"
    draft.mkdir()
    with ExitStack() as stack:
        wire, *others = wires(stack, node, 6)
        reply = wire("FUNCTION", "LOAD", LIBRARY)
        assert isinstance(reply, Error)
        assert reply.text.startswith("ERR the change is not made, as it cannot be kept: ")
        for other in (wire, *others):
            assert other("FUNCTION", "LIST") == []
        draft.rmdir()
        assert wire("FUNCTION", "LOAD", LIBRARY) == b"lib"
        for other in others:
            assert other("FCALL", "count", 1, "k") > 0


def test_libraries_survive_a_restart(shards: int, tmp_path: Path) -> None:
    first, other = tmp_path / "first", tmp_path / "other"
    first.mkdir()
    other.mkdir()
    with started(first, shards) as node, Wire(HOST, node.port) as wire:
        assert wire("FUNCTION", "LOAD", LIBRARY) == b"lib"
        kept = (first / "functions.rdb").read_bytes()
        assert wire("FUNCTION", "DUMP") == kept
        (other / "functions.rdb").write_bytes(kept)
    with started(other, shards) as node, ExitStack() as stack:
        for wire in wires(stack, node, 6):
            assert wire("FCALL", "count", 1, "k") > 0


def test_a_damaged_file_of_libraries_ends_the_start(tmp_path: Path) -> None:
    (tmp_path / "functions.rdb").write_bytes(b"nothing of the kind")
    with pytest.raises(NodeError, match=r"functions\.rdb"):
        started(tmp_path, 1).start()


def test_a_worker_that_was_killed_has_the_libraries(node: Node) -> None:
    with Wire(HOST, node.port) as wire:
        assert wire("FUNCTION", "LOAD", LIBRARY) == b"lib"
    last = max(name for name in node.pids() if name.startswith("shard-"))
    killed = node.pids()[last]
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: node.pids().get(last, killed) != killed)

    def has_libraries() -> bool:
        with Wire(HOST, node.worker_ports[-1]) as wire:
            return isinstance(wire("FCALL", "count", 1, "k"), int)

    eventually(has_libraries)


def test_a_busy_script_is_told_of_and_killed(node: Node) -> None:
    with ExitStack() as stack:
        runner, other = wires(stack, node, 2)
        runner.send("EVAL", ENDLESS, 1, "k")
        eventually(
            lambda: (
                other("GET", "k")
                == Error("BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.")
            )
        )
        assert other("PING") == "PONG"
        assert other("SCRIPT", "KILL") == "OK"
        killed = runner.read()
        assert isinstance(killed, Error)
        assert other("GET", "k") is None


def test_a_function_is_killed_by_its_own_command(node: Node) -> None:
    code = "#!lua name=endless\nredis.register_function('endless', function() while true do end end)"
    with ExitStack() as stack:
        runner, other = wires(stack, node, 2)
        assert other("FUNCTION", "LOAD", code) == b"endless"
        runner.send("FCALL", "endless", 1, "k")
        eventually(lambda: other("FUNCTION", "KILL") == "OK")
        assert isinstance(runner.read(), Error)


def test_every_client_knows_a_script_at_once(node: Node) -> None:
    with ExitStack() as stack:
        connections = wires(stack, node, 8)
        for number, first in enumerate(connections):
            body = f"return {number}"
            sha = connections[0]("SCRIPT", "LOAD", body) if number % 2 else None
            if sha is None:
                assert first("EVAL", body, 0) == number
                sha = first("EVAL", f"return redis.sha1hex('{body}')", 0)
            assert [wire("EVALSHA", sha, 0) for wire in connections] == [number] * 8


def test_numbers_of_scripts_are_told(node: Node) -> None:
    with Wire(HOST, node.port) as wire:
        assert wire("EVAL", RATE_LIMITER, 1, "k", 100) == 1
        assert wire("FUNCTION", "LOAD", LIBRARY) == b"lib"
        numbers = {"number_of_cached_scripts", "number_of_libraries", "number_of_functions"}
        eventually(lambda: {info(wire, "memory")[number] for number in numbers} == {"1"})
        assert int(info(wire, "memory")["used_memory_vm_eval"]) > 0
        calls = info(wire, "commandstats")
        assert calls["cmdstat_eval"].startswith("calls=1,")
        assert calls["cmdstat_incr"].startswith("calls=1,")


def test_monitors_see_what_scripts_call(node: Node) -> None:
    with ExitStack() as stack:
        watcher, runner = wires(stack, node, 2)
        assert watcher("MONITOR") == "OK"
        assert runner("EVAL", "return redis.call('set', KEYS[1], 'v')", 1, "k") == "OK"
        lines = [str(watcher.read()) for _ in range(2)]
        assert '"EVAL"' in lines[0]
        assert ' lua] "set" "k" "v"' in lines[1]


def test_rules_of_a_user_hold_for_its_scripts(node: Node) -> None:
    with ExitStack() as stack:
        admin, user = wires(stack, node, 2)
        assert admin("ACL", "SETUSER", "u", "on", "nopass", "+@all", "-set", "~a*", "&*") == "OK"
        assert user("AUTH", "u", "x") == "OK"
        denied = user("EVAL", "return redis.pcall('set', KEYS[1], 1)", 1, "a1")
        assert denied.text.startswith("ERR ACL failure in script: User u has no permissions to run the 'set' command")
        denied = user("EVAL", "return redis.pcall('get', 'b')", 1, "a1")
        assert denied.text.startswith("ERR ACL failure in script: No permissions to access a key")
        assert user("EVAL", "return tostring(redis.acl_check_cmd('set', 'a', 'v'))", 0) == b"false"
        assert user("EVAL", "return tostring(redis.acl_check_cmd('get', 'a'))", 0) == b"true"
        assert [user("EVAL", "return redis.call('get', KEYS[1])", 1, f"a{n}") for n in range(6)] == [None] * 6


def test_the_memory_of_scripts_has_a_limit(shards: int) -> None:
    with Node(shards=shards, script_memory_max="8mb") as node, Wire(HOST, node.port) as wire:
        for body in ("local s = 'x' while true do s = s .. s end", "local t = {} while true do t[#t + 1] = {} end"):
            assert "not enough memory" in str(wire("EVAL", body, 0))
        assert wire("EVAL", "return 1", 0) == 1
