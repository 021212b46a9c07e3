"""CPU of the server for long values."""

import statistics
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from benches import load
from benches.results import Figure
from benches.servers import Kind, Server, running

_MIB = 1024 * 1024
_SHORT, _MIDDLE = 4 * _MIB, 32 * _MIB
# Longer than redis takes by default.
_BULK_MAX = 2**31


@dataclass(frozen=True, slots=True)
class _Values:
    """What is read or written: so many values of this size in turn."""

    size: int
    keys: int = 1

    def __str__(self) -> str:
        return f"{self.size // _MIB:,} MiB" + (f", {self.keys:,} in turn" if self.keys > 1 else "")


def long_values(kinds: dict[str, Kind], *, bytes_max: int, bytes_each: int, rounds: int) -> dict[str, Any]:
    """CPU per GiB against redis at 4 and 32 MiB, and of the longest value against as much memory in values of 4 MiB.

    `bytes_each`: how much is read or written at a time.
    """
    short, middle, longest = (_Values(min(size, bytes_max)) for size in (_SHORT, _MIDDLE, bytes_max))
    in_turn = _Values(short.size, max(2, bytes_max // short.size))
    both = list(dict.fromkeys([short, middle, in_turn]))
    cpu: dict[tuple[str, str, _Values], list[float]] = {}
    speed: dict[tuple[str, str, _Values], list[float]] = {}
    with ExitStack() as stack:
        servers = {
            name: stack.enter_context(running(kind, proto_max_bulk_len=_BULK_MAX)) for name, kind in kinds.items()
        }
        turns = [
            (name, operation, values)
            for operation in ("SET", "GET")
            for values in dict.fromkeys([*both, longest])
            for name in servers
            if values in both or kinds[name].ours
        ]
        for number in range(rounds):
            for turn in turns if number % 2 == 0 else reversed(turns):
                seconds, gib_per_s = _measured(servers[turn[0]], turn[1], turn[2], bytes_each)
                cpu.setdefault(turn, []).append(seconds * 1000)
                speed.setdefault(turn, []).append(gib_per_s)
    details = [
        {
            "server": name,
            "what": f"{operation} of {values}",
            "cpu_ms_per_gib": round(statistics.median(cpu[name, operation, values]), 1),
            "gib_per_s": round(statistics.median(speed[name, operation, values]), 2),
        }
        for name, operation, values in cpu
    ]
    figures, notes = [], []
    for operation in ("SET", "GET"):
        ours = {values: cpu["yggdrasil", operation, values] for values in (*both, longest)}
        if "redis" in kinds:
            theirs = {values: cpu["redis", operation, values] for values in both}
            for values, target in ((short, 1.0), (middle, 0.35)):
                name = f"{operation} of {values}: CPU per GiB by that of redis"
                figures.append(_quotient(name, ours[values], theirs[values], target))
            quotient = _quotient("", ours[in_turn], theirs[in_turn], 1.0)
            notes.append(f"{operation} of {in_turn}: yggdrasil by redis: {quotient.value:.2f}")
        name = f"{operation} of {longest}: CPU per GiB by that of {in_turn}"
        figures.append(_quotient(name, ours[longest], ours[in_turn], 1.3))
    return {"figures": [figure.to_json() for figure in figures], "details": details, "notes": notes}


def _measured(server: Server, operation: str, values: _Values, bytes_each: int) -> tuple[float, float]:
    ops = max(1, bytes_each // values.size)
    return load.long_values(server, values.size, values.keys, reads=operation == "GET", ops=ops)


def _quotient(name: str, ours: list[float], theirs: list[float], target: float) -> Figure:
    rounds = tuple(round(one / max(other, 1e-9), 4) for one, other in zip(ours, theirs, strict=True))
    return Figure(name, round(statistics.median(rounds), 3), "ratio", target, rounds)
