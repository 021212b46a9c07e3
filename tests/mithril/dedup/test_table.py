"""Duplicates in a table: which they are, which one is kept, and what the report says."""

import json
import random
from typing import Any

import pyarrow as pa
import pytest
from tests.mithril.dedup.documents import planted, true_roots

from mithril.core.errors import ConfigError, InputError
from mithril.dedup import deduplicate_table

THRESHOLD = 0.7


def roots(texts: list[str | None], **options: Any) -> list[int]:
    table, _ = deduplicate_table(pa.table({"text": texts}), mark=True, **options)
    return list(table["dedup_cluster"].to_pylist())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_is_found_is_what_all_pairs_say(seed: int) -> None:
    texts = planted(seed)
    truth = true_roots(texts, THRESHOLD)
    found = roots(list(texts), threshold=THRESHOLD)
    partners = {number for number, root in enumerate(truth) if truth.count(root) > 1}
    flagged = {number for number, root in enumerate(found) if found.count(root) > 1}
    assert flagged <= partners
    assert len(flagged) >= 0.98 * len(partners)


def test_a_more_careful_plan_misses_nothing() -> None:
    texts = planted(4)
    assert roots(list(texts), threshold=THRESHOLD, bands=64, rows=2) == true_roots(texts, THRESHOLD)


def test_equal_texts_are_exact_duplicates_whatever_their_case_and_white_space() -> None:
    texts = ["One two\nthree", "one  TWO three ", "other", "ÄRGER\u00a0x", "ärger x", "!", "! "]
    table, report = deduplicate_table(pa.table({"text": texts}), method="exact")
    assert table["text"].to_pylist() == ["One two\nthree", "other", "ÄRGER\u00a0x", "!"]
    assert (report.removed_exact, report.removed_minhash) == (3, 0)
    assert roots(list(texts), method="exact", normalization="none") == list(range(7))


def test_a_document_without_text_is_like_no_other() -> None:
    table, report = deduplicate_table(pa.table({"text": [None, "a b", None, "", "a b", ""]}))
    assert table["text"].to_pylist() == [None, "a b", None, ""]
    assert report.without_text == 2


def test_the_longest_document_of_a_cluster_can_be_kept() -> None:
    text = " ".join(f"w{number}" for number in range(60))
    table = pa.table({"text": ["x", text, text + " more", text + " more", "y"]})
    marked, _ = deduplicate_table(table, keep="longest", mark=True, threshold=THRESHOLD)
    assert marked["dedup_kept"].to_pylist() == [True, False, True, False, True]
    assert marked["dedup_duplicate_of"].to_pylist() == [None, 2, None, 2, None]
    assert marked["dedup_cluster"].to_pylist() == [0, 1, 1, 1, 4]


def test_threads_and_chunks_do_not_change_the_result() -> None:
    texts = planted(5, bases=9000, copies=3000)
    whole = pa.table({"text": texts})
    pieces = pa.concat_tables([whole.slice(0, 1000), whole.slice(1000, 1), whole.slice(1001)])
    expected = deduplicate_table(whole, threads=1)[0]
    assert expected.num_rows < whole.num_rows
    assert deduplicate_table(whole, threads=3)[0] == expected
    assert deduplicate_table(pieces, threads=2, memory_bytes=1 << 20)[0].combine_chunks() == expected.combine_chunks()


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.dictionary(pa.int32(), pa.string())]
)
def test_all_types_of_text_are_taken(kind: pa.DataType) -> None:
    column = pa.array(["a b c", "d", "a b c", None]).cast(kind)
    table, _ = deduplicate_table(pa.table({"text": column, "id": [1, 2, 3, 4]}))
    assert table["id"].to_pylist() == [1, 2, 4]
    assert table.schema.field("text").type == kind


def test_words_of_languages_without_spaces_are_compared() -> None:
    text = "".join(chr(0x4E00 + number * 7 % 3000) for number in range(200))
    assert roots([text, "天" + text, "完全不同的文字在这里"], threshold=THRESHOLD) == [0, 0, 2]


def test_shingles_of_characters_and_bytes() -> None:
    text = "abcdefghijklmnopqrstuvwxyz" * 3 + "0123456789" * 3
    for unit in ("characters", "bytes"):
        assert roots([text, text + "!", "z" * 50], shingle_unit=unit, shingle_size=8, threshold=THRESHOLD) == [0, 0, 2]


def test_unverified_candidates_count_where_it_is_asked_for() -> None:
    texts = planted(6)
    _, checked = deduplicate_table(pa.table({"text": texts}), threshold=THRESHOLD, bands=64, rows=1)
    _, unchecked = deduplicate_table(pa.table({"text": texts}), threshold=THRESHOLD, bands=64, rows=1, verify=False)
    assert unchecked.accepted == unchecked.candidates == checked.candidates > checked.accepted


