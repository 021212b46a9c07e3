"""The command line."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from tests.mithril.dedup.documents import planted

from mithril.cli import mithril
from mithril.core.errors import ConfigError, InputError


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps({"body": text}) + "\n" for text in planted(21)))
    return path


def test_a_run_writes_files_and_says_what_was_removed(source: Path, tmp_path: Path) -> None:
    arguments = ["dedup", "run", str(source), "--output", str(tmp_path / "out"), "--column", "body"]
    result = CliRunner().invoke(mithril, [*arguments, "--threshold", "0.7", "--threads", "1"], catch_exceptions=False)
    assert result.exit_code == 0
    assert "280 documents" in result.output
    assert "25 bands of 5 rows" in result.output
    report = json.loads((tmp_path / "out" / "_dedup.json").read_text())
    assert report["kept"] == len((tmp_path / "out" / "in.jsonl").read_text().splitlines()) < 280


def test_a_small_run_says_its_bytes(source: Path) -> None:
    source.write_text('{"text": "a text of some words"}\n' + '{"text": "%s"}\n' % ("another " * 400))
    result = CliRunner().invoke(mithril, ["dedup", "run", str(source), "--dry-run"], catch_exceptions=False)
    assert "3.2 kB of text, 3.2 kB kept" in result.output
    source.write_text('{"text": "a text of some words"}\n' * 2)
    result = CliRunner().invoke(mithril, ["dedup", "run", str(source), "--dry-run"], catch_exceptions=False)
    assert "40 bytes of text, 20 bytes kept" in result.output


def test_a_dry_run_prints_the_report_as_json(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MITHRIL_DEDUP_COLUMN", "body")
    arguments = ["dedup", "run", str(source), "--dry-run", "--json", "--method", "exact"]
    result = CliRunner().invoke(mithril, arguments, catch_exceptions=False)
    report = json.loads(result.output)
    assert report["dry_run"]
    assert report["bands"] == report["removed_minhash"] == 0
    assert report["removed_exact"] > 0


def test_what_is_wrong_with_the_call_is_said(source: Path) -> None:
    with pytest.raises(InputError, match="there is no output"):
        CliRunner().invoke(mithril, ["dedup", "run", str(source)], catch_exceptions=False)
    with pytest.raises(ConfigError, match=r"dedup\.threshold \(argument\)"):
        CliRunner().invoke(mithril, ["dedup", "run", str(source), "--threshold", "2"], catch_exceptions=False)


def test_without_pyarrow_the_command_line_stands_and_the_extra_is_named() -> None:
    program = "import sys; sys.modules['pyarrow'] = None; import mithril.cli, mithril.dedup; mithril.dedup.deduplicate"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.stderr.endswith("deduplication needs the package pyarrow: pip install 'mithril[dedup]'\n")


# What a parent had resident would count as its child's, so the process tells of itself.
_RUN = """
import sys
from pathlib import Path
from mithril.cli import mithril
mithril(sys.argv[1:], standalone_mode=False)
print(Path("/proc/self/status").read_text())
"""


def _peak_bytes(source: Path, memory: str) -> int:
    """The most memory that the command had resident."""
    arguments = ["dedup", "run", str(source), "--output", str(source.parent / "out"), "--memory", memory]
    command = [sys.executable, "-c", _RUN, *arguments, "--threads", "2"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return int(told.partition("VmHWM:")[2].split()[0]) * 1024


def test_a_run_stays_within_its_memory(tmp_path: Path) -> None:
    chance = random.Random(9)
    long = " ".join(f"{chance.randrange(1 << 40):x}" for _ in range(100_000))
    places = [[chance.randrange(len(long) - 500) for _ in range(3)] for _ in range(60_000)]
    texts = ["".join(long[at : at + 500] for at in of_one) for of_one in places]
    for name, count in (("few", 100), ("many", len(texts))):
        (tmp_path / name).mkdir()
        pq.write_table(pa.table({"text": texts[:count]}), tmp_path / name / "in.parquet", row_group_size=8192)
    memory = 40_000_000
    bare = _peak_bytes(tmp_path / "few" / "in.parquet", "40MB")
    assert _peak_bytes(tmp_path / "many" / "in.parquet", "40MB") - bare <= 1.1 * memory
    assert len(pq.read_table(tmp_path / "many" / "out" / "in.parquet")) > 50_000


def test_memory_that_no_run_can_keep_is_refused(source: Path) -> None:
    arguments = ["dedup", "run", str(source), "--dry-run", "--column", "body", "--memory", "20MB"]
    with pytest.raises(ConfigError, match="takes at least 33554432 bytes of memory; memory_bytes is 20000000"):
        CliRunner().invoke(mithril, arguments, catch_exceptions=False)
