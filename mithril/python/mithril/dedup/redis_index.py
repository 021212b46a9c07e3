"""An index of documents on Yggdrasil or Redis, which several processes add to at once.

The keys of a band are in many small hashes, which stay packed: a field has five bytes of the band's hash, its value
is the document that holds it. All hashes of a band are on one shard. What a batch adds is one transaction: of two
documents that are alike, whoever adds them, one comes first.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from mithril.core.config import CoreSettings
from mithril.core.errors import NotFoundError
from mithril.core.redis_store import RedisStore
from mithril.dedup.chunks import Integers
from mithril.dedup.index import NONE, SKETCH_BYTES, Bytes, DocumentIndex, Entries, IndexShape, IndexStatistics

# Documents of one transaction, which nobody else is served during.
_BATCH = 512
# Entries of a hash for which it is made: such hashes stay packed, and are quick to search.
_BUCKET_ENTRIES = 64
_BUCKETS_MAX = 1 << 24
_BAND_FIELD, _TEXT_FIELD, _NUMBER = 5, 12, 5
# Sketches in one string.
_BLOCK = 1024

# ARGV: the width of a field, records of bucket (3 bytes), field and number. Gives the number that holds each field.
_CLAIM = """
local width, records, found = tonumber(ARGV[1]), ARGV[2], {}
local size = width + 8
for at = 1, #records, size do
  local bucket, field = string.sub(records, at, at + 2), string.sub(records, at + 3, at + width + 2)
  local number, key = string.sub(records, at + width + 3, at + size - 1), KEYS[1] .. bucket
  if redis.call('HSETNX', key, field, number) == 0 then
    number = redis.call('HGET', key, field)
  end
  found[#found + 1] = number
end
return table.concat(found)
"""
_FIND = """
local width, records, found = tonumber(ARGV[1]), ARGV[2], {}
local size = width + 8
for at = 1, #records, size do
  local bucket, field = string.sub(records, at, at + 2), string.sub(records, at + 3, at + width + 2)
  found[#found + 1] = redis.call('HGET', KEYS[1] .. bucket, field) or '\\255\\255\\255\\255\\255'
end
return table.concat(found)
"""
_NOBODY = (1 << 8 * _NUMBER) - 1


class RedisIndex(DocumentIndex):
    """An index at ygg://HOST:PORT/NAME or redis://HOST:PORT/NAME."""

    def __init__(self, url: str, core: CoreSettings, shape: IndexShape, create: bool) -> None:
        self._store = RedisStore(url, core)
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
        buckets = max(self.shape.capacity // _BUCKET_ENTRIES, 1)
        self._buckets = min(1 << (buckets - 1).bit_length(), _BUCKETS_MAX)

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
        with self._store.errors(self._name):
            first = int(self._client.incrby(self._count_key, count)) - count
            holders = np.full((count, 1 + self.shape.bands), NONE, np.int64)
            for start in range(0, count, _BATCH):
                rows = np.arange(start, min(start + _BATCH, count))
                with self._client.pipeline(transaction=True) as pipe:
                    self._put_sketches(pipe, first + start, entries.sketches[rows])
                    asked = self._ask(pipe, _CLAIM, entries, rows, first)
                    answers = pipe.execute()[-len(asked) :] if asked else []
                self._take(holders, asked, answers)
        return first, holders

    def _holders(self, entries: Entries) -> Integers:
        count = len(entries.hashes)
        holders = np.full((count, 1 + self.shape.bands), NONE, np.int64)
        with self._store.errors(self._name):
            for start in range(0, count, _BATCH):
                rows = np.arange(start, min(start + _BATCH, count))
                with self._client.pipeline(transaction=False) as pipe:
                    asked = self._ask(pipe, _FIND, entries, rows, 0)
                    self._take(holders, asked, pipe.execute())
        return holders

    def _sketches_of(self, documents: Integers) -> Bytes:
        with self._store.errors(self._name), self._client.pipeline(transaction=False) as pipe:
            for document in documents.tolist():
                block, place = divmod(document, _BLOCK)
                start = place * SKETCH_BYTES
                pipe.getrange(self._sketch_key(block), start, start + SKETCH_BYTES - 1)
            parts = [bytes(part).ljust(SKETCH_BYTES, b"\0") for part in pipe.execute()]
        return np.frombuffer(b"".join(parts), np.uint8).reshape(-1, SKETCH_BYTES)

    def _ask(
        self, pipe: Any, script: str, entries: Entries, rows: Integers, first: int
    ) -> "list[tuple[int, npt.NDArray[np.int64]]]":
        """Asks for the text and each band of some documents. Gives the column and the documents of each question."""
        asked = []
        for column in range(1 + self.shape.bands):
            valid = rows[(entries.signed if column else entries.compared)[rows]]
            if not len(valid):
                continue
            width = _BAND_FIELD if column else _TEXT_FIELD
            if column:
                raw = np.ascontiguousarray(entries.bands[valid, column - 1]).view(np.uint8).reshape(len(valid), -1)
            else:
                raw = entries.hashes[valid]
            records = np.zeros((len(valid), 3 + width + _NUMBER), np.uint8)
            records[:, 3 : 3 + width] = raw[:, :width]
            # The bucket from the other end of the hash: what the field does not have.
            bucket = np.ascontiguousarray(raw[:, -4:]).view(np.uint32).reshape(-1) & np.uint32(self._buckets - 1)
            records[:, :3] = _number_bytes(bucket, 3)
            records[:, 3 + width :] = _number_bytes(valid + first, _NUMBER)
            pipe.eval(script, 1, f"{{{self._name}:{column}}}", width, records.tobytes())
            asked.append((column, valid))
        return asked

    def _take(self, holders: Integers, asked: "list[tuple[int, npt.NDArray[np.int64]]]", answers: list[Any]) -> None:
        for (column, rows), answer in zip(asked, answers, strict=True):
            digits = np.frombuffer(bytes(answer), np.uint8).reshape(-1, _NUMBER).astype(np.int64)
            numbers = digits @ (np.int64(1) << (8 * np.arange(_NUMBER)[::-1]))
            holders[rows, column] = np.where(numbers == _NOBODY, NONE, numbers)

    def _put_sketches(self, pipe: Any, first: int, sketches: Bytes) -> None:
        at = 0
        while at < len(sketches):
            block, place = divmod(first + at, _BLOCK)
            count = min(_BLOCK - place, len(sketches) - at)
            pipe.setrange(self._sketch_key(block), place * SKETCH_BYTES, sketches[at : at + count].tobytes())
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
                    pipe.memory_usage(f"{{{self._name}:{column}}}".encode() + bucket.to_bytes(3, "big"))
            sizes = [int(size or 0) for size in pipe.execute()]
        return round(sum(sizes) * self._buckets / len(sample)) + documents * SKETCH_BYTES


def _number_bytes(numbers: npt.NDArray[np.integer[Any]], width: int) -> Bytes:
    """Numbers as bytes, the highest first."""
    shifts = 8 * np.arange(width)[::-1]
    return (numbers.astype(np.int64)[:, None] >> shifts & 0xFF).astype(np.uint8)
