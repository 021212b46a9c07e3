"""Stages that give samples other neighbours: batches, windows that are shuffled, packed rows, shares of ranks.

None of them copies a sample. Each can go on from a token: the position of its input at which its oldest sample came,
and how much of that is done. What it held in between is read again.
"""

import abc
from collections import deque
from itertools import repeat
from typing import Protocol

from mithril.pipeline.budget import Budget
from mithril.pipeline.chunk import WAIT, Chunk, Item, Pulled, Token, Wait
from mithril.pipeline.holds import joined, without_own
from mithril.pipeline.order import permutation

_EMITTED = 64

_Placed = tuple[Item, Token, int]
"""An item, and its position: of its chunk, and within it."""


class Upstream(Protocol):
    """A stage that gives chunks when asked, and never blocks."""

    def pull(self) -> Pulled:
        """The next chunk, WAIT, or the end."""

    def reset(self, token: Token | None) -> None:
        """Goes to a position; None is the beginning."""


class Feed:
    """The items of a stage, from a position within one of its chunks on."""

    def __init__(self, upstream: Upstream, budget: Budget) -> None:
        self._upstream = upstream
        self._budget = budget
        self._drop = 0
        self.skipped = 0

    def reset(self, token: Token | None) -> None:
        """Goes to a position that `pull` gave."""
        self._upstream.reset(token[0] if token else None)
        self._drop = token[1] if token else 0

    def pull(self) -> "list[_Placed] | Wait | None":
        """Items, each with its place in the stage before."""
        while True:
            chunk = self._upstream.pull()
            if not isinstance(chunk, Chunk):
                return chunk
            self.skipped += chunk.skipped
            start = min(self._drop, len(chunk.items))
            self._drop -= start
            self._budget.release(item.hold for item in chunk.items[:start])
            if start < len(chunk.items):
                end = len(chunk.items)
                return list(zip(chunk.items[start:], repeat(chunk.token), range(start, end), strict=False))

    def take_skipped(self) -> int:
        """The samples left out since the last call."""
        found, self.skipped = self.skipped, 0
        return found


class Regroup(abc.ABC):
    """A stage between segments, driven by one thread."""

    def __init__(self, upstream: Upstream, budget: Budget) -> None:
        self._budget = budget
        self._feed = Feed(upstream, budget)

    def reset(self, token: Token | None) -> None:
        """Goes to a position; None is the beginning."""
        self._feed.reset(token)

    def pull(self) -> Pulled:
        """The next chunk, WAIT, or the end."""
        while True:
            found = self._feed.pull()
            if isinstance(found, Wait):
                return WAIT
            chunk = self._add(found) if found is not None else self._finish()
            if chunk is not None:
                chunk.skipped = self._feed.take_skipped()
                return chunk
            if found is None:
                return None

    @abc.abstractmethod
    def _add(self, found: list[_Placed]) -> Chunk | None:
        """Takes new items, and gives what they complete."""

    def _finish(self) -> Chunk | None:
        """Gives what is left at the end; called until that is nothing."""
        return None


def _position(placed: _Placed) -> Token:
    return [placed[1], placed[2]]


def _joined(items: list[Item]) -> Item:
    first = items[0]
    return Item([item.value for item in items], first.place, first.row, joined(item.hold for item in items))


class Batch(Regroup):
    """Batches of so many items, as lists."""

    def __init__(self, upstream: Upstream, budget: Budget, size: int, drop_last: bool) -> None:
        super().__init__(upstream, budget)
        self._size = size
        self._drop_last = drop_last
        self._held: list[_Placed] = []

    def reset(self, token: Token | None) -> None:
        """Goes to the beginning of a batch."""
        self._held = []
        super().reset(token)

    def _add(self, found: list[_Placed]) -> Chunk | None:
        held, size = self._held, self._size
        held.extend(found)
        if len(held) < size:
            return None
        end = len(held) - len(held) % size
        token = _position(held[0])
        batches = [_joined([placed[0] for placed in held[at : at + size]]) for at in range(0, end, size)]
        self._held = held[end:]
        return Chunk(batches, token)

    def _finish(self) -> Chunk | None:
        held, self._held = self._held, []
        if not held:
            return None
        items = [placed[0] for placed in held]
        if self._drop_last:
            self._budget.release(item.hold for item in items)
            return None
        return Chunk([_joined(items)], _position(held[0]))


