"""The first pass: each document is read, hashed and cut into shingles, natively and on several threads."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from mithril import _kernels
from mithril.core.errors import InputError
from mithril.core.progress import Progress
from mithril.dedup.chunks import Booleans, Chunk, Source
from mithril.dedup.ordered import in_order
from mithril.dedup.plan import Plan
from mithril.dedup.settings import DedupSettings
from mithril.dedup.spill import Spill

DOCUMENTS_MAX = (1 << 32) - 1
HASHES, SIZES, STARTS, SHINGLES = "hashes", "sizes", "starts", "shingles"
# Documents that are signed in one call: what they need stays in the caches of the processor.
_SLICE_ROWS = 512
_SHINGLE_BYTES = 4
# Buffers of an Arrow array of strings.
_OFFSETS, _DATA = 1, 2
_EMPTY = bytes(8)


def band(index: int) -> str:
    """The column with the hashes of a band."""
    return f"band-{index}"


@dataclass(frozen=True, slots=True)
class _Signed:
    chunk: Chunk
    lengths: npt.NDArray[np.uint32]
    present: Booleans
    columns: dict[str, list[bytes]]
    """Parts of the columns, in order."""


@dataclass(slots=True)
class Scan:
    """Facts about all documents, in order; what is long lies in the spill."""

    spill: Spill
    plan: Plan | None
    rows: list[list[int]] = field(default_factory=list)
    """The number of documents of each chunk, by source."""
    held: dict[int, list[Chunk]] = field(default_factory=dict)
    """The chunks of sources that need not be read again."""
    lengths: npt.NDArray[np.uint32] = field(default_factory=lambda: np.zeros(0, np.uint32))
    present: Booleans = field(default_factory=lambda: np.zeros(0, np.bool_))

    @property
    def documents(self) -> int:
        """The number of documents."""
        return len(self.lengths)


def scan(
    sources: Sequence[Source], settings: DedupSettings, plan: Plan | None, spill: Spill, progress: Progress
) -> Scan:
    """Reads all documents. Without a plan only their texts are hashed."""
    found = Scan(spill, plan)
    # Half of the memory holds inputs until the second pass, half compares.
    free = settings.memory_bytes // 2
    lengths, present, documents = [], [], 0
    signer = _signer(settings, plan)
    for index, source in enumerate(sources):
        hold = source.size_in_memory() <= free
        held: list[Chunk] = []
        found.rows.append([])
        for signed in in_order(_tasks(source, settings, signer, plan, spill, hold), settings.workers):
            documents += signed.chunk.rows
            if documents > DOCUMENTS_MAX:
                raise InputError(f"{source.name}: a run takes at most {DOCUMENTS_MAX} documents; divide the inputs")
            for name, parts in signed.columns.items():
                spill.append(name, b"".join(parts))
            lengths.append(signed.lengths)
            present.append(signed.present)
            found.rows[-1].append(signed.chunk.rows)
            progress.add(int(signed.lengths.sum(dtype=np.int64)))
            if hold:
                free -= signed.chunk.bytes
                held.append(signed.chunk)
            if hold and free < 0:
                # The estimate was too low: this source is read again.
                free += sum(chunk.bytes for chunk in held)
                hold, held = False, []
        if hold:
            found.held[index] = held
        if sum(found.rows[-1]) and not any(part.any() for part in present[-len(found.rows[-1]) :]):
            raise InputError(f"{source.name}: no document has a text in {settings.column!r}; name the column")
    found.lengths = np.concatenate(lengths) if lengths else found.lengths
    found.present = np.concatenate(present) if present else found.present
    return found


def _signer(settings: DedupSettings, plan: Plan | None) -> _kernels.DocumentSigner:
    bands, rows = (plan.bands, plan.rows) if plan else (1, 1)
    folded = settings.normalization == "folded"
    return _kernels.DocumentSigner(settings.shingle_unit, settings.shingle_size, folded, bands, rows, settings.seed)


def _tasks(
    source: Source,
    settings: DedupSettings,
    signer: _kernels.DocumentSigner,
    plan: Plan | None,
    spill: Spill,
    hold: bool,
) -> Iterator[Callable[[], _Signed]]:
    for read in source.chunks(settings.column, hold):
        yield partial(_sign, read, signer, plan, spill)


def _sign(read: Callable[[], Chunk], signer: _kernels.DocumentSigner, plan: Plan | None, spill: Spill) -> _Signed:
    chunk = read()
    texts = chunk.texts
    present = np.ones(len(texts), np.bool_) if not texts.null_count else ~np.asarray(texts.is_null())
    offsets, width, data = _buffers(texts)
    starts = np.frombuffer(offsets, f"<i{width}")[texts.offset : texts.offset + len(texts) + 1]
    lengths = np.diff(starts).astype(np.uint32) if len(texts) else np.zeros(0, np.uint32)
    columns: dict[str, list[bytes]] = defaultdict(list)
    for first in range(0, len(texts), _SLICE_ROWS):
        count = min(_SLICE_ROWS, len(texts) - first)
        place = (offsets, width, data, texts.offset + first, count)
        if plan is None:
            columns[HASHES].append(signer.hash(*place))
            continue
        hashes, bands, sizes, shingles = signer.sign(*place)
        columns[HASHES].append(hashes)
        columns[SIZES].append(sizes)
        # The longest column goes at once, in whatever order the threads come.
        columns[STARTS].append(_starts(spill.append(SHINGLES, shingles), sizes))
        by_band = np.ascontiguousarray(np.frombuffer(bands, np.uint64).reshape(-1, plan.bands).T)
        for index in range(plan.bands):
            columns[band(index)].append(by_band[index].tobytes())
    if chunk.content is None:
        chunk = Chunk(_Counted(len(texts)), None, 0)
    return _Signed(chunk, lengths, present, columns)


def _starts(first: int, sizes: bytes) -> bytes:
    """The positions of the shingles of documents that follow each other."""
    counts = np.frombuffer(sizes, np.uint32).astype(np.uint64)
    return (np.cumsum(counts) - counts + np.uint64(first // _SHINGLE_BYTES)).tobytes()


class _Counted:
    """The number of texts, where the texts themselves are not needed any more."""

    __slots__ = ("_rows",)

    def __init__(self, rows: int) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return self._rows


def _buffers(texts: Any) -> tuple[memoryview, int, memoryview]:
    wide = str(texts.type).startswith("large_")
    buffers = texts.buffers()
    offsets, data = (memoryview(buffers[index] or _EMPTY).cast("B") for index in (_OFFSETS, _DATA))
    return offsets, 8 if wide else 4, data
