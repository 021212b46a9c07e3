"""Files of Parquet and JSON lines in stores: form, order and schema are kept, and nothing is lost."""

import contextlib
import gzip
import io
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from tests.mithril.dedup.documents import planted

from mithril.core.config import CoreSettings
from mithril.core.errors import ConfigError, ExistsError, InputError, MithrilError, NotFoundError
from mithril.core.progress import Step
from mithril.core.store import Store
from mithril.dedup import add_files, deduplicate, deduplicate_table, open_index, rethreshold

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "jsonl": bytes,
    "jsonl.gz": gzip.compress,
    "jsonl.zst": zstandard.ZstdCompressor().compress,
}
DECOMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "jsonl": bytes,
    "jsonl.gz": gzip.decompress,
    "jsonl.zst": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
}


@pytest.fixture(scope="module")
def table() -> pa.Table:
    texts = planted(11)
    columns = {
        "id": list(range(len(texts))),
        "text": texts,
        "tags": [[number % 3, None] for number in range(len(texts))],
    }
    return pa.table(columns).replace_schema_metadata({"origin": "planted"})


@pytest.fixture(scope="module")
def expected(table: pa.Table) -> list[int]:
    return list(deduplicate_table(table)[0]["id"].to_pylist())


def lines(table: pa.Table) -> list[bytes]:
    return [json.dumps(row, ensure_ascii=row["id"] % 2 == 0).encode() for row in table.to_pylist()]


def test_parquet_keeps_order_schema_metadata_and_row_groups(
    tmp_path: Path, table: pa.Table, expected: list[int]
) -> None:
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=100, compression="snappy")
    report = deduplicate(str(tmp_path / "in.parquet"), str(tmp_path / "out"))
    with pq.ParquetFile(tmp_path / "out" / "in.parquet") as file:
        assert file.schema_arrow.equals(pq.read_schema(tmp_path / "in.parquet"), check_metadata=True)
        assert file.num_row_groups == 3
        assert file.metadata.row_group(0).column(1).compression == "SNAPPY"
        found = file.read()
    assert found["id"].to_pylist() == expected
    assert found == pq.read_table(tmp_path / "in.parquet").take(pa.array(expected))
    assert report.kept == len(expected)


def test_a_row_group_that_is_large_against_memory_is_read_in_parts(
    tmp_path: Path, table: pa.Table, expected: list[int]
) -> None:
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=table.num_rows)
    report = deduplicate(str(tmp_path / "in.parquet"), str(tmp_path / "out"), block_bytes=4096)
    written = pq.ParquetFile(tmp_path / "out" / "in.parquet")
    assert written.metadata.num_row_groups > 1
    assert written.read().to_pylist() == table.take(expected).to_pylist()
    assert report.documents == table.num_rows


@pytest.mark.parametrize("mark", [False, True])
@pytest.mark.parametrize("method", ["exact,minhash", "exact,minhash,substring"])
def test_long_row_groups_are_as_short_ones(tmp_path: Path, mark: bool, method: str) -> None:
    """Texts of a long row group lie in several pieces."""
    texts: list[str | None] = [*planted(12, 1800, 800)]
    texts[1030] = texts[2040] = None
    table = pa.table({"id": range(len(texts)), "text": texts, "note": [f"note {text}"[:30] for text in texts]})
    reports = []
    for name, rows in (("long", len(texts)), ("short", 900)):
        pq.write_table(table, tmp_path / f"{name}.parquet", row_group_size=rows)
        options: dict[str, Any] = {"mark": mark, "method": method, "substring_bytes": 60}
        reports.append(deduplicate(str(tmp_path / f"{name}.parquet"), str(tmp_path / "out"), **options))
    long, short = (pq.read_table(tmp_path / "out" / f"{name}.parquet") for name in ("long", "short"))
    assert long == short
    assert reports[0].largest == reports[1].largest
    assert reports[0].removed_minhash > 100
    assert long.select(["id", "note"]) == table.select(["id", "note"]).take(long["id"])
    if method == "exact,minhash":
        assert long["text"] == table.take(long["id"])["text"]


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("block_bytes", [1024, 8 << 20])
def test_json_lines_are_kept_byte_for_byte(
    tmp_path: Path, table: pa.Table, expected: list[int], suffix: str, block_bytes: int
) -> None:
    before = lines(table)
    (tmp_path / f"in.{suffix}").write_bytes(COMPRESS[suffix](b"\n".join(before)))
    deduplicate(str(tmp_path / f"in.{suffix}"), str(tmp_path / "out"), block_bytes=block_bytes)
    after = DECOMPRESS[suffix]((tmp_path / "out" / f"in.{suffix}").read_bytes())
    assert after == b"".join(before[number] + b"\n" for number in expected)


