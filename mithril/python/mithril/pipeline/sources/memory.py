"""Sources of what is in memory already, and of what a function or an iterable gives."""

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from itertools import islice
from typing import Any, Protocol, runtime_checkable

import numpy as np

from mithril.pipeline.errors import PipelineError
from mithril.pipeline.stages import IndexedSource, Source

_CHUNKS = 256
_CHUNK_MAX = 256
_BATCH = 64


@runtime_checkable
class Numbered(Protocol):
    """Values by their numbers, as sequences have them, and data sets of torch."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: Any, /) -> Any: ...


class MemorySource(IndexedSource):
    """A source of a list, an array or another sequence, in chunks of so many.

    Data sets as torch has them, with a length and values by number alone, are such, too.
    """

    def __init__(self, values: Numbered, chunk: int | None = None) -> None:
        if chunk is not None and chunk < 1:
            raise PipelineError(f"chunk is at least 1, not {chunk}")
        self._values = values
        self._chunk = chunk or min(max(len(values) // _CHUNKS, 1), _CHUNK_MAX)

    def __len__(self) -> int:
        """The number of chunks."""
        return (len(self._values) + self._chunk - 1) // self._chunk

    def read(self, index: int) -> Sequence[Any]:
        """Some of the values."""
        start = index * self._chunk
        if isinstance(self._values, Iterable):
            part: Sequence[Any] = self._values[start : start + self._chunk]
            return part
        return [self._values[number] for number in range(start, min(start + self._chunk, len(self._values)))]

    def place(self, index: int) -> str:
        """Names the first value."""
        return f"{type(self._values).__name__} from number {index * self._chunk}"

    def size_hint(self) -> int:
        """The number of values."""
        return len(self._values)


class IterableSource(Source):
    """A source of the iterators that a function makes: one for each epoch, always with the same values."""

    def __init__(self, make: Callable[[], Iterable[Any]], size: int | None = None) -> None:
        self._make = make
        self._size = size
        self._iterator: Iterator[Any] = iter(())

    def next_batch(self) -> Sequence[Any] | None:
        """The next values."""
        return list(islice(self._iterator, _BATCH)) or None

    def reset(self, epoch: int) -> None:
        """Makes a new iterator."""
        made = self._make()
        if not isinstance(made, Iterable):
            raise PipelineError(
                f"{self.place()}: a function that is a source makes an iterable, not {type(made).__name__}"
            )
        self._iterator = iter(made)

    def place(self) -> str:
        """The name of the function."""
        return getattr(self._make, "__name__", "iterable")

    def size_hint(self) -> int | None:
        """The number of values, where it was given."""
        return self._size


def as_source(given: object) -> IndexedSource | Source:
    """The source that a value stands for."""
    if isinstance(given, IndexedSource | Source):
        return given
    if isinstance(given, np.ndarray) or (isinstance(given, Sequence) and not isinstance(given, str | bytes)):
        return MemorySource(given)
    if hasattr(given, "__arrow_c_stream__") and hasattr(given, "columns"):
        raise PipelineError(
            f"{type(given).__module__.partition('.')[0]}'s {type(given).__name__} would be read column by column; "
            'ArrowSource(pyarrow.table(it), form="rows") gives its rows'
        )
    if isinstance(given, Iterator):
        raise PipelineError(
            "an iterator can be read only once; give the function that makes it, so that epochs and resuming work"
        )
    if callable(given):
        return IterableSource(given)
    if isinstance(given, Iterable) and not isinstance(given, str | bytes):
        return IterableSource(given.__iter__, len(given) if isinstance(given, Sized) else None)
    if isinstance(given, Numbered) and not isinstance(given, str | bytes):
        return MemorySource(given)
    raise PipelineError(
        f"a source is a Source, a sequence, an iterable, or a function that makes one, not {type(given).__name__}; "
        f"for files use TextSource, JsonlSource, CsvSource, ParquetSource, TarSource or FileSource"
    )
