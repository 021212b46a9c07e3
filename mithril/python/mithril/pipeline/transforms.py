"""Transforms of samples: numbers, categories, windows, embeddings, and what an index knows already.

Samples are values, or dictionaries with the value under `name`, whose place the result takes.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mithril.pipeline.errors import PipelineError
from mithril.pipeline.extras import pyarrow
from mithril.pipeline.stages import Transform


class OfValue:
    """A function of a value, or of that under a name of a dictionary."""

    def __init__(self, name: str | None) -> None:
        self._name = name
        self.__name__ = type(self).__name__

    def __call__(self, sample: Any) -> Any:
        """The sample with the result."""
        if self._name is None:
            return self.of(sample)
        return {**sample, self._name: self.of(named_part(sample, self._name))}

    def of(self, value: Any) -> Any:
        """The result for a value."""
        raise NotImplementedError


def named_part(sample: Any, name: str) -> Any:
    """The value under a name of a dictionary."""
    if not isinstance(sample, Mapping) or name not in sample:
        raise PipelineError(f"the sample has no {name}")
    return sample[name]


class Normalize(OfValue):
    """A function that makes float32 of numbers: less `mean`, over `std`; channels are the last dimension.

    Whole numbers are multiplied by `scale` first, as pixels are from 0 to 255.
    """

    def __init__(self, mean: ArrayLike, std: ArrayLike, *, scale: float = 1 / 255, name: str | None = None) -> None:
        super().__init__(name)
        self._mean, self._std = np.asarray(mean, np.float32), np.asarray(std, np.float32)
        if not np.all(self._std > 0):
            raise PipelineError("std is above 0")
        self._scale = np.float32(scale)

    def of(self, value: Any) -> NDArray[np.float32]:
        """The numbers in units of the deviation."""
        array = np.asarray(value)
        scale = self._scale if array.dtype.kind in "iu" else np.float32(1)
        return np.asarray(array * (scale / self._std) - self._mean / self._std, np.float32)


class OneHot(OfValue):
    """A function from a class to a vector with a one in its place. `classes` is their number, or names them."""

    def __init__(self, classes: int | Sequence[Any], *, name: str | None = None) -> None:
        super().__init__(name)
        names = range(classes) if isinstance(classes, int) else classes
        self._places = {value: place for place, value in enumerate(names)}
        if not self._places:
            raise PipelineError("there is at least one class")

    def of(self, value: Any) -> NDArray[np.float32]:
        """The vector of a class."""
        if value not in self._places:
            raise PipelineError(f"{value!r} is none of the {len(self._places)} classes")
        found = np.zeros(len(self._places), np.float32)
        found[self._places[value]] = 1
        return found


class HashBucket(OfValue):
    """A function from a value to a number below `buckets`, the same on every machine."""

    def __init__(self, buckets: int, *, name: str | None = None) -> None:
        super().__init__(name)
        if buckets < 1:
            raise PipelineError(f"buckets are at least 1, not {buckets}")
        self._buckets = buckets

    def of(self, value: Any) -> int:
        """The bucket of a value."""
        data = value if isinstance(value, bytes) else str(value).encode()
        return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little") % self._buckets


class Window:
    """A function for `flat_map`: the windows of `length` values of a sequence, each `step` after the one before."""

    def __init__(self, length: int, step: int | None = None, *, name: str | None = None) -> None:
        if length < 1 or (step is not None and step < 1):
            raise PipelineError("a window has at least 1 value, and so has a step")
        self._length, self._step = length, step or length
        self._name = name
        self.__name__ = "Window"

    def __call__(self, sample: Any) -> list[Any]:
        """The windows; a sequence that is shorter has none."""
        values = sample if self._name is None else named_part(sample, self._name)
        starts = range(0, len(values) - self._length + 1, self._step)
        windows = [values[start : start + self._length] for start in starts]
        return windows if self._name is None else [{**sample, self._name: window} for window in windows]


class Embed(Transform):
    """A transform by a model: a callable from a list of values to an array with a row for each."""

    def __init__(
        self, model: Callable[[list[Any]], Any], *, name: str | None = None, target: str = "embedding"
    ) -> None:
        self._model = model
        self._name = name
        self._target = target

    def size_hint(self, samples: int) -> int:
        """As many."""
        return samples

    def transform(self, samples: Sequence[Any]) -> Sequence[Any]:
        """The rows; with a name, the samples with their rows under `target`."""
        values = list(samples) if self._name is None else [named_part(sample, self._name) for sample in samples]
        rows = np.asarray(self._model(values))
        if len(rows) != len(values):
            raise PipelineError(f"the model gave {len(rows)} rows for {len(values)} samples")
        if self._name is None:
            return list(rows)
        return [{**sample, self._target: row} for sample, row in zip(samples, rows, strict=True)]


class _Index(Protocol):
    def query(self, texts: Any) -> Any: ...


class Deduplicate(Transform):
    """A transform that leaves out what an index of `mithril.dedup.open_index` knows: texts, or lists of tokens.

    Nothing is added: a chunk may be done again, and a run that goes on would find itself.
    """

    def __init__(self, index: _Index, *, name: str | None = None) -> None:
        self._index = index
        self._name = name

    def transform(self, samples: Sequence[Any]) -> Sequence[Any]:
        """The samples whose texts are new."""
        texts = list(samples) if self._name is None else [named_part(sample, self._name) for sample in samples]
        if any(isinstance(text, Mapping) for text in texts):
            raise PipelineError("Deduplicate takes texts; name= says where dictionaries have theirs")
        new = self._index.query(pyarrow().array(texts)).new
        return [sample for sample, kept in zip(samples, new, strict=True) if kept]
