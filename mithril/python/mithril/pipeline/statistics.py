"""Figures of a run, as values and as a table."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class StageStatistics:
    """Figures of one segment."""

    name: str
    workers: int
    chunks: int = 0
    samples: int = 0
    busy_s: float = 0.0
    full_s: float = 0.0
    """Seconds in which a chunk could not start because of the memory budget."""
    in_flight: int = 0
    """Chunks that are read, in work, or done and not handed on."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """Figures of the current or the last run."""

    epoch: int
    elements: int
    """Elements handed out in this epoch."""
    skipped: int
    """Samples left out after an error, among those that came before what was handed out."""
    seconds: float
    """Seconds since the beginning."""
    waited_s: float
    """Seconds that the caller waited."""
    memory_bytes: int
    memory_kept_bytes: int
    """The part of them that stages and the sink keep between chunks."""
    memory_peak_bytes: int
    memory_limit_bytes: int
    overruns: int
    """Samples above the whole budget that ran alone."""
    stages: Sequence[StageStatistics]

    @property
    def bottleneck(self) -> str:
        """The stage whose workers have had the most to do."""
        return max(self.stages, key=lambda stage: stage.busy_s / stage.workers).name if self.stages else ""

    def table(self) -> str:
        """Lines for people."""
        heads = f"{'samples':>10} {'a second':>9} {'busy s':>8} {'no memory s':>11} {'in flight':>9}"
        lines = [f"{'stage':<40} {'workers':>7} {heads}"]
        for stage in self.stages:
            mark = " <- most to do" if stage.name == self.bottleneck and len(self.stages) > 1 else ""
            lines.append(
                f"{stage.name[:40]:<40} {stage.workers:>7} {stage.samples:>10} {self._rate(stage):>9.0f} "
                f"{stage.busy_s:>8.2f} {stage.full_s:>11.2f} {stage.in_flight:>9}{mark}"
            )
        lines.append(
            f"epoch {self.epoch}: {self.elements} elements, {self.skipped} samples skipped, "
            f"waited {self.waited_s:.2f} s, "
            f"memory {self.memory_bytes / 1e6:.1f} MB ({self.memory_kept_bytes / 1e6:.1f} kept by stages), "
            f"at most {self.memory_peak_bytes / 1e6:.1f} of {self.memory_limit_bytes / 1e6:.1f} MB"
        )
        return "\n".join(lines)

    def _rate(self, stage: StageStatistics) -> float:
        return stage.samples / self.seconds if self.seconds else 0.0
