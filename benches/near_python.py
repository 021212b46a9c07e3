"""Times reads of a Python program: `python -m benches.near_python NEAR UNIX KEYS BATCHES [VIEW_BYTES ...]`.

Reads of a nanosecond scale are timed by the batch; what is given is the median of the batches' means.
"""

import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import redis

from yggdrasil.client.near import NearReader

_BATCH = 200


def main() -> None:
    """Prints nanoseconds by what was read."""
    near, unix, keys, count, *view_bytes = sys.argv[1:]
    batches = int(count)
    chance = random.Random(1)
    names = [b"key:%012d" % chance.randrange(int(keys)) for _ in range(_BATCH * 10)]
    found: dict[str, float] = {}
    with redis.Redis(unix_socket_path=unix) as client:
        found["redis-py get of 64 B"] = _timed(client.get, names, batches, 20)
        if near:
            reader = NearReader(near)
            right = [client.get(name) for name in names]
            assert reader.mget(names) == right
            found["get of 64 B"] = _timed(reader.get, names, batches)
            buffer = bytearray(64)
            found["get_into of 64 B"] = _timed(lambda name: reader.get_into(name, buffer), names, batches)
            found["mget of 100 x 64 B, each"] = (
                _timed(lambda at: reader.mget(names[at : at + 100]), range(1000), batches) / 100
            )
            for size in map(int, view_bytes):
                client.set("view", b"x" * size)

                def look(name: str) -> None:
                    with reader.view(name) as view:
                        memoryview(view)

                found[f"view of {size:,} B"] = _timed(look, ["view"] * _BATCH, batches)
    print(json.dumps({name: round(value, 1) for name, value in found.items()}))


def _timed(read: Callable[..., object], names: Sequence[object], batches: int, batch: int = _BATCH) -> float:
    """Nanoseconds of one read: the median over batches."""
    means = []
    for number in range(batches):
        start = number * batch % len(names)
        chosen = names[start : start + batch]
        before = time.perf_counter_ns()
        for name in chosen:
            read(name)
        means.append((time.perf_counter_ns() - before) / len(chosen))
    return statistics.median(means)


if __name__ == "__main__":
    main()
