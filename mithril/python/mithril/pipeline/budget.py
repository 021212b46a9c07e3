"""The memory budget: what samples take, each buffer counted once, within one limit."""

import threading
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

from mithril.pipeline.holds import BOX_BYTES, Hold, Shares


class Budget:
    """The account of one run. Bytes are reserved before work starts, and become holds of its samples.

    `used` is what is reserved and held, with each buffer counted once however many samples share it.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.allowed = limit
        """What may be reserved: less than the limit while the machine is short of memory."""
        self.used = 0
        self.peak = 0
        self.overruns = 0
        """How often the limit was passed: by a sample that ran alone, or by what a stage keeps."""
        self.kept = 0
        """The part of `used` that stages keep between chunks."""
        self._kept: dict[object, int] = {}
        self._counts: dict[Hashable, int] = {}
        """The samples that have each buffer."""
        self._sizes: dict[Hashable, int] = {}
        self._lock = threading.Lock()

    def allow(self, size: int) -> None:
        """Changes what may be reserved."""
        with self._lock:
            self.allowed = size

    def reserve(self, size: int, leave: int = 0) -> bool:
        """Takes so many bytes, if they are free and enough is left."""
        with self._lock:
            if self.used + size + leave > self.allowed:
                return False
            self._grow(size)
            return True

    def give_back(self, size: int) -> None:
        """Frees bytes that were reserved."""
        with self._lock:
            self.used -= size

    def hold(self, holds: Sequence[Hold], reserved: int, over: bool = False) -> tuple[int | None, int]:
        """Turns reserved bytes into holds. Gives what is left of them, and how many bytes the holds take.

        Nothing is left where they pass the limit, and are not held. With `over` they may, which is counted.
        """
        with self._lock:
            needed = self._count(holds)
            extra = max(needed - reserved, 0)
            if self.used + extra > self.limit:
                if not over:
                    self._uncount(holds)
                    return None, needed
                self.overruns += 1
            self._grow(extra)
            return max(reserved - needed, 0), needed

    def keep(self, owner: object, size: int, reserved: int = 0, freed: Iterable[Hold] = ()) -> int:
        """Accounts for what a stage keeps between chunks, in the place of what it kept before and of what it freed.

        Takes reserved bytes first, and gives what is left of them. What is there cannot be refused: passing the limit
        is counted.
        """
        with self._lock:
            self.used -= self._uncount(freed)
            growth = size - self._kept.get(owner, 0)
            self._kept[owner] = size
            self.kept += growth
            extra = growth - min(max(growth, 0), reserved)
            if extra > 0 and self.used + extra > self.limit:
                self.overruns += 1
            self._grow(extra)
            return reserved - (growth - extra)

    def release(self, holds: Iterable[Hold]) -> int:
        """Frees what samples held, and gives the bytes that are free now."""
        with self._lock:
            freed = self._uncount(holds)
            self.used -= freed
            return freed

    def _grow(self, size: int) -> None:
        self.used += size
        self.peak = max(self.peak, self.used)

    def _count(self, holds: Iterable[Any]) -> int:
        """Adds to the users of all buffers, and gives the bytes that are new."""
        total = 0
        counts, sizes = self._counts, self._sizes
        for hold in holds:
            kind = type(hold)
            if kind is int:
                total += hold
                continue
            if kind is tuple:
                total += self._count(hold)
                continue
            if kind is Shares:
                total += hold.own
                buffers = hold.buffers
            else:
                total += BOX_BYTES
                buffers = ((id(hold), hold.nbytes),)
            for key, size in buffers:
                found = counts.get(key, 0)
                counts[key] = found + 1
                if not found:
                    sizes[key] = size
                    total += size
        return total

    def _uncount(self, holds: Iterable[Any]) -> int:
        """Takes from the users of all buffers, and gives the bytes that are free."""
        total = 0
        counts, sizes = self._counts, self._sizes
        for hold in holds:
            kind = type(hold)
            if kind is int:
                total += hold
                continue
            if kind is tuple:
                total += self._uncount(hold)
                continue
            if kind is Shares:
                total += hold.own
                keys = [key for key, _ in hold.buffers]
            else:
                total += BOX_BYTES
                keys = [id(hold)]
            for key in keys:
                left = counts[key] - 1
                if left:
                    counts[key] = left
                else:
                    del counts[key]
                    # As it was when it came: an array may have got another size meanwhile.
                    total += sizes.pop(key)
        return total