@pytest.mark.parametrize("store_url", ["file", "memory", "s3"], indirect=True)
def test_a_folder_of_any_store_is_written_to_any_store(
    store: Store, store_url: str, core_settings: CoreSettings, monkeypatch: pytest.MonkeyPatch, table: pa.Table,
    expected: list[int],
) -> None:  # fmt: skip
    monkeypatch.setenv("MITHRIL_CORE_S3_ENDPOINT", core_settings.s3_endpoint)
    monkeypatch.setenv("MITHRIL_CORE_S3_ALLOW_HTTP", str(core_settings.s3_allow_http))
    sink = pa.BufferOutputStream()
    pq.write_table(table.slice(0, 100), sink, row_group_size=30)
    store.put("raw/b/one.parquet", sink.getvalue().to_pybytes())
    store.put("raw/c.jsonl", b"\n".join(lines(table.slice(100))))
    store.put("raw/readme.txt", b"nothing to read")
    memory = store_url.startswith("memory://")
    source, target = (store_url, store_url + "-out") if memory else (store_url + "/raw", store_url + "/clean")
    # Nothing is held between the passes.
    monkeypatch.setattr("mithril.dedup.scan._HELD_SHARE", 1 << 30)
    report = deduplicate(source, target, threads=2)
    prefix = "raw/" if memory else ""
    with Store.open(target, core_settings) as output:
        found = pq.read_table(pa.BufferReader(output.get(prefix + "b/one.parquet")))["id"].to_pylist()
        found += [json.loads(line)["id"] for line in output.get(prefix + "c.jsonl").splitlines()]
        assert found == expected
        assert json.loads(output.get("_dedup.json"))["kept"] == len(expected)
        page = output.get("_dedup.html").decode()
    assert page.count("<svg") == 2
    assert "http" not in page.replace(store_url, "").replace("http://www.w3.org", "")
    assert [file.first for file in report.files] == [0, 100]


def test_how_rows_are_divided_over_files_does_not_matter(tmp_path: Path, table: pa.Table, expected: list[int]) -> None:
    for number, start in enumerate(range(0, table.num_rows, 37)):
        pq.write_table(table.slice(start, 37), tmp_path / f"in-{number:02}.parquet")
    for threads in (1, 2):
        deduplicate(str(tmp_path), str(tmp_path / "out"), threads=threads, overwrite=True)
        parts = [pq.read_table(path)["id"].to_pylist() for path in sorted((tmp_path / "out").glob("*.parquet"))]
        assert [number for part in parts for number in part] == expected
        for path in (tmp_path / "out").iterdir():
            path.unlink()


