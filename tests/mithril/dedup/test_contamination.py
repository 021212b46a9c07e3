"""Documents that overlap evaluation data."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mithril.core.errors import InputError
from mithril.dedup import deduplicate, deduplicate_table

QUESTION = "How many apples does Anna have when she gives three of her seven apples to Ben and two to Carla today?"


@pytest.fixture
def evaluation(tmp_path: Path) -> str:
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval" / "test.jsonl").write_text(json.dumps({"question": QUESTION}) + "\n")
    return str(tmp_path / "eval")


def kept(texts: list[Any], evaluation: str, **options: Any) -> list[Any]:
    options = {"against": evaluation, "against_column": "question", **options}
    return list(deduplicate_table(pa.table({"text": texts}), **options)[0]["text"].to_pylist())


def test_a_document_that_quotes_an_evaluation_is_removed(evaluation: str) -> None:
    words = QUESTION.split()
    quoted = "From a forum: " + " ".join(words[2:16]).upper() + " or so"
    short = "From a forum: " + " ".join(words[2:14])
    assert kept([quoted, short, "other", None], evaluation) == [short, "other", None]
    assert kept([quoted, short], evaluation, ngram_size=12) == []
    assert kept([quoted, short], evaluation, ngram_matches=3) == [quoted, short]


def test_a_clean_document_that_is_like_a_contaminated_one_is_kept(evaluation: str, tmp_path: Path) -> None:
    filler = " ".join(f"word{number}" for number in range(80))
    texts = [filler + " " + QUESTION, filler + " and an end", "other"]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    options: dict[str, Any] = {"against": evaluation, "against_column": "question", "threshold": 0.6}
    report = deduplicate(str(tmp_path / "in.jsonl"), str(tmp_path / "out"), mark=True, **options)
    rows = [json.loads(line) for line in (tmp_path / "out" / "in.jsonl").read_text().splitlines()]
    assert [row["dedup_reason"] for row in rows] == ["contaminated", None, None]
    assert [row["dedup_duplicate_of"] for row in rows] == [None, None, None]
    assert (report.removed_contaminated, report.removed_minhash, report.kept) == (1, 0, 2)
    assert "1 documents overlap evaluation data" in report.summary()


def test_evaluation_data_in_other_units_is_refused(evaluation: str) -> None:
    with pytest.raises(InputError, match=r"test\.jsonl: column 'question' holds texts; set shingle_unit to words"):
        kept([[1, 2, 3] * 9], evaluation, shingle_unit="tokens")


def test_the_column_of_the_evaluation_is_said_where_it_is_wrong(evaluation: str) -> None:
    with pytest.raises(InputError, match="no document has a text in 'text'"):
        deduplicate_table(pa.table({"text": ["x"]}), against=evaluation)
