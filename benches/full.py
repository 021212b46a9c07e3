"""What a key takes where eviction is on: before the cache is full, and once it is."""

import time
from collections.abc import Mapping

import redis

from benches import load
from benches.servers import Kind, running

POLICIES = {"yggdrasil": "tinylfu", "redis": "allkeys-lfu"}

_KEY_BYTES, _VALUE_BYTES = 16, 64
# Bytes of maxmemory for each key that is written, by what comes of it.
_LIMITS = {"with room for all": 256, "while evicting": 64}


def memory_per_key(
    kinds: Mapping[str, Kind], keys: int, settle_s: float
) -> tuple[dict[str, dict[str, float]], list[str]]:
    """Resident bytes beyond those of an empty server, key and value, by the keys that are there.

    By state of the cache and server; and a line about each in words.
    """
    found: dict[str, dict[str, float]] = {state: {} for state in _LIMITS}
    words = []
    for state, bytes_per_key in _LIMITS.items():
        for name, policy in POLICIES.items():
            if name not in kinds:
                continue
            limit = keys * bytes_per_key
            with running(kinds[name], maxmemory=limit, maxmemory_policy=policy) as server:
                time.sleep(settle_s)
                empty = server.memory().total
                load.fill(server, keys, _VALUE_BYTES)
                time.sleep(settle_s)
                resident = server.memory().total - empty
                with redis.Redis(port=server.port) as client:
                    left = int(client.dbsize())
            found[state][name] = round(resident / left - _KEY_BYTES - _VALUE_BYTES, 1)
            words.append(
                f"{name}, {policy}, maxmemory of {limit / 1e6:,.1f} MB, {keys:,} keys of {_KEY_BYTES} B with "
                f"{_VALUE_BYTES} B values written: {left:,} keys in {resident / 1e6:,.1f} MB beyond an empty server"
            )
    return found, words
