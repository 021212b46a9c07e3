"""Time of a hit in the cache, from the folder and from a node: `python -m benches.mithril.cache_hit`."""

import argparse
import os
import tempfile
import time
from pathlib import Path

from tests.node import Node

from mithril.cache.artifact import Artifact
from mithril.cache.keys import CacheKey
from mithril.cache.layers import ArtifactCache
from mithril.cache.settings import CacheSettings


def measure(cache: ArtifactCache, keys: list[CacheKey]) -> list[float]:
    """Seconds of each hit."""
    seconds = []
    for key in keys:
        start = time.perf_counter()
        found = cache.get(key)
        seconds.append(time.perf_counter() - start)
        if found is None:
            raise SystemExit(f"{key.subject} is not there")
    return sorted(seconds)


def main() -> None:
    """Measures and prints percentiles."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=100_000, help="bytes that an artifact takes when stored")
    parser.add_argument("--count", type=int, default=1000)
    options = parser.parse_args()
    keys = [CacheKey("bench", "hit", str(number)) for number in range(options.count)]
    with tempfile.TemporaryDirectory() as scratch, Node.start(shards=1) as node:
        url = f"ygg://127.0.0.1:{node.port}/bench"
        with ArtifactCache(CacheSettings(root=Path(scratch) / "one", url=url)) as one:
            for key in keys:
                one.put(Artifact(key, {"data": os.urandom(options.size)}))
            one.flush()
            _print("local", measure(one, keys))
        with ArtifactCache(CacheSettings(root=Path(scratch) / "other", url=url)) as other:
            _print("shared", measure(other, keys))


def _print(name: str, seconds: list[float]) -> None:
    shown = "  ".join(
        f"p{share:g} {seconds[int(len(seconds) * share / 100) - 1] * 1e3:.2f} ms" for share in (50, 90, 99)
    )
    print(f"{name:<8} {shown}")


if __name__ == "__main__":
    main()
