"""Damage of the log of one shard: that shard alone is not there, says so, and comes back when its log is mended."""

import os
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import pytest
from tests.durability import test_recovery
from tests.node import HOST, Node, NodeError, command, environment, free_port
from tests.server.test_tls import papers_in, secure
from tests.wire import OK, Error, Wire, eventually, info

FIRST, SECOND = "{b}", "{a}"
"""Beginnings of keys of the first shard of two, and of the second."""


COMMIT_MAGIC = b"YggMark\x1a"
"""The contents of a commit begin with it, see `docs/formats.md`."""

serving = partial(test_recovery.serving, shards=2)


def segment(directory: Path, shard: int) -> Path:
    """The first segment of the log of a shard."""
    return directory / "log" / "generation-1" / f"shard-{shard}" / f"{1:016x}.log"


def flip(path: Path, text: bytes) -> bytes:
    """Damages what stands once in a file; the file as it was."""
    before = path.read_bytes()
    assert before.count(text) == 1
    damaged = bytearray(before)
    damaged[before.index(text)] ^= 1
    path.write_bytes(damaged)
    return before


def ask(node: Node, path: str) -> str:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{node.admin_port}{path}") as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        return str(error.read().decode())


def fill(directory: Path) -> None:
    """Keys in both shards, among them one of which the record is to be damaged, with changes behind it."""
    with serving(directory) as (node, c):
        slots = [c("CLUSTER", "KEYSLOT", key) for key in (FIRST, SECOND)]
        assert [slot < 8192 for slot in slots] == [True, False]
        for place in (FIRST, SECOND):
            assert c("SET", f"{place}before", "1") == OK
            assert c("SET", f"{place}hit", f"to be damaged in {place}", "EX", 1000) == OK
            assert c("SET", f"{place}behind", "1") == OK
        node.stop()


def damage(directory: Path, place: str, shard: int) -> bytes:
    return flip(segment(directory, shard), f"to be damaged in {place}".encode())


def check(directory: Path, *options: str) -> tuple[int, str]:
    run = subprocess.run(
        [*command(), "check", str(directory), *options], env=environment(), capture_output=True, text=True, check=False
    )
    return run.returncode, run.stdout + run.stderr


def test_a_damaged_log_at_the_start_takes_its_shard_alone(tmp_path: Path) -> None:
    fill(tmp_path)
    damage(tmp_path, FIRST, 0)
    directory = segment(tmp_path, 0).parent
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    with serving(tmp_path) as (node, _):
        for port in node.worker_ports:
            with Wire(HOST, port) as c:
                assert c("PING") == "PONG"
                error = c("GET", f"{FIRST}before")
                assert isinstance(error, Error)
                begins = f"MISCONF shard 0 is not there: {segment(tmp_path, 0)} is damaged at offset "
                assert error.text.startswith(begins)
                assert error.text.endswith(f"; stop the node and run `yggdrasil check {tmp_path} --repair`")
                assert c("SET", f"{FIRST}new", "1") == error
                assert c("GET", f"{SECOND}before") == b"1"
                assert c("SET", f"{SECOND}new", port) == OK
                assert c("MSET", f"{FIRST}new", "1", f"{SECOND}none", "1") == error
                assert c("DBSIZE") == error or port == node.worker_ports[1], "a port of a worker has its shard alone"
                assert c("EXISTS", f"{SECOND}none") == 0
                assert "is damaged at offset" in str(c("SAVE"))
                library = f"#!lua name=l{port}\nredis.register_function('f{port}', function() return 1 end)"
                loaded = c("FUNCTION", "LOAD", library)
                assert c("FCALL", f"f{port}", 0) == 1 if loaded == f"l{port}".encode() else loaded == error
                found = info(c, "persistence")
                assert (found["loading"], found["shards_failed"]) == ("0", "1")
                assert found["shard0_failure"] in error.text
        state = ask(node, "/readyz")
        assert state.startswith("shards without a worker: 0\nshard 0 failed: ")
        assert "is damaged at offset" in state
        metrics = ask(node, "/metrics").splitlines()
        assert 'yggdrasil_shard_failed{shard="0"} 1.0' in metrics
        assert 'yggdrasil_shard_failed{shard="1"} 0.0' in metrics
        status, text = check(tmp_path, "--repair")
        assert (status, "stop it first" in text) == (2, True), text
        assert 'yggdrasil_restarts_total{shard="0"} 0.0' in ask(node, "/metrics").splitlines()
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before, "nothing was written there"
    assert not list((tmp_path / "snapshots").glob("manifests/*"))
    status, text = check(tmp_path, "--repair")
    assert status == 1, text
    with serving(tmp_path) as (node, c):
        assert ask(node, "/readyz") == "ready\n"
        assert c("GET", f"{FIRST}before") == b"1"
        assert c("EXISTS", f"{FIRST}hit", f"{FIRST}behind") == 0
        assert c("GET", f"{SECOND}new") is not None


