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
from mithril.dedup.scan import HASHES, SHINGLES, SIZES, STARTS, Scan, band
from mithril.dedup.settings import DedupSettings
from mithril.dedup.spill import Spill

Numbers = npt.NDArray[np.uint32]
Pairs = npt.NDArray[np.uint64]

HISTOGRAM_BINS = 50
_HASH_BYTES = 16
_SHINGLE_BYTES = 4
# A comparison sorts copies of its sets.
_COPIES = 2
_MAPPED_SHARE = 4
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
        pairs = _links(scan, compared & (firsts == numbers))
        candidates = len(pairs)
        alike = pairs
        if settings.verify and candidates:
            similarity = _similarities(scan, pairs, settings)
            alike = pairs[similarity >= settings.threshold]
            histogram = [int(count) for count in np.histogram(similarity, HISTOGRAM_BINS, (0.0, 1.0))[0]]
    joined = np.concatenate((equal, alike))
    roots = np.frombuffer(_kernels.clusters(scan.documents, _bytes(joined)), np.uint32)
    kept = roots if settings.keep == "first" else _longest(roots, scan.lengths)
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


def _links(scan: Scan, distinct: Booleans) -> Pairs:
    """The pairs that agree on a band, among the documents whose texts differ."""
    assert scan.plan is not None
    sizes = np.asarray(scan.spill.read(SIZES, np.uint32))
    numbers = np.flatnonzero(distinct & (sizes > 0)).astype(np.uint32)
    links = _kernels.DocumentLinks()
    for index in range(scan.plan.bands if len(numbers) else 0):
        hashes = np.asarray(scan.spill.read(band(index), np.uint64))
        links.add(_bytes(hashes[numbers]), _bytes(numbers))
    return np.frombuffer(links.take(), np.uint64)


def _similarities(scan: Scan, pairs: Pairs, settings: DedupSettings) -> npt.NDArray[np.float64]:
    # What is mapped counts as memory of this process, so only what is small against its memory is.
    small = scan.spill.size(SHINGLES) <= settings.memory_bytes // _MAPPED_SHARE
    mapped = scan.spill.map(SHINGLES) if small else None
    sizes = np.asarray(scan.spill.read(SIZES, np.uint32))
    starts = np.asarray(scan.spill.read(STARTS, np.uint64))
    tasks = _comparisons(mapped or scan.spill, pairs, sizes, starts, settings)
    with mapped or nullcontext():
        return np.concatenate(list(in_order(tasks, settings.workers)))


def _comparisons(
    shingles: mmap.mmap | Spill, pairs: Pairs, sizes: Numbers, starts: Pairs, settings: DedupSettings
) -> Iterator[Callable[[], npt.NDArray[np.float64]]]:
    """Tasks whose sets fit into half of the memory, all threads together."""
    budget = settings.memory_bytes // 2 // (settings.workers + 1)
    earlier, later = _unpacked(pairs)
    cost = np.cumsum((sizes[earlier].astype(np.int64) + sizes[later]) * _SHINGLE_BYTES * _COPIES)
    start, done = 0, 0
    while start < len(pairs):
        end = max(int(np.searchsorted(cost, done + budget, side="right")), start + 1)
        yield partial(_compare, shingles, pairs[start:end], sizes, starts, settings.threshold)
        start, done = end, int(cost[end - 1])


def _compare(
    shingles: mmap.mmap | Spill, pairs: Pairs, sizes: Numbers, starts: Pairs, threshold: float
) -> npt.NDArray[np.float64]:
    earlier, later = _unpacked(pairs)
    documents = np.unique(np.concatenate((earlier, later)))
    local = _packed(np.searchsorted(documents, earlier), np.searchsorted(documents, later))
    counts, places = sizes[documents], starts[documents]
    if isinstance(shingles, Spill):
        data = b"".join(
            shingles.part(SHINGLES, start * _SHINGLE_BYTES, count * _SHINGLE_BYTES)
            for start, count in zip(places.tolist(), counts.tolist(), strict=True)
        )
        places = np.cumsum(counts, dtype=np.uint64) - counts
        return np.frombuffer(_similar(data, places, counts, local, threshold), np.float64)
    found = _similar(shingles, places, counts, local, threshold)
    # What was read of the file need not stay in this process.
    shingles.madvise(mmap.MADV_DONTNEED)
    return np.frombuffer(found, np.float64)


def _similar(shingles: bytes | mmap.mmap, places: Pairs, counts: Numbers, pairs: Pairs, threshold: float) -> bytes:
    return _kernels.similarities(shingles, _bytes(places), _bytes(counts), _bytes(pairs), threshold)


def _longest(roots: Numbers, lengths: Numbers) -> Numbers:
    """The longest document of each cluster; of equally long ones the first."""
    numbers = np.arange(len(roots), dtype=np.uint32)
    order = np.lexsort((numbers, -lengths.astype(np.int64), roots))
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
