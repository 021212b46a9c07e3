"""Runs of bytes that stand in an earlier document, or earlier in the same one."""

from collections.abc import Iterable, Iterator
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
from mithril.dedup.texts import Place, bytes_of, lengths_of, mask, place_of

TEXT = "text"
# Bytes of the finder for each byte of text: filter, and the windows of text of which a sixth repeats.
_COST = 6
_READ_BYTES = 8 << 20
_PARTS_MAX = 1 << 16


@dataclass(frozen=True, slots=True)
class Repeats:
    """Ranges of the texts that are kept, put one after the other."""

    border: str
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
        bounds, left, cuts = _kernels.cut_texts(place_of(texts), ranges, self.border)
        array = pa.Array.from_buffers(
            pa.large_binary(), len(texts), [_validity(texts), pa.py_buffer(bounds), pa.py_buffer(left)]
        )
        repeats: list[list[list[int]]] = [[] for _ in range(len(texts))]
        for text, from_, to in np.frombuffer(cuts, np.int64).reshape(-1, 3).tolist():
            repeats[text].append([from_, to])
        return array, repeats


def find_repeats(
    texts: Iterable[tuple[int, Any]],
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
    for first, chunk in texts:
        spill.append(TEXT, bytes_of(place_of(chunk.filter(mask(kept[first : first + len(chunk)])))))
        progress.add(int(lengths[first : first + len(chunk)].sum(dtype=np.int64)))
    if spill.size(TEXT) != places[-1]:
        raise DamagedError("the documents have changed since they were first read; start again", settings.column)
    starts, ends = _ranges(places, settings, spill)
    return _judged(places, starts, ends, kept, settings, spill)


def _ranges(places: Integers, settings: DedupSettings, spill: Spill) -> tuple[Integers, Integers]:
    total = int(places[-1])
    budget = settings.memory_bytes // 2
    parts = max(-(-total * _COST // budget), 1)
    todo = [(part, parts) for part in reversed(range(parts))]
    found: list[Integers] = []
    while todo:
        part, parts = todo.pop()
        finder = _kernels.RepeatFinder(settings.substring_bytes, total, part, parts)
        for place, _ in _reads(places, spill):
            finder.observe(place)
        fits = True
        for place, base in _reads(places, spill):
            finder.collect(place, base)
            if finder.held() > budget and parts < _PARTS_MAX:
                # More repeats than expected: this part in two.
                todo += [(2 * part + 1, 2 * parts), (2 * part, 2 * parts)]
                fits = False
                break
        if fits:
            found.append(np.frombuffer(finder.finish(), np.int64).reshape(-1, 2))
    return _joined(np.concatenate(found) if found else np.zeros((0, 2), np.int64))


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
    for place, base in _reads(places, spill):
        count = place[-1]
        end = int(places[first + count])
        bounds, left, cuts = _kernels.cut_texts(place, _between(starts, ends, base, end), settings.substring_border)
        cut = np.frombuffer(cuts, np.int64).reshape(-1, 3)
        changed = np.unique(cut[:, 0])
        limits = np.frombuffer(bounds, np.int64)
        empty = [index for index in changed if not left[limits[index] : limits[index + 1]].strip()]
        emptied[first + np.array(empty, np.int64)] = True
        cut_documents += len(changed) - len(empty)
        cut_bytes += int((cut[:, 2] - cut[:, 1]).sum())
        first += count
    return Repeats(settings.substring_border, places, starts, ends, emptied & kept, cut_documents, cut_bytes)


def _between(starts: Integers, ends: Integers, start: int, end: int) -> bytes:
    """The ranges within a part of the texts, counted from its beginning."""
    low, high = np.searchsorted(ends, start, side="right"), np.searchsorted(starts, end, side="left")
    ranges = np.stack((starts[low:high], ends[low:high]), axis=1) - start
    return np.clip(ranges, 0, end - start).astype(np.int64).tobytes()


def _validity(texts: Any) -> Any:
    """The validity of texts as a buffer that begins with the first of them."""
    if not texts.null_count:
        return None
    return pa.py_buffer(np.packbits(np.asarray(texts.is_valid()), bitorder="little").tobytes())