def test_what_was_written_last_is_damaged_like_the_rest_when_nothing_follows(tmp_path: Path) -> None:
    with serving(tmp_path) as (node, c):
        c.pipeline([("SET", f"{FIRST}{number}", f"value {number} of a burst") for number in range(50)])
        path = segment(tmp_path, 0)

        def says_durable() -> bool:
            contents = path.read_bytes()
            return contents.rfind(COMMIT_MAGIC) > contents.find(b"value 49 of") > 0

        eventually(says_durable)
        node.kill()
    flip(path, b"value 0 of")
    with serving(tmp_path) as (_, c):
        assert "MISCONF" in str(c("GET", f"{FIRST}49"))


def test_a_log_that_is_lost_as_a_whole_is_noticed(tmp_path: Path) -> None:
    fill(tmp_path)
    directory, aside = segment(tmp_path, 0).parent, tmp_path / "aside"
    directory.rename(aside)
    with serving(tmp_path) as (node, _), Wire(HOST, node.worker_ports[1]) as c:
        error = c("GET", f"{FIRST}before")
        assert f"MISCONF shard 0 is not there: {directory} has no segments: the log of this shard is lost" in str(error)
        assert c("SET", f"{SECOND}new", "1") == OK
        aside.rename(directory)
        eventually(lambda: ask(node, "/readyz") == "ready\n")
        assert c("GET", f"{FIRST}before") == b"1"
        node.stop()
    directory.rename(aside)
    for options in ((), ("--repair",)):
        status, text = check(tmp_path, *options)
        assert status == 1
        assert f"log {directory}: no segments\n  damaged: the log was begun, and is lost" in text
    assert f"dropped: all changes of the log in {directory}, as far as no snapshot has them" in text
    for _ in range(2):
        with serving(tmp_path) as (node, c):
            assert ask(node, "/readyz") == "ready\n"
            assert c("MGET", f"{FIRST}before", f"{SECOND}before", f"{SECOND}new") == [None, b"1", b"1"]
            node.stop()
    assert check(tmp_path)[0] == 0


def test_all_logs_are_wanted_for_another_number_of_shards(tmp_path: Path) -> None:
    fill(tmp_path)
    directory = segment(tmp_path, 1).parent
    directory.rename(tmp_path / "aside")
    with pytest.raises(NodeError, match=r"could not start: .*shard-1 has no segments"):
        Node(3, directory=tmp_path, ack="fast").start()
    (tmp_path / "aside").rename(directory)
    with serving(tmp_path, shards=3) as (node, c):
        assert c("DBSIZE") == 6
        node.stop()
    (tmp_path / "log" / "generation-2" / "shard-2").rename(tmp_path / "aside")
    assert check(tmp_path)[0] == 1


def test_the_log_of_another_shard_is_refused(tmp_path: Path) -> None:
    fill(tmp_path)
    first, second = (segment(tmp_path, shard).parent for shard in (0, 1))
    aside = tmp_path / "aside"
    for source, target in ((first, aside), (second, first), (aside, second)):
        source.rename(target)
    with pytest.raises(NodeError, match=r"the change is one of a key of shard \d, so this is the log of another shard"):
        Node(2, directory=tmp_path, ack="fast").start()
    before = {path.name: path.read_bytes() for path in first.iterdir()}
    status, text = check(tmp_path, "--repair")
    assert (status, f"{first} has the log of shard 1: put the directories" in text) == (2, True), text
    assert {path.name: path.read_bytes() for path in first.iterdir()} == before
    for source, target in ((first, aside), (second, first), (aside, second)):
        source.rename(target)
    with serving(tmp_path) as (_, c):
        assert c("DBSIZE") == 6


def test_a_snapshot_that_fails_takes_old_chunks_of_failed_ones_away(tmp_path: Path) -> None:
    fill(tmp_path)
    with serving(tmp_path) as (node, c):
        assert c("SAVE") == OK
        node.stop()
    chunk, *_ = kept = [path for path in (tmp_path / "snapshots" / "chunks").rglob("*") if path.is_file()]
    old = chunk.with_name(chunk.name[::-1])
    for path in (*kept, old):
        path.touch()
        os.utime(path, (0, 0))
    for path in segment(tmp_path, 0).parent.glob("*.log"):
        path.unlink()
    with serving(tmp_path) as (_, c):
        assert "shard 0 is not ready" in str(c("SAVE"))
        eventually(lambda: not old.exists())
        assert all(path.exists() for path in kept)


