"""Functions, users and scripts of a node are known to all its workers, whoever dies meanwhile."""

import os
import random
import signal
import threading
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from tests.node import HOST, Node
from tests.wire import OK, ConnectionEndedError, Error, Wire, eventually, pairs

SHARDS = 3
ROUNDS = 8
CODE = "#!lua name={name}\nredis.register_function('{name}', function() return {version} end)"

pytestmark = pytest.mark.slow


class Changer:
    """A client with a function of its own, which returns the number of its last change."""

    def __init__(self, name: str, port: int) -> None:
        self.name, self.port = name, port
        self.version = 0
        self.possible: set[int] = {0}
        """Numbers that the function may return: 0 where there is none."""
        self.acknowledged = 0
        self.failure: BaseException | None = None
        self.stopping = threading.Event()

    def run(self) -> None:
        """Until told to stop, through all deaths."""
        try:
            while not self.stopping.is_set():
                try:
                    with Wire(HOST, self.port) as c:
                        while not self.stopping.is_set():
                            self._change(c)
                except (OSError, ConnectionEndedError):
                    self.stopping.wait(0.005)
        except BaseException as error:  # noqa: BLE001 - told by whoever waits for the thread
            self.failure = error

    def _change(self, c: Wire) -> None:
        self.version += 1
        removes = self.version % 5 == 0
        after = 0 if removes else self.version
        request = ("DELETE", self.name) if removes else ("LOAD", "REPLACE", self._code)
        self.possible.add(after)
        reply = c("FUNCTION", *request)
        if not isinstance(reply, Error) or "Library not found" in reply.text:
            self.possible = {after}
            self.acknowledged += 1
            return
        # It was made or not, but what it is now it is for all.
        found = self.found(c)
        assert found in self.possible, (found, self.possible, reply)
        self.possible = {found}

    @property
    def _code(self) -> str:
        return CODE.format(name=self.name, version=self.version)

    def found(self, c: Wire) -> int:
        """Calls the function, until all shards that it needs are there; 0 where there is none."""

        def called() -> list[int]:
            reply = c("FCALL", self.name, 0)
            if isinstance(reply, Error):
                return [0] if reply.text == "ERR Function not found" else []
            return [reply]

        (value,) = eventually(called)
        return int(value)


def ready(node: Node) -> bool:
    """True while all shards have workers that serve."""
    try:
        for port in node.worker_ports:
            with Wire(HOST, port) as c:
                if isinstance(c("DBSIZE"), Error):
                    return False
    except (OSError, ConnectionEndedError):
        return False
    return True


def is_replaced(node: Node, name: str, old: int) -> bool:
    """True while another process than the old one has a name."""
    return node.pids().get(name, old) != old


def kill_workers(node: Node, draw: random.Random) -> None:
    pids = [pid for name, pid in node.pids().items() if name.startswith("shard-")]
    for pid in draw.sample(pids, min(len(pids), draw.choice([1, 1, 2]))):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("ack", ["fast", "none"])
def test_all_workers_have_the_functions_of_the_file(tmp_path: Path, ack: str) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201 - shown where it fails
    draw = random.Random(seed)
    with Node(shards=SHARDS, directory=tmp_path, ack=ack) as node:
        changers = [Changer(f"lib{number}", node.port) for number in range(3)]
        for _ in range(ROUNDS):
            threads = [threading.Thread(target=changer.run) for changer in changers]
            for changer, thread in zip(changers, threads, strict=True):
                changer.stopping.clear()
                thread.start()
            time.sleep(draw.uniform(0.02, 0.2))
            kill_workers(node, draw)
            time.sleep(draw.uniform(0.0, 0.2))
            for changer, thread in zip(changers, threads, strict=True):
                changer.stopping.set()
                thread.join()
                assert changer.failure is None
            eventually(lambda: ready(node))
            with ExitStack() as stack:
                workers = [stack.enter_context(Wire(HOST, port)) for port in node.worker_ports]
                dumps = [c("FUNCTION", "DUMP") for c in workers]
                kept = tmp_path / "functions.rdb"
                assert not kept.exists() or dumps == [kept.read_bytes()] * SHARDS
                for changer in changers:
                    (found,) = {changer.found(c) for c in workers}
                    assert found in changer.possible
                    changer.possible = {found}
        assert all(changer.acknowledged for changer in changers)


def test_users_are_those_of_all_workers_though_one_answers_too_late() -> None:
    with Node(shards=SHARDS) as node:
        pids = node.all_pids()
        late, dies = pids["shard-2"], pids["shard-1"]
        with Wire(HOST, node.worker_ports[0]) as c:
            os.kill(late, signal.SIGSTOP)
            reply = c("ACL", "SETUSER", "someone", "on", "nopass")
            assert isinstance(reply, Error)
            assert "shard-2" in reply.text
            os.kill(dies, signal.SIGKILL)
            eventually(partial(is_replaced, node, "shard-1", dies))
            os.kill(late, signal.SIGCONT)

        def has_user(port: int) -> bool:
            try:
                with Wire(HOST, port) as c:
                    return bool(c("AUTH", "someone", "any") == OK)
            except (OSError, ConnectionEndedError):
                return False

        for port in node.worker_ports:
            eventually(partial(has_user, port))


def test_a_successor_knows_the_scripts_that_were_loaded() -> None:
    with Node(shards=SHARDS) as node:
        with Wire(HOST, node.worker_ports[0]) as c:
            sha = c("SCRIPT", "LOAD", "return 7")
        old = node.all_pids()["shard-2"]
        os.kill(old, signal.SIGKILL)
        eventually(partial(is_replaced, node, "shard-2", old))
        eventually(lambda: ready(node))
        for port in node.worker_ports:
            with Wire(HOST, port) as c:
                assert c("EVALSHA", sha, 0) == 7


def test_a_password_is_an_option_and_a_rule_of_a_user_or_neither() -> None:
    """The only worker dies while both are set: one without the other would lock out whoever asks what is set."""
    with Node(shards=1) as node:
        for _ in range(ROUNDS):
            old = node.all_pids()["shard-0"]
            with Wire(HOST, node.port) as c:
                c.send("CONFIG", "SET", "requirepass", "secret")
                time.sleep(random.uniform(0.0, 0.004))
                os.kill(old, signal.SIGKILL)
            eventually(partial(is_replaced, node, "shard-0", old))
            with Wire(HOST, node.port) as c:
                # One change comes after another: that of before is over. Who has come meanwhile needs no password.
                c("CONFIG", "SET", "timeout", "0")
            with Wire(HOST, node.port) as c:
                is_needed = isinstance(c("PING"), Error)
                if is_needed:
                    assert c("AUTH", "secret") == OK
                assert pairs(c("CONFIG", "GET", "requirepass")) == {b"requirepass": b"secret" if is_needed else b""}
                assert c("CONFIG", "SET", "requirepass", "") == OK
