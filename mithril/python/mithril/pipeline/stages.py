"""The public base classes of sources, transforms and sinks."""

import abc
from collections.abc import Iterator, Sequence
from typing import Any


class Source(abc.ABC):
    """A source that is read from its beginning, batch by batch, by one thread at a time.

    Each run works on a shallow copy, so `reset` makes anew what has a position. A run that goes on in the middle reads
    what came before again.
    """

    @abc.abstractmethod
    def next_batch(self) -> Sequence[Any] | None:
        """The next samples, at least one; None at the end. The same samples in every epoch and every run."""

    @abc.abstractmethod
    def reset(self, epoch: int) -> None:
        """Goes to the beginning."""

    def place(self) -> str:
        """The name, for messages, of what the last batch came from."""
        return type(self).__name__

    def size_hint(self) -> int | None:
        """The number of samples, where it is known."""
        return None

    def memory_usage(self) -> int:
        """The bytes of samples that it holds between two batches, such as those it has read ahead."""
        return 0


class IndexedSource(abc.ABC):
    """A source of numbered chunks that can be read in any order, by several threads at a time.

    The number of chunks and of their samples is always the same; positions are made of them.
    """

    @abc.abstractmethod
    def __len__(self) -> int:
        """The number of chunks."""

    @abc.abstractmethod
    def read(self, index: int) -> Sequence[Any]:
        """The samples of a chunk, the same every time."""

    def parts(self, index: int, start: int, size: int) -> Iterator[Sequence[Any]]:
        """The samples of a chunk from one of them on, in parts that are read one after the other.

        A source whose chunks can be large gives several, of about `size` bytes each, for which memory is reserved.
        """
        samples = self.read(index)
        yield samples[start:] if start else samples

    def place(self, index: int) -> str:
        """The name of a chunk, for messages."""
        return f"{type(self).__name__} chunk {index}"

    def bytes_hint(self, index: int) -> int | None:
        """The bytes that a chunk takes in memory, where they can be told without reading it."""
        return None

    def size_hint(self) -> int | None:
        """The number of samples, where it is known."""
        return None

    def memory_usage(self) -> int:
        """The bytes of samples that it holds between two chunks, such as those of a cache."""
        return 0


class Transform(abc.ABC):
    """A transform of chunks, run by several threads at a time.

    The samples that it gives may not depend on where chunks begin: chunks have as many samples as memory allows, and
    one whose result does not fit is done again.
    """

    @abc.abstractmethod
    def transform(self, samples: Sequence[Any]) -> Sequence[Any]:
        """Turns some samples into others, in order: as many, fewer or more."""

    def size_hint(self, samples: int) -> int | None:
        """The number of samples that it gives for so many, where it is known."""
        return None

    def memory_usage(self) -> int:
        """The bytes of samples that it holds between two calls, such as those of a cache. They count in the budget."""
        return 0


class Sink(abc.ABC):
    """A consumer of what a pipeline gives. `Pipeline.run(sink)` calls it."""

    @abc.abstractmethod
    def consume(self, value: Any) -> None:
        """Takes one element."""

    @abc.abstractmethod
    def flush(self) -> None:
        """Finishes what was consumed; after it, the output is whole."""

    def memory_usage(self) -> int:
        """The bytes of elements that were consumed and are still held. They count in the budget."""
        return 0

    def shrink(self) -> None:
        """Holds less, if that is possible, by writing what is ready. Called between elements when memory is short."""
        return

    def abort(self) -> None:
        """Drops what was consumed, after an error."""
        return
