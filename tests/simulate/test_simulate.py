"""`yggdrasil simulate`: traces in, hit ratios out."""

import gzip
import json
import lzma
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from yggdrasil._core import YggdrasilError, detect_trace_format, simulated_policies, trace_formats
from yggdrasil.simulate import TraceFileError, run
from yggdrasil.simulate.plot import svg

LOOP = 200
# Two passes over more keys than fit, then one key again and again.
KEYS = [f"key{number % LOOP}" for number in range(20 * LOOP)] + ["hot"] * 100


def written(directory: Path, name: str, lines: list[str]) -> Path:
    """A trace file, packed as its name says."""
    content = "".join(f"{line}\n" for line in lines).encode()
    file = directory / name
    match file.suffix:
        case ".gz":
            file.write_bytes(gzip.compress(content))
        case ".xz":
            file.write_bytes(lzma.compress(content))
        case ".zst":
            subprocess.run(["zstd", "-q", "-o", str(file)], input=content, check=True)
        case _:
            file.write_bytes(content)
    return file


def simulated(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command with these arguments."""
    command = [sys.executable, "-m", "yggdrasil", "simulate", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_loop_defeats_lru_and_not_the_engines_policy(tmp_path: Path) -> None:
    trace = written(tmp_path, "loop.txt", KEYS)
    outcomes = run(trace, memory=[100, 1000], policies=["tinylfu", "lru"], object_bytes=1, overhead=0)
    found = {(outcome.policy, outcome.memory): outcome for outcome in outcomes}
    assert found["lru", 100].hits == 99
    assert found["tinylfu", 100].hit_ratio > 0.3
    assert found["lru", 1000].hits == found["tinylfu", 1000].hits == len(KEYS) - LOOP - 1
    assert all(outcome.reads == len(KEYS) for outcome in outcomes)


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz", ".zst"])
def test_packed_traces_give_the_same(tmp_path: Path, suffix: str) -> None:
    if suffix == ".zst" and not shutil.which("zstd"):
        pytest.skip("the program zstd is not there")
    plain = run(written(tmp_path, "plain.txt", KEYS), memory=[50_000], policies=simulated_policies())
    packed = run(written(tmp_path, f"packed.txt{suffix}", KEYS), memory=[50_000], policies=simulated_policies())
    assert packed == plain


def test_sizes_count_and_bytes_have_their_own_ratio(tmp_path: Path) -> None:
    trace = written(tmp_path, "sized.txt", ["small 10", "large 90", "small 10", "small 10"])
    [outcome] = run(trace, memory=[1000], policies=["lru"], overhead=0)
    assert outcome.hit_ratio == 0.5
    assert outcome.byte_hit_ratio == pytest.approx(20 / 120)


def test_each_format_is_read(tmp_path: Path) -> None:
    twitter = ["0,k,1,9,2,get,0", "1,k,1,9,2,get,0", "1,k,1,9,2,set,60", "2,m,1,0,2,get,0", "3,m,1,5,2,set,0"]
    capture = b"YGGCAP\x01\x00" + b"".join(struct.pack("<QB", number, 20) for number in (1, 2, 1))
    (tmp_path / "capture").write_bytes(capture)
    traces = {
        "keys": (written(tmp_path, "keys", ["a", "b 10", "a"]), 3, 1),
        "arc": (written(tmp_path, "arc", ["5 3 0 0", "6 2 0 0"]), 5, 2),
        "lirs": (written(tmp_path, "lirs", ["1", "*", "2", "1"]), 3, 1),
        "twitter": (written(tmp_path, "twitter", twitter), 3, 1),
        "capture": (tmp_path / "capture", 3, 1),
    }
    assert sorted(traces) == sorted(trace_formats())
    for name, (trace, reads, hits) in traces.items():
        outcomes = run(trace, memory=[100_000], policies=simulated_policies(), format=name)
        assert {(outcome.reads, outcome.hits) for outcome in outcomes} == {(reads, hits)}, name
        if name != "lirs":
            assert detect_trace_format(trace.read_bytes()[:100]) == name


def test_a_sampled_capture_stands_for_a_larger_cache(tmp_path: Path) -> None:
    records = b"".join(struct.pack("<QB", number % 64, 20) for number in range(640))
    for shift in (0, 4):
        (tmp_path / str(shift)).write_bytes(b"YGGCAP\x01" + bytes([shift]) + records)
    # Entries of 10 bytes: 64 of them need 640, or 16 times as much where one key in 16 was recorded.
    [whole] = run(tmp_path / "0", memory=[640], policies=["lru"], overhead=0)
    [large, small] = run(tmp_path / "4", memory=[640 * 16, 640], policies=["lru"], overhead=0)
    assert whole.hits == large.hits == 640 - 64
    assert small.hits == 0


def test_the_command_prints_a_table_json_and_a_plot(tmp_path: Path) -> None:
    trace = written(tmp_path, "keys.gz", KEYS)
    plot = tmp_path / "plot.svg"
    table = simulated("--trace", trace, "--memory", "1kb,1mb", "--plot", plot)
    assert table.returncode == 0, table.stderr
    assert "tinylfu" in table.stdout
    assert "1mb" in table.stdout
    assert f"{len(KEYS):,} reads" in table.stdout
    assert plot.read_text().startswith("<svg")
    rows = json.loads(simulated("--trace", trace, "--memory", "1mb", "--policy", "lru,random", "--json").stdout)
    assert [row["policy"] for row in rows] == ["lru", "random"]
    assert rows[0]["hits"] == len(KEYS) - LOOP - 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--memory", "1gb", "--format", "lirs"], "line 2: expected a block number or *, found"),
        (["--memory", "much"], "expected sizes such as 512mb,2gb, found much"),
        (["--memory", "0"], "a cache of 0 bytes keeps nothing"),
        (["--memory", "1gb", "--object-size", "0"], "an object has at least one byte"),
        (["--memory", "1gb", "--object-size", "1kb,2kb"], "expected a size such as 1kb, found 1kb,2kb"),
        (["--memory", "1gb", "--policy", "best"], "there is no policy best; there are tinylfu, lru"),
        (["--memory", "1gb", "--plot", "/nowhere/plot.svg"], "/nowhere/plot.svg: No such file or directory"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    trace = written(tmp_path, "trace", ["1", "two", "3"])
    called = simulated("--trace", trace, *arguments)
    assert called.returncode == 2
    assert message in called.stderr
    assert len(called.stderr.splitlines()) == 1


def test_a_plot_that_cannot_be_written_costs_no_result(tmp_path: Path) -> None:
    trace = written(tmp_path, "keys", KEYS)
    called = simulated("--trace", trace, "--memory", "1mb", "--policy", "lru", "--plot", "/nowhere/plot.svg")
    assert called.returncode == 2
    assert f"{len(KEYS):,} reads" in called.stdout


@pytest.mark.parametrize("name", ["trace.gz", "trace.xz", "trace.zst"])
def test_damaged_files_are_errors(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_bytes(b"\x00 not packed at all")
    with pytest.raises(TraceFileError, match="trace"):
        run(file, memory=[1000])
    with pytest.raises(TraceFileError, match="No such file"):
        run(tmp_path / f"missing{file.suffix}", memory=[1000])


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    trace = written(tmp_path, "trace", ["1"])
    with pytest.raises(YggdrasilError, match="there is no policy best"):
        run(trace, memory=[1000], policies=["best"])
    with pytest.raises(YggdrasilError, match="there is no trace format csv"):
        run(trace, memory=[1000], format="csv")


def test_plots_hold_one_size_and_no_hits(tmp_path: Path) -> None:
    outcomes = run(written(tmp_path, "trace", ["a", "b"]), memory=[1000], policies=["lru", "lfu"])
    assert svg(outcomes, "a < b").count("<polyline") == 2
    assert "a &lt; b" in svg(outcomes, "a < b")
