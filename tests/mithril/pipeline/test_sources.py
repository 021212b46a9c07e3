"""Sources and sinks: files of each kind, from folders and stores, whole or damaged."""

import contextlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from mithril.core.errors import MithrilError
from mithril.core.store import Store
from mithril.pipeline import (
    ArrowFileSource,
    ArrowSource,
    ArrowStreamSource,
    CsvSource,
    DecodeImage,
    FileSource,
    JsonlSink,
    JsonlSource,
    MemorySource,
    ParquetSink,
    ParquetSource,
    Pipeline,
    PipelineError,
    SourceError,
    TarSource,
    TextSource,
    TransformError,
)


@given(
    lines=st.lists(st.text(st.characters(exclude_characters="\n\r", codec="utf-8"), max_size=30), max_size=40),
    chunk_bytes=st.integers(1, 60),
    ended=st.booleans(),
)
def test_lines_are_the_same_whatever_the_chunks(lines: list[str], chunk_bytes: int, ended: bool) -> None:
    data = "\n".join(lines).encode() + (b"\n" if lines and ended else b"")
    expected = data.decode().split("\n")
    if not expected[-1]:
        expected.pop()
    with Store.open("memory://lines") as store:
        store.put("some.txt", data)
    source = TextSource("memory://lines", chunk_bytes=chunk_bytes)
    assert [line for index in range(len(source)) for line in source.read(index)] == expected


def test_json_lines_of_a_folder_in_the_order_of_names(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_text('{"x": 3}\n\n{"x": 4}')
    (tmp_path / "a.jsonl").write_bytes(b'{"x": 1}\r\n{"x": 2}\r\n')
    (tmp_path / "note.md").write_text("no data")
    assert [row["x"] for row in Pipeline(JsonlSource(tmp_path))] == [1, 2, 3, 4]
    assert [row["x"] for row in Pipeline(JsonlSource(f"{tmp_path}/a*.jsonl"))] == [1, 2]
    assert [row["x"] for row in Pipeline(JsonlSource([tmp_path / "b.jsonl", tmp_path / "a.jsonl"]))] == [3, 4, 1, 2]
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "a.jsonl").write_text('{"x": 0}')
    assert [row["x"] for row in Pipeline(JsonlSource(f"{tmp_path}/*.jsonl"))] == [1, 2, 3, 4]
    (tmp_path / "c[1].jsonl").write_text('{"x": 5}')
    assert [row["x"] for row in Pipeline(JsonlSource(f"{tmp_path}/c[1].jsonl"))] == [5]
    with pytest.raises(SourceError, match=r"d\*\.jsonl: no such file or folder"):
        JsonlSource(f"{tmp_path}/d*.jsonl")


