"""The second pass: documents that are kept are written in the form of their file."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from mithril.core.errors import ChangedError
from mithril.core.progress import Progress
from mithril.core.store import Store
from mithril.dedup.chunks import Booleans, Chunk, Integers, Marks, Verdicts
from mithril.dedup.clustering import Clustering
from mithril.dedup.inputs import InputFile
from mithril.dedup.ordered import in_order
from mithril.dedup.samples import Samples
from mithril.dedup.scan import Scan
from mithril.dedup.settings import DedupSettings
from mithril.dedup.sink import SinkFile
from mithril.dedup.substring import Repeats
from mithril.dedup.texts import joined, mask
from mithril.dedup.work import Work


class Judge:
    """The verdicts of a run."""

    def __init__(self, clustering: Clustering, repeats: Repeats | None, mark: bool) -> None:
        self._clustering = clustering
        self._repeats = repeats
        self._mark = mark
        self._distinct = clustering.is_kept
        self.kept: Booleans = self._distinct if repeats is None else self._distinct & ~repeats.emptied
        """The documents that are kept."""

    @property
    def looks_for_repeats(self) -> bool:
        """True where repeats are cut out."""
        return self._repeats is not None

    def verdicts(self, first: int, chunk: Chunk) -> Verdicts:
        """The verdicts on the documents of a chunk, from `first` on."""
        part = slice(first, first + chunk.rows)
        distinct, kept = self._distinct[part], self.kept[part]
        if self._repeats is None:
            return Verdicts(kept, self._marks(first, chunk.rows, None) if self._mark else None)
        cut, repeats = self._repeats.of(first, joined(chunk.pieces).filter(mask(distinct)))
        if self._mark:
            places = np.cumsum(distinct) - 1
            ranges = [repeats[places[row]] if distinct[row] else [] for row in range(chunk.rows)]
            return Verdicts(kept, self._marks(first, chunk.rows, ranges))
        still = kept[distinct]
        changed = np.fromiter(map(bool, repeats), np.bool_, len(repeats))
        return Verdicts(kept, None, cut.filter(mask(still)), changed[still])

    def _marks(self, first: int, count: int, repeats: list[list[list[int]]] | None) -> Marks:
        part = slice(first, first + count)
        clustering = self._clustering
        instead: list[int | None] = [None] * count
        reasons: list[str | None] = [None] * count
        for row in np.flatnonzero(~self.kept[part]).tolist():
            number = first + row
            representative = int(clustering.kept[number])
            instead[row] = representative if representative != number else None
            reasons[row] = "substring" if self._distinct[number] else clustering.reason(number)
        return Marks(clustering.roots[part].astype(np.int64), self.kept[part], instead, reasons, repeats)


class Writing:
    """The second pass over the files of a run."""

    def __init__(
        self,
        read: Scan,
        judge: Judge,
        settings: DedupSettings,
        samples: Samples,
        progress: Progress,
        work: Work | None = None,
    ) -> None:
        self._read = read
        self._judge = judge
        self._settings = settings
        self._samples = samples
        self._progress = progress
        self._work = work
        counts = [sum(rows) for rows in read.rows]
        self._firsts: Integers = np.cumsum([0, *counts])

    def run(self, files: Sequence[InputFile], store: Store | None, mark: bool, overwrite: bool) -> None:
        """Writes all files into the store; without one only the samples are looked at."""
        largest = max((file.source.chunk_bytes() for file in files), default=0)
        workers = self._settings.workers_for(largest, self._read.documents)
        # Files beside each other where there are enough of them, otherwise the chunks of one file.
        wide = len(files) >= workers
        threads = 1 if wide else workers
        tasks = [partial(self._file, index, file, store, mark, overwrite, threads) for index, file in enumerate(files)]
        for _ in in_order(tasks, workers if wide else 1):
            pass

    def texts(self, files: Sequence[InputFile]) -> Iterator[tuple[int, Sequence[Any]]]:
        """The texts of all documents, in arrays, by chunks with their first number."""
        for index, file in enumerate(files):
            for first, chunk in self._chunks(
                index, file, self._settings.workers_for(file.source.chunk_bytes(), self._read.documents), whole=False
            ):
                yield first, chunk.pieces

    def _file(
        self, index: int, file: InputFile, store: Store | None, mark: bool, overwrite: bool, threads: int
    ) -> None:
        first, count = int(self._firsts[index]), sum(self._read.rows[index])
        done = self._work is not None and file.name in self._work.written
        if store is None or done:
            if self._samples.needs(first, count):
                for start, chunk in self._chunks(index, file, threads, whole=False):
                    self._look(start, chunk)
            return
        chunks = self._chunks(index, file, threads, whole=True)
        with store.open_writer(file.name, if_absent=not overwrite) as target:
            sink = SinkFile(target)
            writer = file.source.open_writer(sink, self._settings.column, mark, self._judge.looks_for_repeats)
            try:
                for start, chunk in chunks:
                    self._look(start, chunk)
                    writer.write(chunk, self._judge.verdicts(start, chunk))
            except BaseException:
                sink.dropped = True
                raise
            finally:
                writer.close()
        if self._work is not None:
            self._work.add_written(file.name)

    def _look(self, first: int, chunk: Chunk) -> None:
        self._samples.look(first, chunk.pieces)
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
