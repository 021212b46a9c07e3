"""Documents in memory, of each kind that people have them in."""

from collections.abc import Iterator
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from tests.mithril.dedup.documents import planted

from mithril.core.errors import InputError
from mithril.dedup import deduplicate_table


@pytest.fixture(scope="module")
def table() -> pa.Table:
    texts = planted(61, bases=60, copies=30)
    return pa.table({"id": list(range(len(texts))), "text": texts})


@pytest.fixture(scope="module")
def expected(table: pa.Table) -> list[int]:
    return list(deduplicate_table(table)[0]["id"].to_pylist())


def test_any_arrow_stream_gives_a_table(table: pa.Table, expected: list[int]) -> None:
    class Stream:
        def __arrow_c_stream__(self, schema: Any = None) -> Any:
            return table.__arrow_c_stream__(schema)

    for data in (table.to_reader(max_chunksize=7), table.combine_chunks().to_batches()[0], Stream()):
        found, report = deduplicate_table(data)
        assert found["id"].to_pylist() == expected
        assert report.documents == table.num_rows


@pytest.mark.parametrize("lazy", [False, True])
def test_frames_of_polars_give_frames(table: pa.Table, expected: list[int], lazy: bool) -> None:
    frame: Any = pl.from_arrow(table)
    given, _ = deduplicate_table(frame.lazy() if lazy else frame)
    assert isinstance(given, pl.LazyFrame if lazy else pl.DataFrame)
    found = given.lazy().collect()
    assert found["id"].to_list() == expected
    assert found.schema == frame.schema


def test_data_sets_give_data_sets(table: pa.Table, expected: list[int]) -> None:
    import datasets  # noqa: PLC0415 (takes a while)

    whole = datasets.Dataset(table.drop_columns(["id"])).add_column("id", table["id"].to_pylist())
    # A selection has indices beside its table.
    mixed = datasets.concatenate_datasets([whole.select(range(40, len(whole))), whole.select(range(40))])
    mixed = mixed.select([*range(len(whole) - 40, len(whole)), *range(len(whole) - 40)])
    found, _ = deduplicate_table(mixed)
    assert isinstance(found, datasets.Dataset)
    assert found["id"] == expected
    assert found.features == mixed.features
    marked, _ = deduplicate_table(mixed, mark=True)
    assert [number for number, kept in zip(marked["id"], marked["dedup_kept"], strict=True) if kept] == expected
    cut, report = deduplicate_table(mixed, method="exact,substring", substring_bytes=20)
    assert sum(map(len, cut["text"])) == report.text_bytes_kept


def test_data_sets_that_are_read_once_give_such(table: pa.Table, expected: list[int]) -> None:
    import datasets  # noqa: PLC0415 (takes a while)

    def rows() -> Iterator[dict[str, Any]]:
        yield from table.to_pylist()

    found, _ = deduplicate_table(datasets.IterableDataset.from_generator(rows))
    assert isinstance(found, datasets.IterableDataset)
    assert [row["id"] for row in found] == expected


def test_other_data_is_refused() -> None:
    with pytest.raises(InputError, match="list is no data that can be deduplicated"):
        deduplicate_table(["a", "b"])
    with pytest.raises(InputError, match="no column 'text'"):
        deduplicate_table(pl.DataFrame({"body": ["a"]}))
