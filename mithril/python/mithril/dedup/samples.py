"""Samples of the largest clusters."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mithril.dedup.clustering import Clustering
from mithril.dedup.report import ClusterReport, Sample

_CLUSTERS = 10
_DOCUMENTS = 3
_CHARACTERS = 300


class Samples:
    """The largest clusters, and the texts of some of their documents as they pass by."""

    def __init__(self, clustering: Clustering, *, tokens: bool = False) -> None:
        self._clustering = clustering
        self._tokens = tokens
        firsts, sizes = clustering.several()
        largest = np.lexsort((firsts, -sizes.astype(np.int64)))[:_CLUSTERS]
        self._sizes = {int(firsts[place]): int(sizes[place]) for place in largest}
        self._texts: dict[int, str] = {}
        wanted = [self._members(root) for root in self._sizes]
        self._members_of = dict(zip(self._sizes, wanted, strict=True))
        self._wanted = np.array(sorted(number for numbers in wanted for number in numbers), np.int64)

    def _members(self, root: int) -> list[int]:
        kept = int(self._clustering.kept[root])
        others = np.flatnonzero(self._clustering.roots == root)
        return [kept, *[int(number) for number in others[: _DOCUMENTS + 1] if number != kept][: _DOCUMENTS - 1]]

    def needs(self, first: int, count: int) -> bool:
        """True where a document among `count` from `first` on is wanted."""
        return bool(np.any((self._wanted >= first) & (self._wanted < first + count)))

    def look(self, first: int, pieces: Sequence[Any]) -> None:
        """Takes the texts that are wanted out of those from `first` on, in arrays one after the other."""
        for texts in pieces:
            for number in self._wanted[(self._wanted >= first) & (self._wanted < first + len(texts))]:
                text = texts[int(number) - first].as_buffer()
                beginning = text.to_pybytes()[: 4 * _CHARACTERS] if text is not None else b""
                self._texts[int(number)] = self._shown(beginning)[:_CHARACTERS]
            first += len(texts)

    def _shown(self, beginning: bytes) -> str:
        if self._tokens:
            return " ".join(map(str, np.frombuffer(beginning, np.uint32)))
        return beginning.decode("utf-8", "replace")

    def reports(self) -> list[ClusterReport]:
        """The clusters with their samples."""
        found = []
        for root, size in self._sizes.items():
            kept = int(self._clustering.kept[root])
            samples = [Sample(number, number == kept, self._texts.get(number, "")) for number in self._members_of[root]]
            found.append(ClusterReport(root, size, samples))
        return found
