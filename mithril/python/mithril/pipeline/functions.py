"""Functions of a segment: what worker threads do with samples, and what happens when a function raises."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from mithril.pipeline.chunk import Item
from mithril.pipeline.errors import TransformError
from mithril.pipeline.stages import Transform

OnError = str | Callable[[TransformError], Any]
"""`raise`, `skip`, or a function of the error: what it gives replaces the sample, and None leaves it out."""


class Kind(Enum):
    """A way in which a function is called."""

    MAP = "map"
    FILTER = "filter"
    FLAT_MAP = "flat_map"
    CHUNKS = "chunks"


@dataclass(frozen=True, slots=True)
class Function:
    """A function and how it is called."""

    kind: Kind
    call: Callable[[Any], Any]
    name: str
    on_error: OnError = "raise"
    reserve: int = 0
    """Bytes that the function needs for each sample beyond what its result takes."""

    @property
    def transform(self) -> Transform | None:
        """The transform whose method it is."""
        owner = getattr(self.call, "__self__", None)
        return owner if isinstance(owner, Transform) else None


def memory_usage(functions: Sequence[Function]) -> int:
    """The bytes of samples that transforms hold between two calls."""
    return sum(function.transform.memory_usage() for function in functions if function.transform is not None)


def apply(functions: Sequence[Function], samples: list[Item]) -> tuple[list[Item], int]:
    """Calls the functions. Gives their results, and how many samples an error left out."""
    skipped = 0
    for function in functions:
        if not samples:
            break
        try:
            samples = _call(function, samples)
        except Exception as error:  # noqa: BLE001 (any error of a function is told with its sample)
            if len(samples) == 1:
                found = _handled(function, samples[0], error)
                skipped += not found
                samples = found
            else:
                samples, more = _one_by_one(function, samples)
                skipped += more
    return samples, skipped


@dataclass(slots=True)
class Tally:
    """A count of the samples that errors left out."""

    skipped: int = 0


def apply_one(functions: Sequence[Function], value: Any, place: str, row: int, tally: Tally) -> list[Any]:
    """Calls functions that take single samples for one."""
    for at, function in enumerate(functions):
        kind = function.kind
        try:
            if kind is Kind.MAP:
                value = function.call(value)
            elif kind is Kind.FILTER:
                if not function.call(value):
                    return []
            else:
                parts = list(function.call(value))
                rest = functions[at + 1 :]
                return [result for part in parts for result in apply_one(rest, part, place, row, tally)]
        except TransformError:
            raise
        except Exception as error:  # noqa: BLE001 (any error of a function is told with its sample)
            found = _handled(function, Item(value, place, row), error)
            if not found:
                tally.skipped += 1
                return []
            value = found[0].value
    return [value]


def _one_by_one(function: Function, samples: list[Item]) -> tuple[list[Item], int]:
    results: list[Item] = []
    skipped = 0
    for sample in samples:
        try:
            results.extend(_call(function, [sample]))
        except Exception as error:  # noqa: BLE001 (any error of a function is told with its sample)
            found = _handled(function, sample, error)
            skipped += not found
            results.extend(found)
    return results, skipped


def _handled(function: Function, sample: Item, error: Exception) -> list[Item]:
    told = error if isinstance(error, TransformError) else None
    told = told or TransformError(function.name, sample.place, sample.row, error)
    if function.on_error == "raise":
        raise told from error
    if function.on_error == "skip":
        return []
    assert callable(function.on_error)
    replacement = function.on_error(told)
    return [] if replacement is None else [Item(replacement, sample.place, sample.row)]


def _call(function: Function, samples: list[Item]) -> list[Item]:
    call = function.call
    if function.kind is Kind.MAP:
        return [Item(call(sample.value), sample.place, sample.row) for sample in samples]
    if function.kind is Kind.FILTER:
        return [sample for sample in samples if call(sample.value)]
    if function.kind is Kind.FLAT_MAP:
        return [Item(value, sample.place, sample.row) for sample in samples for value in call(sample.value)]
    results: Iterable[Any] = call([sample.value for sample in samples])
    results = list(results)
    if len(results) == len(samples):
        pairs = zip(results, samples, strict=True)
        return [sample if value is sample.value else Item(value, sample.place, sample.row) for value, sample in pairs]
    first = samples[0]
    return [Item(value, first.place, first.row) for value in results]
