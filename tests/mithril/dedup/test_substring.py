"""Runs of bytes that repeat are cut out, wherever they stand."""

import csv
import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mithril import _kernels
from mithril.core.config import load
from mithril.core.progress import Progress
from mithril.dedup import deduplicate, deduplicate_table
from mithril.dedup.settings import DedupSettings
from mithril.dedup.spill import Spill
from mithril.dedup.substring import find_repeats

OPTIONS: dict[str, Any] = {"method": "substring", "substring_bytes": 20}
NOTICE = "All rights reserved by the people of the town. "


def cut(texts: list[Any], **options: Any) -> list[Any]:
    table, _ = deduplicate_table(pa.table({"text": texts}), **{**OPTIONS, **options})
    return list(table["text"].to_pylist())


def test_the_first_of_equal_runs_stays_and_the_others_go() -> None:
    texts = ["Begin. " + NOTICE + "End.", "x" + NOTICE + "y", None, "short"]
    table, report = deduplicate_table(pa.table({"text": texts}), **OPTIONS)
    # The run is as long as both have it: the dots and the letters beside it differ.
    assert table["text"].to_pylist() == [texts[0], "xy", None, "short"]
    assert (report.repeated_bytes, report.documents_cut, report.removed_substring) == (len(NOTICE), 1, 0)
    assert report.text_bytes_kept == report.text_bytes - len(NOTICE)


def test_a_document_of_repeats_alone_is_removed() -> None:
    table, report = deduplicate_table(pa.table({"text": ["a " + NOTICE, NOTICE + " ", "b"]}), **OPTIONS)
    assert table["text"].to_pylist() == ["a " + NOTICE, "b"]
    assert (report.kept, report.removed_substring) == (2, 1)


def test_cuts_are_at_characters_words_and_lines() -> None:
    first = "ä" + "一二三四五六七八九十" + "ö\nnext line"
    second = "é" + "一二三四五六七八九十" + "ü\nnext line"
    assert cut([first, second]) == [first, "éü\nnext line"]
    words = ["the same words stand in this line", "others: same words stand in this list"]
    assert cut(words, substring_border="word") == [words[0], "others: list"]
    lines = ["one\nthe line that is the same\ntwo", "three\nthe line that is the same\nfour"]
    assert cut(lines, substring_border="line") == [lines[0], "three\nfour"]


def test_runs_are_not_found_across_documents() -> None:
    texts = ["x" + NOTICE[:25], NOTICE[25:] + "y", "z" + NOTICE]
    assert cut(texts) == [texts[0], texts[1], "z"]


