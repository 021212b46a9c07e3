"""Chunks of documents, and what reads and writes them."""

import abc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mithril.dedup.sink import SinkFile

Booleans = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]

MARKS = ("dedup_cluster", "dedup_kept", "dedup_duplicate_of")


@dataclass(frozen=True, slots=True)
class Chunk:
    """Documents that are read together."""

    texts: Any
    """A pyarrow array of the texts."""
    content: Any
    """The whole documents, as their source writes them again; None where only the texts were asked for."""
    bytes: int

    @property
    def rows(self) -> int:
        """The number of documents."""
        return len(self.texts)


@dataclass(frozen=True, slots=True)
class Marks:
    """Verdicts on the documents of a chunk. Documents are numbered over all inputs."""

    cluster: Integers
    """The first document of the cluster."""
    kept: Booleans
    duplicate_of: Integers
    """The document that is kept instead; -1 for one that is kept."""


class ChunkWriter(abc.ABC):
    """A writer of documents in the form of their source."""

    @abc.abstractmethod
    def write(self, chunk: Chunk, kept: Booleans, marks: Marks | None) -> None:
        """Writes the documents that are kept, or, with marks, all."""

    @abc.abstractmethod
    def close(self) -> None:
        """Writes what ends the file."""


class Source(abc.ABC):
    """Documents in order, which can be read twice."""

    name: str
    """The URL, for messages."""

    @abc.abstractmethod
    def size_in_memory(self) -> int:
        """Estimated bytes of all documents in memory."""

    @abc.abstractmethod
    def chunks(self, column: str, whole: bool) -> Iterator[Callable[[], Chunk]]:
        """The readers of the chunks, in order; they may run at the same time. `whole` asks for all columns."""


class FileSource(Source):
    """Documents in a file of a store."""

    def check_marks(self) -> None:
        """Raises InputError where it is known before reading that columns for marks are there already."""
        return

    @abc.abstractmethod
    def open_writer(self, target: SinkFile, marked: bool) -> ChunkWriter:
        """A writer in the form of this source, with columns for marks if `marked`."""
