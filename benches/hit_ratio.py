"""Hit ratios of the engine's policy beside others, on published and on generated traces.

The traces are those of a directory named by TRACES (`benches/fetch_traces.sh` fills one), and generated ones. No server
takes part: the policies run in the simulator of `yggdrasil simulate`. Every object counts as one byte, as in most
published figures.
"""

import gzip
import itertools
import os
import random
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from benches.results import Figure
from yggdrasil.simulate import Outcome, run

POLICIES = ("tinylfu", "lru", "lfu", "s3-fifo", "w-tinylfu-1")
# Sizes of the caches, as shares of the different keys of a trace; a small trace needs larger ones.
SHARES = (0.01, 0.05, 0.20)
SHARES_SMALL = (0.05, 0.15, 0.40)
_SMALL_KEYS = 20_000
_BEST_POINTS = 0.5


def measure(requests: int) -> tuple[list[Figure], list[dict[str, Any]]]:
    """Figures and details; generated traces have so many requests."""
    details: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for trace, format_name in itertools.chain(_published(), _generated(Path(scratch), requests)):
            details += _compared(trace, format_name)
    return [*_figures(details)], details


def _published() -> Iterator[tuple[Path, str]]:
    directory = os.environ.get("TRACES")
    if directory:
        for file in sorted(Path(directory).iterdir()):
            parts = file.name.split(".")
            if len(parts) > 1 and parts[1] in {"arc", "lirs", "keys", "twitter"}:
                yield file, parts[1]


def _generated(directory: Path, requests: int) -> Iterator[tuple[Path, str]]:
    for name, keys in GENERATORS.items():
        file = directory / f"{name}.keys.gz"
        with gzip.open(file, "wt", compresslevel=1) as out:
            out.writelines(f"{key}\n" for key in itertools.islice(keys(random.Random(7), requests), requests))
        yield file, "keys"


def _compared(trace: Path, format_name: str) -> list[dict[str, Any]]:
    keys = _different_keys(trace, format_name)
    shares = SHARES_SMALL if keys < _SMALL_KEYS else SHARES
    memory = [max(1, int(keys * share)) for share in shares]
    outcomes = run(trace, memory=memory, policies=POLICIES, format=format_name, object_bytes=1, overhead=0)
    return [_detail(trace, [outcome for outcome in outcomes if outcome.memory == size]) for size in memory]


def _different_keys(trace: Path, format_name: str) -> int:
    """What a cache that is never full misses: each key once."""
    [outcome] = run(trace, memory=[1 << 40], policies=["lru"], format=format_name, object_bytes=1, overhead=0)
    return outcome.reads - outcome.hits


def _detail(trace: Path, outcomes: Iterable[Outcome]) -> dict[str, Any]:
    by_policy = {outcome.policy: outcome for outcome in outcomes}
    ours = by_policy["tinylfu"]
    percents = {policy: round(100 * outcome.hit_ratio, 2) for policy, outcome in by_policy.items()}
    best = max(percent for policy, percent in percents.items() if policy != "tinylfu")
    return {
        "server": "yggdrasil",
        "what": f"{trace.name.partition('.')[0]}, {ours.memory:,} objects",
        **{f"{policy} (%)": percent for policy, percent in percents.items()},
        "behind the best (points)": round(best - percents["tinylfu"], 2),
    }


def _figures(details: list[dict[str, Any]]) -> Iterator[Figure]:
    if not details:
        return
    behind = tuple(row["behind the best (points)"] for row in details)
    behind_lru = tuple(round(row["lru (%)"] - row["tinylfu (%)"], 2) for row in details)
    yield Figure(
        "hit ratio: most points behind the best policy of each trace", max(behind), "points", _BEST_POINTS, behind
    )
    yield Figure("hit ratio: most points behind LRU", max(behind_lru), "points", _BEST_POINTS, behind_lru)


def _zipf(random_numbers: random.Random, keys: int, exponent: float) -> Callable[[], int]:
    """Draws key numbers, 0 the most popular."""
    weights = list(itertools.accumulate(1 / (rank + 1) ** exponent for rank in range(keys)))
    population = range(keys)
    drawn: list[int] = []

    def draw() -> int:
        if not drawn:
            drawn.extend(random_numbers.choices(population, cum_weights=weights, k=10_000))
        return drawn.pop()

    return draw


def _zipf_keys(numbers: random.Random, requests: int) -> Iterator[str]:
    draw = _zipf(numbers, max(100, requests // 20), 0.9)
    while True:
        yield f"z{draw()}"


def _zipf_with_scans(numbers: random.Random, requests: int) -> Iterator[str]:
    """A scan of keys that never come again, after every twentieth of the requests."""
    draw, fresh = _zipf(numbers, max(100, requests // 20), 0.9), itertools.count()
    while True:
        yield from (f"z{draw()}" for _ in range(requests // 20))
        yield from (f"s{next(fresh)}" for _ in range(requests // 66))


def _drift(numbers: random.Random, requests: int) -> Iterator[str]:
    """What is popular moves on by a key every hundred requests."""
    draw = _zipf(numbers, max(100, requests // 20), 0.9)
    for number in itertools.count():
        yield f"d{draw() + number // 100}"


def _loops(_numbers: random.Random, requests: int) -> Iterator[str]:
    keys = max(100, requests // 70)
    for number in itertools.count():
        yield f"l{number % keys}"


def _zipf_and_loops(numbers: random.Random, requests: int) -> Iterator[str]:
    """Both in turn, a tenth of the requests each."""
    draw, keys, turn = _zipf(numbers, max(100, requests // 20), 0.9), max(100, requests // 80), requests // 10
    while True:
        yield from (f"z{draw()}" for _ in range(turn))
        yield from (f"l{number % keys}" for number in range(turn))


GENERATORS: dict[str, Callable[[random.Random, int], Iterator[str]]] = {
    "zipf": _zipf_keys,
    "zipf-scans": _zipf_with_scans,
    "drift": _drift,
    "loops": _loops,
    "zipf-loops": _zipf_and_loops,
}
