"""CSV and Arrow files: what is kept stays as it is."""

import csv
import gzip
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
import zstandard
from tests.mithril.dedup.documents import planted

from mithril.core.errors import InputError
from mithril.dedup import deduplicate, deduplicate_table

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}


@pytest.fixture(scope="module")
def texts() -> list[str]:
    found = planted(31, bases=60, copies=30)
    found[3] = 'a "quoted" text,\nof two lines'
    found[7] = 'A "quoted"  text,\nof two lines'
    return found


@pytest.fixture(scope="module")
def expected(texts: list[str]) -> list[int]:
    table = pa.table({"text": texts, "id": list(range(len(texts)))})
    return list(deduplicate_table(table)[0]["id"].to_pylist())


def as_csv(rows: list[list[str]], delimiter: str) -> list[bytes]:
    records = []
    for number, row in enumerate(rows):
        target = io.StringIO()
        quoting: Literal[0, 1] = csv.QUOTE_ALL if number % 2 else csv.QUOTE_MINIMAL
        csv.writer(target, delimiter=delimiter, quoting=quoting, lineterminator="\n").writerow(row)
        records.append(target.getvalue().encode())
    return records


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize(("form", "delimiter"), [("csv", ","), ("tsv", "\t")])
@pytest.mark.parametrize("block_bytes", [1024, 8 << 20])
def test_csv_records_are_kept_byte_for_byte(
    tmp_path: Path, texts: list[str], expected: list[int], suffix: str, form: str, delimiter: str, block_bytes: int
) -> None:
    records = as_csv([["id", "text"], *([str(number), text] for number, text in enumerate(texts))], delimiter)
    name = f"in.{form}{suffix}"
    (tmp_path / name).write_bytes(COMPRESS[suffix](b"".join(records)))
    deduplicate(str(tmp_path / name), str(tmp_path / "out"), block_bytes=block_bytes)
    written = (tmp_path / "out" / name).read_bytes()
    wanted = records[0] + b"".join(records[1 + number] for number in expected)
    # Decompressing it gives the same as compressing what is wanted would.
    if suffix == ".gz":
        written = gzip.decompress(written)
    elif suffix == ".zst":
        written = zstandard.ZstdDecompressor().decompressobj().decompress(written)
    assert written == wanted


def test_csv_with_marks_has_them_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_bytes(b'id,text\r\n1,one two\r\n2,"ONE  two"\r\n\r\n3,other')
    deduplicate(str(tmp_path / "in.csv"), str(tmp_path / "out"), mark=True)
    rows = list(csv.DictReader((tmp_path / "out" / "in.csv").read_text().splitlines()))
    assert [row["id"] for row in rows] == ["1", "2", "3"]
    assert [row["dedup_kept"] for row in rows] == ["true", "false", "true"]
    assert [row["dedup_duplicate_of"] for row in rows] == ["", "0", ""]
    assert [row["dedup_reason"] for row in rows] == ["", "exact", ""]
    with pytest.raises(InputError, match="dedup_cluster already"):
        deduplicate(str(tmp_path / "out" / "in.csv"), str(tmp_path / "again"), mark=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"id,body\n1,x\n", "no column 'text'; there are id, body"),
        (b'id,text\n1,"x\n2,y\n', "from line 2 on have a quote without its partner"),
        (b"id,text\n1,x\n2\n", "cannot be read"),
    ],
)
def test_a_damaged_csv_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "in.csv").write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        deduplicate(str(tmp_path / "in.csv"), str(tmp_path / "out"))
    assert "in.csv" in str(caught.value)


def test_a_csv_file_of_a_header_alone_is_written_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_bytes(b"id,text\n")
    assert deduplicate(str(tmp_path / "in.csv"), str(tmp_path / "out")).documents == 0
    assert (tmp_path / "out" / "in.csv").read_bytes() == b"id,text\n"


def write_arrow(path: Path, table: pa.Table) -> None:
    options = pa.ipc.new_stream if path.suffix == ".arrows" else pa.ipc.new_file
    with options(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=20)


@pytest.mark.parametrize("name", ["in.arrow", "in.arrows", "in.feather"])
def test_arrow_keeps_schema_metadata_and_form(tmp_path: Path, texts: list[str], expected: list[int], name: str) -> None:
    ids = pa.array(range(len(texts)), pa.int16())
    table = pa.table({"text": pa.array(texts).dictionary_encode(), "id": ids}).replace_schema_metadata({"a": "b"})
    if name == "in.feather":
        pyarrow.feather.write_feather(table, tmp_path / name, chunksize=20)
    else:
        write_arrow(tmp_path / name, table)
    deduplicate(str(tmp_path / name), str(tmp_path / "out"), threads=2)
    opened: Any = pa.ipc.open_stream if name == "in.arrows" else pa.ipc.open_file
    with pa.OSFile(str(tmp_path / "out" / name)) as file:
        found = opened(file).read_all()
    assert found.schema.equals(table.schema, check_metadata=True)
    assert found["id"].to_pylist() == expected


def test_a_damaged_arrow_file_is_named(tmp_path: Path, texts: list[str]) -> None:
    write_arrow(tmp_path / "a.arrows", pa.table({"text": texts}))
    data = (tmp_path / "a.arrows").read_bytes()
    (tmp_path / "a.arrows").write_bytes(data[: len(data) // 2])
    (tmp_path / "b.arrow").write_bytes(b"ARROW1 and nothing more")
    for name in ("a.arrows", "b.arrow"):
        with pytest.raises(InputError, match="read: ") as caught:
            deduplicate(str(tmp_path / name), str(tmp_path / "out"))
        assert name in str(caught.value)


def test_files_of_all_forms_are_compared_with_each_other(tmp_path: Path) -> None:
    table = pa.table({"text": ["one and two", "three and four"]})
    pq.write_table(table, tmp_path / "a.parquet")
    write_arrow(tmp_path / "b.arrow", table)
    (tmp_path / "c.csv").write_text("text\nthree and four\nfive and six\n")
    (tmp_path / "d.jsonl").write_text('{"text": "five and six"}\n')
    report = deduplicate(str(tmp_path), str(tmp_path / "out"))
    assert [file.kept for file in report.files] == [2, 0, 1, 0]
