"""What an upload is made of: memory, files and iterables, cut into chunks."""

import asyncio
import inspect
import os
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from yggdrasil.client.memory import readable_bytes

__all__ = ["AsyncSource", "Source", "achunks", "chunks", "size_of"]

if TYPE_CHECKING:
    from typing_extensions import Buffer
else:
    Buffer = Any


class Array(Protocol):
    """An array of numpy, which its types call a buffer from Python 3.12 on."""

    @property
    def __array_interface__(self) -> Any:
        """Where its memory is."""


class Tensor(Protocol):
    """A tensor of torch, in the memory of the CPU and contiguous."""

    def data_ptr(self) -> int:
        """Where its memory is."""


class SupportsRead(Protocol):
    """A file opened in binary mode."""

    def read(self, size: int, /) -> bytes:
        """Up to so many bytes; none at the end."""


class SupportsAsyncRead(Protocol):
    """A file that has to be awaited."""

    def read(self, size: int, /) -> Awaitable[bytes]:
        """Up to so many bytes; none at the end."""


Piece = Buffer | Array | Tensor
Source = Piece | SupportsRead | Iterable[Piece]
"""One piece of memory, a file opened in binary mode, or pieces."""
AsyncSource = Source | SupportsAsyncRead | AsyncIterable[Piece]
"""The same, and what has to be awaited."""


def size_of(source: Any) -> int | None:
    """Bytes that a source will give, where that is known before."""
    memory = readable_bytes(source)
    if memory is not None:
        return memory.nbytes
    with suppress(OSError, AttributeError, ValueError, TypeError):
        # 0 is what devices and pipes say.
        return max(os.fstat(source.fileno()).st_size - source.tell(), 0) or None
    return None


def _pieces(source: Any, chunk_size: int) -> Iterator[Any]:
    """The bytes-like pieces that a source consists of."""
    memory = readable_bytes(source)
    if memory is not None:
        yield memory
    elif hasattr(source, "read"):
        while piece := source.read(chunk_size):
            yield piece
    else:
        yield from source


async def _apieces(source: Any, chunk_size: int) -> AsyncIterator[Any]:
    """The same for sources that may have to be awaited; files that do not are read in a thread."""
    if hasattr(source, "__aiter__") and not hasattr(source, "read"):
        async for piece in source:
            yield piece
    elif readable_bytes(source) is None and hasattr(source, "read"):
        read = source.read if inspect.iscoroutinefunction(source.read) else _in_thread(source.read)
        while piece := await read(chunk_size):
            yield piece
    else:
        for piece in _pieces(source, chunk_size):
            yield piece


def _in_thread(read: Any) -> Any:
    async def read_in_thread(size: int) -> Any:
        piece = await asyncio.to_thread(read, size)
        return await piece if inspect.isawaitable(piece) else piece

    return read_in_thread


class _Chunker:
    """Joins small pieces and cuts large ones, so that every chunk but the last has the same size."""

    def __init__(self, chunk_size: int) -> None:
        self._chunk_size = chunk_size
        self._small = bytearray()

    def push(self, piece: Any) -> Iterator[bytes | memoryview]:
        """The chunks that a piece completes; what is left over waits for the next one."""
        if isinstance(piece, str):
            raise TypeError("a source gives bytes, not str; open a file in binary mode")
        view = readable_bytes(piece)
        if view is None:
            raise TypeError(f"a source gives bytes, not {type(piece).__name__}")
        while len(view) > 0:
            if not self._small and len(view) >= self._chunk_size:
                yield view[: self._chunk_size]
                view = view[self._chunk_size :]
                continue
            wanted = self._chunk_size - len(self._small)
            self._small += view[:wanted]
            view = view[wanted:]
            if len(self._small) == self._chunk_size:
                yield from self.last()

    def last(self) -> Iterator[bytes]:
        """What is left at the end."""
        if self._small:
            chunk = bytes(self._small)
            self._small.clear()
            yield chunk


def chunks(source: Source, chunk_size: int) -> Iterator[bytes | memoryview]:
    """A source in chunks."""
    chunker = _Chunker(chunk_size)
    for piece in _pieces(source, chunk_size):
        yield from chunker.push(piece)
    yield from chunker.last()


async def achunks(source: AsyncSource, chunk_size: int) -> AsyncIterator[bytes]:
    """The same as bytes of their own: an event loop keeps what it has been asked to send for a while."""
    chunker = _Chunker(chunk_size)
    async for piece in _apieces(source, chunk_size):
        for chunk in chunker.push(piece):
            yield bytes(chunk)
    for chunk in chunker.last():
        yield chunk
