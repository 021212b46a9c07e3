"""Images: transforms that decode and resize, by Pillow."""

import importlib
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mithril.core.errors import MissingExtraError
from mithril.pipeline.errors import PipelineError


class DecodeImage:
    """A function from a dictionary with an image file under a name to one with its pixels, `(height, width, 3)`.

    JPEGs that are larger than `size` are decoded at a half, a quarter or an eighth, and then resized.
    """

    def __init__(self, name: str = "data", size: tuple[int, int] | None = None) -> None:
        try:
            self._image = importlib.import_module("PIL.Image")
        except ImportError:
            raise MissingExtraError("decoding images", "pillow", "images") from None
        self._name = name
        self._size = size
        self.__name__ = "decode_image"

    def __call__(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        """Decodes the image of a sample."""
        if self._name not in sample:
            raise PipelineError(f"the sample has no {self._name}; it has {', '.join(map(str, sample))}")
        return {**sample, self._name: self.decode(sample[self._name])}

    def decode(self, data: bytes) -> NDArray[np.uint8]:
        """The pixels of an image file."""
        with self._image.open(io.BytesIO(data)) as image:
            if self._size is not None:
                image.draft("RGB", (self._size[1], self._size[0]))
            pixels = image.convert("RGB")
            if self._size is not None:
                pixels = pixels.resize((self._size[1], self._size[0]))
            return np.asarray(pixels)
