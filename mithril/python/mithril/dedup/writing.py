"""The second pass: documents that are kept are written in the form of their file."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from mithril.core.errors import ChangedError
from mithril.core.progress import Progress
from mithril.core.store import Store
from mithril.dedup.chunks import Booleans, Chunk, ChunkWriter, Integers, Marks
from mithril.dedup.clustering import Clustering
from mithril.dedup.inputs import InputFile
from mithril.dedup.ordered import in_order
from mithril.dedup.samples import Samples
from mithril.dedup.scan import Scan
from mithril.dedup.settings import DedupSettings
from mithril.dedup.sink import SinkFile


def marks_of(clustering: Clustering, first: int, count: int) -> Marks:
    """The verdicts on `count` documents from `first` on."""
    part = slice(first, first + count)
    kept = clustering.is_kept[part]
    instead = clustering.kept[part].astype(np.int64)
    return Marks(clustering.roots[part].astype(np.int64), kept, np.where(kept, -1, instead))


class Writing:
    """The second pass over the files of a run."""

    def __init__(
        self, read: Scan, clustering: Clustering, settings: DedupSettings, samples: Samples, progress: Progress
    ) -> None:
        self._read = read
        self._clustering = clustering
        self._kept: Booleans = clustering.is_kept
        self._settings = settings
        self._samples = samples
        self._progress = progress
        counts = [sum(rows) for rows in read.rows]
        self._firsts: Integers = np.cumsum([0, *counts])

    def run(self, files: Sequence[InputFile], store: Store | None, mark: bool, overwrite: bool) -> None:
        """Writes all files into the store; without one only the samples are looked at."""
        workers = self._settings.workers
        # Files beside each other where there are enough of them, otherwise the chunks of one file.
        wide = len(files) >= workers
        threads = 1 if wide else workers
        tasks = [partial(self._file, index, file, store, mark, overwrite, threads) for index, file in enumerate(files)]
        for _ in in_order(tasks, workers if wide else 1):
            pass

    def _file(
        self, index: int, file: InputFile, store: Store | None, mark: bool, overwrite: bool, threads: int
    ) -> None:
        chunks = self._chunks(index, file, threads, store is not None)
        if store is None:
            if self._samples.needs(int(self._firsts[index]), sum(self._read.rows[index])):
                for first, chunk in chunks:
                    self._look(first, chunk)
            return
        with store.open_writer(file.name, if_absent=not overwrite) as target:
            sink = SinkFile(target)
            writer = file.source.open_writer(sink, mark)
            try:
                self._write(chunks, writer, mark)
            except BaseException:
                sink.dropped = True
                raise
            finally:
                writer.close()

    def _write(self, chunks: Iterator[tuple[int, Chunk]], writer: ChunkWriter, mark: bool) -> None:
        for first, chunk in chunks:
            self._look(first, chunk)
            marks = marks_of(self._clustering, first, chunk.rows) if mark else None
            writer.write(chunk, self._kept[first : first + chunk.rows], marks)

    def _look(self, first: int, chunk: Chunk) -> None:
        self._samples.look(first, chunk.texts)
        self._progress.add(int(self._read.lengths[first : first + chunk.rows].sum(dtype=np.int64)))

    def _chunks(self, index: int, file: InputFile, threads: int, whole: bool) -> Iterator[tuple[int, Chunk]]:
        """The chunks of a file with the number of their first document, from memory or read again."""
        first = int(self._firsts[index])
        held = self._read.held.get(index)
        again = held if held is not None else in_order(file.source.chunks(self._settings.column, whole), threads)
        expected = iter(self._read.rows[index])
        for chunk in again:
            if chunk.rows != next(expected, None):
                raise ChangedError("the file has changed since it was first read; start again", file.url)
            yield first, chunk
            first += chunk.rows
