"""Compressed lines, sinks of arrays, traces and plugins."""

import gzip
import json
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from click.testing import CliRunner
from safetensors.numpy import load_file

from mithril.cli import mithril
from mithril.core.errors import ConfigError
from mithril.pipeline import (
    ArrowSink,
    NumpySink,
    ParquetSink,
    Pipeline,
    PipelineError,
    SafetensorsSink,
    SourceError,
    StreamedJsonlSource,
    StreamedTextSource,
    TextSource,
    Transform,
    TransformError,
    plugins,
)


def test_compressed_lines_are_read_and_resumed(tmp_path: Path) -> None:
    lines = [f"line {number}" for number in range(1000)]
    data = "\n".join(lines).encode()
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(data[:5000]) + gzip.compress(data[5000:]))
    compressor = zstandard.ZstdCompressor()
    (tmp_path / "b.txt.zst").write_bytes(compressor.compress(data[:5000]) + compressor.compress(data[5000:]))
    (tmp_path / "c.txt").write_bytes(data)
    source = StreamedTextSource(tmp_path)
    assert list(Pipeline(source)) == lines * 3
    pipeline = Pipeline(source).shuffle(50).batch(7)
    whole = list(pipeline)
    run = iter(pipeline)
    del run
    pipeline = Pipeline(source).shuffle(50).batch(7)
    run = iter(pipeline)
    first = [next(run) for _ in range(200)]
    again = Pipeline(source).shuffle(50).batch(7)
    again.load_state_dict(pipeline.state_dict())
    assert first + list(again) == whole
    with pytest.raises(SourceError, match="use StreamedTextSource"):
        TextSource(tmp_path / "a.txt.gz")