def test_a_shard_comes_back_when_its_log_is_whole_again(tmp_path: Path) -> None:
    fill(tmp_path)
    before = damage(tmp_path, SECOND, 1)
    with serving(tmp_path) as (node, c), Wire(HOST, node.worker_ports[1]) as own:
        assert "MISCONF" in str(own("GET", f"{SECOND}hit"))
        assert own("SET", f"{FIRST}new", "1") == OK
        segment(tmp_path, 1).write_bytes(before)
        eventually(lambda: ask(node, "/readyz") == "ready\n")
        assert own("GET", f"{SECOND}hit") == b"to be damaged in {a}", "the connection has stayed"
        assert own("MSET", f"{FIRST}new", "2", f"{SECOND}new", "2") == OK
        assert info(c, "persistence")["shards_failed"] == "0"
        assert c("SAVE") == OK
    with serving(tmp_path) as (_, c):
        assert c("MGET", f"{FIRST}new", f"{SECOND}new", f"{SECOND}behind") == [b"2", b"2", b"1"]


def connections(node: Node) -> list[float]:
    """How many clients each worker has got."""
    lines = ask(node, "/metrics").splitlines()
    return [float(line.split()[-1]) for line in lines if line.startswith("yggdrasil_connections_received_total{")]


def is_whole_for_all(connect: Callable[[], AbstractContextManager[Wire]]) -> bool:
    """Whether clients of a port that all workers listen at can do all that needs no damaged shard."""
    for _ in range(60):
        with connect() as c:
            *_, reply = [c(*request) for request in (("MULTI",), ("INCR", f"{SECOND}n"), ("EXEC",))]
            if isinstance(reply, Error):
                return False
    return True


@contextmanager
def stopped(node: Node, shard: int) -> Iterator[None]:
    """A node of which one worker does nothing for a while."""
    pid = node.pids()[f"shard-{shard}"]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_new_clients_get_workers_with_shards(tmp_path: Path) -> None:
    fill(tmp_path)
    before = damage(tmp_path, FIRST, 0)
    papers = papers_in(tmp_path / "papers")
    with (
        serving(tmp_path, tls_port=free_port(), **papers.options) as (node, _),
        Wire(HOST, node.worker_ports[0]) as own,
    ):
        ports: dict[str, Callable[[], AbstractContextManager[Wire]]] = {
            "plain": lambda: Wire(HOST, node.port),
            "TLS": lambda: secure(node.tls_port, papers.context()),
        }
        refused = own.pipeline([("MULTI",), ("INCR", f"{SECOND}n"), ("EXEC",)])[-1]
        assert refused.text.startswith("EXECABORT Transaction discarded because of: MISCONF shard 0 is not there")
        assert own("GET", f"{SECOND}n") is None
        for name, connect in ports.items():
            assert eventually(partial(is_whole_for_all, connect)), name
        # All workers listen at one Unix socket, and the quickest gets a client: here the one without its shard would.
        with stopped(node, 1):
            local = Wire(HOST, 0, path=node.unixsocket)
            for _ in range(2):
                assert own("ECHO", "x") == b"x", "it has looked at its sockets"
        with local:
            assert [local(*request) for request in (("MULTI",), ("SET", f"{SECOND}n", 1), ("EXEC",))][-1] == [OK]
        segment(tmp_path, 0).write_bytes(before)
        eventually(lambda: ask(node, "/readyz") == "ready\n")
        for name, connect in ports.items():
            first, _ = connections(node)

            def is_served_by_both(connect: Callable[[], AbstractContextManager[Wire]], first: float) -> bool:
                with connect() as c:
                    assert c("GET", f"{FIRST}before") == b"1"
                return connections(node)[0] > first

            assert eventually(partial(is_served_by_both, connect, first)), name
        with stopped(node, 1), Wire(HOST, 0, path=node.unixsocket) as local:
            assert local("GET", f"{FIRST}before") == b"1"


def test_a_node_without_any_shard_does_not_start(tmp_path: Path) -> None:
    fill(tmp_path)
    damage(tmp_path, FIRST, 0)
    damage(tmp_path, SECOND, 1)
    with pytest.raises(NodeError, match=r"shard-0 could not start: .*shard-0.*is damaged at offset"):
        Node(2, directory=tmp_path, ack="fast").start()


def test_another_number_of_shards_is_refused_with_damage(tmp_path: Path) -> None:
    fill(tmp_path)
    before = damage(tmp_path, FIRST, 0)
    for shards in (1, 3):
        with pytest.raises(NodeError, match=r"could not start: .*shard-0.*is damaged at offset"):
            Node(shards, directory=tmp_path, ack="fast").start()
    segment(tmp_path, 0).write_bytes(before)
    with serving(tmp_path, shards=3) as (_, c):
        assert c("DBSIZE") == 6