def test_marks_keep_every_document(tmp_path: Path, table: pa.Table, expected: list[int]) -> None:
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=100)
    (tmp_path / "b.jsonl").write_bytes(b"\n".join(lines(table)) + b"\n{}\n")
    deduplicate([str(tmp_path / "a.parquet")], str(tmp_path / "out"), mark=True)
    marked = pq.read_table(tmp_path / "out" / "a.parquet")
    assert marked.drop_columns(["dedup_cluster", "dedup_kept", "dedup_duplicate_of", "dedup_reason"]) == table
    reasons = set(zip(marked["dedup_kept"].to_pylist(), marked["dedup_reason"].to_pylist(), strict=True))
    assert reasons == {(True, None), (False, "exact"), (False, "minhash")}
    assert [row["id"] for row in marked.to_pylist() if row["dedup_kept"]] == expected
    deduplicate([str(tmp_path / "b.jsonl")], str(tmp_path / "out"), mark=True)
    rows = [json.loads(line) for line in (tmp_path / "out" / "b.jsonl").read_text().splitlines()]
    assert [row["dedup_cluster"] for row in rows[:-1]] == marked["dedup_cluster"].to_pylist()
    assert [row["dedup_duplicate_of"] for row in rows[:-1]] == marked["dedup_duplicate_of"].to_pylist()
    own = {"dedup_cluster": len(rows) - 1, "dedup_kept": True, "dedup_duplicate_of": None, "dedup_reason": None}
    assert rows[-1] == own
    for name in ("a.parquet", "b.jsonl"):
        with pytest.raises(InputError, match="dedup_cluster already"):
            deduplicate(str(tmp_path / "out" / name), str(tmp_path / "again"), mark=True)


def test_a_dry_run_writes_nothing_and_reports_the_same(tmp_path: Path, table: pa.Table) -> None:
    pq.write_table(table, tmp_path / "in.parquet")
    dry = deduplicate(str(tmp_path / "in.parquet"), dry_run=True, memory_bytes=1 << 20)
    assert [path.name for path in tmp_path.iterdir()] == ["in.parquet"]
    real = deduplicate(str(tmp_path / "in.parquet"), str(tmp_path / "out"))
    assert (dry.kept, dry.cluster_sizes, dry.largest) == (real.kept, real.cluster_sizes, real.largest)


def test_inputs_outputs_and_work_may_be_paths(tmp_path: Path, table: pa.Table) -> None:
    pq.write_table(table, tmp_path / "in.parquet")
    whole = deduplicate(tmp_path / "in.parquet", tmp_path / "out", work=tmp_path / "work", keep_work=True)
    again = rethreshold(tmp_path / "work", tmp_path / "again", threshold=0.9)
    listed = deduplicate([tmp_path / "in.parquet"], dry_run=True)
    assert (listed.kept, again.documents) == (whole.kept, whole.documents)
    assert (tmp_path / "out" / "in.parquet").exists()
    assert (tmp_path / "again" / "in.parquet").exists()


def test_progress_counts_the_text_of_both_passes(tmp_path: Path, table: pa.Table) -> None:
    pq.write_table(table, tmp_path / "in.parquet")
    steps: list[Step] = []
    report = deduplicate(str(tmp_path / "in.parquet"), str(tmp_path / "out"), progress=steps.append)
    finished = {step.name: step.done for step in steps if step.finished}
    assert finished == {"read": report.text_bytes, "write": report.text_bytes}


