"""Near-duplicates end to end, Parquet to Parquet, beside peers: documents for a CPU second, and what was flagged.

    python -m benches.mithril.duplicates [--documents 100000] [--rounds 3] [--truth] [--text-dedup PYTHON]

The corpus is made of files of this machine (Python's library, headers, documents) with planted copies, of nine kinds of
edits, by a seed. Each run is a process of its own on one thread, start and end included; tools take turns. With --truth
what was flagged is compared with all pairs, whose shingles are computed here, without the kernels. rensa is measured
where it can be imported, in its plain form with shingling in Python; text-dedup where its interpreter is named.
"""

import argparse
import collections
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benches.mithril import duplicates_rensa

THRESHOLD = 0.7
SHINGLE = 5
_WORDS = re.compile(r"\w+")


def partners(texts: Sequence[str]) -> set[int]:
    """The documents that have another of at least the threshold, by prefix-filtered comparison of all pairs."""
    sets = []
    for text in texts:
        words = _WORDS.findall(text.lower())
        sets.append(
            {hash(tuple(words[at : at + SHINGLE])) for at in range(max(len(words) - SHINGLE + 1, 1))}
            if words
            else set()
        )
    counts = collections.Counter(shingle for found in sets for shingle in found)
    index: dict[int, list[int]] = collections.defaultdict(list)
    with_partner: set[int] = set()
    for number in sorted(range(len(sets)), key=lambda number: len(sets[number])):
        found = sets[number]
        if not found:
            continue
        rare = sorted(found, key=lambda shingle: (counts[shingle], shingle))
        prefix = [
            shingle for shingle in rare[: len(found) - int(np.ceil(THRESHOLD * len(found))) + 1] if counts[shingle] > 1
        ]
        for other in {other for shingle in prefix for other in index[shingle]}:
            if len(sets[other]) < THRESHOLD * len(found) or (number in with_partner and other in with_partner):
                continue
            common = len(found & sets[other])
            if common >= THRESHOLD * (len(found) + len(sets[other]) - common):
                with_partner |= {number, other}
        for shingle in prefix:
            index[shingle].append(number)
    return with_partner


@dataclass(frozen=True, slots=True)
class Tool:
    name: str
    command: list[str]
    flags: bool = True


@dataclass(frozen=True, slots=True)
class Run:
    cpu_s: float
    wall_s: float
    peak_mb: float


def tools(source: Path, folder: Path, text_dedup: str | None) -> list[Tool]:
    mithril = [sys.executable, "-m", "mithril", "dedup", "run", str(source), "--output", str(folder / "mithril")]
    mithril += ["--threshold", str(THRESHOLD), "--threads", "1", "--overwrite"]
    found = [Tool("mithril", mithril)]
    if duplicates_rensa.available():
        rensa = [sys.executable, "-m", "benches.mithril.duplicates_rensa", str(source), str(folder / "rensa.parquet")]
        found.append(Tool("rensa, shingles in Python, unchecked", rensa))
    if text_dedup:
        peer = [text_dedup, "-m", "text_dedup.minhash", "--path", "parquet", "--data_files", str(source)]
        peer += ["--split", "train", "--column", "text", "--output", str(folder / "text-dedup"), "--num_proc", "1"]
        peer += ["--cache_dir", str(folder / "cache"), "--num_perm", "128", "--b", "16", "--r", "8"]
        found.append(Tool("text-dedup, unchecked", [*peer, "--ngram", str(SHINGLE)], flags=False))
    return found


def run(tool: Tool, folder: Path) -> Run:
    # What has been compiled once stays, as where a tool is used.
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        "OMP_NUM_THREADS": "1",
        "HF_HOME": str(folder / "hf"),
        "TOKENIZERS_PARALLELISM": "false",
    }
    started = time.monotonic()
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(tool.command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{tool.name} failed:\n{(folder / 'log').read_text()[-2000:]}")
    return Run(usage.ru_utime + usage.ru_stime, time.monotonic() - started, usage.ru_maxrss / 1024)


def flagged(tool: Tool, source: Path, folder: Path) -> set[int]:
    """The documents that the tool put into a cluster with another."""
    if tool.name == "mithril":
        subprocess.run([*tool.command, "--mark"], check=True, stdout=subprocess.DEVNULL)
        roots = pq.read_table(folder / "mithril" / source.name)["dedup_cluster"].to_pylist()
    else:
        roots = pq.read_table(str(folder / "rensa.parquet") + ".clusters")["cluster"].to_pylist()
    sizes = collections.Counter(roots)
    return {number for number, root in enumerate(roots) if sizes[root] > 1}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--truth", action="store_true")
    parser.add_argument("--text-dedup", metavar="PYTHON", help="interpreter that has text-dedup 0.4")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="duplicates-") as name:
        folder = Path(name)
        source = folder / "in.parquet"
        # In a process of its own: a peak of memory is passed on to what this one starts.
        maker = [sys.executable, "-m", "benches.mithril.duplicates_corpus", str(arguments.documents), str(source)]
        subprocess.run(maker, check=True)
        chosen = tools(source, folder, arguments.text_dedup)
        runs: dict[str, list[Run]] = collections.defaultdict(list)
        for _ in range(arguments.rounds):
            for tool in chosen:
                runs[tool.name].append(run(tool, folder))
        texts = pq.read_table(source)["text"].to_pylist()
        print(f"{len(texts)} documents, {sum(len(text.encode()) for text in texts) / 1e6:.0f} MB")
        base = statistics.median(one.cpu_s for one in runs["mithril"])
        truth = partners(texts) if arguments.truth else None
        for tool in chosen:
            cpu = statistics.median(one.cpu_s for one in runs[tool.name])
            wall = statistics.median(one.wall_s for one in runs[tool.name])
            peak = max(one.peak_mb for one in runs[tool.name])
            line = f"{tool.name:40} {len(texts) / cpu:9.0f} docs/CPU-s ({cpu / base:5.1f}) {wall:6.1f} s {peak:6.0f} MB"
            if truth is not None and tool.flags:
                found = flagged(tool, source, folder)
                right = len(found & truth)
                line += f"  with a partner {right / len(found):.4f}, found {right / len(truth):.4f}"
            print(line)


if __name__ == "__main__":
    main()
