"""Orders that are functions of seed, epoch and position, the same on every machine and with every version of numpy."""

import numpy as np
from numpy.typing import NDArray

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


def permutation(count: int, *key: int) -> NDArray[np.int64]:
    """The numbers below `count` in an order that the key decides: they are sorted by SplitMix64 of key and number."""
    start = 0
    for part in key:
        start = _mix(start ^ (part & _MASK))
    numbers = np.arange(count, dtype=np.uint64)
    with np.errstate(over="ignore"):
        mixed = numbers * np.uint64(_GOLDEN) + np.uint64(start)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    return np.argsort(mixed, kind="stable").astype(np.int64)


def _mix(value: int) -> int:
    value = (value + _GOLDEN) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