@pytest.mark.parametrize("form", ["parquet", "jsonl", "csv", "arrow"])
def test_progress_of_reading_has_a_share(tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mithril.core.progress._QUIET_S", 0.0)
    monkeypatch.setattr("mithril.core.progress._BAR_INTERVAL_S", 0.0)
    table = pa.table({"text": [f"text {number} with some words" for number in range(1000)]})
    for number in range(2):
        path = tmp_path / f"{number}.{form}"
        if form == "parquet":
            pq.write_table(table, path, row_group_size=250)
        elif form == "arrow":
            with pa.ipc.new_file(path, table.schema) as writer:
                writer.write_table(table, max_chunksize=250)
        elif form == "csv":
            path.write_text("\n".join(["text", *table["text"].to_pylist()]) + "\n")
        else:
            path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    steps: list[Step] = []
    deduplicate(tmp_path, dry_run=True, threads=1, block_bytes=4_000, progress=steps.append)
    shares = [step.share for step in steps if step.name == "read" and not step.finished]
    size = len(shares)
    assert size >= 7
    assert shares == pytest.approx([(number + 1) / size for number in range(size)], abs=0.07)


def test_nothing_is_replaced_unasked(tmp_path: Path, table: pa.Table) -> None:
    pq.write_table(table, tmp_path / "in.parquet")
    source = str(tmp_path / "in.parquet")
    with pytest.raises(InputError, match="would replace this input"):
        deduplicate(source, str(tmp_path))
    deduplicate(source, str(tmp_path / "out"))
    with pytest.raises(ExistsError, match="overwrite it"):
        deduplicate(source, str(tmp_path / "out"))
    deduplicate(source, str(tmp_path / "out"), overwrite=True)


def _truncated(data: bytes) -> bytes:
    return data[: len(data) * 2 // 3]


GOOD = b'{"text": "a good line"}\n'


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.parquet", b"PAR1 and nothing more", "no Parquet file that can be read"),
        ("a.jsonl", GOOD + b"\n" + b'{"text": "a"\n', "line 3 is not JSON"),
        ("a.jsonl", GOOD + b"[1, 2]\n", "line 2 is no JSON object"),
        ("a.jsonl", GOOD + b"7\n", "line 2 is no JSON object"),
        ("a.jsonl", GOOD + b'{"text": 5}\n', "line 2: the field 'text' is no string"),
        ("a.jsonl", b'{"body": "x"}\n', "no document has a text in 'text'"),
        ("a.jsonl.gz", _truncated(gzip.compress(GOOD * 1000, mtime=0)), "cannot be decompressed"),
        ("a.jsonl.zst", _truncated(zstandard.ZstdCompressor().compress(GOOD * 1000)), "cannot be decompressed"),
        ("a.jsonl.gz", GOOD, "cannot be decompressed"),
    ],
)
def test_a_damaged_file_is_named_and_nothing_is_written(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        deduplicate(str(tmp_path / name), str(tmp_path / "out"))
    assert name in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_damaged_footers_of_parquet_are_noticed_or_harmless() -> None:
    data = io.BytesIO()
    pq.write_table(pa.table({"text": ["a", "bc"] * 10}), data, row_group_size=10)
    whole = data.getvalue()
    with Store.open("memory://damaged-footer") as store:
        for place in range(len(whole) - 8 - int.from_bytes(whole[-8:-4], "little"), len(whole)):
            damaged = bytearray(whole)
            damaged[place] ^= 0xF2
            store.put("a.parquet", bytes(damaged))
            with contextlib.suppress(InputError):
                report = deduplicate(f"{store.url}/a.parquet", f"{store.url}-out", overwrite=True, threads=1)
                assert report.documents == 20


@pytest.mark.parametrize(
    "line",
    [b'{"text": "lone \\ud800 surrogate"}', b'{"text": "a", "text": "twice"}', b'  {"text": "spaces"}  ',
     b'{"text": "cr"}\r', b'{"text": null}', b'{"other": {"text": 1}, "text": "nested"}'],
)  # fmt: skip
def test_unusual_lines_stay_as_they_are(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "a.jsonl").write_bytes(GOOD + b"\n   \n" + line)
    deduplicate(str(tmp_path / "a.jsonl"), str(tmp_path / "out"))
    assert (tmp_path / "out" / "a.jsonl").read_bytes() == GOOD + line + b"\n"


def test_a_file_that_changes_during_a_run_is_an_error_and_not_written(
    tmp_path: Path, table: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    pq.write_table(table, tmp_path / "in.parquet")

    def change(step: Step) -> None:
        if step.name == "read":
            pq.write_table(table.slice(5), tmp_path / "in.parquet")

    # Nothing is held, so the file is read twice.
    monkeypatch.setattr("mithril.dedup.scan._HELD_SHARE", 1 << 30)
    with pytest.raises(MithrilError, match="has changed since"):
        deduplicate(str(tmp_path / "in.parquet"), str(tmp_path / "out"), progress=change)
    assert not list((tmp_path / "out").glob("*")) or not (tmp_path / "out" / "in.parquet").exists()


def test_memory_that_is_too_little_is_refused(tmp_path: Path) -> None:
    texts = [f"{number} {number}" for number in range(30_000)]
    pq.write_table(pa.table({"text": texts}), tmp_path / "many.parquet")
    (tmp_path / "many.jsonl").write_text("".join(f'{{"text": "{text}"}}\n' for text in texts))
    (tmp_path / "long.jsonl").write_text(json.dumps({"text": "word " * 100_000}) + "\n")
    for name in ("many.parquet", "many.jsonl"):
        with pytest.raises(ConfigError, match=r"documents take at least 1[0-9]* bytes of memory"):
            deduplicate(str(tmp_path / name), str(tmp_path / "out"), memory_bytes=1 << 20, block_bytes=1 << 14)
    with pytest.raises(InputError, match=r"long\.jsonl: documents of [0-9]* bytes are read together"):
        deduplicate(str(tmp_path / "long.jsonl"), str(tmp_path / "out"), memory_bytes=1 << 20)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([], "there is no input"),
        (["{}/empty"], "this is no file that ends in .parquet, .*, and no folder that has one"),
        (["{}/one/a.jsonl", "{}/two/a.jsonl"], "would have one name"),
        (["{}/one/a.jsonl", "{}/one"], r"one/a\.jsonl is given twice"),
    ],
)
def test_inputs_that_cannot_be_used_are_refused(tmp_path: Path, inputs: list[str], message: str) -> None:
    for folder in ("empty", "one", "two"):
        (tmp_path / folder).mkdir()
    for folder in ("one", "two"):
        (tmp_path / folder / "a.jsonl").write_bytes(GOOD)
    with pytest.raises(InputError, match=message):
        deduplicate([url.format(tmp_path) for url in inputs], str(tmp_path / "out"))


