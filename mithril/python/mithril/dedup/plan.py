"""The division of signatures into bands and rows, and what may be expected of it."""

from dataclasses import dataclass

from mithril import _kernels
from mithril.core.errors import ConfigError
from mithril.dedup.settings import DedupSettings

_CURVE_POINTS = 101


@dataclass(frozen=True, slots=True)
class Plan:
    """Bands of rows. Documents that agree on all rows of a band are compared."""

    bands: int
    rows: int

    def probability(self, similarity: float) -> float:
        """The probability that documents of a similarity are compared."""
        return _kernels.collision_probability(self.bands, self.rows, similarity)

    def expected(self, threshold: float) -> tuple[float, float]:
        """Recall, and precision without comparison, of pairs whose similarities are spread evenly."""
        values = [probability for _, probability in self.curve()]
        above = values[round(threshold * (_CURVE_POINTS - 1)) :]
        return sum(above) / len(above), sum(above) / sum(values)

    def curve(self) -> list[tuple[float, float]]:
        """The probability over all similarities: an S."""
        points = [index / (_CURVE_POINTS - 1) for index in range(_CURVE_POINTS)]
        return [(point, self.probability(point)) for point in points]


def choose(settings: DedupSettings) -> Plan | None:
    """The plan of the settings; None where signatures are not asked for."""
    if "minhash" not in settings.methods:
        return None
    if bool(settings.bands) != bool(settings.rows):
        raise ConfigError("dedup.bands and dedup.rows are given together, or both left to be chosen")
    try:
        if settings.bands:
            plan = Plan(settings.bands, settings.rows)
            plan.probability(settings.threshold)
            return plan
        return Plan(*_kernels.plan_bands(settings.threshold, settings.permutations, settings.recall))
    except _kernels.KernelError as error:
        raise ConfigError(f"[dedup] {error}") from None
