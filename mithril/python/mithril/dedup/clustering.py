"""The clusters: equal texts, and pairs that agree on a band and are alike when compared."""

import mmap
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from mithril import _kernels
from mithril.dedup.chunks import Booleans
from mithril.dedup.ordered import in_order
from mithril.dedup.scan import HASHES, SCORES, SHINGLES, SIZES, STARTS, Scan, band
from mithril.dedup.settings import DedupSettings
from mithril.dedup.spill import Spill

Numbers = npt.NDArray[np.uint32]
Pairs = npt.NDArray[np.uint64]

HISTOGRAM_BINS = 50
_HASH_BYTES = 16
_SHINGLE_BYTES = 4
# A comparison has its sets as they were read and without repeats, and a table of the longest.
_COPIES = 3
_COMPARED_SHARE = 4
# Pairs that are divided into comparisons together.
_PAIRS = 1 << 16
_MAPPED_SHARE = 4
# Links that have not been sorted take this part of the memory at most.
_LINKS_SHARE = 32
_LINK_BYTES = 8
_LATER = np.uint64(0xFFFF_FFFF)
_EARLIER_SHIFT = np.uint64(32)


@dataclass(frozen=True, slots=True)
class Clustering:
    """The cluster of each document, and how it came about."""

    roots: Numbers
    """The first document of the cluster."""
    kept: Numbers
    """The document of the cluster that is kept."""
    equal: Booleans
    """Documents whose text an earlier one has."""
    contaminated: Booleans
    """Documents that overlap evaluation data: none is kept, and none is in a cluster."""
    candidates: int
    accepted: int
    histogram: list[int]
    """Compared pairs by their similarity, in equal steps from 0 to 1."""

    @property
    def is_kept(self) -> Booleans:
        """The documents that are kept."""
        return np.asarray((self.kept == np.arange(len(self.kept), dtype=np.uint32)) & ~self.contaminated)

    def several(self) -> tuple[Numbers, Numbers]:
        """The first documents of the clusters of two and more, and their numbers of documents."""
        others = np.sort(self.roots[self.roots != np.arange(len(self.roots), dtype=np.uint32)])
        edges = np.flatnonzero(np.diff(others, prepend=-1, append=-1)) if len(others) else np.zeros(1, np.int64)
        return others[edges[:-1]], (np.diff(edges) + 1).astype(np.uint32)

    def reason(self, document: int) -> str:
        """The reason why a document is not kept, by the name of what found it."""
        if self.contaminated[document]:
            return "contaminated"
        return "exact" if self.equal[document] else "minhash"


def cluster(scan: Scan, settings: DedupSettings) -> Clustering:
    """Finds the clusters of the documents that have been read."""
    numbers = np.arange(scan.documents, dtype=np.uint32)
    contaminated = np.zeros(scan.documents, np.bool_)
    if len(scan.overlaps):
        contaminated = np.asarray(scan.overlaps >= settings.ngram_matches)
    compared = scan.present & ~contaminated
    firsts = _firsts(scan, compared) if settings.methods & {"exact", "minhash"} else numbers
    repeats = np.flatnonzero(firsts != numbers)
    equal = _packed(firsts[repeats], numbers[repeats])
    alike, candidates, histogram = np.zeros(0, np.uint64), 0, [0] * HISTOGRAM_BINS
    if scan.plan is not None:
        pending = settings.memory_bytes // _LINKS_SHARE // _LINK_BYTES
        pairs = _links(scan, compared & (firsts == numbers), pending)
        candidates = len(pairs)
        alike = pairs
        if settings.verify and candidates:
            alike, histogram = _alike(scan, pairs, settings)
    joined = np.concatenate((equal, alike))
    roots = np.frombuffer(_kernels.clusters(scan.documents, _bytes(joined)), np.uint32)
    kept = _kept(scan, roots, settings)
    return Clustering(roots, kept, firsts != numbers, contaminated, candidates, len(alike), histogram)


def _firsts(scan: Scan, compared: Booleans) -> Numbers:
    """The first document with the same text; one that is not compared is like no other."""
    hashes = np.asarray(scan.spill.read(HASHES, np.uint8)).reshape(-1, _HASH_BYTES)
    if compared.all():
        return np.frombuffer(_kernels.first_equal(_bytes(hashes)), np.uint32)
    firsts = np.arange(scan.documents, dtype=np.uint32)
    present = np.flatnonzero(compared).astype(np.uint32)
    found = np.frombuffer(_kernels.first_equal(_bytes(hashes[present])), np.uint32)
    firsts[present] = present[found]
    return firsts


def _links(scan: Scan, distinct: Booleans, pending: int) -> Pairs:
    """The pairs that agree on a band, among documents whose texts differ. At most so many new ones wait for sorting."""
    assert scan.plan is not None
    sizes = np.asarray(scan.spill.read(SIZES, np.uint32))
    numbers = np.flatnonzero(distinct & (sizes > 0)).astype(np.uint32)
    links = _kernels.DocumentLinks(pending)
    for index in range(scan.plan.bands if len(numbers) else 0):
        links.add(_bytes(scan.spill.read(band(index), np.uint64)), _bytes(numbers))
    return np.frombuffer(links.take(), np.uint64)


