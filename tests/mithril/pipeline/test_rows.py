"""Rows of Arrow data: their sizes are about those of Python, and parts of them are all of them."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mithril.pipeline.holds import measure, size_of
from mithril.pipeline.sources.rows import row_bytes, row_parts

COLUMNS: dict[str, Any] = {
    "number": pa.array([1, None, 3] * 20),
    "truth": pa.array([True, False, None] * 20),
    "text": pa.array(["a" * 100, None, "ä" * 300] * 20),
    "large text": pa.array(["a" * 100, None, "b" * 300] * 20, pa.large_string()),
    "view": pa.array(["a" * 100, None, "b" * 300] * 20).cast(pa.string_view()),
    "bytes": pa.array([b"a" * 100, b"", None] * 20),
    "dictionary": pa.array(["a" * 5000, None, "b"] * 20).dictionary_encode(),
    "all null": pa.DictionaryArray.from_arrays(pa.array([None] * 60, pa.int32()), pa.array([], pa.string())),
    "null": pa.nulls(60),
    "list": pa.array([[1, 2, 3], None, []] * 20),
    "texts": pa.array([["a" * 1000] * 3, ["b"], None] * 20),
    "large list": pa.array([["a" * 1000] * 3, ["b"], None] * 20, pa.large_list(pa.string())),
    "fixed": pa.array([[1.0, 2.0], None, [3.0, 4.0]] * 20, pa.list_(pa.float32(), 2)),
    "fixed texts": pa.array([["a" * 99, "b"], ["c", "d"], None] * 20, pa.list_(pa.string(), 2)),
    "struct": pa.array([{"a": 1, "b": "x" * 700}, None, {"a": None, "b": None}] * 20),
    "map": pa.array([[("k", "v" * 300)], [], None] * 20, pa.map_(pa.string(), pa.string())),
    "nested": pa.array([[{"x": ["y" * 200]}] * 2, [], None] * 20),
}


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("start", [0, 7])
def test_sizes_of_rows_are_about_those_of_python(name: str, start: int) -> None:
    batch = pa.record_batch({"x": COLUMNS[name]}).slice(start)
    sizes, rows = row_bytes(batch), batch.to_pylist()
    assert len(sizes) == len(rows) == 60 - start
    found = sum(size_of(measure(row)) for row in rows)
    # None is one object for all rows, and counts in each.
    assert found / 3 <= sizes.sum() <= 2 * found
    for size, row in zip(sizes, rows, strict=True):
        assert size >= size_of(measure(row)) / 3


@given(st.lists(st.text(max_size=60) | st.none(), max_size=40), st.integers(1, 3000))
def test_parts_are_all_rows_and_as_small_as_they_can_be(texts: list[str | None], size: int) -> None:
    batch = pa.record_batch({"x": pa.array(texts, pa.string()), "n": pa.array(range(len(texts)), pa.int32())})
    parts = list(row_parts(batch, None, size))
    assert [row for part in parts for row in part] == batch.to_pylist()
    assert [text for part in row_parts(batch, "x", size) for text in part] == texts
    sizes, at = row_bytes(batch), 0
    for part in parts:
        assert len(part) == 1 or sizes[at : at + len(part)].sum() <= size
        at += len(part)
        # The next row would not have fitted.
        assert at == len(texts) or sizes[at - len(part) : at + 1].sum() > size


def test_no_rows_have_no_parts() -> None:
    for column in COLUMNS.values():
        assert list(row_parts(pa.record_batch({"x": column}).slice(60), None, 100)) == []
