"""Files against an index of documents."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mithril.core.config import CoreSettings, load
from mithril.core.errors import ExistsError, InputError
from mithril.core.progress import Progress, Step
from mithril.core.store import Store
from mithril.dedup.chunks import Chunk, Verdicts
from mithril.dedup.index import DocumentIndex, Entries, Matches
from mithril.dedup.inputs import InputFile, Urls, find
from mithril.dedup.ordered import in_order
from mithril.dedup.settings import DedupSettings
from mithril.dedup.sink import SinkFile
from mithril.dedup.table import check_kind
from mithril.dedup.texts import joined


@dataclass(frozen=True, slots=True)
class Match:
    """A document of a file that is like one of the index."""

    url: str
    row: int
    """Its place among the documents of the file."""
    duplicate_of: int
    """The number of the document in the index."""
    similarity: float


@dataclass(slots=True)
class IndexReport:
    """Documents that were compared with an index."""

    documents: int = 0
    duplicates: int = 0
    outputs: list[str] = field(default_factory=list)


def add_files(
    index: DocumentIndex,
    inputs: Urls,
    output: str | Path | None = None,
    *,
    overwrite: bool = False,
    progress: Callable[[Step], None] | None = None,
    **options: Any,
) -> IndexReport:
    """Adds documents of files to the index; writes those that are new below `output`, each file under its name."""
    settings, core = load(DedupSettings, options).settings, load(CoreSettings).settings
    files = find(inputs, core, settings.piece_bytes, named=output is not None)
    report = IndexReport()
    with Progress("add", None, progress) as done:
        if output is None:
            for file in files:
                for chunk, entries in _read(index, file, settings, whole=False):
                    _count(report, index.add_entries(entries), chunk, done)
            return report
        with Store.open(output, core) as store:
            _check(store, files, overwrite)
            for file in files:
                _write(index, file, settings, store, overwrite, report, done)
            store.sweep()
    return report


def query_files(index: DocumentIndex, inputs: Urls, **options: Any) -> Iterator[Match]:
    """The documents of files that are like documents of the index. Nothing is added."""
    settings, core = load(DedupSettings, options).settings, load(CoreSettings).settings
    for file in find(inputs, core, settings.piece_bytes, named=False):
        row = 0
        for chunk, entries in _read(index, file, settings, whole=False):
            matches = index.query_entries(entries)
            for place in np.flatnonzero(~matches.new).tolist():
                number, similarity = int(matches.duplicate_of[place]), float(matches.similarity[place])
                yield Match(file.url, row + place, number, similarity)
            row += chunk.rows


def _check(store: Store, files: Sequence[InputFile], overwrite: bool) -> None:
    inputs = {file.url for file in files}
    for file in files:
        if store.url_of(file.name) in inputs:
            raise InputError(f"{file.url}: the output would replace this input; choose another output")
        if not overwrite and store.exists(file.name):
            raise ExistsError(
                "there is such a file already; overwrite it, or choose another output", store.url_of(file.name)
            )


def _write(
    index: DocumentIndex,
    file: InputFile,
    settings: DedupSettings,
    store: Store,
    overwrite: bool,
    report: IndexReport,
    done: Progress,
) -> None:
    with store.open_writer(file.name, if_absent=not overwrite) as target:
        sink = SinkFile(target)
        writer = file.source.open_writer(sink, settings.column, False, False)
        try:
            for chunk, entries in _read(index, file, settings, whole=True):
                matches = index.add_entries(entries)
                writer.write(chunk, Verdicts(matches.new))
                _count(report, matches, chunk, done)
        except BaseException:
            sink.dropped = True
            raise
        finally:
            writer.close()
    report.outputs.append(store.url_of(file.name))


def _read(
    index: DocumentIndex, file: InputFile, settings: DedupSettings, whole: bool
) -> Iterator[tuple[Chunk, Entries]]:
    """The chunks of a file and their entries, made by several threads."""
    tasks = (partial(_made, index, file, settings.column, read) for read in file.source.chunks(settings.column, whole))
    return in_order(tasks, settings.workers)


def _made(index: DocumentIndex, file: InputFile, column: str, read: Callable[[], Chunk]) -> tuple[Chunk, Entries]:
    chunk = read()
    check_kind(chunk, file.url, column, tokens=index.shape.tokens)
    return chunk, index.entries(joined(chunk.pieces))


def _count(report: IndexReport, matches: Matches, chunk: Chunk, done: Progress) -> None:
    report.documents += chunk.rows
    report.duplicates += int((~matches.new).sum())
    done.add(chunk.bytes)
