"""Documents in memory: tables and readers of pyarrow, frames of polars, data sets of Hugging Face."""

from typing import Any

import numpy as np
import pyarrow as pa

from mithril.core.config import load
from mithril.core.errors import InputError
from mithril.dedup.chunks import Booleans
from mithril.dedup.report import Report
from mithril.dedup.running import judged_sources
from mithril.dedup.settings import DedupSettings
from mithril.dedup.table import TableSource, check_free, judged


def deduplicate_table(data: Any, *, mark: bool = False, **options: Any) -> tuple[Any, Report]:
    """The data without duplicates, or with verdicts if `mark`, and the report.

    A pyarrow table gives a table, a reader or any other Arrow stream a table, a frame of polars a frame, a data set of
    Hugging Face a data set. The documents are in memory, or mapped as those of a data set are.
    """
    settings = load(DedupSettings, options).settings
    table = _table(data, settings.column)
    if mark:
        check_free(table.column_names, "table")
    source = TableSource(table)
    judge, _, report = judged_sources([source], settings, mark)
    if _is_dataset(data) and not mark and not judge.looks_for_repeats:
        return _selected(data, judge.kept), report
    if _is_dataset(data) and table.column_names != _names(data):
        table = _whole(data)
        source = TableSource(table)
    parts, first = [], 0
    for read in source.chunks(settings.column, whole=True):
        chunk = read()
        parts.append(judged(chunk.content, settings.column, judge.verdicts(first, chunk)))
        first += chunk.rows
    return _like(data, pa.concat_tables(parts) if parts else table), report


def _module(data: Any) -> str:
    return type(data).__module__.partition(".")[0]


def _is_dataset(data: Any) -> bool:
    return _module(data) == "datasets"


def _table(data: Any, column: str) -> Any:
    if isinstance(data, pa.Table):
        return data
    if isinstance(data, pa.RecordBatchReader):
        return data.read_all()
    if isinstance(data, pa.RecordBatch):
        return pa.Table.from_batches([data])
    if _is_dataset(data):
        if column not in _names(data):
            raise InputError(f"there is no column {column!r}; there are {', '.join(_names(data))}")
        return _whole(data.select_columns([column]))
    if _module(data) == "polars" and hasattr(data, "collect"):
        data = data.collect()
    if hasattr(data, "__arrow_c_stream__"):
        return pa.table(data)
    raise InputError(
        f"{type(data).__name__} is no data that can be deduplicated; give a pyarrow table or reader, a polars frame, "
        "a Hugging Face data set, or anything else with __arrow_c_stream__"
    )


def _names(dataset: Any) -> list[str]:
    return list(dataset.column_names or dataset.features or next(iter(dataset), {}))


def _whole(dataset: Any) -> Any:
    """The rows of a data set, in its order, as a table."""
    parts = [pa.table(batch) for batch in dataset.with_format("arrow").iter(batch_size=1000)]
    return pa.concat_tables(parts) if parts else pa.table({name: pa.array([], pa.string()) for name in _names(dataset)})


def _selected(dataset: Any, kept: Booleans) -> Any:
    if hasattr(dataset, "select"):
        return dataset.select(np.flatnonzero(kept))
    return dataset.filter(lambda _, index: bool(kept[index]), with_indices=True)


def _like(data: Any, table: Any) -> Any:
    """The table as data of the kind that was given."""
    if _module(data) == "polars":
        import polars as pl  # noqa: PLC0415

        frame = pl.DataFrame(table)
        return frame.lazy() if hasattr(data, "collect") else frame
    if _is_dataset(data) and hasattr(data, "select"):
        import datasets  # noqa: PLC0415

        return datasets.Dataset(table.replace_schema_metadata(None))
    if _is_dataset(data):
        import datasets  # noqa: PLC0415

        return datasets.Dataset(table.replace_schema_metadata(None)).to_iterable_dataset()
    return table
