"""A run: read, cluster, write, report."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mithril.core.config import CoreSettings, load
from mithril.core.errors import ConfigError, ExistsError, InputError
from mithril.core.progress import Progress, Step
from mithril.core.store import Store
from mithril.dedup.chunks import Source
from mithril.dedup.clustering import Clustering, cluster
from mithril.dedup.contamination import ngrams_of_evaluation
from mithril.dedup.inputs import InputFile, Urls, find
from mithril.dedup.page import page
from mithril.dedup.plan import Plan, choose
from mithril.dedup.process import give_back
from mithril.dedup.report import FileReport, Report
from mithril.dedup.samples import Samples
from mithril.dedup.scan import Scan, Signing, scan, signer_of
from mithril.dedup.settings import DedupSettings
from mithril.dedup.spill import Spill
from mithril.dedup.substring import Repeats, find_repeats
from mithril.dedup.work import Work
from mithril.dedup.writing import Judge, Writing

# Readers of folders of Parquet pass over names that begin with _.
REPORT_JSON = "_dedup.json"
REPORT_HTML = "_dedup.html"

Callback = Callable[[Step], None]


@dataclass(frozen=True, slots=True)
class _Output:
    """The place and the form of what is written; without a store nothing is."""

    store: Store | None
    mark: bool
    overwrite: bool


def deduplicate(
    inputs: Urls,
    output: str | Path | None = None,
    *,
    mark: bool = False,
    dry_run: bool = False,
    overwrite: bool = False,
    work: str | Path | None = None,
    keep_work: bool = False,
    progress: Callback | None = None,
    **options: Any,
) -> Report:
    """Writes the inputs without duplicates below `output`, each file under its name, and gives the report.

    Inputs are URLs or paths of files and folders (Parquet, JSON lines, CSV, Arrow). With `mark` all documents are
    written, with verdicts. With `dry_run` nothing is written. `work` names a local folder in which a run that was
    killed goes on where it was; it is removed at the end, unless `keep_work`. `options` are those of [dedup].
    """
    settings = load(DedupSettings, options).settings
    core = load(CoreSettings).settings
    if output is None and not dry_run:
        raise InputError("there is no output; name one, or ask for a dry run")
    if keep_work and work is None:
        raise ConfigError("there is no folder for the work; name one by work")
    files = find(inputs, core, settings.piece_bytes)
    with ExitStack() as stack:
        folder = None
        plan = choose(settings)
        if work is not None:
            bands = [plan.bands, plan.rows] if plan else []
            folder = stack.enter_context(
                Work.begin(work, settings, files, bands, [None if output is None else str(output), mark, dry_run])
            )
        # What exists in a run that goes on is its own.
        again = overwrite or bool(folder and folder.documents)
        store = None if dry_run or output is None else stack.enter_context(Store.open(output, core))
        if store is not None:
            _check(store, files, mark, again)
        report = _run(files, settings, plan, _Output(store, mark, again), core, progress, folder)
        if folder is not None and not keep_work:
            folder.remove()
        return report


def rethreshold(
    work: str | Path,
    output: str | Path | None = None,
    *,
    mark: bool = False,
    dry_run: bool = False,
    overwrite: bool = False,
    progress: Callback | None = None,
    **options: Any,
) -> Report:
    """Runs again with other options of clustering (threshold, verify, keep, substring), from kept work.

    Nothing is hashed again: bands and rows stay, and the report says what they find at the new threshold.
    """
    core = load(CoreSettings).settings
    if output is None and not dry_run:
        raise InputError("there is no output; name one, or ask for a dry run")
    with ExitStack() as stack:
        folder = stack.enter_context(Work.open(work))
        given = {name: value for name, value in options.items() if value is not None}
        settings = load(DedupSettings, {**folder.run["settings"], **given}).settings
        plan = Plan(*folder.run["plan"]) if folder.run["plan"] else None
        before = load(DedupSettings, folder.run["settings"]).settings
        if settings.score not in ("", before.score):
            raise ConfigError(f"{work}: the run there read no column {settings.score!r}; run again from the inputs")
        # What was read of another column to choose by is passed over.
        chosen = {name: getattr(before, name) for name in ("keep", "keep_column")}
        if settings.model_copy(update=chosen).signed != folder.run["signed"] or ("minhash" in settings.methods) > (
            plan is not None
        ):
            raise ConfigError("the work was done with other texts, shingles or methods; run again from the inputs")
        if "minhash" not in settings.methods:
            plan = None
        files = find([url for url, _, _ in folder.run["inputs"]], core, settings.piece_bytes, named=False)
        if [[file.url, file.size, file.source.version] for file in files] != folder.run["inputs"]:
            raise InputError(f"{work}: the inputs have changed since; run again from them")
        names = folder.run["names"]
        files = [InputFile(file.url, name, file.size, file.source) for file, name in zip(files, names, strict=True)]
        folder.forget_written()
        store = None if dry_run or output is None else stack.enter_context(Store.open(output, core))
        if store is not None:
            _check(store, files, mark, overwrite)
        return _run(files, settings, plan, _Output(store, mark, overwrite), core, progress, folder)


def judged_sources(sources: Sequence[Source], settings: DedupSettings, mark: bool) -> tuple[Judge, Scan, Report]:
    """The verdicts on documents that are all held in memory, and the report."""
    started = time.monotonic()
    core = load(CoreSettings).settings
    plan = choose(settings)
    with Spill(settings.temporary_folder) as spill:
        read = _read(sources, settings, plan, core, spill, None, None)
        clustering = cluster(read, settings)
        repeats = None
        if "substring" in settings.methods:
            texts = _held_texts(sources, settings)
            with Progress("compare", None, None) as done:
                repeats = find_repeats(texts, read.lengths, clustering.is_kept, settings, spill, done)
    judge = Judge(clustering, repeats, mark)
    samples = Samples(clustering, tokens=settings.tokens)
    for first, pieces in _held_texts(sources, settings):
        samples.look(first, pieces)
    report = _report(read, clustering, judge, repeats, settings, samples, [], [], started, dry_run=False)
    return judge, read, report


def report_of(read: Scan, clustering: Clustering, settings: DedupSettings) -> Report:
    """The report on documents whose texts are elsewhere: its samples are empty."""
    judge = Judge(clustering, None, mark=False)
    samples = Samples(clustering)
    return _report(read, clustering, judge, None, settings, samples, [], [], time.monotonic(), dry_run=False)


def _held_texts(sources: Sequence[Source], settings: DedupSettings) -> Iterator[tuple[int, Sequence[Any]]]:
    first = 0
    for source in sources:
        for read in source.chunks(settings.column, whole=False):
            chunk = read()
            yield first, chunk.pieces
            first += chunk.rows


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
    plan: Plan | None,
    output: _Output,
    core: CoreSettings,
    progress: Callback | None,
    work: Work | None,
) -> Report:
    started = time.monotonic()
    with Spill(settings.temporary_folder, work.columns if work else None) as spill:
        read = _read([file.source for file in files], settings, plan, core, spill, progress, work)
        give_back()
        clustering = cluster(read, settings)
        give_back()
        samples = Samples(clustering, tokens=settings.tokens)
        total = int(read.lengths.sum(dtype=np.int64))
        repeats = None
        if "substring" in settings.methods:
            with Progress("compare", total, progress) as compared:
                texts = Writing(read, Judge(clustering, None, mark=False), settings, samples, compared).texts(files)
                repeats = find_repeats(texts, read.lengths, clustering.is_kept, settings, spill, compared)
    judge = Judge(clustering, repeats, output.mark)
    with Progress("write", total, progress) as written:
        writing = Writing(read, judge, settings, samples, written, work)
        writing.run(files, output.store, output.mark, output.overwrite)
    outputs = [] if output.store is None else [output.store.url_of(file.name) for file in files]
    reports = _file_reports(files, read, judge)
    dry = output.store is None
    report = _report(read, clustering, judge, repeats, settings, samples, reports, outputs, started, dry_run=dry)
    if output.store is not None:
        output.store.put(REPORT_JSON, report.to_json())
        output.store.put(REPORT_HTML, page(report))
        output.store.sweep()
    return report


def _read(
    sources: Sequence[Source],
    settings: DedupSettings,
    plan: Plan | None,
    core: CoreSettings,
    spill: Spill,
    progress: Callback | None,
    work: Work | None,
) -> Scan:
    signing = Signing(signer_of(settings, plan), plan, ngrams_of_evaluation(settings, core), bool(settings.score))
    with Progress("read", None, progress) as done:
        return scan(sources, settings, signing, spill, done, work)


def _file_reports(files: Sequence[InputFile], read: Scan, judge: Judge) -> list[FileReport]:
    reports, first = [], 0
    for file, rows in zip(files, read.rows, strict=True):
        count = sum(rows)
        reports.append(FileReport(file.url, first, count, int(judge.kept[first : first + count].sum()), file.size))
        first += count
    return reports


def _report(
    read: Scan,
    clustering: Clustering,
    judge: Judge,
    repeats: Repeats | None,
    settings: DedupSettings,
    samples: Samples,
    files: list[FileReport],
    outputs: list[str],
    started: float,
    *,
    dry_run: bool,
) -> Report:
    kept, (_, several) = judge.kept, clustering.several()
    plan = read.plan
    recall, precision = plan.expected(settings.threshold) if plan else (0.0, 0.0)
    counts = np.unique(several, return_counts=True)
    contaminated = int(clustering.contaminated.sum())
    return Report(
        settings=settings.model_dump(),
        documents=read.documents,
        kept=int(kept.sum()),
        removed_exact=int(clustering.equal.sum()),
        removed_minhash=read.documents - int(clustering.is_kept.sum()) - int(clustering.equal.sum()) - contaminated,
        removed_contaminated=contaminated,
        removed_substring=0 if repeats is None else int(repeats.emptied.sum()),
        without_text=int((~read.present).sum()),
        clusters=len(several),
        text_bytes=int(read.lengths.sum(dtype=np.int64)),
        text_bytes_kept=int(read.lengths[clustering.is_kept].sum(dtype=np.int64)) - (repeats.bytes if repeats else 0),
        repeated_bytes=repeats.bytes if repeats else 0,
        documents_cut=repeats.documents if repeats else 0,
        bands=plan.bands if plan else 0,
        rows=plan.rows if plan else 0,
        recall_at_threshold=plan.probability(settings.threshold) if plan else 0.0,
        expected_recall=recall,
        expected_precision=precision,
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
