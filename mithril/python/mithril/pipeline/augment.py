"""Random changes of samples, such as mirror images and parts of images."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mithril.pipeline.errors import PipelineError
from mithril.pipeline.transforms import OfValue


class Augment(OfValue):
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