def test_a_damaged_compressed_file_is_named_with_the_line(tmp_path: Path) -> None:
    whole = gzip.compress(b'{"x": 1}\n' * 100_000)
    (tmp_path / "a.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match=r"a\.jsonl\.gz: cannot be decompressed behind line \d+"):
        list(Pipeline(StreamedJsonlSource(tmp_path / "a.jsonl.gz")))
    (tmp_path / "b.jsonl.zst").write_bytes(zstandard.ZstdCompressor().compress(b'{"x": 1}\n\n{"x": \n'))
    with pytest.raises(SourceError, match=r"b\.jsonl\.zst, line 3: "):
        list(Pipeline(StreamedJsonlSource(tmp_path / "b.jsonl.zst")))


def test_arrays_become_a_numpy_file(tmp_path: Path) -> None:
    rows = np.arange(60, dtype=np.float32).reshape(20, 3)
    Pipeline(list(rows)).run(NumpySink(tmp_path / "rows.npy"))
    assert np.array_equal(np.load(tmp_path / "rows.npy"), rows)
    Pipeline(list(rows)).batch(7).run(NumpySink(tmp_path / "batches.npy", batches=True))
    assert np.array_equal(np.load(tmp_path / "batches.npy"), rows)
    with pytest.raises(PipelineError, match=r"shape \(2,\), follow ones of float32, \(3,\)"):
        Pipeline([rows[0], rows[0][:2]]).run(NumpySink(tmp_path / "bad.npy"))
    assert not (tmp_path / "bad.npy").exists()


def test_dictionaries_of_arrays_become_a_safetensors_file(tmp_path: Path) -> None:
    rows = [{"a": np.full((2, 2), number, np.float16), "b": number} for number in range(10)]
    Pipeline(rows).run(SafetensorsSink(tmp_path / "a.safetensors", metadata={"made": "here"}))
    Pipeline(rows).batch(3).run(SafetensorsSink(tmp_path / "b.safetensors", batches=True))
    for name in ("a", "b"):
        found = load_file(tmp_path / f"{name}.safetensors")
        assert found["a"].shape == (10, 2, 2)
        assert found["a"].dtype == np.float16
        assert found["b"].tolist() == list(range(10))
    for bad, message in (([1], "tensors have names"), ([{"a": "x"}], "safetensors has no"), (
        [{"a": 1}, {"b": 1}], r"\['b'\] follows \['a'\]")):  # fmt: skip
        with pytest.raises(PipelineError, match=message):
            Pipeline(bad).run(SafetensorsSink(tmp_path / "bad.safetensors"))
    assert not (tmp_path / "bad.safetensors").exists()


def test_rows_and_tables_become_an_arrow_file(tmp_path: Path) -> None:
    Pipeline(range(30)).map(lambda n: {"n": n, "v": np.arange(2)}).run(ArrowSink(tmp_path / "a.arrow", group_rows=10))
    with pa.OSFile(str(tmp_path / "a.arrow")) as file, pa.ipc.open_file(file) as reader:
        assert reader.num_record_batches == 3
        assert reader.read_all().to_pylist()[29] == {"n": 29, "v": [0, 1]}


def test_rows_keep_all_their_columns(tmp_path: Path) -> None:
    rows = [{"a": 1}, {"a": 2, "b": 3}, {"b": 4}]
    whole = [{"a": row.get("a"), "b": row.get("b")} for row in rows]
    path = tmp_path / "rows.parquet"
    Pipeline(rows).run(ParquetSink(path))
    assert pq.read_table(path).to_pylist() == whole
    with pytest.raises(PipelineError, match="no column b, as no row of the first group had it; give a schema"):
        Pipeline(rows).run(ParquetSink(tmp_path / "bad.parquet", group_rows=1))
    assert not (tmp_path / "bad.parquet").exists()
    schema = pa.schema({"a": pa.int8(), "b": pa.int16()})
    Pipeline(rows).run(ParquetSink(path, group_rows=1, schema=schema))
    assert pq.read_table(path).schema.equals(schema)
    assert pq.read_table(path).to_pylist() == whole


def test_groups_are_bounded_in_bytes(tmp_path: Path) -> None:
    rows = [{"a": b"x" * 1000} for _ in range(100)]
    Pipeline(rows).run(ParquetSink(tmp_path / "rows.parquet", group_bytes=10_000))
    metadata = pq.read_metadata(tmp_path / "rows.parquet")
    assert metadata.num_rows == 100
    assert all(metadata.row_group(group).num_rows <= 10 for group in range(metadata.num_row_groups))


def test_arrays_and_tensors_of_any_shape_become_lists_of_their_type(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is an extra")
    row = {"v": np.ones((2, 3), np.float32), "t": torch.ones(2), "n": np.int8(3), "s": {"x": np.ones((1, 1))}}
    Pipeline([row]).run(ParquetSink(tmp_path / "rows.parquet"))
    table = pq.read_table(tmp_path / "rows.parquet")
    assert table.to_pylist() == [{"v": [[1.0] * 3] * 2, "t": [1.0, 1.0], "n": 3, "s": {"x": [[1.0]]}}]
    assert table.schema.field("v").type.value_type.value_type == pa.float32()


@pytest.mark.parametrize("sink", [ArrowSink, ParquetSink])
def test_a_table_with_other_columns_is_refused(tmp_path: Path, sink: type[ArrowSink]) -> None:
    with pytest.raises(PipelineError, match="a table with b int64 follows columns a int64"):
        Pipeline([pa.table({"a": [1]}), pa.table({"b": [1]})]).run(sink(tmp_path / "bad"))
    assert not (tmp_path / "bad").exists()


def test_a_trace_has_what_each_stage_did(tmp_path: Path) -> None:
    def double(number: int) -> int:
        return 2 * number

    path = tmp_path / "trace.json"
    assert sum(Pipeline(range(1000), trace=path).map(double, workers=2).batch(10).map(sum)) == 999_000
    trace = json.loads(path.read_text())
    spans = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    assert sum(event["args"]["samples"] for event in spans if event["name"] == "double") == 1000
    threads = {event["tid"] for event in trace["traceEvents"] if event["ph"] == "M"}
    assert {event["tid"] for event in spans} <= threads
    assert any(event["name"] == "memory" and event["args"]["bytes"] > 0 for event in trace["traceEvents"])


def test_a_trace_is_written_when_a_run_fails_or_is_left(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    pipeline = Pipeline([1, 0], trace=path).map(lambda number: 1 // number)
    with pytest.raises(TransformError):
        list(pipeline)
    assert json.loads(path.read_text())["traceEvents"]
    path.unlink()
    with iter(pipeline) as run:
        next(run)
    assert json.loads(path.read_text())["traceEvents"]


class Tripled(Transform):
    """A transform of a plugin."""

    def __init__(self, plus: int = 0) -> None:
        self._plus = plus

    def transform(self, samples: Any) -> Any:
        return [{"x": 3 * sample["x"] + self._plus} for sample in samples]


def test_a_file_names_what_plugins_bring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        EntryPoint("tripled", f"{__name__}:Tripled", plugins.TRANSFORMS),
        EntryPoint("counted", "nowhere:Source", plugins.SOURCES),
        EntryPoint("twice", "a:A", plugins.SINKS),
        EntryPoint("twice", "b:B", plugins.SINKS),
    ]
    monkeypatch.setattr(
        plugins, "entry_points", lambda group, name=None: [
            point for point in points if point.group == group and name in (None, point.name)
        ]
    )  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("in.jsonl").write_text('{"x": 1}\n{"x": 2}\n')
    content = (
        '[source]\ntype = "{}"\nurls = "in.jsonl"\n[[stage]]\ntype = "{}"\nplus = 1\n[sink]\ntype = "{}"\nurl = "o"\n'
    )

    def run(*types: str) -> None:
        Path("it.toml").write_text(content.format(*types))
        result = CliRunner().invoke(mithril, ["pipeline", "run", "it.toml"])
        if result.exception is not None:
            raise result.exception

    run("streamed-jsonl", "tripled", "jsonl")
    assert Path("o").read_text() == '{"x": 4}\n{"x": 7}\n'
    for types, message in (
        (("counted", "tripled", "jsonl"), r"counted \(nowhere:Source\) cannot be loaded"),
        (("jsonl", "tripled", "twice"), "brought by several distributions"),
        (("jsonl", "other", "jsonl"), "no type other; there are .*tripled"),
        (("other", "tripled", "jsonl"), "no type other; there are .*counted, csv"),
    ):
        with pytest.raises(ConfigError, match=message):
            run(*types)
