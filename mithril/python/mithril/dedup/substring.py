"""Runs of bytes that stand in an earlier document, or earlier in the same one."""

import mmap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mithril import _kernels
from mithril.core.errors import DamagedError
from mithril.core.progress import Progress
from mithril.dedup.chunks import Booleans, Integers
from mithril.dedup.settings import DedupSettings
from mithril.dedup.spill import Spill
from mithril.dedup.texts import Place, bytes_of, joined, lengths_of, mask, place_of, validity

TEXT = "text"
# Bytes of memory for an anchor, and for a window that is looked at.
_ANCHOR_BYTES, _WINDOW_BYTES = 56, 12
_READ_BYTES = 8 << 20
_TOKEN_BYTES = 4
# The least length of an anchor.
_GRAM_MIN = 6


@dataclass(frozen=True, slots=True)
class Repeats:
    """Ranges of the texts that are kept, put one after the other."""

    border: str
    unit: int
    """The bytes of a token, or 1."""
    places: Integers
    """The position of each document's text, and the end of the last one."""
    starts: Integers
    ends: Integers
    emptied: Booleans
    """The documents of which nothing but white space is left."""
    documents: int
    """The number of documents that are cut, and not emptied."""
    bytes: int
    """The number of bytes cut out."""

    def of(self, first: int, texts: Any) -> tuple[Any, list[list[list[int]]]]:
        """The texts without repeats, of documents that are kept, from document `first` on; and what was cut of each."""
        start, end = self.places[first], self.places[first] + int(lengths_of(place_of(texts)).sum(dtype=np.int64))
        ranges = _between(self.starts, self.ends, int(start), int(end))
        bounds, left, cuts = _kernels.cut_texts(place_of(texts), ranges, self.border, self.unit)
        array = pa.Array.from_buffers(
            pa.large_binary(), len(texts), [validity(texts), pa.py_buffer(bounds), pa.py_buffer(left)]
        )
        repeats: list[list[list[int]]] = [[] for _ in range(len(texts))]
        for text, from_, to in np.frombuffer(cuts, np.int64).reshape(-1, 3).tolist():
            repeats[text].append([from_, to])
        return array, repeats


def find_repeats(
    texts: Iterable[tuple[int, Sequence[Any]]],
    lengths: npt.NDArray[np.uint32],
    kept: Booleans,
    settings: DedupSettings,
    spill: Spill,
    progress: Progress,
) -> Repeats:
    """Finds repeats in the documents that are kept. `texts` has all documents, by chunks with their first number."""
    sizes = np.where(kept, lengths, 0).astype(np.int64)
    places = np.concatenate(([0], np.cumsum(sizes)))
    spill.truncate(TEXT, 0)
    for first, pieces in texts:
        chunk = joined(pieces)
        spill.append(TEXT, bytes_of(place_of(chunk.filter(mask(kept[first : first + len(chunk)])))))
        progress.add(int(lengths[first : first + len(chunk)].sum(dtype=np.int64)))
    if spill.size(TEXT) != places[-1]:
        raise DamagedError("the documents have changed since they were first read; start again", settings.column)
    starts, ends = _ranges(places, settings, spill)
    return _judged(places, starts, ends, kept, settings, spill)


