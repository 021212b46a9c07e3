"""The length of a pipeline, and the share of it that a position is."""

from collections.abc import Sequence
from dataclasses import dataclass

from mithril.pipeline.assembly import Stage
from mithril.pipeline.chunk import Token
from mithril.pipeline.stages import IndexedSource, Source


@dataclass(frozen=True, slots=True)
class Length:
    """The elements of an epoch, where their number is known, and the source that they come from."""

    source: IndexedSource | Source
    elements: int | None

    def share(self, position: int, token: Token | None) -> float | None:
        """The share of an epoch that is behind a position; None where that cannot be told.

        Where the number of elements is not known, that is the share of the source that has been read for them.
        """
        if self.elements:
            return min(position / self.elements, 1.0)
        if not token:
            return None
        # Each stage has the position of the one before as the first part of its own.
        while isinstance(token[0], list):
            token = token[0]
        if not isinstance(token[0], int):
            return None
        at, row = token[0], int(token[1])
        samples = self.source.size_hint()
        if not isinstance(self.source, IndexedSource):
            return min((at + row) / samples, 1.0) if samples else None
        chunks = len(self.source)
        within = min(row * chunks / samples, 1.0) if samples else 0.0
        return min((at + within) / chunks, 1.0) if chunks else None


def length_of(source: IndexedSource | Source, stages: Sequence[Stage]) -> Length:
    """The length of a source behind stages."""
    elements = source.size_hint()
    for stage in stages:
        if elements is not None:
            elements = stage.length(elements)
    return Length(source, elements)