def transfer(directory: Path, shards: int, coordinator: int) -> None:
    """A transaction over the first and the last shard, coordinated by the worker of one, as the last one there."""
    with serving(directory, shards=shards) as (node, c), Wire(HOST, node.worker_ports[coordinator]) as client:
        assert c("MSET", f"{FIRST}before", "1", f"{SECOND}before", "1") == OK
        requests = [("MULTI",), ("SET", f"{FIRST}both", "first"), ("SET", f"{SECOND}both", "second"), ("EXEC",)]
        assert client.pipeline(requests)[-1] == [OK, OK]
        node.stop()


@pytest.mark.parametrize("coordinator", [0, 1])
def test_transactions_are_decided_by_what_is_whole_of_a_damaged_log(tmp_path: Path, coordinator: int) -> None:
    transfer(tmp_path, 2, coordinator)
    before = flip(segment(tmp_path, 0), b"{b}both")
    with serving(tmp_path) as (node, c):
        assert c("GET", f"{SECOND}both") == b"second", "the decision is whole"
        assert "MISCONF" in str(c("GET", f"{FIRST}both"))
        assert c("SET", f"{SECOND}later", "1") == OK
        node.stop()
    segment(tmp_path, 0).write_bytes(before)
    with serving(tmp_path) as (_, c):
        keys = [f"{FIRST}both", f"{SECOND}both", f"{SECOND}later"]
        assert c("MGET", *keys) == [b"first", b"second", b"1"]


def records(contents: bytes) -> Iterator[tuple[int, int]]:
    """Offset and kind of each record of a segment, as `docs/formats.md` has them."""
    offset = 64
    while kind := contents[offset + 4]:
        yield offset, kind
        length = int.from_bytes(contents[offset + 8 : offset + 16], "little")
        offset += 32 + (length + 7) // 8 * 8


BEGIN, DECISION = 3, 4


@pytest.mark.parametrize("lost", ["decision", "part"])
def test_a_shard_whose_transactions_nobody_can_decide_waits_for_the_damaged_one(tmp_path: Path, lost: str) -> None:
    transfer(tmp_path, 3, {"decision": 0, "part": 2}[lost])
    path = segment(tmp_path, 0)
    before = path.read_bytes()
    damaged = bytearray(before)
    if lost == "decision":
        *_, decision = [offset for offset, kind in records(before) if kind == DECISION]
        damaged[decision + 32] ^= 1
    else:
        # Nothing tells any more that the changes of the transaction were there.
        damaged[:] = b"\xff" * len(before)
    path.write_bytes(damaged)
    with serving(tmp_path, shards=3) as (node, c):
        waits = "the log of shard 0 cannot be read: it would say whether changes of transactions count"
        assert f"shard 2 failed: {waits}" in ask(node, "/readyz")
        assert c("GET", f"{SECOND}both") == Error(f"MISCONF shard 2 is not there: {waits}")
        with Wire(HOST, node.worker_ports[1]) as other:
            assert other("DBSIZE") == 0, "the shard between the two is there"
        path.write_bytes(before)
        eventually(lambda: ask(node, "/readyz") == "ready\n")
        assert c("MGET", f"{FIRST}both", f"{SECOND}both") == [b"first", b"second"]


def test_what_others_have_written_meanwhile_decides_no_transaction(tmp_path: Path) -> None:
    """A power cut took the part of one shard, and the log of the other one is damaged at the start behind it."""
    transfer(tmp_path, 2, 0)
    damaged, torn = segment(tmp_path, 0), segment(tmp_path, 1)
    for path in (damaged, torn):
        (path.parent / "tail").unlink()
    contents = torn.read_bytes()
    *_, begin = [offset for offset, kind in records(contents) if kind == BEGIN]
    torn.write_bytes(contents[:begin].ljust(len(contents), b"\0"))
    before = damaged.read_bytes()
    first = next(offset for offset, _ in records(before))
    broken = bytearray(before)
    broken[first + 32] ^= 1
    damaged.write_bytes(broken)
    with serving(tmp_path) as (node, c):
        assert c("GET", f"{SECOND}both") is None
        assert "MISCONF" in str(c("GET", f"{FIRST}both"))
        for number in range(10):
            assert c("SET", f"{SECOND}later", number) == OK
        node.stop()
    damaged.write_bytes(before)
    with serving(tmp_path) as (_, c):
        assert c("MGET", f"{FIRST}both", f"{SECOND}both", f"{SECOND}later") == [None, None, b"9"]
