"""What a scenario found, where and when, as JSON."""

import datetime as dt
import json
import os
import platform
import statistics
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benches.load import LOAD_CPU, Sample
from benches.servers import ROOT, SERVER_CPU, Kind

RESULTS = ROOT / "benches/results"


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that has a target: met when it is not above it."""

    name: str
    value: float
    unit: str
    target: float
    rounds: tuple[float, ...] = ()
    beside: dict[str, float] = field(default_factory=dict)

    @property
    def met(self) -> bool:
        """Whether the target is reached."""
        return self.value <= self.target

    def to_json(self) -> dict[str, Any]:
        """As it stands in the file."""
        return asdict(self) | {"met": self.met}


def ratio(name: str, ours: list[Sample], others: list[Sample], target: float) -> Figure:
    """The median of the ratios of CPU per operation, round by round."""
    rounds = ratios(ours, others)
    return Figure(name, round(statistics.median(rounds), 3), "ratio", target, rounds)


def ratios(ours: list[Sample], others: list[Sample]) -> tuple[float, ...]:
    """CPU per operation of the one by that of the other in the same round."""
    pairs = zip(ours, others, strict=True)
    # Runs of a few milliseconds can be below what the clock of the processes shows.
    return tuple(round(one.cpu_us_per_op / max(other.cpu_us_per_op, 1e-9), 4) for one, other in pairs)


def detail(server: str, what: str, samples: list[Sample]) -> dict[str, Any]:
    """Medians over the rounds of one server under one shape of load."""
    rows = [sample.to_json() for sample in samples]
    medians = {name: round(statistics.median(row[name] for row in rows), 4) for name in rows[0]}
    return {"server": server, "what": what, **medians, "rounds": rows}


def circumstances(kinds: dict[str, Kind]) -> dict[str, Any]:
    """When, where and with what something is measured."""
    return {
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "machine": _machine(),
        "versions": {name: kind.version for name, kind in kinds.items()},
    }


def save(directory: Path, scenario: str, content: dict[str, Any]) -> None:
    """Writes one scenario's file."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{scenario}.json").write_text(json.dumps(content, indent=1) + "\n")


def _commit() -> str:
    """The commit that was measured; `+` after it where the sources differ from it."""
    run = subprocess.run(
        ["git", "describe", "--always", "--abbrev=10", "--exclude=*", "--dirty=+"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return run.stdout.strip() or "unknown"


def _machine() -> dict[str, Any]:
    cpus = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory_kib = next(int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal"))
    return {
        "cpu": cpus[0] if cpus else platform.machine(),
        "cores": os.cpu_count(),
        "virtual": any(" hypervisor" in line for line in _lines("/proc/cpuinfo") if line.startswith("flags")),
        "memory_gib": round(memory_kib / 1024**2, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "server_core": SERVER_CPU,
        "load_core": LOAD_CPU,
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()
