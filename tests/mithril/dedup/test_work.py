"""Runs that are killed go on where they were, and other thresholds need no hashing."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.mithril.dedup.documents import planted

from mithril import _kernels
from mithril.core.config import load
from mithril.core.errors import ConfigError, DamagedError, InputError
from mithril.dedup import deduplicate, rethreshold
from mithril.dedup.settings import DedupSettings
from mithril.dedup.spill import Spill

PARTS = 6
THRESHOLD = 0.7

# Kills itself after so many chunks that were read, or files that were written.
KILLED = """
import os, signal, sys
from mithril.dedup import deduplicate
from mithril.dedup.work import Work
folder, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
real, calls = getattr(Work, name), []
def noted(self, *arguments):
    real(self, *arguments)
    calls.append(arguments)
    if len(calls) == count:
        os.kill(os.getpid(), signal.SIGKILL)
setattr(Work, name, noted)
deduplicate(folder + "/in", folder + "/out", work=folder + "/work", threshold=0.7, threads=1)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    texts = planted(41)
    (tmp_path / "in").mkdir()
    size = -(-len(texts) // PARTS)
    for number in range(PARTS):
        part = pa.table({"text": texts[number * size : (number + 1) * size]})
        pq.write_table(part, tmp_path / "in" / f"{number}.parquet", row_group_size=20)
    deduplicate(str(tmp_path / "in"), str(tmp_path / "whole"), threshold=THRESHOLD)
    return tmp_path


def texts_of(folder: Path) -> list[list[str]]:
    return [pq.read_table(path)["text"].to_pylist() for path in sorted(folder.glob("*.parquet"))]


def killed(folder: Path, name: str, count: int) -> None:
    arguments = [sys.executable, "-c", KILLED, str(folder), name, str(count)]
    assert subprocess.run(arguments, check=False).returncode == -signal.SIGKILL


@pytest.mark.parametrize(("name", "count"), [("add_chunk", 1), ("add_chunk", 8), ("add_written", 2)])
def test_a_killed_run_goes_on_and_does_nothing_twice(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, count: int
) -> None:
    killed(folder, name, count)
    signed = []
    real = _kernels.DocumentSigner

    class Counting:
        def __init__(self, *arguments: Any) -> None:
            self._signer = real(*arguments)

        def sign(self, *place: Any) -> tuple[bytes, bytes, bytes, bytes]:
            signed.append(place[-1])
            return self._signer.sign(*place)

    monkeypatch.setattr("mithril.dedup.scan._kernels.DocumentSigner", Counting)
    before = {path.name: path.stat().st_ino for path in (folder / "out").glob("*.parquet")}
    report = deduplicate(
        str(folder / "in"), str(folder / "out"), work=str(folder / "work"), threshold=THRESHOLD, threads=1
    )
    chunks = 18 if name == "add_written" else count
    assert len(signed) == 18 - chunks
    assert len(before) == (2 if name == "add_written" else 0)
    assert all((folder / "out" / file).stat().st_ino == inode for file, inode in before.items())
    assert texts_of(folder / "out") == texts_of(folder / "whole")
    assert report.kept == sum(map(len, texts_of(folder / "whole")))
    assert not (folder / "work").exists()


def test_work_is_refused_for_another_run(folder: Path) -> None:
    killed(folder, "add_chunk", 3)
    arguments = (str(folder / "in"), str(folder / "out"))
    with pytest.raises(ConfigError, match="has other settings"):
        deduplicate(*arguments, work=str(folder / "work"), threshold=THRESHOLD, shingle_size=4)
    pq.write_table(pa.table({"text": ["other"]}), folder / "in" / "9.parquet")
    with pytest.raises(ConfigError, match="has other inputs"):
        deduplicate(*arguments, work=str(folder / "work"), threshold=THRESHOLD)
    with pytest.raises(ConfigError, match="has other files"):
        deduplicate(*arguments, work=str(folder / "in"), threshold=THRESHOLD)


def test_damaged_work_is_found(folder: Path) -> None:
    killed(folder, "add_chunk", 3)
    os.truncate(folder / "work" / "columns" / "hashes", 5)
    with pytest.raises(DamagedError, match="the column hashes has 5 bytes"):
        deduplicate(str(folder / "in"), str(folder / "out"), work=str(folder / "work"), threshold=THRESHOLD)
    journal = folder / "work" / "journal.jsonl"
    journal.write_bytes(b'{"source": 77, "rows": 1}\n')
    with pytest.raises(DamagedError, match="journal cannot be read"):
        deduplicate(str(folder / "in"), str(folder / "out"), work=str(folder / "work"), threshold=THRESHOLD)


@pytest.mark.parametrize("threshold", [0.6, 0.9])
def test_another_threshold_needs_no_hashing(folder: Path, monkeypatch: pytest.MonkeyPatch, threshold: float) -> None:
    source = str(folder / "in")
    options: dict[str, Any] = {"bands": 40, "rows": 3}
    deduplicate(source, str(folder / "out"), work=str(folder / "work"), keep_work=True, threshold=0.7, **options)
    expected = deduplicate(source, str(folder / "expected"), threshold=threshold, **options)
    monkeypatch.setattr("mithril.dedup.scan._sign", lambda *_: pytest.fail("a document is signed again"))
    for name in ("again", "more"):
        report = rethreshold(str(folder / "work"), str(folder / name), threshold=threshold)
        assert report.kept == expected.kept
        assert texts_of(folder / name) == texts_of(folder / "expected")
    assert rethreshold(str(folder / "work"), dry_run=True, threshold=threshold, method="exact").removed_minhash == 0


def test_a_threshold_that_the_work_cannot_give_is_refused(folder: Path) -> None:
    work = str(folder / "work")
    with pytest.raises(ConfigError, match="no work of a run"):
        rethreshold(work, str(folder / "again"))
    deduplicate(str(folder / "in"), str(folder / "out"), work=work, keep_work=True, method="exact")
    with pytest.raises(ConfigError, match="other texts, shingles or methods"):
        rethreshold(work, str(folder / "again"), method="minhash")
    with pytest.raises(ConfigError, match="other texts, shingles or methods"):
        rethreshold(work, str(folder / "again"), normalization="none")
    path = next((folder / "in").iterdir())
    path.write_bytes(path.read_bytes())
    with pytest.raises(InputError, match="inputs have changed"):
        rethreshold(work, str(folder / "again"), threshold=0.9)
    assert json.loads((folder / "work" / "run.json").read_text())["format"] == 2


def test_little_memory_means_fewer_threads_and_no_mapping(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(DedupSettings, {"threads": 8, "memory_bytes": 30 << 20}).settings
    assert [settings.workers_for(size << 20) for size in (0, 1, 2, 4, 100)] == [8, 8, 4, 1, 1]
    parts = []
    real = Spill.part

    def part(self: Spill, name: str, start: int, size: int) -> bytes:
        parts.append(name)
        return real(self, name, start, size)

    monkeypatch.setattr(Spill, "part", part)
    monkeypatch.setattr("mithril.dedup.clustering._MAPPED_SHARE", 1 << 30)
    deduplicate(str(folder / "in"), str(folder / "out"), threshold=THRESHOLD)
    assert "shingles" in parts
    assert texts_of(folder / "out") == texts_of(folder / "whole")
