"""Data sets of Ray: workers read and sign, this process clusters, workers keep.

What comes here of a document is what a run spills: hashes, bands and shingles, which lie in temporary files. The result
is that of one process.
"""

import importlib
import itertools
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa

from mithril.core.config import CoreSettings, load
from mithril.core.errors import ConfigError, InputError, MissingExtraError
from mithril.dedup.chunks import Booleans
from mithril.dedup.clustering import cluster
from mithril.dedup.contamination import ngrams_of_evaluation
from mithril.dedup.plan import choose
from mithril.dedup.report import Report
from mithril.dedup.running import report_of
from mithril.dedup.scan import (
    DOCUMENTS_MAX,
    SCORES,
    SHINGLES,
    STARTS,
    Scan,
    Signing,
    collected,
    sign_texts,
    signer_of,
)
from mithril.dedup.settings import DedupSettings
from mithril.dedup.spill import Spill
from mithril.dedup.table import check_columns, check_kind, chunk_of, filtered

# Where a document was when its data set was read.
_BATCH, _ROW = "__mithril_batch", "__mithril_row"
_BATCH_ROWS = 4096
_SHINGLE_BYTES = 4
_WHERE = "data set"


def deduplicate_ray(dataset: Any, *, workers: int = 2, **options: Any) -> tuple[Any, Report]:
    """A data set of Ray without duplicates, and the report. `options` are those of [dedup].

    `workers` processes sign, and as many keep; the driver clusters. Repeats within texts are not looked for.
    """
    try:
        ray = importlib.import_module("ray.data")
    except ImportError:
        raise MissingExtraError("data sets of Ray", "ray", "ray") from None
    settings = load(DedupSettings, options).settings
    if "substring" in settings.methods:
        raise ConfigError("repeats are looked for by one process; give files to mithril.dedup.deduplicate for them")
    check_columns(dataset.schema().names, _WHERE, settings.column, settings.score)
    columns = sorted({settings.column, settings.score or settings.column})
    given = settings.model_dump()
    with _in_order(ray), Spill(settings.temporary_folder) as spill:
        placed = dataset.map_batches(_placed, batch_format="pyarrow", batch_size=_BATCH_ROWS).materialize()
        signed = placed.select_columns([*columns, _BATCH]).map_batches(
            _Sign, fn_constructor_args=(given,), batch_format="pyarrow", batch_size=_BATCH_ROWS, concurrency=workers
        )
        read, batches = _gathered(signed, settings, spill)
        clustering = cluster(read, settings)
    kept = clustering.is_kept
    shares = importlib.import_module("ray").put(_shares(kept, batches))
    left = placed.map_batches(
        _Keep, fn_constructor_args=(shares,), batch_format="pyarrow", batch_size=_BATCH_ROWS, concurrency=workers
    )
    return left, report_of(read, clustering, settings)


@contextmanager
def _in_order(ray: Any) -> Iterator[None]:
    """Blocks come in their order: of documents that are alike the first is kept."""
    options = ray.DataContext.get_current().execution_options
    before, options.preserve_order = options.preserve_order, True
    try:
        yield
    finally:
        options.preserve_order = before


def _placed(table: Any) -> Any:
    """The table with the place of each document, which stays as blocks are cut anew."""
    batch = np.full(table.num_rows, uuid.uuid4().int >> 64, np.uint64)
    return table.append_column(_BATCH, pa.array(batch)).append_column(_ROW, pa.array(np.arange(table.num_rows)))


class _Sign:
    """A worker that signs. It gives one row for each run of documents of a batch."""

    def __init__(self, given: dict[str, Any]) -> None:
        self._settings = settings = load(DedupSettings, given).settings
        plan = choose(settings)
        evaluation = ngrams_of_evaluation(settings, load(CoreSettings).settings)
        self._signing = Signing(signer_of(settings, plan), plan, evaluation, bool(settings.score))

    def __call__(self, table: Any) -> Any:
        """The columns of the documents, as bytes."""
        batches = table[_BATCH].to_numpy()
        edges = [0, *(np.flatnonzero(batches[1:] != batches[:-1]) + 1).tolist(), len(batches)]
        rows = [self._signed(table.slice(start, end - start)) for start, end in itertools.pairwise(edges)]
        return pa.Table.from_pylist([row for row in rows if row["rows"]], schema=self._schema())

    def _signed(self, part: Any) -> dict[str, Any]:
        chunk = chunk_of(part, self._settings.column, self._settings.score, _WHERE, 0, whole=False)
        check_kind(chunk, _WHERE, self._settings.column, tokens=self._settings.tokens)
        shingles = bytearray()

        def keep(more: bytes) -> int:
            shingles.extend(more)
            return len(shingles) - len(more)

        columns = sign_texts(chunk.pieces, self._signing, keep)
        if chunk.scores is not None:
            columns[SCORES].append(chunk.scores.tobytes())
        found: dict[str, Any] = {name: b"".join(parts) for name, parts in columns.items()}
        batch = part[_BATCH][0].as_py() if part.num_rows else 0
        return {"batch": batch, "rows": part.num_rows, SHINGLES: bytes(shingles), **found}

    def _schema(self) -> Any:
        names = [*self._signing.widths(), SHINGLES]
        return pa.schema([("batch", pa.uint64()), ("rows", pa.int64()), *((name, pa.large_binary()) for name in names)])


def _gathered(signed: Any, settings: DedupSettings, spill: Spill) -> tuple[Scan, list[tuple[int, int]]]:
    """The columns of all documents, and the batches with their number of documents, in order."""
    batches: list[tuple[int, int]] = []
    documents = 0
    for table in signed.iter_batches(batch_format="pyarrow", batch_size=None):
        for row in table.to_pylist():
            batches.append((row.pop("batch"), row.pop("rows")))
            documents += batches[-1][1]
            if documents > DOCUMENTS_MAX:
                raise InputError(f"a run takes at most {DOCUMENTS_MAX} documents; divide the data set")
            first = spill.append(SHINGLES, row.pop(SHINGLES))
            for name, part in row.items():
                moved = np.frombuffer(part, np.uint64) + np.uint64(first // _SHINGLE_BYTES) if name == STARTS else part
                spill.append(name, moved if isinstance(moved, bytes) else moved.tobytes())
    return collected(spill, choose(settings), [[rows for _, rows in batches]]), batches


def _shares(kept: Booleans, batches: list[tuple[int, int]]) -> dict[int, Booleans]:
    """The documents that are kept, by batch. The documents of a batch come one after the other."""
    parts: dict[int, list[Booleans]] = {}
    first = 0
    for batch, rows in batches:
        parts.setdefault(batch, []).append(kept[first : first + rows])
        first += rows
    return {batch: np.concatenate(found) for batch, found in parts.items()}


class _Keep:
    """A worker that leaves out what is not kept."""

    def __init__(self, shares: Any) -> None:
        self._shares: dict[int, Booleans] = importlib.import_module("ray").get(shares)

    def __call__(self, table: Any) -> Any:
        """The documents that are kept, as they were."""
        batches, rows = table[_BATCH].to_numpy(), table[_ROW].to_numpy()
        kept = np.zeros(len(batches), np.bool_)
        for batch in np.unique(batches):
            inside = batches == batch
            kept[inside] = self._shares[int(batch)][rows[inside]]
        return filtered(table.drop_columns([_BATCH, _ROW]), kept)
