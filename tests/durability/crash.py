"""Processes of a node are killed while clients write: what was acknowledged is there afterwards, and nothing half.

`python -m tests.durability.crash --rounds 1000` prints the seed of each run of rounds.
"""

import argparse
import os
import random
import secrets
import signal
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.node import HOST, Node, wait_until_gone
from tests.wire import ConnectionEndedError, Error, Wire

SHARDS = 3
WRITERS = 4
GROUPS = 8
GROUP_KEYS = 3
BIG_BYTES = 300_000
LONG_MS = 1_000_000
BACK_WITHIN_S = 30.0
NOT_EXECUTED = ("LOADING", "MISCONF", "EXECABORT")

Values = tuple[bytes | None, ...]
"""The values of the keys of a group."""


class LostError(Exception):
    """Something acknowledged is not there, or something is that was never written."""


@dataclass
class Group:
    """Keys, mostly of several shards, of which one writer changes one or all."""

    keys: list[str]
    values: Values = (None,) * GROUP_KEYS
    under_way: Values | None = None
    """What they are if the request in hand was executed."""

    def settle(self, found: Values) -> None:
        """Takes what the node says; LostError where that cannot be."""
        allowed = [self.values] if self.under_way is None else [self.values, self.under_way]
        if found not in allowed:
            raise LostError(f"{self.keys}: found {short(found)}, expected one of {[short(one) for one in allowed]}")
        self.values, self.under_way = found, None


def short(values: Values) -> list[str]:
    return ["nothing" if value is None else f"{value[:20]!r} ({len(value)} bytes)" for value in values]


