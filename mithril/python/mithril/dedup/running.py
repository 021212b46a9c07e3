"""A run: read, cluster, write, report."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mithril.core.config import CoreSettings, load
from mithril.core.errors import ExistsError, InputError
from mithril.core.progress import Progress, Step
from mithril.core.store import Store
from mithril.dedup.chunks import Integers, Source
from mithril.dedup.clustering import Clustering, cluster
from mithril.dedup.inputs import InputFile, find
from mithril.dedup.page import page
from mithril.dedup.plan import Plan, choose
from mithril.dedup.report import FileReport, Report
from mithril.dedup.samples import Samples
from mithril.dedup.scan import Scan, scan
from mithril.dedup.settings import DedupSettings
from mithril.dedup.spill import Spill
from mithril.dedup.table import TableSource, check_free, filtered, marked
from mithril.dedup.writing import Writing, marks_of

# Readers of folders of Parquet pass over names that begin with _.
REPORT_JSON = "_dedup.json"
REPORT_HTML = "_dedup.html"

Callback = Callable[[Step], None]


def deduplicate(
    inputs: str | Sequence[str],
    output: str | None = None,
    *,
    mark: bool = False,
    dry_run: bool = False,
    overwrite: bool = False,
    progress: Callback | None = None,
    **options: Any,
) -> Report:
    """Writes the inputs without duplicates below `output`, each file under its name, and gives the report.

    Inputs are URLs or paths of files and folders (Parquet, JSON lines). With `mark` all documents are written, with
    verdicts. With `dry_run` nothing is written. `options` are those of [dedup].
    """
    settings = load(DedupSettings, options).settings
    core = load(CoreSettings).settings
    if output is None and not dry_run:
        raise InputError("there is no output; name one, or ask for a dry run")
    files = find([inputs] if isinstance(inputs, str) else inputs, core, settings.block_bytes)
    if dry_run or output is None:
        return _run(files, settings, None, mark, overwrite, progress)
    with Store.open(output, core) as store:
        _check(store, files, mark, overwrite)
        return _run(files, settings, store, mark, overwrite, progress)


def deduplicate_table(table: Any, *, mark: bool = False, **options: Any) -> tuple[Any, Report]:
    """The pyarrow table without duplicates, or with verdicts if `mark`, and the report."""
    settings = load(DedupSettings, options).settings
    if mark:
        check_free(table.column_names, "table")
    started = time.monotonic()
    with Spill(settings.temporary_folder) as spill:
        read = _read([TableSource(table)], settings, spill, None)
        clustering = cluster(read, settings)
    kept = clustering.is_kept
    samples, first = Samples(clustering, _sizes(clustering)), 0
    for chunk in read.held[0]:
        samples.look(first, chunk.texts)
        first += chunk.rows
    result = marked(table, marks_of(clustering, 0, len(kept))) if mark else filtered(table, kept)
    return result, _report(read, clustering, settings, samples, [], [], started, dry_run=False)


def _check(store: Store, files: Sequence[InputFile], mark: bool, overwrite: bool) -> None:
    """Refuses outputs that would replace something."""
    inputs = {file.url for file in files}
    for file in files:
        if mark:
            file.source.check_marks()
        if store.url_of(file.name) in inputs:
            raise InputError(f"{file.url}: the output would replace this input; choose another output")
        if not overwrite and store.exists(file.name):
            raise ExistsError(
                "there is such a file already; overwrite it, or choose another output", store.url_of(file.name)
            )


def _run(
    files: Sequence[InputFile],
    settings: DedupSettings,
    store: Store | None,
    mark: bool,
    overwrite: bool,
    progress: Callback | None,
) -> Report:
    started = time.monotonic()
    with Spill(settings.temporary_folder) as spill:
        read = _read([file.source for file in files], settings, spill, progress)
        clustering = cluster(read, settings)
    samples = Samples(clustering, _sizes(clustering))
    with Progress("write", int(read.lengths.sum(dtype=np.int64)), progress) as written:
        writing = Writing(read, clustering, settings, samples, written)
        writing.run(files, store, mark, overwrite)
    outputs = [] if store is None else [store.url_of(file.name) for file in files]
    reports = _file_reports(files, read, clustering)
    report = _report(read, clustering, settings, samples, reports, outputs, started, dry_run=store is None)
    if store is not None:
        store.put(REPORT_JSON, report.to_json())
        store.put(REPORT_HTML, page(report))
    return report


def _read(sources: Sequence[Source], settings: DedupSettings, spill: Spill, progress: Callback | None) -> Scan:
    plan = choose(settings)
    with Progress("read", None, progress) as done:
        return scan(sources, settings, plan, spill, done)


def _sizes(clustering: Clustering) -> Integers:
    """The number of documents of each cluster, at its first document."""
    return np.bincount(clustering.roots, minlength=len(clustering.roots)).astype(np.int64)


def _file_reports(files: Sequence[InputFile], read: Scan, clustering: Clustering) -> list[FileReport]:
    reports, first, kept = [], 0, clustering.is_kept
    for file, rows in zip(files, read.rows, strict=True):
        count = sum(rows)
        reports.append(FileReport(file.url, first, count, int(kept[first : first + count].sum()), file.size))
        first += count
    return reports


def _report(
    read: Scan,
    clustering: Clustering,
    settings: DedupSettings,
    samples: Samples,
    files: list[FileReport],
    outputs: list[str],
    started: float,
    *,
    dry_run: bool,
) -> Report:
    kept, sizes = clustering.is_kept, _sizes(clustering)
    several = sizes[sizes > 1]
    plan: Plan | None = read.plan
    counts = np.unique(several, return_counts=True)
    return Report(
        settings=settings.model_dump(),
        documents=read.documents,
        kept=int(kept.sum()),
        removed_exact=clustering.exact,
        removed_minhash=read.documents - int(kept.sum()) - clustering.exact,
        without_text=int((~read.present).sum()),
        clusters=len(several),
        text_bytes=int(read.lengths.sum(dtype=np.int64)),
        text_bytes_kept=int(read.lengths[kept].sum(dtype=np.int64)),
        bands=plan.bands if plan else 0,
        rows=plan.rows if plan else 0,
        recall_at_threshold=plan.probability(settings.threshold) if plan else 0.0,
        curve=plan.curve() if plan else [],
        candidates=clustering.candidates,
        accepted=clustering.accepted,
        verified=settings.verify,
        histogram=clustering.histogram,
        cluster_sizes={int(size): int(count) for size, count in zip(*counts, strict=True)},
        largest=samples.reports(),
        files=files,
        seconds=time.monotonic() - started,
        outputs=outputs,
        dry_run=dry_run,
    )