def test_a_folder_may_be_named_like_a_file(tmp_path: Path, table: pa.Table, expected: list[int]) -> None:
    (tmp_path / "in.parquet").mkdir()
    pq.write_table(table, tmp_path / "in.parquet" / "part-0.parquet")
    deduplicate(str(tmp_path / "in.parquet"), str(tmp_path / "out"))
    assert pq.read_table(tmp_path / "out" / "part-0.parquet")["id"].to_pylist() == expected
    with pytest.raises(NotFoundError, match="there is no such object"):
        deduplicate(str(tmp_path / "absent.parquet"), str(tmp_path / "out"))


def test_a_pattern_names_files_of_one_folder() -> None:
    with Store.open("memory://patterns") as store, Store.open("memory://patterns-out") as output:
        for key in ("a1.jsonl", "a2.jsonl", "b.jsonl", "a/3.jsonl"):
            store.put(key, GOOD)
        report = deduplicate(f"{store.url}/a*.jsonl", output.url)
        assert (report.documents, report.kept) == (2, 1)
        assert sorted(info.key for info in output.list()) == ["_dedup.html", "_dedup.json", "a1.jsonl", "a2.jsonl"]
        with pytest.raises(NotFoundError, match=r"c\*\.jsonl: there is no such object"):
            deduplicate(f"{store.url}/c*.jsonl", dry_run=True)


def test_what_a_killed_run_has_left_is_removed_after_a_day(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(GOOD)
    (tmp_path / "out").mkdir()
    for name, age_s in (("old", 90_000), ("new", 0)):
        path = tmp_path / "out" / f".mithril-tmp-{name}"
        path.write_bytes(b"half")
        os.utime(path, (time.time() - age_s,) * 2)
    deduplicate(tmp_path / "in.jsonl", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").glob(".*")] == [".mithril-tmp-new"]
    os.utime(tmp_path / "out" / ".mithril-tmp-new", (0, 0))
    with open_index(tmp_path / "index") as index:
        add_files(index, tmp_path / "in.jsonl", tmp_path / "out", overwrite=True)
    assert not list((tmp_path / "out").glob(".*"))


def test_an_empty_file_stays_an_empty_file(tmp_path: Path, table: pa.Table) -> None:
    pq.write_table(table.slice(0, 0), tmp_path / "a.parquet")
    (tmp_path / "b.jsonl").write_bytes(b"")
    report: Any = deduplicate(str(tmp_path), str(tmp_path / "out"))
    assert report.documents == 0
    assert pq.read_table(tmp_path / "out" / "a.parquet").schema == table.schema
    assert (tmp_path / "out" / "b.jsonl").read_bytes() == b""
