"""Memory pressure: the machine, or the control group of this process, runs short.

What the kernel says (PSI, memory.current) is looked at twice a second. Under pressure the budget is lowered step by
step, so that fewer chunks are in flight, and memory that is free goes back to the system. When it has passed, the
budget rises again.
"""

import ctypes
import platform
import threading
from collections.abc import Callable
from pathlib import Path

from mithril.core.telemetry import logger
from mithril.pipeline import metrics
from mithril.pipeline.budget import Budget

_INTERVAL_S = 0.5
# Percent of the time in which some task waited for memory.
_STALLED = 10.0
# Share of the group's limit from which memory is short.
_FULL = 0.95
_SHRINK, _GROW = 0.7, 1.25
_LEAST_SHARE = 16

_PSI = Path("/proc/pressure/memory")
_GROUPS = Path("/sys/fs/cgroup")


def is_short(psi: Path = _PSI, groups: Path = _GROUPS, own: Path = Path("/proc/self/cgroup")) -> bool:
    """True where memory is short; false where the kernel does not say."""
    group = groups / _own_group(own)
    return _stalled(group / "memory.pressure") or _stalled(psi) or _full(group)


def _own_group(own: Path) -> str:
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return ""
    return next((line[3:].lstrip("/") for line in lines if line.startswith("0::")), "")


def _stalled(path: Path) -> bool:
    """The share of time in which some task waited, over the last ten seconds."""
    try:
        first = path.read_text().partition("\n")[0]
        fields = dict(field.partition("=")[::2] for field in first.split()[1:])
        return float(fields["avg10"]) >= _STALLED
    except (OSError, KeyError, ValueError):
        return False


def _full(group: Path) -> bool:
    try:
        limit = (group / "memory.max").read_text().strip()
        used = int((group / "memory.current").read_text())
        cached = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        # Pages of files go when they are needed.
        return limit != "max" and used - int(cached.get("inactive_file", 0)) >= _FULL * int(limit)
    except (OSError, ValueError):
        return False


class PressureHandler:
    """A thread that lowers the budget of a run while memory is short."""

    def __init__(self, budget: Budget, tell: Callable[[], None], short: Callable[[], bool] = is_short) -> None:
        self._budget = budget
        self._tell = tell
        self._short = short
        self._ended = threading.Event()
        self.thread = threading.Thread(target=self._watch, name="mithril-pressure", daemon=True)

    def stop(self) -> None:
        """Ends the thread."""
        self._ended.set()

    def look(self) -> None:
        """Looks once, and changes the budget."""
        budget = self._budget
        if self._short():
            if budget.allowed == budget.limit:
                logger("pipeline").warning(
                    "memory is short; fewer samples are kept ready", limit_bytes=budget.limit, used_bytes=budget.used
                )
            budget.allow(max(int(min(budget.allowed, budget.used) * _SHRINK), budget.limit // _LEAST_SHARE))
            metrics.PRESSURE.inc()
            _give_back()
        elif budget.allowed < budget.limit:
            budget.allow(min(int(budget.allowed * _GROW) + 1, budget.limit))
            self._tell()

    def _watch(self) -> None:
        while not self._ended.wait(_INTERVAL_S):
            self.look()


def _give_back() -> None:
    """Gives free memory of the C library back."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
