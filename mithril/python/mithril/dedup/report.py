"""The report of a run, which a person can judge it by."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

_UNITS = {1_000_000: "MB", 1000: "kB", 1: "bytes"}


@dataclass(frozen=True, slots=True)
class Sample:
    """A document of a cluster."""

    document: int
    kept: bool
    text: str
    """The beginning of the text."""


@dataclass(frozen=True, slots=True)
class ClusterReport:
    """A large cluster."""

    cluster: int
    documents: int
    samples: list[Sample]


@dataclass(frozen=True, slots=True)
class FileReport:
    """An input file. Its documents are numbered from `first` on."""

    url: str
    first: int
    documents: int
    kept: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Report:
    """Counts, sizes and samples of a run."""

    settings: dict[str, Any]
    documents: int
    kept: int
    removed_exact: int
    """Documents whose text an earlier one has."""
    removed_minhash: int
    """Documents that are like another, with another text."""
    removed_contaminated: int
    """Documents that overlap evaluation data."""
    removed_substring: int
    """Documents of which nothing is left when repeats are cut out."""
    without_text: int
    clusters: int
    """Clusters of two and more documents."""
    text_bytes: int
    text_bytes_kept: int
    repeated_bytes: int
    """Bytes of repeats in documents that are kept otherwise."""
    documents_cut: int
    """Documents that are kept without some of their bytes."""
    bands: int
    rows: int
    recall_at_threshold: float
    expected_recall: float
    """Share of the pairs from the threshold on that are candidates, if similarities are spread evenly."""
    expected_precision: float
    """Share of the candidates that reach the threshold, likewise."""
    curve: list[tuple[float, float]]
    """The probability that documents are compared, by their similarity."""
    candidates: int
    """Pairs that agree on a band."""
    accepted: int
    """Pairs whose similarity reaches the threshold."""
    verified: bool
    histogram: list[int]
    """Compared pairs by their similarity, in equal steps from 0 to 1."""
    cluster_sizes: dict[int, int]
    """Clusters by their number of documents."""
    largest: list[ClusterReport]
    files: list[FileReport]
    seconds: float
    outputs: list[str] = field(default_factory=list)
    dry_run: bool = False

    @property
    def removed(self) -> int:
        """The number of documents that are not kept."""
        return self.documents - self.kept

    def to_json(self) -> bytes:
        """The report as JSON."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False).encode("utf-8", "replace")

    def summary(self) -> list[str]:
        """Lines for people."""
        share = self.removed / self.documents if self.documents else 0.0
        lines = [
            f"{self.documents} documents, {self.removed} removed ({share:.1%}): {self.removed_exact} exact, "
            f"{self.removed_minhash} by similarity; {self.kept} kept",
            f"{_size(self.text_bytes)} of text, {_size(self.text_bytes_kept)} kept",
        ]
        if self.removed_contaminated or self.settings.get("against"):
            lines.append(f"{self.removed_contaminated} documents overlap evaluation data")
        if self.repeated_bytes:
            lines.append(
                f"{_size(self.repeated_bytes)} of repeats cut out of {self.documents_cut} documents; nothing was "
                f"left of {self.removed_substring}"
            )
        if self.bands:
            compared = "compared" if self.verified else "not compared"
            lines.append(
                f"{self.bands} bands of {self.rows} rows find {self.recall_at_threshold:.1%} of the pairs at the "
                f"threshold; {self.candidates} candidates, {compared}, {self.accepted} accepted"
            )
            lines.append(
                f"if pairs were spread evenly over all similarities, {self.expected_recall:.1%} of those at or above "
                f"the threshold would become candidates, and {self.expected_precision:.1%} of the candidates would be "
                "at or above it"
            )
        if self.largest:
            lines.append(f"{self.clusters} clusters, the largest of {self.largest[0].documents} documents")
        if self.without_text:
            lines.append(f"{self.without_text} documents without a text, all kept")
        return lines


def _size(size: int) -> str:
    unit = next(unit for unit in _UNITS if size >= unit or unit == 1)
    return f"{size / unit:.1f} {_UNITS[unit]}" if unit > 1 else f"{size} {_UNITS[unit]}"
