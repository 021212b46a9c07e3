"""An index of documents on Yggdrasil or Redis, which several processes add to at once.

The keys of a band are in many small hashes, which stay packed: a field has three bytes of the band's hash, its value
is the document that holds it. All hashes of a band are on one shard. What a batch adds is one transaction: of two
documents that are alike, whoever adds them, one comes first.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mithril.core.config import CoreSettings
from mithril.core.errors import InputError, NotFoundError
from mithril.core.redis_store import RedisStore
from mithril.dedup.chunks import Integers
from mithril.dedup.index import NONE, SKETCH_BYTES, Bytes, DocumentIndex, Entries, IndexShape, IndexStatistics
from mithril.dedup.redis_bulk import Piece, command, commands, exchange

# Documents of one transaction, which nobody else is served during.
_BATCH = 512
# Entries of a hash for which it is made: such hashes stay packed, and are quick to search.
_BUCKET_ENTRIES = 64
_BUCKETS_MAX = 1 << 24
_BUCKET = 3
# A band that is taken for another by chance is only a pair that is compared for nothing; texts are not compared.
_BAND_FIELD, _TEXT_FIELD, _NUMBER = 3, 12, 4
_LONG = 8
_DOCUMENTS_MAX = 1 << 8 * _NUMBER
# Sketches in one string.
_BLOCK = 1024


class RedisIndex(DocumentIndex):
    """An index at ygg://HOST:PORT/NAME or redis://HOST:PORT/NAME."""

    def __init__(self, url: str, core: CoreSettings, shape: IndexShape, create: bool) -> None:
        self._store = RedisStore(url, core)
        # Yggdrasil takes the claims of a column as one command, which also tells who holds what is taken.
        self._claims_together = url.startswith("ygg://")
        self._client = self._store.client
        self._name = self._store.prefix.rstrip("/") or "dedup"
        self._shape_key = f"{self._name}:index"
        self._count_key = f"{self._name}:documents"
        with self._store.errors(self._name):
            if create:
                self._client.set(self._shape_key, shape.to_json(), nx=True)
            found = self._client.get(self._shape_key)
        if found is None:
            raise NotFoundError("there is no index of documents", self._store.url)
        super().__init__(self._store.url, IndexShape.from_json(bytes(found), self._store.url))
        self._buckets = min(max(self.shape.capacity // _BUCKET_ENTRIES, 1), _BUCKETS_MAX)

    def statistics(self) -> IndexStatistics:
        """Facts about the index. The size is that of a sample of its keys, times their number."""
        with self._store.errors(self._name):
            documents = int(self._client.get(self._count_key) or 0)
            size = self._size(documents)
        return IndexStatistics(self.url, documents, size, self.shape)

    def close(self) -> None:
        """Gives the connection back."""
        self._store.close()

    def _claim(self, entries: Entries) -> tuple[int, Integers]:
        count = len(entries.hashes)
        holders = np.full((count, 1 + self.shape.bands), NONE, np.int64)
        with self._store.errors(self._name):
            first = int(self._client.incrby(self._count_key, count)) - count
            if first + count > _DOCUMENTS_MAX:
                raise InputError(f"{self.url}: an index takes at most {_DOCUMENTS_MAX} documents")
            for start in range(0, count, _BATCH):
                rows = np.arange(start, min(start + _BATCH, count))
                self._claim_rows(holders, entries, rows, first)
                self._ask(holders, entries, rows)
        return first, holders

    def _claim_rows(self, holders: Integers, entries: Entries, rows: Integers, first: int) -> None:
        """Claims what some documents have and nobody holds, in one transaction."""
        sent = list(self._sketch_commands(first + int(rows[0]), entries.sketches[rows]))
        sketches, claimed = len(sent), list(self._columns(entries, rows))
        for column, valid in claimed:
            claims = (*self._places(entries, column, valid), (_number_bytes(valid + first, _NUMBER),))
            if self._claims_together:
                sent.append(command(b"HCLAIM", len(valid), *claims))
            else:
                sent.append(commands(len(valid), (b"HSETNX",), *claims))
        count = len(claimed) if self._claims_together else sum(len(valid) for _, valid in claimed)
        replies = exchange(self._client, sent, sketches + count, transaction=True)[sketches:]
        if self._claims_together:
            for (column, valid), found in zip(claimed, replies, strict=True):
                numbers = _numbers(found)
                holders[valid, column] = np.where(numbers == NONE, valid + first, numbers)
            return
        is_own = np.array(replies, np.bool_)
        for column, valid in claimed:
            own, is_own = is_own[: len(valid)], is_own[len(valid) :]
            holders[valid[own], column] = valid[own] + first

    def _holders(self, entries: Entries) -> Integers:
        count = len(entries.hashes)
        holders = np.full((count, 1 + self.shape.bands), NONE, np.int64)
        with self._store.errors(self._name):
            for start in range(0, count, _BATCH):
                self._ask(holders, entries, np.arange(start, min(start + _BATCH, count)))
        return holders

    def _sketches_of(self, documents: Integers) -> Bytes:
        with self._store.errors(self._name), self._client.pipeline(transaction=False) as pipe:
            for document in documents.tolist():
                block, place = divmod(document, _BLOCK)
                start = place * SKETCH_BYTES
                pipe.getrange(self._sketch_key(block), start, start + SKETCH_BYTES - 1)
            parts = [bytes(part).ljust(SKETCH_BYTES, b"\0") for part in pipe.execute()]
        return np.frombuffer(b"".join(parts), np.uint8).reshape(-1, SKETCH_BYTES)

    def _ask(self, holders: Integers, entries: Entries, rows: Integers) -> None:
        """Asks who holds what some documents have, where it is not known. Holders stay: it takes no transaction."""
        sent, asked = [], []
        for column, valid in self._columns(entries, rows):
            unknown = valid[holders[valid, column] == NONE]
            if len(unknown):
                sent.append(commands(len(unknown), (b"HGET",), *self._places(entries, column, unknown)))
                asked.append((column, unknown))
        if not asked:
            return
        replies = exchange(self._client, sent, sum(len(unknown) for _, unknown in asked), transaction=False)
        for column, unknown in asked:
            found, replies = replies[: len(unknown)], replies[len(unknown) :]
            holders[unknown, column] = _numbers(found)

    def _columns(self, entries: Entries, rows: Integers) -> Iterator[tuple[int, Integers]]:
        """The columns, each with those of the documents that have something there."""
        for column in range(1 + self.shape.bands):
            valid = rows[(entries.signed if column else entries.compared)[rows]]
            if len(valid):
                yield column, valid

    def _places(self, entries: Entries, column: int, rows: Integers) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
        """The keys and the fields of some documents in a column."""
        if column:
            raw = np.ascontiguousarray(entries.bands[rows, column - 1]).view(np.uint8).reshape(len(rows), -1)
        else:
            raw = entries.hashes[rows]
        # The bucket from the other end of the hash: what the field does not have.
        high = np.ascontiguousarray(raw[:, -4:]).view(np.uint32).reshape(-1).astype(np.uint64)
        bucket = _number_bytes(high * np.uint64(self._buckets) >> np.uint64(32), _BUCKET)
        width = _BAND_FIELD if column else _TEXT_FIELD
        return (f"{{{self._name}:{column}}}".encode(), bucket), (raw[:, :width],)

    def _sketch_commands(self, first: int, sketches: Bytes) -> Iterator[bytes]:
        at = 0
        while at < len(sketches):
            block, place = divmod(first + at, _BLOCK)
            count = min(_BLOCK - place, len(sketches) - at)
            offset = str(place * SKETCH_BYTES).encode()
            data = sketches[at : at + count].tobytes()
            yield commands(1, (b"SETRANGE",), (self._sketch_key(block).encode(),), (offset,), (data,))
            at += count

    def _sketch_key(self, block: int) -> str:
        return f"{self._name}:s:{block}"

    def _size(self, documents: int) -> int:
        """The bytes of the buckets, by a sample, and of the sketches."""
        chance = np.random.default_rng(1)
        sample = chance.choice(self._buckets, min(self._buckets, 64), replace=False)
        with self._client.pipeline(transaction=False) as pipe:
            for column in range(1 + self.shape.bands):
                for bucket in sample.tolist():
                    pipe.memory_usage(f"{{{self._name}:{column}}}".encode() + bucket.to_bytes(_BUCKET, "big"))
            sizes = [int(size or 0) for size in pipe.execute()]
        return round(sum(sizes) * self._buckets / len(sample)) + documents * SKETCH_BYTES


def _number_bytes(numbers: npt.NDArray[np.integer[Any]], width: int) -> Bytes:
    """Numbers as bytes, the highest first."""
    shifts = 8 * np.arange(width)[::-1]
    return (numbers.astype(np.int64)[:, None] >> shifts & 0xFF).astype(np.uint8)


def _numbers(found: Sequence[bytes | None]) -> Integers:
    """Numbers from their bytes; NONE for those that are missing."""
    missing = b"\xff" * _LONG
    wide = b"".join(missing if number is None else number.rjust(_LONG, b"\0") for number in found)
    return np.frombuffer(wide, ">i8").astype(np.int64)
