"""The document of a cluster that is kept, chosen by a column."""

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from mithril.core.errors import ConfigError, InputError
from mithril.dedup import deduplicate, deduplicate_table, rethreshold
from mithril.dedup.work import Work

TEXTS = ["a b c", "a b c", "A b c", "d", "a b c", "e", "e"]
SCORES = [1, None, 5, None, 5, None, -2]
HIGHEST, LOWEST = [2, 3, 6], [0, 3, 6]


def kept(scores: Any, **options: Any) -> list[int]:
    table = pa.table({"text": TEXTS, "score": scores, "number": range(len(TEXTS))})
    return list(deduplicate_table(table, keep_column="score", **options)[0]["number"].to_pylist())


@pytest.mark.parametrize(("keep", "expected"), [("highest", HIGHEST), ("lowest", LOWEST), ("first", [0, 3, 5])])
def test_the_first_document_with_the_best_value_is_kept(keep: str, expected: list[int]) -> None:
    assert kept(SCORES, keep=keep) == expected


def test_marks_name_the_document_that_is_kept_instead() -> None:
    table = pa.table({"text": TEXTS, "score": SCORES})
    marked, _ = deduplicate_table(table, keep="highest", keep_column="score", mark=True)
    assert marked["dedup_duplicate_of"].to_pylist() == [2, 2, None, None, 2, 6, None]
    assert marked["dedup_cluster"].to_pylist() == [0, 0, 0, 3, 0, 5, 5]


DAYS = [None if score is None else dt.date(2026, 1, 10) + dt.timedelta(score) for score in SCORES]


@pytest.mark.parametrize(
    "scores",
    [
        pa.array(SCORES, pa.int8()),
        pa.array(SCORES, pa.float32()),
        pa.array(SCORES, pa.decimal128(5)),
        pa.array(DAYS, pa.date32()),
        pa.array(DAYS, pa.date64()),
        pa.array(DAYS, pa.date32()).cast(pa.timestamp("ns")),
        pa.array(SCORES, pa.duration("s")),
    ],
    ids=str,
)
def test_numbers_and_times_of_all_types_choose(scores: pa.Array) -> None:
    assert kept(scores, keep="highest") == HIGHEST


def _json_lines(table: pa.Table, path: Path) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))


WRITERS: dict[str, Callable[[pa.Table, Path], object]] = {
    "in.parquet": lambda table, path: pq.write_table(table, path, row_group_size=3),
    "in.arrow": lambda table, path: pyarrow.feather.write_feather(table, str(path), chunksize=2),
    "in.csv": pyarrow.csv.write_csv,
    "in.jsonl": _json_lines,
}


@pytest.mark.parametrize("name", WRITERS)
def test_documents_of_files_are_chosen_by_a_column(tmp_path: Path, name: str) -> None:
    table = pa.table({"number": range(len(TEXTS)), "score": pa.array(SCORES, pa.float64()), "text": TEXTS})
    WRITERS[name](table, tmp_path / name)
    report = deduplicate(str(tmp_path / name), dry_run=True, keep="highest", keep_column="score")
    assert (report.kept, report.removed_exact) == (3, 4)
    deduplicate(str(tmp_path / name), str(tmp_path / "out"), keep="highest", keep_column="score")
    written = (tmp_path / "out" / name).read_bytes()
    read: dict[str, Callable[[pa.BufferReader], pa.Table]] = {
        "in.parquet": pq.read_table,
        "in.arrow": pyarrow.feather.read_table,
        "in.csv": pyarrow.csv.read_csv,
    }
    if name in read:
        numbers = read[name](pa.BufferReader(written))["number"].to_pylist()
    else:
        numbers = [json.loads(line)["number"] for line in written.splitlines()]
    assert numbers == HIGHEST


def test_fields_of_lines_that_are_read_one_by_one_choose_too(tmp_path: Path) -> None:
    # Arrow's reader refuses a lone half of a pair of surrogates.
    lines = [{"text": text, "score": score} for text, score in zip(TEXTS, SCORES, strict=True)]
    lines.append({"text": "\ud800", "score": 1})
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    deduplicate(str(path), str(tmp_path / "out"), keep="lowest", keep_column="score")
    written = [json.loads(line) for line in (tmp_path / "out" / "in.jsonl").read_text().splitlines()]
    assert [line["score"] for line in written] == [SCORES[0], SCORES[3], SCORES[6], 1]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("label", "column 'label' holds string; documents are chosen by a column of numbers or times"),
        ("none", "there is no column 'none'; there are text, label"),
    ],
)
def test_a_column_that_cannot_choose_is_refused(column: str, message: str) -> None:
    table = pa.table({"text": ["a", "b"], "label": ["x", "y"]})
    with pytest.raises(InputError, match=message):
        deduplicate_table(table, keep="highest", keep_column=column)


@pytest.mark.parametrize(
    ("name", "content"),
    [("in.csv", "text,score\na,1\na,much\n"), ("in.jsonl", '{"text": "a", "score": "much"}\n')],
)
def test_a_value_that_is_no_number_is_an_error_that_names_the_file(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=rf"{name}: .*much"):
        deduplicate(str(tmp_path / name), dry_run=True, keep="highest", keep_column="score")


def test_a_choice_needs_a_column() -> None:
    with pytest.raises(ConfigError, match="keep is lowest: name the column of numbers or times by keep_column"):
        deduplicate_table(pa.table({"text": TEXTS}), keep="lowest")


def test_kept_work_has_the_column_that_it_was_run_with(tmp_path: Path) -> None:
    path, work = str(tmp_path / "in.parquet"), str(tmp_path / "work")
    pq.write_table(pa.table({"text": TEXTS, "score": SCORES, "other": range(len(TEXTS))}), path)
    deduplicate(path, str(tmp_path / "one"), work=work, keep_work=True, keep="highest", keep_column="score")
    rethreshold(work, str(tmp_path / "two"), keep="lowest")
    rethreshold(work, str(tmp_path / "three"), keep="first")
    found = [pq.read_table(tmp_path / name / "in.parquet")["other"].to_pylist() for name in ("one", "two", "three")]
    assert found == [HIGHEST, LOWEST, [0, 3, 5]]
    with pytest.raises(ConfigError, match="the run there read no column 'other'; run again from the inputs"):
        rethreshold(work, dry_run=True, keep_column="other")


def test_a_run_that_ended_early_goes_on_with_the_values_of_whole_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, work = str(tmp_path / "in.parquet"), str(tmp_path / "work")
    pq.write_table(pa.table({"text": TEXTS, "score": SCORES, "number": range(len(TEXTS))}), path, row_group_size=3)
    options: dict[str, Any] = {"work": work, "keep": "highest", "keep_column": "score", "threads": 1}

    def ends(self: Work, source: int, rows: int) -> None:
        if self.documents:
            raise KeyboardInterrupt
        add_chunk(self, source, rows)
        self.rows[source].append(rows)

    add_chunk = Work.add_chunk
    monkeypatch.setattr(Work, "add_chunk", ends)
    with pytest.raises(KeyboardInterrupt):
        deduplicate(path, str(tmp_path / "out"), **options)
    monkeypatch.undo()
    deduplicate(path, str(tmp_path / "out"), **options)
    assert pq.read_table(tmp_path / "out" / "in.parquet")["number"].to_pylist() == HIGHEST
