"""Processes of the node as the system sees them."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Process:
    """One process."""

    pid: int
    own_bytes: int
    """Resident memory without the pages of arenas and rings, which several processes have in common."""
    system_s: float
    user_s: float

    @classmethod
    def read(cls, pid: int) -> Self | None:
        """Nothing when it has gone."""
        directory = Path("/proc", str(pid))
        try:
            status = (directory / "status").read_text()
            # What follows the name, which may contain anything, begins with the state.
            numbers = (directory / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        sizes = dict(line.split(":", 1) for line in status.splitlines() if line.startswith("Rss"))
        own_kb = sum(int(sizes.get(name, "0 kB").split()[0]) for name in ("RssAnon", "RssFile"))
        user, system = int(numbers[11]), int(numbers[12])
        return cls(pid, own_kb * 1024, system / _TICKS_PER_S, user / _TICKS_PER_S)


def machine_memory_bytes() -> int:
    """Memory of the machine."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
