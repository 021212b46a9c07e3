"""The first pass: each document is read, hashed and cut into shingles, natively and on several threads."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate, islice
from typing import Any

import numpy as np
import numpy.typing as npt

from mithril import _kernels
from mithril.core.errors import InputError
from mithril.core.progress import Progress
from mithril.dedup.chunks import Booleans, Chunk, Source
from mithril.dedup.ordered import in_order
from mithril.dedup.plan import Plan
from mithril.dedup.settings import DOCUMENT_BYTES, DedupSettings
from mithril.dedup.spill import Spill
from mithril.dedup.table import check_kind
from mithril.dedup.texts import Place, lengths_of, place_of
from mithril.dedup.work import Work

DOCUMENTS_MAX = (1 << 32) - 1
HASHES, SIZES, STARTS, SHINGLES = "hashes", "sizes", "starts", "shingles"
LENGTHS, PRESENT, OVERLAPS, SCORES = "lengths", "present", "overlaps", "scores"
# Documents that are signed in one call: what they need stays in the caches of the processor.
_SLICE_ROWS = 512
_SHINGLE_BYTES = 4
_HELD_SHARE = 2


def band(index: int) -> str:
    """The column with the hashes of a band."""
    return f"band-{index}"


@dataclass(frozen=True, slots=True)
class Signing:
    """The way from texts to what is compared."""

    signer: _kernels.DocumentSigner
    plan: Plan | None
    evaluation: _kernels.NgramSet | None
    scored: bool = False
    """Documents are chosen by their scores."""

    def widths(self) -> dict[str, int]:
        """The columns that have one value for each document, and its bytes."""
        widths = {HASHES: 16, LENGTHS: 4, PRESENT: 1}
        if self.evaluation is not None:
            widths[OVERLAPS] = 4
        if self.scored:
            widths[SCORES] = 8
        if self.plan is not None:
            widths |= {SIZES: 4, STARTS: 8}
            widths |= {band(index): 8 for index in range(self.plan.bands)}
        return widths


@dataclass(frozen=True, slots=True)
class _Signed:
    chunk: Chunk
    part: int
    text_bytes: int
    present: bool
    columns: dict[str, list[bytes]]
    """Parts of the columns, in order."""


class _Reading:
    """The share of the sources that has been read: by documents where their number is known, otherwise by bytes."""

    def __init__(self, sources: Sequence[Source], progress: Progress) -> None:
        self.sizes = [source.size_in_memory() for source in sources]
        self._before = [0, *accumulate(self.sizes)]
        self._documents = [source.documents_at_least() for source in sources]
        self._progress = progress
        self._source = self._rows = self._bytes = 0
        self._begun = False

    def begin(self, source: int, rows: int) -> None:
        """Begins with a source, of which so many documents were read before."""
        self._source, self._rows, self._bytes = source, rows, 0

    def add(self, signed: _Signed) -> None:
        """Counts a chunk."""
        if not self._begun:
            self._begun = True
            self._progress.begin(self._share())
        self._rows += signed.chunk.rows
        self._bytes += signed.part
        self._progress.add(signed.text_bytes, self._share())

    def _share(self) -> float:
        documents, size = self._documents[self._source], self.sizes[self._source]
        part = self._rows / documents if documents else self._bytes / max(size, 1)
        return (self._before[self._source] + size * min(part, 1.0)) / max(self._before[-1], 1)


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
    overlaps: npt.NDArray[np.uint32] = field(default_factory=lambda: np.zeros(0, np.uint32))
    """N-grams shared with evaluation data; of no documents where there is none."""

    @property
    def documents(self) -> int:
        """The number of documents."""
        return len(self.lengths)


def scan(
    sources: Sequence[Source],
    settings: DedupSettings,
    signing: Signing,
    spill: Spill,
    progress: Progress,
    work: Work | None = None,
) -> Scan:
    """Reads all documents, those that the work has not yet. Without a plan only their texts are hashed."""
    found = Scan(spill, signing.plan)
    settings.check_documents(sum(source.documents_at_least() for source in sources))
    # Half of the memory holds inputs until the second pass, half compares.
    free = settings.memory_bytes // _HELD_SHARE
    reading = _Reading(sources, progress)
    documents = 0 if work is None else _continued(work, signing, spill)
    for index, source in enumerate(sources):
        found.rows.append([] if work is None else list(work.rows[index]))
        reading.begin(index, sum(found.rows[-1]))
        hold = not found.rows[-1] and reading.sizes[index] <= free
        held: list[Chunk] = []
        present = bool(found.rows[-1])
        tasks = islice(_tasks(source, settings, signing, spill, hold), len(found.rows[-1]), None)
        for signed in in_order(tasks, settings.workers_for(source.chunk_bytes())):
            documents += signed.chunk.rows
            if documents > DOCUMENTS_MAX:
                raise InputError(f"{source.name}: a run takes at most {DOCUMENTS_MAX} documents; divide the inputs")
            settings.check_documents(documents)
            for name, parts in signed.columns.items():
                spill.append(name, b"".join(parts))
            if work is not None:
                work.add_chunk(index, signed.chunk.rows)
            present |= signed.present
            found.rows[-1].append(signed.chunk.rows)
            reading.add(signed)
            if hold:
                free -= signed.chunk.bytes
                held.append(signed.chunk)
            if hold and free < 0:
                # The estimate was too low: this source is read again.
                free += sum(chunk.bytes for chunk in held)
                hold, held = False, []
        if hold:
            found.held[index] = held
        if sum(found.rows[-1]) and not present:
            raise InputError(f"{source.name}: no document has a text in {settings.column!r}; name the column")
    read = collected(spill, signing.plan, found.rows)
    read.held = found.held
    _make_room(read, settings)
    return read


def _make_room(read: Scan, settings: DedupSettings) -> None:
    """Drops inputs that are held, which are read again, where the facts on documents need their memory."""
    free = settings.memory_bytes - read.documents * DOCUMENT_BYTES
    held = {index: sum(chunk.bytes for chunk in chunks) for index, chunks in read.held.items()}
    for index in sorted(held, reverse=True):
        if sum(held.values()) > free:
            del held[index], read.held[index]


def _continued(work: Work, signing: Signing, spill: Spill) -> int:
    """Drops what the columns have of chunks that did not become complete, and gives the number of documents."""
    for name, width in signing.widths().items():
        spill.truncate(name, work.documents * width)
    return work.documents


def signer_of(settings: DedupSettings, plan: Plan | None) -> _kernels.DocumentSigner:
    """The signer of the settings."""
    bands, rows = (plan.bands, plan.rows) if plan else (1, 1)
    return _kernels.DocumentSigner(
        settings.shingle_unit, settings.shingle_size, settings.folded, bands, rows, settings.seed
    )


def _tasks(
    source: Source, settings: DedupSettings, signing: Signing, spill: Spill, hold: bool
) -> Iterator[Callable[[], _Signed]]:
    for read in source.chunks(settings.column, hold, settings.score):
        yield partial(_sign, read, signing, spill, source.name, settings)


def _sign(read: Callable[[], Chunk], signing: Signing, spill: Spill, name: str, settings: DedupSettings) -> _Signed:
    chunk = read()
    settings.check_chunk(name, chunk.bytes)
    check_kind(chunk, name, settings.column, tokens=settings.tokens)
    # The longest column goes at once, in whatever order the threads come.
    columns = sign_texts(chunk.pieces, signing, partial(spill.append, SHINGLES))
    if chunk.scores is not None:
        columns[SCORES].append(chunk.scores.tobytes())
    text_bytes = sum(int(np.frombuffer(part, np.uint32).sum(dtype=np.int64)) for part in columns[LENGTHS])
    present, part = any(any(part) for part in columns[PRESENT]), chunk.part
    if chunk.content is None:
        chunk = Chunk([_Counted(chunk.rows)], None, 0)
    return _Signed(chunk, part, text_bytes, present, columns)


def sign_texts(pieces: Sequence[Any], signing: Signing, keep: Callable[[bytes], int]) -> dict[str, list[bytes]]:
    """Parts of the columns of some texts, in order. `keep` takes shingles, and gives the position of the first byte."""
    columns: dict[str, list[bytes]] = defaultdict(list)
    for texts in pieces:
        present = np.ones(len(texts), np.bool_) if not texts.null_count else ~np.asarray(texts.is_null())
        columns[LENGTHS].append(lengths_of(place_of(texts)).tobytes())
        columns[PRESENT].append(present.tobytes())
    for place in _slices(pieces):
        if signing.evaluation is not None:
            columns[OVERLAPS].append(signing.evaluation.count(place))
        if signing.plan is None:
            columns[HASHES].append(signing.signer.hash(*place))
            continue
        hashes, bands, sizes, shingles = signing.signer.sign(*place)
        columns[HASHES].append(hashes)
        columns[SIZES].append(sizes)
        columns[STARTS].append(_starts(keep(shingles), sizes))
        by_band = np.ascontiguousarray(np.frombuffer(bands, np.uint64).reshape(-1, signing.plan.bands).T)
        for index in range(signing.plan.bands):
            columns[band(index)].append(by_band[index].tobytes())
    return columns


def _slices(pieces: Sequence[Any]) -> Iterator[Place]:
    """The places of texts that are signed together."""
    for texts in pieces:
        offsets, width, data, start, count = place_of(texts)
        for first in range(0, count, _SLICE_ROWS):
            yield offsets, width, data, start + first, min(_SLICE_ROWS, count - first)


def collected(spill: Spill, plan: Plan | None, rows: list[list[int]]) -> Scan:
    """The facts about documents whose columns are in the spill."""
    found = Scan(spill, plan, rows)
    found.lengths = np.asarray(spill.read(LENGTHS, np.uint32))
    found.present = np.asarray(spill.read(PRESENT, np.bool_))
    found.overlaps = np.asarray(spill.read(OVERLAPS, np.uint32))
    return found


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