@dataclass
class Writer:
    """A client that remembers what was acknowledged."""

    name: str
    port: int
    random: random.Random
    stop: threading.Event
    groups: list[Group] = field(default_factory=list)
    acknowledged: int = 0
    failure: BaseException | None = None
    version: int = 0

    def __post_init__(self) -> None:
        # sync: is a namespace of its own.
        self.groups = [
            Group([f"{'sync:' if number % 2 else ''}{self.name}:{number}:{key}" for key in range(GROUP_KEYS)])
            for number in range(GROUPS)
        ]

    def run(self) -> None:
        """Writes until told to stop, through all deaths of the node's workers."""
        try:
            while not self.stop.is_set():
                try:
                    with Wire(HOST, self.port) as c:
                        self._settle(c)
                        while not self.stop.is_set():
                            self._write(c, self.random.choice(self.groups))
                except (OSError, ConnectionEndedError):
                    self.stop.wait(0.01)
        except BaseException as error:  # noqa: BLE001 - told by whoever waits for the thread
            self.failure = error

    def _settle(self, c: Wire) -> None:
        for group in self.groups:
            if group.under_way is not None:
                group.settle(read(c, group, self.stop))

    def _write(self, c: Wire, group: Group) -> None:
        self.version += 1
        requests, after = self._choose(group)
        group.under_way = after
        replies = c.pipeline(requests)
        error = next((reply for reply in replies if isinstance(reply, Error)), None)
        if after[0] is None:
            # What is appended to a key that lives for a moment still would end with it.
            time.sleep(0.005)
        if error is None:
            group.values, group.under_way = after, None
            self.acknowledged += 1
        elif error.text.startswith(NOT_EXECUTED):
            group.under_way = None
            self.stop.wait(0.002)
        else:
            group.settle(read(c, group, self.stop))

    def _choose(self, group: Group) -> tuple[list[tuple[Any, ...]], Values]:
        value = f"{self.version}".encode()
        first, *others = group.values
        keys = group.keys
        all_new: Values = (value,) * GROUP_KEYS
        pairs = [part for key in keys for part in (key, value)]
        match self.random.randrange(12):
            case 0 | 1 | 2:
                return [("SET", keys[0], value)], (value, *others)
            case 3 | 4:
                return [("MSET", *pairs)], all_new
            case 5 | 6:
                return [("MULTI",), *[("SET", key, value) for key in keys], ("EXEC",)], all_new
            case 7:
                return [("DEL", *keys)], (None,) * GROUP_KEYS
            case 8:
                return [("APPEND", keys[0], b"+" + value)], ((first or b"") + b"+" + value, *others)
            case 9:
                value = value * (BIG_BYTES // len(value))
                return [("SET", keys[0], value)], (value, *others)
            case 10:
                return [("SET", keys[0], value, "PX", 1)], (None, *others)
            case _:
                return [("SET", keys[0], value, "PX", LONG_MS)], (value, *others)


def read(c: Wire, group: Group, stop: threading.Event) -> Values:
    """What the node has, once it has it."""
    deadline = time.monotonic() + BACK_WITHIN_S
    while True:
        found = c("MGET", *group.keys)
        if not isinstance(found, Error):
            # What expires at once may still be there for a moment.
            if group.under_way is not None and group.under_way[0] is None and found[1:] == list(group.under_way[1:]):
                time.sleep(0.003)
                found = c("MGET", *group.keys)
            if not isinstance(found, Error):
                return tuple(found)
        if time.monotonic() > deadline:
            raise LostError(f"the node does not come back: {found.text}")
        time.sleep(0.01)


class Rounds:
    """A node on a directory, its writers, and who kills."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.directory = directory
        self.writers: list[Writer] = []
        self.node = self._start()

    def _start(self) -> Node:
        options: dict[str, Any] = {"ack": "fast", "namespaces": "sync%3A sync", "log_segment_size": "4mb"}
        return Node(SHARDS, directory=self.directory, **options).start()

    def run(self, rounds: int) -> int:
        """Runs so many rounds and tells how many writes were acknowledged; LostError says what is wrong."""
        for _ in range(rounds):
            self._round()
        return sum(writer.acknowledged for writer in self.writers)

    def _round(self) -> None:
        stop = threading.Event()
        if not self.writers:
            self.writers = [
                Writer(f"w{number}", self.node.port, random.Random(self.random.random()), stop)
                for number in range(WRITERS)
            ]
        threads = []
        for writer in self.writers:
            writer.stop, writer.port = stop, self.node.port
            threads.append(threading.Thread(target=writer.run))
        for thread in threads:
            thread.start()
        try:
            time.sleep(self.random.uniform(0.05, 0.4))
            is_over = self._kill()
            if not is_over:
                time.sleep(self.random.uniform(0.0, 0.3))
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        for writer in self.writers:
            if writer.failure is not None:
                raise writer.failure
        if is_over:
            self.node = self._start()
        self._check()

    def _kill(self) -> bool:
        """Kills something; true where the node has gone with it."""
        pids = self.node.pids()
        workers = [name for name in pids if name.startswith("shard-")]
        whom = self.random.choice(["worker", "worker", "workers", "steward", "supervisor", "all"])
        match whom:
            case "worker":
                for name in self.random.sample(workers, min(len(workers), 1)):
                    os.kill(pids[name], signal.SIGKILL)
            case "workers":
                for name in workers[:2]:
                    os.kill(pids[name], signal.SIGKILL)
            case "steward":
                # Perhaps its successor is not there yet.
                for name in pids.keys() & {"steward", "spare"}:
                    os.kill(pids[name], signal.SIGKILL)
            case "supervisor":
                self.node.kill()
                wait_until_gone(pids)
                return True
            case _:
                for pid in self.random.sample(sorted(pids.values()), len(pids)):
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        # It has gone with the supervisor.
                        continue
                self.node.process.wait()
                wait_until_gone(pids)
                return True
        return False

    def _check(self) -> None:
        stop = threading.Event()
        deadline = time.monotonic() + BACK_WITHIN_S
        while True:
            try:
                with Wire(HOST, self.node.port) as c:
                    for group in (group for writer in self.writers for group in writer.groups):
                        group.settle(read(c, group, stop))
                return
            except (OSError, ConnectionEndedError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def close(self) -> None:
        """Ends the node."""
        if self.node.process.poll() is None:
            self.node.stop(signal.SIGKILL)


def main() -> int:
    """Runs rounds from the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}")  # noqa: T201
    with tempfile.TemporaryDirectory() as directory:
        rounds = Rounds(Path(directory), arguments.seed)
        try:
            for done in range(1, arguments.rounds + 1):
                acknowledged = rounds.run(1)
                if done % 10 == 0:
                    print(f"{done} rounds, {acknowledged} acknowledged writes, nothing lost")  # noqa: T201
        except LostError as error:
            print(f"round {done}: {error}\n{rounds.node.log()[-4000:]}")  # noqa: T201
            return 1
        finally:
            rounds.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