def _ranges(places: Integers, settings: DedupSettings, spill: Spill) -> tuple[Integers, Integers]:
    """The ranges of repeats: windows around anchors that are met twice are looked at by their order."""
    length, unit = _length(settings)
    budget = settings.memory_bytes // 2
    stretches = _stretches(places, length, budget, spill)
    windows = int((stretches[:, 1] - stretches[:, 0]).sum())
    mapped = spill.map(TEXT)
    if mapped is None or not windows:
        return _joined(np.zeros((0, 2), np.int64))
    # What is mapped counts as memory of this process.
    short = len(mapped) > budget
    parts = max(-(-windows // unit * _WINDOW_BYTES // budget), 1)
    found: list[Integers] = []
    with mapped:
        for part in range(parts):
            finder = _kernels.RepeatFinder(length, unit, windows, part, parts)
            for some in _batches(stretches, _READ_BYTES if short else windows):
                finder.search(mapped, places.tobytes(), some.tobytes())
                if short:
                    mapped.madvise(mmap.MADV_DONTNEED)
            found.append(np.frombuffer(finder.finish(), np.int64).reshape(-1, 2))
    return _joined(np.concatenate(found))


def _length(settings: DedupSettings) -> tuple[int, int]:
    """The bytes of the least repeat, and those of its units."""
    if settings.tokens:
        return settings.substring_tokens * _TOKEN_BYTES, _TOKEN_BYTES
    return settings.substring_bytes, 1


def _stretches(places: Integers, length: int, budget: int, spill: Spill) -> Integers:
    """The ranges in which all repeats lie, in order and apart from each other."""
    windows = length - max(length // 2, _GRAM_MIN) + 1
    anchors = 2 * int(places[-1]) // (windows + 1)
    parts = max(-(-anchors * _ANCHOR_BYTES // budget), 1)
    found = []
    for part in range(parts):
        finder = _kernels.AnchorFinder(length, part, parts)
        for place, base in _reads(places, spill):
            finder.observe(place, base)
        found.append(np.frombuffer(finder.finish(), np.int64).reshape(-1, 2))
    return np.stack(_joined(np.concatenate(found)), axis=1)


def _batches(stretches: Integers, size: int) -> Iterator[Integers]:
    """The stretches, about so many bytes at a time."""
    ends = np.cumsum(stretches[:, 1] - stretches[:, 0])
    first, done = 0, 0
    while first < len(stretches):
        last = max(int(np.searchsorted(ends, done + size, side="right")), first + 1)
        yield stretches[first:last]
        first, done = last, int(ends[last - 1])


def _joined(ranges: Integers) -> tuple[Integers, Integers]:
    """Ranges in order, those that touch joined."""
    if not len(ranges):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    ranges = ranges[np.argsort(ranges[:, 0], kind="stable")]
    reach = np.maximum.accumulate(ranges[:, 1])
    begins = np.r_[True, ranges[1:, 0] > reach[:-1]]
    lasts = np.r_[np.flatnonzero(begins)[1:] - 1, len(ranges) - 1]
    return ranges[begins, 0], reach[lasts]


def _reads(places: Integers, spill: Spill) -> Iterator[tuple[Place, int]]:
    """The texts by whole documents, some megabytes at a time, with the position of the first."""
    first, documents = 0, len(places) - 1
    while first < documents:
        base = int(places[first])
        last = max(int(np.searchsorted(places, base + _READ_BYTES, side="right")) - 1, first + 1)
        data = spill.part(TEXT, base, int(places[last]) - base)
        bounds = places[first : last + 1] - base
        yield (memoryview(bounds.tobytes()), 8, memoryview(data), 0, last - first), base
        first = last


def _judged(
    places: Integers, starts: Integers, ends: Integers, kept: Booleans, settings: DedupSettings, spill: Spill
) -> Repeats:
    """Counts what is cut, and finds the documents of which nothing is left."""
    emptied = np.zeros(len(places) - 1, np.bool_)
    cut_documents, cut_bytes, first = 0, 0, 0
    _, unit = _length(settings)
    for place, base in _reads(places, spill):
        count = place[-1]
        end = int(places[first + count])
        ranges = _between(starts, ends, base, end)
        bounds, left, cuts = _kernels.cut_texts(place, ranges, settings.substring_border, unit)
        cut = np.frombuffer(cuts, np.int64).reshape(-1, 3)
        changed = np.unique(cut[:, 0])
        limits = np.frombuffer(bounds, np.int64)
        parts = ((index, left[limits[index] : limits[index + 1]]) for index in changed)
        empty = [index for index, part in parts if not (part if settings.tokens else part.strip())]
        emptied[first + np.array(empty, np.int64)] = True
        cut_documents += len(changed) - len(empty)
        cut_bytes += int((cut[:, 2] - cut[:, 1]).sum())
        first += count
    return Repeats(settings.substring_border, unit, places, starts, ends, emptied & kept, cut_documents, cut_bytes)


def _between(starts: Integers, ends: Integers, start: int, end: int) -> bytes:
    """The ranges within a part of the texts, counted from its beginning."""
    low, high = np.searchsorted(ends, start, side="right"), np.searchsorted(starts, end, side="left")
    ranges = np.stack((starts[low:high], ends[low:high]), axis=1) - start
    return np.clip(ranges, 0, end - start).astype(np.int64).tobytes()
