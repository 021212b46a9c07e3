"""Asks our node and the peer Redis the same, by random sequences of requests of all types (`make differential`)."""

import argparse
import random
import sys
from collections.abc import Callable
from contextlib import closing

from tests.differential.play import Coverage, DifferenceError, check
from tests.differential.shapes import Play, Step, play_by
from tests.node import Node
from tests.peer import Peer, PeerMissingError
from tests.wire import ConnectionEndedError, Wire

COMBINATIONS = [(shards, resp) for shards in (1, 3) for resp in (2, 3)]


def smallest(fails: Callable[[Play], str | None], play: Play) -> Play:
    """The play without what its difference does not need, a request at a time."""
    wanted = fails(play)
    at = len(play.steps) - 1
    while at >= 0:
        fewer = Play(play.is_small, play.steps[:at] + play.steps[at + 1 :])
        if wanted is not None and fails(fewer) == wanted:
            play = fewer
        at = min(at, len(play.steps)) - 1
    return play


class Runner:
    """Plays on two servers; differences are made small and kept, once for each kind."""

    def __init__(self, node: Node, peer: Peer, resp: int, coverage: Coverage, wanted: int) -> None:
        self._node, self._peer, self._resp = node, peer, resp
        self._coverage, self._until = coverage, coverage.requests + wanted
        self.found: dict[str, tuple[Play, str]] = {}

    @property
    def is_done(self) -> bool:
        """True when so many requests were made as were wanted."""
        return self._coverage.requests >= self._until

    def difference(self, play: Play, coverage: Coverage) -> DifferenceError | None:
        """Plays once."""
        with Wire("127.0.0.1", self._node.port) as ours, Wire(self._peer.host, self._peer.port) as theirs:
            try:
                check(ours, theirs, play, self._resp, coverage)
            except DifferenceError as error:
                return error
            except (OSError, ConnectionEndedError) as error:
                return DifferenceError("connection", error, "")
        return None

    def play(self, play: Play) -> None:
        """Plays, and looks closer at a difference of a new kind."""
        error = self.difference(play, self._coverage)
        if error is None or self._kind(error, play.steps) in self.found:
            return

        def fails(fewer: Play) -> str | None:
            again = self.difference(fewer, Coverage())
            return None if again is None else again.at

        small = smallest(fails, play)
        last = self.difference(small, Coverage()) or error
        self.found[self._kind(error, play.steps)] = (small, str(last))
        lines = "\n".join(f"    {step!r}" for step in small.steps)
        size = "small limits" if small.is_small else "usual limits"
        print(f"--- RESP{self._resp}, {size}:\n{lines}\n  {last}", flush=True)  # noqa: T201 - a command line

    def _kind(self, error: DifferenceError, steps: tuple[Step, ...]) -> str:
        row = next((step.row for step in steps if repr(step) == error.at), error.at.split(",")[0])
        return row + "|".join(str(error).splitlines()[-1][:24])


def main() -> int:
    """Plays so many requests in all; 1 when the servers differ anywhere."""
    parser = argparse.ArgumentParser(prog="make differential")
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--shards", type=int, default=None)
    options = parser.parse_args()
    start = options.seed if options.seed is not None else random.randrange(1 << 32)
    print(f"seed {start} (--seed={start} does this again)", flush=True)  # noqa: T201 - a command line
    coverage, differences = Coverage(), 0
    try:
        peer = Peer("--enable-debug-command", "yes")
    except PeerMissingError as missing:
        print(missing, file=sys.stderr)  # noqa: T201 - a command line
        return 1
    combinations = [pair for pair in COMBINATIONS if options.shards in (None, pair[0])]
    with closing(peer):
        for shards, resp in combinations:
            with Node(shards=shards) as node:
                runner = Runner(node, peer, resp, coverage, options.requests // len(combinations))
                _run(runner, start + shards * 10 + resp)
                differences += len(runner.found)
    print(f"{coverage.report()}\n{differences} differences")  # noqa: T201 - a command line
    return 1 if differences else 0


def _run(runner: Runner, start: int) -> None:
    chance = random.Random(start)
    while not runner.is_done:
        runner.play(play_by(chance.randrange))


if __name__ == "__main__":
    sys.exit(main())
