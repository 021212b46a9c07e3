"""Transforms of samples: numbers, categories, windows, random changes, embeddings, and what an index knows already.

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


class _OfValue:
    """A function of a value, or of that under a name of a dictionary."""

    def __init__(self, name: str | None) -> None:
        self._name = name
        self.__name__ = type(self).__name__

    def __call__(self, sample: Any) -> Any:
        """The sample with the result."""
        if self._name is None:
            return self.of(sample)
        return {**sample, self._name: self.of(_named(sample, self._name))}

    def of(self, value: Any) -> Any:
        """The result for a value."""
        raise NotImplementedError


def _named(sample: Any, name: str) -> Any:
    if not isinstance(sample, Mapping) or name not in sample:
        raise PipelineError(f"the sample has no {name}")
    return sample[name]


class Normalize(_OfValue):
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


class OneHot(_OfValue):
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


class HashBucket(_OfValue):
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
        values = sample if self._name is None else _named(sample, self._name)
        starts = range(0, len(values) - self._length + 1, self._step)
        windows = [values[start : start + self._length] for start in starts]
        return windows if self._name is None else [{**sample, self._name: window} for window in windows]


class Augment(_OfValue):
    """A function of a value and a `numpy.random.Generator`, such as `flip` or `crop`.

    The random numbers are a function of the pipeline's seed, the epoch and the value, so a run that goes on gives the
    same.
    """

    def __init__(self, function: Callable[[Any, np.random.Generator], Any], *, name: str | None = None) -> None:
        super().__init__(name)
        self._function = function
        self._key = (0, 0)
        self.__name__ = getattr(function, "__name__", "Augment")

    def for_epoch(self, seed: int, epoch: int) -> "Augment":
        """The same with the random numbers of an epoch."""
        found = Augment(self._function, name=self._name)
        found._key = (seed, epoch)
        return found

    def of(self, value: Any) -> Any:
        """The value, changed."""
        digest = hashlib.blake2b(repr(self._key).encode(), digest_size=16)
        _feed(digest.update, value)
        return self._function(value, np.random.default_rng(int.from_bytes(digest.digest(), "little")))


def _feed(update: Callable[[Any], object], value: Any) -> None:
    """Gives all of a value to a hash; the text of an array, by itself or within others, leaves most of it out."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            update(repr(key).encode())
            _feed(update, part)
    elif isinstance(value, list | tuple) and not all(isinstance(part, _SCALARS) for part in value):
        for part in value:
            _feed(update, part)
    elif isinstance(value, np.ndarray) and value.dtype.char == "O":
        _feed(update, value.tolist())
    elif hasattr(value, "__array__") or hasattr(value, "__array_interface__"):
        update(np.ascontiguousarray(value).view(np.uint8).data)
    else:
        update(repr(value).encode())


_SCALARS = (bool, int, float, complex, str, bytes, type(None))


def flip(pixels: NDArray[Any], chance: np.random.Generator) -> NDArray[Any]:
    """The image, or its mirror image."""
    return pixels[:, ::-1] if chance.integers(2) else pixels


def crop(height: int, width: int) -> Callable[[NDArray[Any], np.random.Generator], NDArray[Any]]:
    """A function that takes a part of an image, of this size, at a random place."""

    def cropped(pixels: NDArray[Any], chance: np.random.Generator) -> NDArray[Any]:
        if pixels.shape[0] < height or pixels.shape[1] < width:
            raise PipelineError(f"an image of {pixels.shape[:2]} has no part of {(height, width)}")
        top = int(chance.integers(pixels.shape[0] - height + 1))
        left = int(chance.integers(pixels.shape[1] - width + 1))
        return pixels[top : top + height, left : left + width]

    return cropped


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
        values = list(samples) if self._name is None else [_named(sample, self._name) for sample in samples]
        rows = np.asarray(self._model(values))
        if len(rows) != len(values):
            raise PipelineError(f"the model gave {len(rows)} rows for {len(values)} samples")
        if self._name is None:
            return list(rows)
        return [{**sample, self._target: row} for sample, row in zip(samples, rows, strict=True)]


class _Index(Protocol):
    def query(self, texts: Any) -> Any: ...


class Deduplicate(Transform):
    """A transform that leaves out what an index of `mithril.dedup.open_index` knows.

    Nothing is added: a chunk may be done again, and a run that goes on would find itself.
    """

    def __init__(self, index: _Index, *, name: str | None = None) -> None:
        self._index = index
        self._name = name

    def transform(self, samples: Sequence[Any]) -> Sequence[Any]:
        """The samples whose texts are new."""
        texts = list(samples) if self._name is None else [_named(sample, self._name) for sample in samples]
        new = self._index.query(pyarrow().array(texts, pyarrow().string())).new
        return [sample for sample, kept in zip(samples, new, strict=True) if kept]
