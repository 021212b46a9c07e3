"""Chunks of documents, and what reads and writes them."""

import abc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mithril.core.store import ObjectInfo, Store
from mithril.dedup.sink import SinkFile

Booleans = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]

MARKS = ("dedup_cluster", "dedup_kept", "dedup_duplicate_of", "dedup_reason")
REPEATS = "dedup_repeats"


def mark_names(repeats: bool) -> tuple[str, ...]:
    """The columns of verdicts; with that of repeats where they were looked for."""
    return (*MARKS, REPEATS) if repeats else MARKS


@dataclass(frozen=True, slots=True)
class Chunk:
    """Documents that are read together."""

    pieces: Sequence[Any]
    """The texts, in pyarrow arrays one after the other."""
    content: Any
    """The whole documents, as their source writes them again; None where only the texts were asked for."""
    bytes: int
    tokens: bool = False
    """The texts are lists of tokens, four bytes each."""
    scores: npt.NDArray[np.float64] | None = None
    """The numbers that choose among documents, NaN where there is none; None where none were asked for."""
    part: int = 0
    """The part of the source's `size_in_memory` that it is, where the number of documents is not known before."""

    @property
    def rows(self) -> int:
        """The number of documents."""
        return sum(map(len, self.pieces))


@dataclass(frozen=True, slots=True)
class Marks:
    """Verdicts on the documents of a chunk, to be written beside them. Documents are numbered over all inputs."""

    cluster: Integers
    """The first document of the cluster."""
    kept: Booleans
    duplicate_of: list[int | None]
    """The document that is kept instead."""
    reason: list[str | None]
    """The reason why a document is not kept."""
    repeats: list[list[list[int]]] | None
    """Ranges of bytes of each text that stand in earlier ones, too; None where they were not looked for."""

    def row(self, index: int) -> dict[str, object]:
        """The verdicts on a document, by name."""
        values = (
            int(self.cluster[index]),
            bool(self.kept[index]),
            self.duplicate_of[index],
            self.reason[index],
            *(() if self.repeats is None else (self.repeats[index],)),
        )
        return dict(zip(mark_names(self.repeats is not None), values, strict=True))


@dataclass(frozen=True, slots=True)
class Verdicts:
    """The verdicts on the documents of a chunk."""

    kept: Booleans
    marks: Marks | None = None
    """What is to be written beside all documents; None where only those that are kept are written."""
    texts: Any = None
    """A pyarrow array with the texts of the documents that are kept, where some have been cut."""
    changed: Booleans = field(default_factory=lambda: np.zeros(0, np.bool_))
    """The texts that have been cut, among those that are kept."""


class ChunkWriter(abc.ABC):
    """A writer of documents in the form of their source."""

    @abc.abstractmethod
    def write(self, chunk: Chunk, verdicts: Verdicts) -> None:
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
    def chunk_bytes(self) -> int:
        """Estimated bytes of the largest chunk in memory."""

    def documents_at_least(self) -> int:
        """The number of documents that there are at least, as far as it is known before they are read."""
        return 0

    @abc.abstractmethod
    def chunks(self, column: str, whole: bool, score: str = "") -> Iterator[Callable[[], Chunk]]:
        """The readers of the chunks, in order; they may run at the same time.

        `column` holds the texts, `score` the scores, if not empty; `whole` asks for all columns.
        """


class FileSource(Source):
    """Documents in a file of a store."""

    _store: Store
    _info: ObjectInfo

    @property
    def version(self) -> str:
        """The version of the file that is read."""
        return self._info.version

    def check_marks(self) -> None:
        """Raises InputError where it is known before reading that columns for marks are there already."""
        return

    @abc.abstractmethod
    def open_writer(self, target: SinkFile, column: str, marked: bool, repeats: bool) -> ChunkWriter:
        """A writer in the form of this source, with columns for marks if `marked`, of repeats too if `repeats`."""