@pytest.mark.parametrize("seed", range(4))
def test_parts_and_memory_do_not_change_what_is_found(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(seed)
    pieces = ["".join(chance.choices("abcd \n", k=chance.randint(15, 60))) for _ in range(30)]
    texts = ["".join(chance.choices(pieces, k=chance.randint(1, 12))) for _ in range(200)]
    expected = cut(texts)
    monkeypatch.setattr("mithril.dedup.substring._READ_BYTES", 700)
    # As if anchors and windows were so large that the hashes are looked at in parts.
    monkeypatch.setattr("mithril.dedup.substring._ANCHOR_BYTES", 3000)
    monkeypatch.setattr("mithril.dedup.substring._WINDOW_BYTES", 200)
    parts: list[int] = []
    finder = _kernels.RepeatFinder

    def counted(length: int, unit: int, windows: int, part: int, of: int) -> _kernels.RepeatFinder:
        parts.append(of)
        return finder(length, unit, windows, part, of)

    monkeypatch.setattr("mithril._kernels.RepeatFinder", counted)
    assert cut(texts, memory_bytes=1 << 20) == expected
    assert len(parts) == parts[0] > 1
    assert len("".join(expected)) < len("".join(texts))


def test_a_run_that_repeats_itself_is_one_range() -> None:
    texts = pa.array([NOTICE * 3000, "x" * 50_000])
    settings = load(DedupSettings, {**OPTIONS, "memory_bytes": 1 << 20}).settings
    lengths = pa.compute.binary_length(texts).to_numpy().astype("int64")
    with Spill("") as spill, Progress("compare", None, lambda _: None) as done:
        found = find_repeats([(0, [texts])], lengths, lengths > 0, settings, spill, done)
    assert found.starts.tolist() == [len(NOTICE), len(NOTICE) * 3000 + 20]
    assert found.ends.tolist() == [len(NOTICE) * 3000, len(NOTICE) * 3000 + 50_000]


def test_only_documents_that_are_kept_count() -> None:
    texts = ["a " + NOTICE, "A  " + NOTICE, "b " + NOTICE]
    assert cut(texts, method="exact,substring") == [texts[0], "b"]


def test_files_of_each_form_are_rewritten(tmp_path: Path) -> None:
    texts = ["Begin. " + NOTICE + "End.", 'x "' + NOTICE + '" ä', "other"]
    pq.write_table(pa.table({"id": [1, 2, 3], "text": texts}), tmp_path / "a.parquet")
    lines = [json.dumps({"id": number, "text": text, "more": [1, 2]}) for number, text in enumerate(texts)]
    (tmp_path / "b.jsonl").write_text("\n".join(lines))
    with (tmp_path / "c.csv").open("w") as file:
        csv.writer(file).writerows([["text", "id"], *([text, str(number)] for number, text in enumerate(texts))])
    for name in ("a.parquet", "b.jsonl", "c.csv"):
        deduplicate(str(tmp_path / name), str(tmp_path / "out"), **OPTIONS)
    left = [texts[0], 'x "" ä', "other"]
    table = pq.read_table(tmp_path / "out" / "a.parquet")
    assert (table["text"].to_pylist(), table["id"].to_pylist()) == (left, [1, 2, 3])
    written = (tmp_path / "out" / "b.jsonl").read_text().splitlines()
    assert [written[0], written[2]] == [lines[0], lines[2]]
    assert json.loads(written[1]) == {"id": 1, "text": left[1], "more": [1, 2]}
    with (tmp_path / "out" / "c.csv").open() as file:
        assert [row["text"] for row in csv.DictReader(file)] == left


def test_marks_have_the_ranges_and_leave_the_text(tmp_path: Path) -> None:
    texts = ["ä " + NOTICE, "ü " + NOTICE + "!", NOTICE]
    pq.write_table(pa.table({"text": texts}), tmp_path / "a.parquet")
    deduplicate(str(tmp_path / "a.parquet"), str(tmp_path / "out"), mark=True, **OPTIONS)
    table = pq.read_table(tmp_path / "out" / "a.parquet")
    assert table["text"].to_pylist() == texts
    assert table["dedup_kept"].to_pylist() == [True, True, False]
    assert table["dedup_reason"].to_pylist() == [None, None, "substring"]
    assert table["dedup_repeats"].to_pylist() == [[], [[2, 3 + len(NOTICE)]], [[0, len(NOTICE)]]]


def test_lists_of_tokens_are_cut_at_tokens(tmp_path: Path) -> None:
    run = list(range(1000, 1030))
    lists = [[1, 2, *run, 3], [4, *run, 5], None, run, [6, *run[:19]]]
    kind = pa.list_(pa.uint16())
    pq.write_table(pa.table({"id": range(5), "tokens": pa.array(lists, kind)}), tmp_path / "in.parquet")
    options: dict[str, Any] = {
        "column": "tokens", "method": "substring", "shingle_unit": "tokens", "substring_tokens": 20,
    }  # fmt: skip
    report = deduplicate(str(tmp_path / "in.parquet"), str(tmp_path / "out"), **options)
    found = pq.read_table(tmp_path / "out" / "in.parquet")
    assert found.schema.field("tokens").type == kind
    assert found["tokens"].to_pylist() == [lists[0], [4, 5], None, lists[4]]
    assert (report.removed_substring, report.repeated_bytes) == (1, 4 * 60)
