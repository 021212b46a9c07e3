"""Images: transforms that decode and resize, natively for JPEG and by Pillow for all other formats."""

import functools
import io
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mithril import _kernels
from mithril.pipeline.errors import PipelineError
from mithril.pipeline.extras import extra

_JPEG = b"\xff\xd8\xff"


class DecodeImage:
    """A function from a dictionary with an image file under a name to one with its pixels, `(height, width, 3)`.

    JPEG files are decoded natively, all others by Pillow, which also takes the JPEG files that the native decoder does
    not know. With `decoder="pillow"` it decodes all: the pixels of two decoders differ by a few steps. `size` is
    `(height, width)`, and reached by a bicubic filter; Pillow decodes a JPEG that is larger at a half, a quarter or an
    eighth first.
    """

    def __init__(
        self,
        name: str = "data",
        size: tuple[int, int] | None = None,
        decoder: Literal["native", "pillow"] = "native",
    ) -> None:
        if decoder == "pillow":
            _pillow()
        elif decoder != "native":
            raise PipelineError(f"the decoder is native or pillow, not {decoder}")
        self._name = name
        self._size = size
        self._native = decoder == "native"
        self.__name__ = "decode_image"

    def __call__(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        """Decodes the image of a sample."""
        if self._name not in sample:
            raise PipelineError(f"the sample has no {self._name}; it has {', '.join(map(str, sample))}")
        return {**sample, self._name: self.decode(sample[self._name])}

    def decode(self, data: bytes) -> NDArray[np.uint8]:
        """The pixels of an image file."""
        if self._native and bytes(data[:3]) == _JPEG:
            try:
                pixels, height, width = _kernels.decode_jpeg(data, self._size)
            except _kernels.KernelError:
                # A kind of JPEG that Pillow may know, or a damaged file, of which it says what is wrong.
                return self._by_pillow(data)
            return np.frombuffer(pixels, np.uint8).reshape(height, width, 3)
        return self._by_pillow(data)

    def _by_pillow(self, data: bytes) -> NDArray[np.uint8]:
        with _pillow().open(io.BytesIO(data)) as image:
            if self._size is not None:
                image.draft("RGB", (self._size[1], self._size[0]))
            pixels = image.convert("RGB")
            if self._size is not None:
                pixels = pixels.resize((self._size[1], self._size[0]))
            return np.asarray(pixels)


@functools.cache
def _pillow() -> Any:
    return extra("PIL.Image", "decoding images", "pillow", "images")