class Shuffle(Regroup):
    """Windows of so many items, each in an order that seed, epoch and the window's number decide."""

    def __init__(self, upstream: Upstream, budget: Budget, window: int, key: tuple[int, int]) -> None:
        super().__init__(upstream, budget)
        self._window = window
        self._key = key
        self._number = 0
        self._drop = 0
        self._held: list[_Placed] = []
        self._ready: deque[Chunk] = deque()

    def reset(self, token: Token | None) -> None:
        """Goes to a place in a window."""
        up, self._number, self._drop = token or (None, 0, 0)
        self._held = []
        self._ready.clear()
        super().reset(up)

    def pull(self) -> Pulled:
        """The next part of a window."""
        return self._ready.popleft() if self._ready else super().pull()

    def _add(self, found: list[_Placed]) -> Chunk | None:
        self._held.extend(found)
        while len(self._held) >= self._window:
            self._mix(self._held[: self._window])
            self._held = self._held[self._window :]
        return self._ready.popleft() if self._ready else None

    def _finish(self) -> Chunk | None:
        if self._held:
            held, self._held = self._held, []
            self._mix(held)
        return self._ready.popleft() if self._ready else None

    def _mix(self, window: list[_Placed]) -> None:
        up, number, drop = _position(window[0]), self._number, self._drop
        self._number, self._drop = number + 1, 0
        mixed = [window[at][0] for at in permutation(len(window), *self._key, number)]
        self._budget.release(item.hold for item in mixed[:drop])
        for at in range(drop, len(mixed), _EMITTED):
            self._ready.append(Chunk(mixed[at : at + _EMITTED], [up, number, at]))


class Shard(Regroup):
    """The share of one rank: of each `world` items one. The items of an incomplete last round are left out.

    The position is that of a round, which all ranks have in common.
    """

    def __init__(self, upstream: Upstream, budget: Budget, rank: int, world: int) -> None:
        super().__init__(upstream, budget)
        self._rank = rank
        self._world = world
        self._held: list[_Placed] = []
        self._ready: deque[Chunk] = deque()

    def reset(self, token: Token | None) -> None:
        """Goes to the beginning of a round."""
        self._held = []
        self._ready.clear()
        super().reset(token)

    def pull(self) -> Pulled:
        """The item of a round."""
        return self._ready.popleft() if self._ready else super().pull()

    def _add(self, found: list[_Placed]) -> Chunk | None:
        self._held.extend(found)
        while len(self._held) >= self._world:
            turn, self._held = self._held[: self._world], self._held[self._world :]
            _, up, at = turn[-1]
            self._ready.append(Chunk([turn[self._rank][0]], _position(turn[0]), after=[up, at + 1]))
            del turn[self._rank]
            self._budget.release(item.hold for item, _, _ in turn)
        return self._ready.popleft() if self._ready else None

    def _finish(self) -> Chunk | None:
        held, self._held = self._held, []
        self._budget.release(item.hold for item, _, _ in held)
        return None


class Pack(Regroup):
    """Rows of so many tokens, cut from sequences that are put one after the other. What is left at the end is dropped.

    An item is a list of parts of arrays; a function behind it joins them.
    """

    def __init__(self, upstream: Upstream, budget: Budget, length: int) -> None:
        super().__init__(upstream, budget)
        self._length = length
        self._offset = 0
        self._held: deque[_Placed] = deque()
        self._tokens = 0

    def reset(self, token: Token | None) -> None:
        """Goes to the beginning of a row."""
        up, self._offset = token or (None, 0)
        self._held.clear()
        self._tokens = -self._offset
        super().reset(up)

    def _add(self, found: list[_Placed]) -> Chunk | None:
        for placed in found:
            item = placed[0]
            length = len(item.value)
            if length:
                self._held.append(placed)
                self._tokens += length
            else:
                self._budget.release([item.hold])
        if self._tokens < self._length:
            return None
        up, offset = _position(self._held[0]), self._offset
        rows = []
        while self._tokens >= self._length:
            rows.append(self._row())
        return Chunk(rows, [up, offset])

    def _row(self) -> Item:
        first = self._held[0][0]
        parts, holds, wanted = [], [], self._length
        while wanted:
            item = self._held[0][0]
            part = item.value[self._offset : self._offset + wanted]
            parts.append(part)
            wanted -= len(part)
            self._offset += len(part)
            if self._offset == len(item.value):
                holds.append(item.hold)
                self._held.popleft()
                self._offset = 0
            else:
                shared = without_own(item.hold)
                self._budget.hold([shared], 0)
                holds.append(shared)
        self._tokens -= self._length
        return Item(parts, first.place, first.row, joined(holds))

    def _finish(self) -> Chunk | None:
        self._budget.release(item.hold for item, _, _ in self._held)
        self._held.clear()
        self._tokens = 0
        return None
