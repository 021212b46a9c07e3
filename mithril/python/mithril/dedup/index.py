"""An index of documents that is kept: new data is compared with old without reading the old again."""

import abc
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, TypeAdapter

from mithril import _kernels
from mithril.core.config import CoreSettings, load
from mithril.core.errors import ConfigError, InputError
from mithril.dedup.chunks import Booleans, Integers
from mithril.dedup.plan import choose
from mithril.dedup.settings import DedupSettings
from mithril.dedup.table import check_kind, chunk_of
from mithril.dedup.texts import joined, place_of

Bytes = npt.NDArray[np.uint8]
Hashes = npt.NDArray[np.uint64]

FORMAT = 2
HASH_BYTES = 16
SKETCH_BYTES = 64
# Bytes of sketches of different sets that agree by chance.
_CHANCE = 1 / 256
NONE = -1


@dataclass(frozen=True, slots=True)
class IndexShape:
    """The way in which documents become entries; the same for all that share an index."""

    format: int
    normalization: str
    shingle_unit: str
    shingle_size: int
    seed: int
    bands: Annotated[int, Field(ge=1)]
    rows: Annotated[int, Field(ge=1)]
    threshold: float
    capacity: Annotated[int, Field(ge=1)]
    """The number of documents that it is made for; more are no error, and take more memory each."""

    @property
    def tokens(self) -> bool:
        """True where documents are lists of numbers of tokens."""
        return self.shingle_unit == "tokens"

    @property
    def folded(self) -> bool:
        """True where texts are compared in their folded form."""
        return self.normalization == "folded" and not self.tokens

    def to_json(self) -> bytes:
        """The shape as JSON."""
        return json.dumps(asdict(self), sort_keys=True).encode()

    @classmethod
    def from_json(cls, data: bytes, url: str) -> Self:
        """The shape that `to_json` wrote."""
        try:
            values = json.loads(data)
            found = cls(**values)
            if found.format != FORMAT:
                raise ConfigError(f"{url}: the index is of format {found.format}, and this release reads {FORMAT}")
            _SHAPES.validate_json(data, strict=True)
            DedupSettings(**{name: values[name] for name in DedupSettings.model_fields if name in values})
        except (ValueError, TypeError, RecursionError) as error:
            raise ConfigError(f"{url}: this is no index of documents: {error}") from None
        return found


_SHAPES = TypeAdapter(IndexShape)


@dataclass(frozen=True, slots=True)
class Entries:
    """Documents as an index knows them."""

    hashes: Bytes
    """16 bytes of each text in its normal form."""
    bands: Hashes
    """A hash for each band of each document."""
    sketches: Bytes
    compared: Booleans
    """The documents with a text."""
    signed: Booleans
    """The documents with shingles, whose bands mean something."""


@dataclass(frozen=True, slots=True)
class Matches:
    """The documents that are like an earlier one."""

    first: int
    """The number of the first document; -1 where none was added."""
    duplicate_of: Integers
    """The number of an earlier document that each one is a duplicate of, or -1."""
    similarity: npt.NDArray[np.float64]
    """The similarity to that one: 1 for equal texts, otherwise estimated."""

    @property
    def new(self) -> Booleans:
        """The documents that are like no earlier one."""
        return np.asarray(self.duplicate_of < 0)


@dataclass(frozen=True, slots=True)
class IndexStatistics:
    """Facts about an index."""

    url: str
    documents: int
    bytes: int
    shape: IndexShape


