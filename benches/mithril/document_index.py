"""An index of documents on servers: documents a second of the server's CPU, and bytes a document.

    python -m benches.mithril.document_index [--documents 40000] [--bands 25] [--rounds 2]

Two processes add to one index, in batches as files give them. What they add has been hashed before: a fifth of the
documents are like an earlier one in a third of their bands. Servers take turns; each is new.
"""

import argparse
import statistics
import subprocess
import sys
import time

import numpy as np

from benches.servers import Kind, find_kinds, running
from mithril.dedup.index import HASH_BYTES, SKETCH_BYTES, DocumentIndex, Entries, open_index

_BATCH = 4096
_INGESTERS = 2


def entries(draws: np.random.Generator, count: int, bands: int) -> Entries:
    """Random documents."""
    hashes = draws.integers(0, 256, (count, HASH_BYTES), np.uint8)
    keys = draws.integers(0, 1 << 64, (count, bands), np.uint64)
    copies = draws.choice(count, count // 5, replace=False)
    of = draws.integers(0, count, len(copies))
    shared = draws.random((len(copies), bands)) < 1 / 3
    keys[copies] = np.where(shared, keys[of], keys[copies])
    sketches = draws.integers(0, 256, (count, SKETCH_BYTES), np.uint8)
    everything = np.ones(count, np.bool_)
    return Entries(hashes, keys, sketches, everything, everything)


def part(all_of_them: Entries, rows: slice) -> Entries:
    """Some of the documents."""
    return Entries(*(getattr(all_of_them, name)[rows] for name in Entries.__slots__))


def opened(url: str, bands: int, capacity: int) -> DocumentIndex:
    """The index of the run."""
    return open_index(url, bands=bands, rows=5, capacity=capacity)


def ingest(url: str, seed: int, documents: int, bands: int, capacity: int) -> None:
    """Adds documents, and prints the seconds that it took."""
    made = entries(np.random.default_rng(seed), documents, bands)
    with opened(url, bands, capacity) as index:
        print("ready", flush=True)
        sys.stdin.readline()
        started = time.monotonic()
        for first in range(0, documents, _BATCH):
            index.add_entries(part(made, slice(first, first + _BATCH)))
        print(time.monotonic() - started, flush=True)


def measured(kind: Kind, documents: int, bands: int) -> tuple[float, float, float]:
    """Documents a second of the server's CPU, bytes a document, and documents a second."""
    with running(kind) as server:
        url = f"{'ygg' if kind.ours else 'redis'}://{server.address}/index"
        opened(url, bands, documents).close()
        each = documents // _INGESTERS
        command = [sys.executable, "-m", __spec__.name, "--ingest", url]
        ingesters = [
            subprocess.Popen(
                [*command, str(seed), str(each), str(bands), str(documents)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for seed in range(_INGESTERS)
        ]
        for ingester in ingesters:
            assert ingester.stdout
            assert ingester.stdout.readline() == "ready\n"
        memory, cpu = server.memory().kept, server.cpu_seconds()
        for ingester in ingesters:
            assert ingester.stdin
            print(file=ingester.stdin, flush=True)
        seconds = max(float(ingester.communicate()[0]) for ingester in ingesters)
        cpu, memory = server.cpu_seconds() - cpu, server.memory().kept - memory
        with opened(url, bands, documents) as index:
            assert index.statistics().documents == each * _INGESTERS
        return documents / cpu, memory / documents, documents / seconds


def main() -> None:
    """Measures the servers that are here."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=40_000)
    parser.add_argument("--bands", type=int, default=25)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--ingest", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ingest:
        url, *numbers = arguments.ingest
        ingest(url, *map(int, numbers))
        return
    kinds = find_kinds(peers=True)
    runs: dict[str, list[tuple[float, float, float]]] = {name: [] for name in kinds}
    for _ in range(arguments.rounds):
        for name, kind in kinds.items():
            runs[name].append(measured(kind, arguments.documents, arguments.bands))
    for name, of_server in runs.items():
        cpu, size, wall = (statistics.median(values) for values in zip(*of_server, strict=True))
        print(f"{name:10} {cpu:8.0f} documents a CPU second, {size:6.0f} bytes each, {wall:8.0f} documents a second")


if __name__ == "__main__":
    main()