@dataclass(frozen=True, slots=True)
class _Compared:
    """The pairs of one comparison that are alike, and all of them by their similarity."""

    alike: Pairs
    histogram: npt.NDArray[np.int64]


def _alike(scan: Scan, pairs: Pairs, settings: DedupSettings) -> tuple[Pairs, list[int]]:
    """The pairs that are alike by their whole sets, and all pairs by their similarity."""
    # What is mapped counts as memory of this process, so only what is small against its memory is.
    small = scan.spill.size(SHINGLES) <= settings.memory_bytes // _MAPPED_SHARE
    mapped = scan.spill.map(SHINGLES) if small else None
    sizes = np.asarray(scan.spill.read(SIZES, np.uint32))
    starts = np.asarray(scan.spill.read(STARTS, np.uint64))
    tasks = _comparisons(mapped or scan.spill, pairs, sizes, starts, settings)
    with mapped or nullcontext():
        parts = list(in_order(tasks, settings.workers))
    histogram = np.sum([part.histogram for part in parts], axis=0)
    return np.concatenate([part.alike for part in parts]), [int(count) for count in histogram]


def _comparisons(
    shingles: mmap.mmap | Spill, pairs: Pairs, sizes: Numbers, starts: Pairs, settings: DedupSettings
) -> Iterator[Callable[[], _Compared]]:
    """Tasks whose sets fit into a part of the memory, all threads together."""
    budget = settings.memory_bytes // _COMPARED_SHARE // (settings.workers + 1)
    for first in range(0, len(pairs), _PAIRS):
        part = pairs[first : first + _PAIRS]
        earlier, later = _unpacked(part)
        cost = np.cumsum((sizes[earlier].astype(np.int64) + sizes[later]) * _SHINGLE_BYTES * _COPIES)
        start, done = 0, 0
        while start < len(part):
            end = max(int(np.searchsorted(cost, done + budget, side="right")), start + 1)
            yield partial(_compare, shingles, part[start:end], sizes, starts, settings.threshold)
            start, done = end, int(cost[end - 1])


def _compare(shingles: mmap.mmap | Spill, pairs: Pairs, sizes: Numbers, starts: Pairs, threshold: float) -> _Compared:
    earlier, later = _unpacked(pairs)
    documents = _distinct(np.concatenate((earlier, later)))
    local = _packed(np.searchsorted(documents, earlier), np.searchsorted(documents, later))
    counts, places = sizes[documents], starts[documents]
    if isinstance(shingles, Spill):
        data = b"".join(
            shingles.part(SHINGLES, start * _SHINGLE_BYTES, count * _SHINGLE_BYTES)
            for start, count in zip(places.tolist(), counts.tolist(), strict=True)
        )
        places = np.cumsum(counts, dtype=np.uint64) - counts
        found = _similar(data, places, counts, local, threshold)
    else:
        found = _similar(shingles, places, counts, local, threshold)
        # What was read of the file need not stay in this process.
        shingles.madvise(mmap.MADV_DONTNEED)
    similarity = np.frombuffer(found, np.float64)
    return _Compared(pairs[similarity >= threshold], np.histogram(similarity, HISTOGRAM_BINS, (0.0, 1.0))[0])


def _distinct(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The values in order, each once. numpy's own way imports its masked arrays."""
    values = np.sort(values)
    return values[np.concatenate(([True], values[1:] != values[:-1]))] if len(values) else values


def _similar(shingles: bytes | mmap.mmap, places: Pairs, counts: Numbers, pairs: Pairs, threshold: float) -> bytes:
    return _kernels.similarities(shingles, _bytes(places), _bytes(counts), _bytes(pairs), threshold)


def _kept(scan: Scan, roots: Numbers, settings: DedupSettings) -> Numbers:
    """The document of each cluster that is kept."""
    match settings.keep:
        case "first":
            return roots
        case "longest":
            return _best(roots, scan.lengths.astype(np.float64))
    scores = np.asarray(scan.spill.read(SCORES, np.float64))
    return _best(roots, scores if settings.keep == "highest" else -scores)


def _best(roots: Numbers, worth: npt.NDArray[np.float64]) -> Numbers:
    """The document of each cluster that is worth most; of several the first. NaN is worth least."""
    numbers = np.arange(len(roots), dtype=np.uint32)
    # NaN comes last, whatever its sign.
    order = np.lexsort((numbers, -worth, roots))
    leaders = order[np.r_[True, roots[order][1:] != roots[order][:-1]]] if len(order) else order
    kept = numbers.copy()
    kept[roots[leaders]] = leaders
    return kept[roots]


def _packed(earlier: npt.NDArray[np.integer], later: npt.NDArray[np.integer]) -> Pairs:
    return np.asarray(earlier.astype(np.uint64) << _EARLIER_SHIFT | later.astype(np.uint64))


def _unpacked(pairs: Pairs) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    return (pairs >> _EARLIER_SHIFT).astype(np.int64), (pairs & _LATER).astype(np.int64)


def _bytes(values: npt.NDArray[np.generic]) -> memoryview:
    return np.ascontiguousarray(values).view(np.uint8).data
