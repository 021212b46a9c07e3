"""A node whose processes are killed while clients write."""

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.durability.crash.subjects import BACK_WITHIN_S
from tests.durability.crash.transfers import check_accounts
from tests.durability.crash.writers import Writer
from tests.durability.device import Device
from tests.node import HOST, Node, NodeError, wait_until_gone
from tests.wire import ConnectionEndedError, Error, Wire

SHARDS = 3
WRITERS = 4
WRITES_MAX = 200
WRITES_WITHIN_S = 2.0
"""So long they have for them between two deaths."""
ACL_FILE = "users.acl"
OPTIONS: dict[str, Any] = {
    "ack": "fast",
    "namespaces": "sync%3A sync",
    "aclfile": ACL_FILE,
    # Short ones, so that many end, and snapshots remove many.
    "log_segment_size": "1mb",
    "snapshot_keep": 2,
    "snapshot_log_growth": 1,
}
PLACE_OF_RUN, RUN_BYTES = 8, 16
"""The name of the run of the machine, in the file with the ring of a log."""
VICTIMS = ("worker", "worker", "workers", "all workers", "steward", "spare", "supervisor", "all", "all", "stopped")
POWERED_VICTIMS = ("power", "power", "power", "worker", "all", "stopped")


class Rounds:
    """A node on a directory, its writers, and who kills."""

    def __init__(self, directory: Path, seed: int | str, device: Device | None = None) -> None:
        """With a device the power is cut, too, and all writes wait for the disk."""
        self.seed, self.begun = seed, 0
        self.random = random.Random(seed)
        self.device = device
        self.directory = device.directory if device is not None else directory
        self.options = OPTIONS if device is None else {**OPTIONS, "ack": "sync"}
        self.writers = [Writer(number, random.Random(self.random.random())) for number in range(WRITERS)]
        self.done: Counter[str] = Counter()
        """How often each kind of thing was done."""
        (self.directory / ACL_FILE).touch()
        self.node = self._start()

    def _start(self) -> Node:
        return Node(SHARDS, directory=self.directory, **self.options).start()

    def run(self, rounds: int) -> int:
        """Runs so many rounds and tells how many writes were acknowledged; LostError says what is wrong."""
        for _ in range(rounds):
            self._round()
        return self.acknowledged

    def _round(self) -> None:
        self.begun += 1
        with self._writing(), self._snapshotting():
            self._wait_for_writes(self.random.randrange(WRITES_MAX))
            is_over = self._kill()
            if not is_over:
                time.sleep(self.random.uniform(0.0, 0.2))
        for writer in self.writers:
            if writer.failure is not None:
                raise writer.failure
        if is_over:
            if self.random.randrange(4) == 0:
                self._die_while_starting()
            self.node = self._start()
        self._check()

    @property
    def acknowledged(self) -> int:
        """Writes that were acknowledged so far."""
        return sum(writer.acknowledged for writer in self.writers)

    def _wait_for_writes(self, writes: int) -> None:
        """Lets the writers make about so many, however fast the machine is."""
        enough, deadline = self.acknowledged + writes, time.monotonic() + WRITES_WITHIN_S
        while self.acknowledged < enough and time.monotonic() < deadline:
            time.sleep(self.random.uniform(0.0, 0.003))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        stop = threading.Event()
        threads = []
        for writer in self.writers:
            writer.stop, writer.port = stop, self.node.port
            threads.append(threading.Thread(target=writer.run))
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    @contextmanager
    def _snapshotting(self) -> Iterator[None]:
        """Has a snapshot taken in half of the rounds: in the midst of it all, or so that it is complete before."""
        if self.random.randrange(2):
            yield
            return
        delay, is_full, is_first = (
            self.random.uniform(0.0, 0.3),
            self.random.randrange(4) == 0,
            self.random.randrange(2),
        )
        thread = threading.Thread(target=self._snapshot, args=(self.node.port, delay, is_full))
        thread.start()
        try:
            if is_first:
                thread.join()
            yield
        finally:
            thread.join()

    def _snapshot(self, port: int, delay: float, is_full: bool) -> None:
        time.sleep(delay)
        # Whoever takes it, or is asked for it, may be killed.
        with suppress(OSError, ConnectionEndedError), Wire(HOST, port) as c:
            reply = c("SNAPSHOT", "CREATE", *["FULL"] * is_full)
            self.done["snapshots that failed" if isinstance(reply, Error) else "snapshots"] += 1

    def _kill(self) -> bool:
        """Kills something; true where the node has gone with it."""
        pids = self.node.pids()
        whom = self.random.choice(VICTIMS if self.device is None else POWERED_VICTIMS)
        self.done[whom] += 1
        if "worker" in whom:
            self._kill_workers({"worker": 1, "workers": 2}.get(whom, SHARDS))
            return False
        if whom in {"steward", "spare"}:
            # Perhaps its successor is not there yet.
            for name in pids.keys() & {whom}:
                kill(pids[name])
            return False
        self._kill_all(whom, list(pids.values()))
        wait_until_gone(pids)
        if self.device is not None and whom == "power":
            self.device.restore()
            self._begin_another_run()
        return True

    def _begin_another_run(self) -> None:
        """Lets the rings of the logs name a run of the machine that is over, as they do when it starts again."""
        for tail in self.directory.rglob("tail"):
            with tail.open("r+b") as file:
                file.seek(PLACE_OF_RUN)
                file.write(self.random.randbytes(RUN_BYTES))

    def _kill_workers(self, count: int) -> None:
        pids = self._workers()
        for pid in self.random.sample(pids, min(len(pids), count)):
            kill(pid)
        if self.random.randrange(3) == 0:
            # The successors die, too, perhaps while they read the log.
            time.sleep(self.random.uniform(0.0, 0.2))
            self.done["successors"] += 1
            for pid in self._workers():
                if self.random.randrange(2):
                    kill(pid)

    def _workers(self) -> list[int]:
        return [pid for name, pid in self.node.pids().items() if name.startswith("shard-")]

    def _kill_all(self, whom: str, pids: list[int]) -> None:
        match whom:
            case "supervisor":
                self.node.kill()
            case "stopped":
                self.node.stop()
            case _:
                if self.device is not None and whom == "power":
                    # Without power nobody sees a disk that fails.
                    for pid in pids:
                        kill(pid, signal.SIGSTOP)
                    self.device.cut(self.random.getrandbits(32))
                for pid in self.random.sample(pids, len(pids)):
                    kill(pid)
                    if self.random.randrange(2):
                        time.sleep(self.random.uniform(0.0, 0.003))
                self.node.process.wait()

    def _die_while_starting(self) -> None:
        """Starts the node and kills all of it before it is ready, or just then."""
        self.done["deaths while starting"] += 1
        node = Node(SHARDS, directory=self.directory, **self.options)
        over = threading.Event()
        delay = self.random.uniform(0.1, 1.0)
        killer = threading.Thread(target=self._kill_start, args=(node, delay, over))
        killer.start()
        try:
            with suppress(NodeError):
                node.start()
        finally:
            over.set()
            killer.join()

    @staticmethod
    def _kill_start(node: Node, delay: float, over: threading.Event) -> None:
        over.wait(delay)
        while not hasattr(node, "process"):
            time.sleep(0.001)
        pids = node.pids() if node.process.poll() is None else {}
        node.kill()
        wait_until_gone(pids)

    def _check(self) -> None:
        deadline = time.monotonic() + BACK_WITHIN_S
        while True:
            try:
                for writer in self.writers:
                    writer.port = self.node.port
                    writer.check()
                with Wire(HOST, self.node.port) as c:
                    check_accounts(c, [writer.transfers for writer in self.writers])
                return
            except (OSError, ConnectionEndedError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def close(self) -> None:
        """Ends the node."""
        if self.node.process.poll() is None:
            self.node.stop(signal.SIGKILL)


def kill(pid: int, by: signal.Signals = signal.SIGKILL) -> None:
    """Kills a process, or stops it, unless it has gone with another."""
    with suppress(ProcessLookupError):
        os.kill(pid, by)
