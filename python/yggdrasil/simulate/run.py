"""One simulation, from a file to its outcomes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from yggdrasil._core import Simulation, YggdrasilError, detect_trace_format
from yggdrasil.simulate.trace_file import TraceFileError, opened

DEFAULT_POLICIES = ("tinylfu", "lru", "lfu", "s3-fifo", "w-tinylfu-1")

# About what an entry takes beyond its key and value: header, index, admission.
ENTRY_OVERHEAD_BYTES = 40
# Of objects whose size a trace does not give.
OBJECT_BYTES = 1024

_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one policy made of the trace at one size; sizes in bytes."""

    policy: str
    memory: int
    reads: int
    hits: int
    read_bytes: int
    hit_bytes: int

    @property
    def hit_ratio(self) -> float:
        """Hits by reads, 0 to 1."""
        return self.hits / self.reads if self.reads else 0.0

    @property
    def byte_hit_ratio(self) -> float:
        """Bytes of the hits by bytes of the reads, 0 to 1."""
        return self.hit_bytes / self.read_bytes if self.read_bytes else 0.0


def run(
    trace: Path,
    *,
    memory: Sequence[int],
    policies: Sequence[str] = DEFAULT_POLICIES,
    format: str | None = None,  # noqa: A002
    object_bytes: int = OBJECT_BYTES,
    overhead: int = ENTRY_OVERHEAD_BYTES,
    progress: Callable[[int], None] | None = None,
) -> list[Outcome]:
    """Runs each policy at each size of `memory` (bytes) over the trace.

    `format`: as `yggdrasil._core.trace_formats` names it; by its first line where none is given. `object_bytes`: of
    objects whose size the trace does not give; `overhead`: bytes that every object takes besides. `progress` is called
    now and then with the number of requests so far.

    Raises `TraceFileError` where the trace cannot be read, naming the line.
    """
    with opened(trace) as stream:
        piece = stream.read(_PIECE_BYTES)
        simulation = Simulation(
            policies=list(policies),
            memory=list(memory),
            format=format or detect_trace_format(piece),
            object_bytes=object_bytes,
            overhead=overhead,
        )
        try:
            while piece:
                requests = simulation.feed(piece)
                if progress:
                    progress(requests)
                piece = stream.read(_PIECE_BYTES)
            return [Outcome(**row) for row in simulation.finish()]
        except YggdrasilError as error:
            raise TraceFileError(f"{trace}: {error}") from None