class DocumentIndex(abc.ABC):
    """An index of documents. Each has a number, in the order in which they were added.

    The first document with a band holds it. A new document is compared with the holders of its bands, by sketches, and
    with the holder of its text.
    """

    def __init__(self, url: str, shape: IndexShape) -> None:
        self.url = url
        self.shape = shape
        try:
            self._signer = _kernels.DocumentSigner(
                shape.shingle_unit, shape.shingle_size, shape.folded, shape.bands, shape.rows, shape.seed
            )
        except _kernels.KernelError as error:
            raise ConfigError(f"{url}: this is no index of documents: {error}") from None

    def add(self, texts: Any) -> Matches:
        """Adds the texts of a pyarrow array, and gives those that are like earlier ones, also of this array."""
        return self.add_entries(self.entries(self._joined(texts)))

    def query(self, texts: Any) -> Matches:
        """The texts of a pyarrow array that are like documents of the index. Nothing is added."""
        return self.query_entries(self.entries(self._joined(texts)))

    def add_entries(self, entries: Entries) -> Matches:
        """Adds documents, as `entries` makes them; that part may be done by several threads."""
        first, holders = self._claim(entries)
        return self._matches(entries, first, holders)

    def query_entries(self, entries: Entries) -> Matches:
        """The documents that are like documents of the index."""
        return self._matches(entries, NONE, self._holders(entries))

    def entries(self, texts: Any) -> Entries:
        """The texts as the index knows them."""
        place = place_of(texts)
        hashes, bands, sizes, sketches = self._signer.sketch(place, SKETCH_BYTES)
        compared = np.asarray(texts.is_valid()) if texts.null_count else np.ones(len(texts), np.bool_)
        return Entries(
            np.frombuffer(hashes, np.uint8).reshape(-1, HASH_BYTES),
            np.frombuffer(bands, np.uint64).reshape(-1, self.shape.bands),
            np.frombuffer(sketches, np.uint8).reshape(-1, SKETCH_BYTES),
            compared,
            compared & (np.frombuffer(sizes, np.uint32) > 0),
        )

    def _joined(self, texts: Any) -> Any:
        if not isinstance(texts, pa.Array | pa.ChunkedArray):
            raise InputError(f"an index takes the texts of a pyarrow array, not of {type(texts).__name__}")
        if texts.null_count == len(texts):
            # Without a text it is of any kind.
            return pa.nulls(len(texts), pa.string())
        chunk = chunk_of(pa.table({"texts": texts}), "texts", "", "the array", 0, whole=False)
        check_kind(chunk, "the array", "texts", tokens=self.shape.tokens)
        return joined(chunk.pieces)

    @abc.abstractmethod
    def statistics(self) -> IndexStatistics:
        """Facts about the index."""

    @abc.abstractmethod
    def close(self) -> None:
        """Keeps what was added, and gives back what is open."""

    @abc.abstractmethod
    def _claim(self, entries: Entries) -> tuple[int, Integers]:
        """Adds documents. Gives the number of the first, and `_holders`, in which a document may be its own."""

    @abc.abstractmethod
    def _holders(self, entries: Entries) -> Integers:
        """The documents that hold the text (first column) and the bands of each document; -1 for none."""

    @abc.abstractmethod
    def _sketches_of(self, documents: Integers) -> Bytes:
        """The sketches of documents, in rising order."""

    def _matches(self, entries: Entries, first: int, holders: Integers) -> Matches:
        count = len(holders)
        own = np.arange(first, first + count) if first >= 0 else np.full(count, NONE)
        found, similarity = np.full(count, NONE, np.int64), np.zeros(count)
        foreign = (holders >= 0) & (holders != own[:, None])
        rows, columns = np.nonzero(foreign[:, 1:])
        pairs = np.unique(np.stack((rows, holders[rows, columns + 1]), axis=1), axis=0)
        if len(pairs):
            wanted, places = np.unique(pairs[:, 1], return_inverse=True)
            agree = (self._sketches_of(wanted)[places] == entries.sketches[pairs[:, 0]]).mean(axis=1)
            alike = np.maximum((agree - _CHANCE) / (1 - _CHANCE), 0.0)
            # The best partner of each document; of equal ones the earliest.
            order = np.lexsort((pairs[:, 1], -alike, pairs[:, 0]))
            best = order[np.r_[True, np.diff(pairs[order, 0]) > 0]]
            best = best[alike[best] >= self.shape.threshold]
            found[pairs[best, 0]] = pairs[best, 1]
            similarity[pairs[best, 0]] = alike[best]
        equal = np.flatnonzero(foreign[:, 0])
        found[equal], similarity[equal] = holders[equal, 0], 1.0
        return Matches(first, found, similarity)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_index(url: str | Path, *, create: bool = True, capacity: int = 1_000_000, **options: Any) -> DocumentIndex:
    """The index at a URL: a local folder, or ygg:// or redis://, where several processes add to it at once.

    A new one takes its shape from the options of [dedup]. One that exists keeps its own, and refuses options that are
    given and differ.
    """
    url = str(url)
    if capacity < 1:
        raise ConfigError("the capacity is at least 1 document")
    given = {name: value for name, value in options.items() if value is not None}
    settings = load(DedupSettings, given).settings
    plan = choose(settings.model_copy(update={"method": "minhash"}))
    assert plan is not None
    shape = IndexShape(
        FORMAT,
        settings.normalization,
        settings.shingle_unit,
        settings.shingle_size,
        settings.seed,
        plan.bands,
        plan.rows,
        settings.threshold,
        capacity,
    )
    index = _backend(url, load(CoreSettings).settings, shape, create)
    for name, value in given.items():
        before = getattr(index.shape, name, None)
        if before is not None and before != value:
            index.close()
            raise ConfigError(f"{url}: the index was made with {name} = {before}, not {value}")
    return index


def _backend(url: str, core: CoreSettings, shape: IndexShape, create: bool) -> DocumentIndex:
    scheme = url.partition("://")[0] if "://" in url else "file"
    if scheme == "file":
        from mithril.dedup.folder_index import FolderIndex  # noqa: PLC0415

        return FolderIndex(url.removeprefix("file://"), shape, create)
    if scheme in ("ygg", "redis", "rediss"):
        from mithril.dedup.redis_index import RedisIndex  # noqa: PLC0415

        return RedisIndex(url, core, shape, create)
    raise InputError(f"{url}: an index is a local folder, or at ygg:// or redis://")