@pytest.mark.parametrize(
    "kind",
    [pa.int8(), pa.uint16(), pa.float32(), pa.float64(), pa.date32(), pa.timestamp("us", "UTC"), pa.bool_(),
     pa.duration("s"), pa.decimal128(30, 2), pa.list_(pa.int32())],
    ids=str,
)  # fmt: skip
def test_other_columns_stay_with_their_documents(kind: pa.DataType) -> None:
    numbers = [5, 6, 7, None, 0, 1, None, 2, 3]
    if pa.types.is_list(kind):
        values = pa.array([None if number is None else [number] for number in numbers], kind)
    else:
        values = pa.array(numbers, pa.int32() if kind.bit_width == 32 else pa.int64()).cast(kind)
    # A part of the columns, which does not begin where their buffers do.
    texts = ["before", "a", "b", "a", "A", "c", "d", "c", "e"]
    table, _ = deduplicate_table(pa.table({"text": texts, "value": values}).slice(1), method="exact")
    kept = [1, 2, 5, 6, 8]
    assert table["value"].to_pylist() == [values[row].as_py() for row in kept]
    assert table["value"].type == kind
    assert table["value"].null_count == sum(not values[row].is_valid for row in kept)


def test_many_equal_documents_make_as_many_links() -> None:
    # Equal but for one word: no two texts are equal, all are alike.
    text = " ".join(f"w{number}" for number in range(300))
    _, report = deduplicate_table(pa.table({"text": [f"{text} tail{number}" for number in range(3000)]}))
    assert report.kept == 1
    assert report.candidates < 3000 * 2 * report.bands


def test_the_report_adds_up() -> None:
    texts = planted(7)
    table, report = deduplicate_table(pa.table({"text": texts}), threshold=THRESHOLD)
    assert report.documents == len(texts)
    assert report.kept == table.num_rows == report.documents - report.removed_exact - report.removed_minhash
    assert report.text_bytes == sum(len(text.encode()) for text in texts)
    assert report.text_bytes_kept == sum(len(text.encode()) for text in table["text"].to_pylist())
    assert sum(size * count for size, count in report.cluster_sizes.items()) - report.clusters == report.removed
    assert sum(report.histogram) == report.candidates
    first = report.largest[0]
    assert first.documents == max(report.cluster_sizes)
    assert texts[first.samples[0].document].startswith(first.samples[0].text)
    assert json.loads(report.to_json())["kept"] == report.kept


def test_marks_do_not_cover_columns() -> None:
    table, _ = deduplicate_table(pa.table({"text": ["a"]}), mark=True)
    with pytest.raises(InputError, match="a column dedup_cluster already"):
        deduplicate_table(table, mark=True)


def test_an_empty_table_is_no_error() -> None:
    table, report = deduplicate_table(pa.table({"text": pa.array([], pa.string())}))
    assert (table.num_rows, report.kept, report.clusters) == (0, 0, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"column": "body"}, "no column 'body'; there are text, id"),
        ({"column": "id"}, "holds int64; a column of strings"),
    ],
)
def test_a_column_that_cannot_be_used_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        deduplicate_table(pa.table({"text": ["a"], "id": [1]}), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 1.5}, "dedup.threshold"),
        ({"method": "exact,fuzzy"}, "names methods among exact, minhash"),
        ({"bands": 3}, "are given together"),
        ({"bands": 4000, "rows": 4000}, "bands times rows"),
        ({"colour": 1}, "has no option colour"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        deduplicate_table(pa.table({"text": ["a"]}), **options)


@pytest.mark.parametrize("kind", [pa.int64(), pa.uint16()])
def test_lists_of_tokens_are_documents(kind: pa.DataType) -> None:
    chance = random.Random(3)
    base = [chance.randrange(60_000) for _ in range(200)]
    lists = [base, [*base[:100], 7, *base[101:]], base, base[::-1], None, []]
    table = pa.table({"text": pa.chunked_array([pa.array(lists, pa.list_(kind))]).slice(0, 6)})
    kept, report = deduplicate_table(table, shingle_unit="tokens")
    assert kept["text"].to_pylist() == [base, base[::-1], None, []]
    assert (report.removed_exact, report.removed_minhash) == (1, 1)
    assert report.largest[0].samples[0].text.startswith(f"{base[0]} {base[1]} ")


def test_tokens_are_told_from_texts() -> None:
    lists = pa.table({"text": pa.array([[1, 2], [3, -1]])})
    with pytest.raises(InputError, match="holds lists; set shingle_unit to tokens"):
        deduplicate_table(lists.slice(0, 1))
    with pytest.raises(InputError, match="whole number of 32 bits"):
        deduplicate_table(lists, shingle_unit="tokens")
    with pytest.raises(InputError, match="holds texts; set shingle_unit to words"):
        deduplicate_table(pa.table({"text": ["a"]}), shingle_unit="tokens")
