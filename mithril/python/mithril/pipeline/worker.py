"""Workers: how threads read and transform the chunks of tasks within the memory budget."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from mithril.pipeline import metrics
from mithril.pipeline.budget import Budget
from mithril.pipeline.chunk import Item
from mithril.pipeline.errors import MemoryBudgetError
from mithril.pipeline.functions import Function, Kind, Tally, apply, apply_one, memory_usage
from mithril.pipeline.holds import Hold, has_fixed_size, measure, size_of, size_of_all
from mithril.pipeline.processes import Processes
from mithril.pipeline.tasks import Task

_PIECE_MAX = 512
_PIECE_SHARE = 16
_MESSAGE_BYTES = 4 << 20
# Larger results are handed on in parts, so that stages behind can use and free them.
_RESULT_SHARE = 16
_FORGET = 0.99


class Estimate:
    """The memory that samples have taken of late; the largest counts, and is forgotten slowly."""

    def __init__(self, functions: Sequence[Function]) -> None:
        self._reserve = sum(function.reserve for function in functions)
        self._largest = 0.0
        self._known = False

    @property
    def sample(self) -> int:
        """Bytes to reserve for a sample."""
        return int(self._largest) + self._reserve

    def piece(self, limit: int) -> int:
        """How many samples to transform at a time."""
        if not self._known:
            return 1
        return max(1, min(_PIECE_MAX, limit // _PIECE_SHARE // max(self.sample, 1)))

    def learn(self, size: float) -> None:
        """Takes note of the bytes of a sample."""
        self._known = True
        self._largest = max(size, self._largest * _FORGET)


@dataclass(slots=True)
class _Piece:
    """What has become of some samples."""

    results: list[Item]
    new: list[Item]
    """Those of the results that do not count yet."""
    gone: list[Item]
    """The samples that are none of the results."""
    done: int
    skipped: int
    largest: int = 0
    """The bytes of the largest result, where that is known."""


class Worker:
    """The work on tasks, by as many threads as want to."""

    def __init__(
        self,
        functions: Sequence[Function],
        budget: Budget,
        refuse: bool,
        processes: Processes | None = None,
        source: Callable[[], int] | None = None,
    ) -> None:
        self._functions = functions
        self._source = source
        self._processes = processes
        self._keeps = processes is None and any(function.transform is not None for function in functions)
        self._apply = partial(apply, functions) if processes is None else processes.apply
        self.name = " > ".join(function.name for function in functions) or "read"
        self._budget = budget
        # What goes to a process in one message fits into its caches, and into segments that are used again.
        self._piece_limit = budget.limit if processes is None else min(budget.limit, _PIECE_SHARE * _MESSAGE_BYTES)
        self._refuse = refuse
        self._by_chunks = processes is not None or any(function.kind is Kind.CHUNKS for function in functions)
        # A function may change a dictionary, and be called for the same sample again.
        self._copies = processes is None and any(function.kind is not Kind.FILTER for function in functions)
        self.estimate = Estimate(functions)
        self._chunk = Estimate(())

    def need(self, task: Task) -> int:
        """Bytes to reserve before a task starts."""
        own = self.estimate.sample * self.estimate.piece(self._piece_limit)
        if not task.inputs and task.unread:
            own += max(task.load_hint or 0, self._chunk.sample)
        return max(own, task.need)

    def run(self, task: Task) -> None:
        """Does what memory allows: all of the task, some of its parts, or nothing."""
        made = 0
        while True:
            if not task.inputs and not self._load(task):
                break
            assert task.inputs is not None
            if self._functions:
                made += self._transform(task)
            else:
                made += size_of_all([item.hold for item in task.inputs])
                task.consumed += len(task.inputs)
                task.results.extend(task.inputs)
                task.inputs = []
            if task.inputs or not task.unread or task.alone or made > self._budget.limit // _RESULT_SHARE:
                break
            if not self._reserve_part(task):
                break
        self._budget.give_back(task.room)
        task.room = 0
        task.alone = False

    def _reserve_part(self, task: Task) -> bool:
        wanted = self.need(task) - task.room
        if wanted > 0:
            if not self._budget.reserve(wanted, task.leave):
                return False
            task.room += wanted
        return True

    def _load(self, task: Task) -> bool:
        """Reads the next part; false where there is none, or no room for it."""
        if not task.unread:
            return False
        assert task.load is not None
        items = task.load(task.row)
        self._keep(("source", id(self)), self._source)
        if items:
            left, size = self._hold(task, [item.hold for item in items], items)
            self._chunk.learn(size)
            if left is None:
                task.need = size
                return False
            task.room = left
        task.unread = task.parts and bool(items)
        task.inputs = items
        return bool(items)

    def _keep(self, owner: object, usage: Callable[[], int] | None, reserved: int = 0) -> int:
        """Accounts for what a source or functions keep, and gives what is left of reserved bytes."""
        if usage is None:
            return reserved
        size = usage()
        left = self._budget.keep(owner, size, reserved)
        if self._refuse and size > self._budget.limit:
            raise MemoryBudgetError(
                f"{self.name}: what is kept between chunks takes {size} bytes, and the memory budget is "
                f"{self._budget.limit} bytes; raise memory_bytes"
            )
        return left

    def _transform(self, task: Task) -> int:
        """Transforms what there is room for, and gives the bytes of the results."""
        inputs = task.inputs
        assert inputs is not None
        at = made = 0
        while at < len(inputs) and made <= self._budget.limit // _RESULT_SHARE:
            count = self._room_for(task, len(inputs) - at)
            if not count:
                if not task.alone or at:
                    task.need = self.estimate.sample
                    break
                count = 1
            piece = self._piece(inputs[at : at + count])
            task.room = self._kept_by_functions(task.room)
            left, size = self._hold(task, [item.hold for item in piece.new], inputs[at : at + piece.done])
            self.estimate.learn(max(piece.largest, size / piece.done))
            if left is None:
                task.need = size
                break
            task.room = left
            task.results.extend(piece.results)
            task.skipped += piece.skipped
            self._budget.release([item.hold for item in piece.gone])
            at += piece.done
            made += size
            if task.alone:
                break
        task.inputs = inputs[at:]
        task.consumed += at
        return made

    def _kept_by_functions(self, reserved: int) -> int:
        if self._processes is not None:
            return self._keep(("process", threading.get_ident()), self._processes.memory_usage, reserved)
        if self._keeps:
            return self._keep(("functions", id(self)), partial(memory_usage, self._functions), reserved)
        return reserved

    def _room_for(self, task: Task, left: int) -> int:
        """How many samples to transform next: as many as are usual, or as the room that there is allows."""
        sample = self.estimate.sample
        count = 1 if task.alone else min(self.estimate.piece(self._piece_limit), left)
        wanted = sample * count - task.room
        if wanted <= 0:
            return count
        if self._budget.reserve(wanted, task.leave):
            task.room += wanted
            return count
        return task.room // sample

    def _piece(self, inputs: Sequence[Item]) -> _Piece:
        """Transforms some samples, or the first of them.

        Functions of single samples stop at one that is larger than those before, so that it is accounted for at once.
        """
        return self._chunk_piece(inputs) if self._by_chunks else self._single_piece(inputs)

    def _chunk_piece(self, inputs: Sequence[Item]) -> _Piece:
        copies = self._copies
        given = [
            Item(item.value.copy(), item.place, item.row) if copies and type(item.value) is dict else item
            for item in inputs
        ]
        results, skipped = self._apply(given)
        # An array that a function gives back as it came counts already.
        same = {id(item) for item in inputs if has_fixed_size(item.value)}.intersection(map(id, results))
        for at, item in enumerate(results):
            if id(item) not in same:
                results[at] = Item(item.value, item.place, item.row, measure(item.value))
        new = [item for item in results if id(item) not in same]
        gone = [item for item in inputs if id(item) not in same]
        return _Piece(results, new, gone, len(inputs), skipped)

    def _single_piece(self, inputs: Sequence[Item]) -> _Piece:
        usual = self.estimate.sample
        piece, tally = _Piece([], [], [], 0, 0), Tally()
        results, new, gone = piece.results, piece.new, piece.gone
        for item in inputs:
            piece.done += 1
            value, size, kept = item.value, 0, False
            for result in apply_one(self._functions, self._given(value), item.place, item.row, tally):
                if result is value and not kept and has_fixed_size(value):
                    # It counts already.
                    kept = True
                    results.append(item)
                    continue
                hold = measure(result)
                made = Item(result, item.place, item.row, hold)
                size += hold if type(hold) is int else size_of(hold)
                new.append(made)
                results.append(made)
            if not kept:
                gone.append(item)
            if size > piece.largest:
                piece.largest = size
                if size > usual:
                    break
        piece.skipped = tally.skipped
        return piece

    def _given(self, value: Any) -> Any:
        """The value that the functions get for a sample."""
        return value.copy() if self._copies and type(value) is dict else value

    def _hold(self, task: Task, holds: list[Hold], items: Sequence[Item]) -> tuple[int | None, int]:
        """Accounts for new samples, as the budget does. The worker forgets those that do not fit."""
        budget = self._budget
        left, size = budget.hold(holds, task.room)
        if left is not None or not task.alone:
            return left, size
        others = budget.used - task.room - size_of_all([item.hold for item in task.inputs or ()]) - budget.kept
        if self._refuse or others > 0:
            first = items[0]
            kept = f", and stages keep {budget.kept}" if budget.kept else ""
            raise MemoryBudgetError(
                f"{first.place}, sample {first.row}: {size} bytes do not fit into the memory budget of "
                f"{budget.limit} bytes, of which batches, windows and packed rows hold {max(others, 0)}{kept}; raise "
                f"memory_bytes, or make the batch, the window or the chunk smaller"
            )
        metrics.OVERRUNS.inc()
        return budget.hold(holds, task.room, over=True)