@pytest.mark.parametrize("store_url", ["file", "s3", "ygg1"], indirect=True)
def test_files_of_any_store(store: Store, core_settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MITHRIL_CORE_S3_ENDPOINT", core_settings.s3_endpoint)
    monkeypatch.setenv("MITHRIL_CORE_S3_ALLOW_HTTP", str(core_settings.s3_allow_http))
    store.put("data/one.jsonl", b'{"x": 1}\n{"x": 2}\n')
    found = Pipeline(JsonlSource(f"{store.url}/data", chunk_bytes=9))
    assert [row["x"] for row in found] == [1, 2]
    assert [row["x"] for row in Pipeline(JsonlSource(f"{store.url}/data/one.jsonl"))] == [1, 2]
    found.run(JsonlSink(f"{store.url}/data/two.jsonl"))
    assert store.get("data/two.jsonl") == b'{"x": 1}\n{"x": 2}\n'


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"x": 1}\n{"x": \n{"x": 3}\n')
    with pytest.raises(SourceError, match=r"a\.jsonl: the line at byte 9: Expecting value"):
        list(Pipeline(JsonlSource(tmp_path)))
    (tmp_path / "a.txt").write_bytes(b"good\n\xff\xfe\n")
    with pytest.raises(SourceError, match=r"a\.txt: the line at byte 5: .*utf-8"):
        list(Pipeline(TextSource(tmp_path)))
    skipping = Pipeline(TextSource(tmp_path / "a.jsonl")).map(json.loads, on_error="skip")
    assert [row["x"] for row in skipping] == [1, 3]


def test_compressed_and_missing_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\x1f\x8b\x08\x00")
    with pytest.raises(SourceError, match="is compressed"):
        TextSource(tmp_path)
    with pytest.raises(SourceError, match="no file here; expected"):
        JsonlSource(tmp_path)
    with pytest.raises(SourceError, match="no such file or folder"):
        JsonlSource(tmp_path / "missing.jsonl")


def test_csv_rows_may_hold_line_breaks(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('\ufeffname,text\none,"two\nlines, and ""quotes"""\n\nthree,x\n')
    assert list(Pipeline(CsvSource(tmp_path))) == [
        {"name": "one", "text": 'two\nlines, and "quotes"'},
        {"name": "three", "text": "x"},
    ]
    (tmp_path / "b.csv").write_text("name,text\none\n")
    with pytest.raises(SourceError, match=r"b\.csv, line 2: 1 fields, where the header has 2"):
        list(Pipeline(CsvSource(tmp_path / "b.csv")))


def test_long_fields_and_tabs_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1," + "a" * 300_000 + "\n")
    (tmp_path / "b.tsv").write_text("x\ty\n1\t2,3\n")
    assert [len(row["y"]) for row in Pipeline(CsvSource(tmp_path))] == [300_000, 3]
    (tmp_path / "c.csv").write_text("x,x\n1,2\n")
    with pytest.raises(SourceError, match=r"c\.csv: the header has a name more than once: x, x"):
        list(Pipeline(CsvSource(tmp_path / "c.csv")))
    with pytest.raises(SourceError, match="a delimiter is one character, not ''"):
        CsvSource(tmp_path, delimiter="")


@pytest.mark.parametrize("compression", [None, "zstd"])
def test_arrow_files_are_read_by_record_batches(tmp_path: Path, compression: str | None) -> None:
    table = pa.table({"n": range(100), "text": [str(number) for number in range(100)]})
    options = pa.ipc.IpcWriteOptions(compression=compression)
    data = pa.BufferOutputStream()
    with pa.ipc.new_file(data, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=30)
    (tmp_path / "a.arrow").write_bytes(data.getvalue())
    with Store.open("memory://arrow-files") as store:
        store.put("a.arrow", data.getvalue().to_pybytes())
    for url in (str(tmp_path), "memory://arrow-files"):
        assert pa.concat_tables(Pipeline(ArrowFileSource(url))).equals(table)
        rows = Pipeline(ArrowFileSource(url, columns=["n"], form="rows"), seed=2).shuffle(10)
        assert sorted(rows, key=lambda row: row["n"]) == [{"n": number} for number in range(100)]
        assert not rows.statistics().memory_bytes


def test_what_is_no_arrow_file_is_named(tmp_path: Path) -> None:
    table = pa.table({"n": range(100_000)})
    with pa.ipc.new_stream(tmp_path / "stream.arrow", table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(SourceError, match=r"stream\.arrow: cannot be read as an Arrow file: .* ArrowStreamSource"):
        ArrowFileSource(tmp_path / "stream.arrow")
    with pa.ipc.new_file(tmp_path / "a.arrow", table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(SourceError, match=r"a\.arrow: no column m; it has n"):
        ArrowFileSource(tmp_path / "a.arrow", columns=["m"])
    (tmp_path / "a.arrow").write_bytes((tmp_path / "a.arrow").read_bytes()[:1000])
    with pytest.raises(SourceError, match=r"a\.arrow: cannot be read"):
        ArrowFileSource(tmp_path / "a.arrow")


@pytest.mark.parametrize("place", ["folder", "store"])
def test_streams_of_arrow_are_read_from_their_beginning(tmp_path: Path, place: str) -> None:
    table = pa.table({"n": range(100), "text": pa.array([f"text {number % 7}" for number in range(100)])})
    table = table.set_column(1, "text", table["text"].dictionary_encode())
    data = pa.BufferOutputStream()
    with pa.ipc.new_stream(data, table.schema) as writer:
        writer.write_table(table, max_chunksize=30)
    url = str(tmp_path) if place == "folder" else f"memory://{tmp_path.name}"
    with Store.open(url) as store:
        store.put("a.arrows", data.getvalue().to_pybytes())
        store.put("b.arrow", data.getvalue().to_pybytes())
    assert pa.concat_tables(Pipeline(ArrowStreamSource(url))).equals(pa.concat_tables([table, table]))
    rows = Pipeline(ArrowStreamSource(f"{url}/a.arrows", form="rows")).shuffle(9)
    run = iter(rows)
    first = [next(run) for _ in range(40)]
    again = Pipeline(ArrowStreamSource(f"{url}/a.arrows", form="rows")).shuffle(9)
    again.load_state_dict(rows.state_dict())
    assert sorted(first + list(again), key=lambda row: row["n"]) == table.to_pylist()
    assert next(iter(Pipeline(ArrowStreamSource(url, columns=["n"])))).column_names == ["n"]


def test_a_damaged_stream_of_arrow_is_named_with_the_record_batch(tmp_path: Path) -> None:
    table = pa.table({"n": range(1000)})
    with pa.ipc.new_stream(tmp_path / "a.arrows", table.schema) as writer:
        writer.write_table(table, max_chunksize=100)
    whole = (tmp_path / "a.arrows").read_bytes()
    with pytest.raises(SourceError, match=r"a\.arrows: no column m; it has n"):
        ArrowStreamSource(tmp_path, columns=["m"])
    (tmp_path / "a.arrows").write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(SourceError, match=r"a\.arrows, record batch [67]: "):
        list(Pipeline(ArrowStreamSource(tmp_path)))
    (tmp_path / "a.arrows").write_bytes(b"no stream of Arrow")
    with pytest.raises(SourceError, match=r"a\.arrows: cannot be read as a stream of Arrow: .* ArrowFileSource"):
        ArrowStreamSource(tmp_path)


# A length of a body that is far beyond the file.
@example(flips={0.2734375: 1}, stream=True)
@given(flips=st.dictionaries(st.floats(0, 0.999), st.integers(1, 255), max_size=4), stream=st.booleans())
def test_damaged_arrow_data_is_noticed_or_harmless(flips: dict[float, int], stream: bool) -> None:
    table = pa.table({"n": range(20), "text": ["a", "bc"] * 10, "lists": [["x"], []] * 10, "d": ["y"] * 20})
    table = table.set_column(3, "d", table["d"].dictionary_encode())
    data = pa.BufferOutputStream()
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(data, table.schema) as writer:
        writer.write_table(table)
    damaged = bytearray(data.getvalue().to_pybytes())
    for place, flip in flips.items():
        damaged[int(place * len(damaged))] ^= flip
    with Store.open("memory://damaged-arrow") as store:
        store.put("a.arrow", bytes(damaged))
    with contextlib.suppress(SourceError):
        kind = ArrowStreamSource if stream else ArrowFileSource
        for row in Pipeline(kind("memory://damaged-arrow", form="rows")):
            assert isinstance(row, dict)


@given(flips=st.dictionaries(st.floats(0, 0.999), st.integers(1, 255), min_size=1, max_size=4))
def test_damaged_pages_of_parquet_are_noticed_or_harmless(flips: dict[float, int]) -> None:
    table = pa.table({"n": range(20), "text": ["a", "bc"] * 10, "lists": [["x"], []] * 10})
    data = io.BytesIO()
    pq.write_table(table, data, compression="none")
    damaged = bytearray(data.getvalue())
    # The footer is of no interest here: it has its length at the end.
    pages = len(damaged) - 8 - int.from_bytes(damaged[-8:-4], "little")
    for place, flip in flips.items():
        damaged[4 + int(place * (pages - 4))] ^= flip
    with Store.open("memory://damaged-parquet") as store:
        store.put("a.parquet", bytes(damaged))
    with contextlib.suppress(SourceError):
        for row in Pipeline(ParquetSource("memory://damaged-parquet")):
            assert isinstance(row, dict)


@pytest.mark.parametrize("flip", [0x02, 0x70])
def test_damaged_footers_of_parquet_are_noticed_or_harmless(flip: int) -> None:
    data = io.BytesIO()
    pq.write_table(pa.table({"n": range(20), "text": ["a", "bc"] * 10}), data, row_group_size=10)
    whole = data.getvalue()
    for place in range(len(whole) - 8 - int.from_bytes(whole[-8:-4], "little"), len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= flip
        with Store.open("memory://damaged-footer") as store:
            store.put("a.parquet", bytes(damaged))
        with contextlib.suppress(SourceError):
            source = ParquetSource("memory://damaged-footer")
            assert sum(len(source.read(index)) for index in range(len(source))) == 20


@pytest.mark.parametrize("make", [FileSource, TarSource, MemorySource])
def test_chunks_are_of_at_least_one(tmp_path: Path, make: Any) -> None:
    with pytest.raises(MithrilError, match="chunk is at least 1, not 0"):
        make([str(tmp_path)], chunk=0)


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    """A file of 100 rows in row groups of 30."""
    table = pa.table({"x": list(range(100)), "text": [f"text {number}" for number in range(100)]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=30)
    return tmp_path / "a.parquet"


def test_parquet_by_rows_values_and_tables(parquet: Path) -> None:
    assert len(ParquetSource(parquet)) == 4
    assert list(Pipeline(ParquetSource(parquet)))[99] == {"x": 99, "text": "text 99"}
    assert list(Pipeline(ParquetSource(parquet, column="x"))) == list(range(100))
    tables = list(Pipeline(ParquetSource(parquet, columns=["text"], form="arrow")))
    assert [table.num_rows for table in tables] == [30, 30, 30, 10]
    assert tables[0].column_names == ["text"]
    assert ParquetSource(parquet).size_hint() == 100
    assert ParquetSource(parquet, column="x").bytes_hint(0) < ParquetSource(parquet).bytes_hint(0)


def test_damaged_parquet_is_named(parquet: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"a\.parquet: no column y; it has x, text"):
        ParquetSource(parquet, column="y")
    (tmp_path / "b.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(SourceError, match=r"b\.parquet: cannot be read as Parquet"):
        ParquetSource(tmp_path / "b.parquet")
    data = bytearray(parquet.read_bytes())
    data[4:40] = bytes(36)
    parquet.write_bytes(data)
    with pytest.raises(SourceError, match=r"a\.parquet, row group 0"):
        list(Pipeline(ParquetSource(parquet)))


@pytest.mark.parametrize("column", [None, "text", "lists"])
def test_row_groups_above_the_budget_are_read_by_parts(tmp_path: Path, column: str | None) -> None:
    count, limit = 400, 1 << 20
    table = pa.table({"text": ["x" * 20_000] * count, "lists": [["y" * 3000] * 5] * count, "n": range(count)})
    pq.write_table(table, tmp_path / "a.parquet")
    source = ParquetSource(tmp_path / "a.parquet", column=column)
    # What a dictionary holds once takes more than the whole budget as rows.
    assert source.bytes_hint(0) < limit < count * 15_000
    pipeline = Pipeline(source, memory_bytes=limit, oversize="refuse")
    expected = table.to_pylist() if column is None else table[column].to_pylist()
    assert list(pipeline) == expected
    assert pipeline.statistics().memory_peak_bytes <= limit
    assert source.read(0) == expected


def test_a_state_within_a_row_group_holds_under_another_budget(tmp_path: Path) -> None:
    rows = [f"{number} " + "x" * 3000 for number in range(600)]
    pq.write_table(pa.table({"x": rows}), tmp_path / "a.parquet", use_dictionary=False, row_group_size=300)

    def make(memory_bytes: int) -> Pipeline:
        source = ParquetSource(tmp_path, column="x")
        return Pipeline(source, memory_bytes=memory_bytes).filter(bool).batch(7, collate=None)

    whole = list(make(1 << 30))
    small, within = make(1 << 19), False
    run = iter(small)
    for cut in range(1, len(whole)):
        next(run)
        if cut % 9 == 0:
            state = small.state_dict()
            within = within or state["up"][0][1] % 300 > 0
            large = make(1 << 24)
            large.load_state_dict(state)
            assert list(large) == whole[cut:]
    assert within


def test_tables_of_a_row_group_have_at_most_so_many_rows(parquet: Path) -> None:
    tables = Pipeline(ParquetSource(parquet, form="arrow", rows=20))
    assert [table.num_rows for table in tables] == [20, 10, 20, 10, 20, 10, 10]
    assert len(tables) == 7
    parts = ParquetSource(parquet, form="arrow", rows=20).parts(1, 1, 1000)
    assert [table["x"].to_pylist() for part in parts for table in part] == [list(range(50, 60))]
    assert pa.concat_tables(tables).equals(pq.read_table(parquet))
    with pytest.raises(SourceError, match="rows is at least 1"):
        ParquetSource(parquet, form="arrow", rows=0)


def test_arrow_tables_are_handed_on_without_a_copy() -> None:
    table = pa.table({"x": list(range(100_000))})
    together = Pipeline(ArrowSource(table, rows=1000), memory_bytes=2 * table.nbytes).batch(100, collate=None)
    [parts] = list(together)
    assert sum(part.num_rows for part in parts) == 100_000
    assert parts[3]["x"].chunk(0).buffers()[1].address == table["x"].chunk(0).buffers()[1].address
    assert list(Pipeline(ArrowSource(table.slice(0, 3), form="rows"))) == [{"x": 0}, {"x": 1}, {"x": 2}]


def archive(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def test_an_archive_that_is_damaged_behind_its_first_member_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    archive(path, {f"{number}.txt": b"some text" for number in range(4)})
    whole = path.read_bytes()
    header = 2 * tarfile.BLOCKSIZE
    for damaged in (whole[: header + 100], whole[:header] + b"?" * tarfile.BLOCKSIZE + whole[header + 512 :]):
        path.write_bytes(damaged)
        with pytest.raises(SourceError, match=rf"a\.tar: the header at byte {header} .* damaged"):
            TarSource(path)
    path.write_bytes(whole[: 4 * header])
    assert len(list(Pipeline(TarSource(path)))) == 4


def test_a_member_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name in ("set/1.txt", "set/1.png", "set/1.TXT"):
            tar.addfile(tarfile.TarInfo(name))
    with pytest.raises(SourceError, match=r"a\.tar: set/1 has more than one member TXT"):
        TarSource(tmp_path)


def test_webdataset_archives(tmp_path: Path) -> None:
    members = {
        f"set/{number:03}.{end}": f"{number} {end}".encode() for number in range(50) for end in ("txt", "seg.png")
    }
    archive(tmp_path / "a.tar", members)
    samples = list(Pipeline(TarSource(tmp_path, chunk=7)))
    assert len(samples) == TarSource(tmp_path).size_hint() == 50
    assert samples[7] == {
        "__key__": "set/007",
        "__url__": samples[0]["__url__"],
        "txt": b"7 txt",
        "seg.png": b"7 seg.png",
    }
    (tmp_path / "b.tar").write_bytes((tmp_path / "a.tar").read_bytes()[:700])
    archive(tmp_path / "c.tar", {"x.txt": b"y" * 5000})
    (tmp_path / "c.tar").write_bytes((tmp_path / "c.tar").read_bytes()[:2000])
    with pytest.raises(SourceError, match=r"c\.tar.*damaged"):
        TarSource(tmp_path / "c.tar")
    (tmp_path / "d.tar").write_bytes(b"no archive" * 100)
    with pytest.raises(SourceError, match=r"d\.tar: cannot be read as a tar archive"):
        TarSource(tmp_path / "d.tar")


def test_images_of_folders(tmp_path: Path) -> None:
    for label, colour in (("cat", (250, 0, 0)), ("dog", (0, 0, 250))):
        (tmp_path / label).mkdir()
        Image.new("RGB", (640, 480), colour).save(tmp_path / label / "one.jpg")
    source = FileSource(tmp_path, (".jpg", ".png"))
    [batch] = list(Pipeline(source).map(DecodeImage(size=(24, 32))).batch(2))
    assert batch["data"].shape == (2, 24, 32, 3)
    assert batch["label"] == ["cat", "dog"]
    assert batch["data"][0, 5, 5].argmax() == 0
    (tmp_path / "cat" / "two.jpg").write_bytes(b"no image")
    with pytest.raises(TransformError, match=r"one\.jpg, sample 1: decode_image raised UnidentifiedImageError"):
        list(Pipeline(FileSource(tmp_path, (".jpg",))).map(DecodeImage()))
    assert len(list(Pipeline(FileSource(tmp_path)).map(DecodeImage(), on_error="skip"))) == 2


def test_sinks_write_what_sources_read(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"x": number, "vector": np.arange(number % 4)} for number in range(100)]
    Pipeline(rows).run(JsonlSink(tmp_path / "out.jsonl"))
    Pipeline(rows).run(ParquetSink(tmp_path / "out.parquet", group_rows=30))
    plain = [{"x": row["x"], "vector": row["vector"].tolist()} for row in rows]
    assert list(Pipeline(JsonlSource(tmp_path / "out.jsonl"))) == plain
    assert list(Pipeline(ParquetSource(tmp_path / "out.parquet"))) == plain
    table = pa.table({"x": [1, 2]})
    Pipeline(ArrowSource(table)).run(ParquetSink(f"memory://sinks/{tmp_path.name}.parquet"))
    assert list(Pipeline(ParquetSource("memory://sinks", column="x"))) == [1, 2]


NOT_FINITE: list[tuple[Any, str, Any]] = [
    ({"a": [1, float("nan")]}, r", a\[1\]: nan", {"a": [1, None]}),
    ({"a": {"b": np.array([[1.5, np.inf]])}}, r", a\.b\[0\]\[1\]: inf", {"a": {"b": [[1.5, None]]}}),
    (np.float32("-inf"), ": -inf", None),
]


@pytest.mark.parametrize(("value", "message", "written"), NOT_FINITE)
def test_numbers_that_json_lacks_are_refused_or_null(tmp_path: Path, value: Any, message: str, written: Any) -> None:
    path = tmp_path / "out.jsonl"
    with pytest.raises(PipelineError, match=rf"out\.jsonl: element 1{message} has no form in JSON"):
        Pipeline([0, value]).run(JsonlSink(path))
    assert not path.exists()
    Pipeline([0, value]).run(JsonlSink(path, non_finite="null"))
    assert list(Pipeline(JsonlSource(path))) == [0, written]


def test_an_element_that_json_cannot_hold_is_named(tmp_path: Path) -> None:
    circle: list[Any] = []
    circle.append(circle)
    for bad in (circle, {float("nan"): 1}, {"a": object()}):
        with pytest.raises(PipelineError, match=r"out\.jsonl: element 0 cannot be written as JSON: "):
            Pipeline([bad]).run(JsonlSink(tmp_path / "out.jsonl", non_finite="null"))
    with pytest.raises(PipelineError, match='non_finite is "raise" or "null", not \'nan\''):
        JsonlSink(tmp_path / "out.jsonl", non_finite="nan")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [JsonlSink, ParquetSink])
def test_a_sink_that_fails_leaves_nothing(tmp_path: Path, kind: type[JsonlSink] | type[ParquetSink]) -> None:
    with pytest.raises(PipelineError, match="object"):
        Pipeline([{"x": 1}, object()]).run(kind(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_torch_tensors_share_the_memory_of_arrays() -> None:
    torch = pytest.importorskip("torch", reason="torch is an extra")
    found = []
    pipeline = Pipeline(range(6)).map(lambda number: {"x": np.full(2, number), "name": "n"}).batch(3).to_torch()
    for batch in pipeline:
        assert torch.is_tensor(batch["x"])
        assert batch["name"] == ["n"] * 3
        found.append(batch["x"].sum().item())
    assert found == [6, 24]
