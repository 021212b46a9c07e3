"""A step of datatrove that takes the place of its signature stage: its later stages read what this one writes.

from datatrove.pipeline.dedup import MinhashConfig, MinhashDedupBuckets
[reader, Signatures("signatures", MinhashConfig(num_buckets=20, hashes_per_bucket=5))]
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from datatrove.io import get_datafolder
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.dedup import MinhashConfig
from datatrove.utils.typeshelper import StatHints

from mithril import _kernels
from mithril.dedup.settings import DedupSettings
from mithril.dedup.texts import place_of

_BATCH = 512
# Hashes are below the prime of datatrove's own, 2^61 - 1.
_SPARE_BITS = 3


class Signatures(PipelineStep):  # type: ignore[misc]
    """A step that signs documents natively, in shingles of words as `mithril dedup` makes them.

    Shingle size, buckets, rows and seed are those of the configuration. A record has the hash of a whole band in the
    place of each of its values: bands are equal where the records are.
    """

    type = "🫂 - DEDUP"
    name = "Mithril signatures"

    def __init__(self, output_folder: Any, config: Any = None) -> None:
        super().__init__()
        self.output_folder = get_datafolder(output_folder)
        self.config = config or MinhashConfig()

    def run(self, data: Iterable[Any], rank: int = 0, world_size: int = 1) -> None:
        """Writes the sorted signatures of the documents of a rank."""
        with self.track_time():
            bands, numbers = self._signed(data)
            for index in range(self.config.num_buckets):
                column = bands[:, index]
                order = np.lexsort((numbers, column))
                path = f"bucket_{index:03d}/{rank:05d}.minhash.sig"
                with self.output_folder.open(path, mode="wb") as file:
                    file.write(self._records(column[order], numbers[order]))

    def _signed(self, data: Iterable[Any]) -> tuple[Any, Any]:
        """The hashes of the bands of the documents that have shingles, and their numbers."""
        config = self.config
        settings = DedupSettings(shingle_size=config.n_grams, seed=config.seed)
        signer = _kernels.DocumentSigner(
            settings.shingle_unit,
            settings.shingle_size,
            settings.folded,
            config.num_buckets,
            config.hashes_per_bucket,
            settings.seed,
        )
        found, numbers = [np.zeros((0, config.num_buckets), np.uint64)], [np.zeros(0, np.uint32)]
        first = 0
        for texts in self._batches(data):
            _, bands, sizes, _ = signer.sketch(place_of(pa.array(texts, pa.large_string())), 0)
            present = np.flatnonzero(np.frombuffer(sizes, np.uint32))
            found.append(np.frombuffer(bands, np.uint64).reshape(len(texts), -1)[present])
            numbers.append((first + present).astype(np.uint32))
            first += len(texts)
        return np.concatenate(found), np.concatenate(numbers)

    def _batches(self, data: Iterable[Any]) -> Iterator[list[str]]:
        texts: list[str] = []
        for document in data:
            self.stat_update(StatHints.total)
            texts.append(document.text)
            if len(texts) == _BATCH:
                yield texts
                texts = []
        if texts:
            yield texts

    def _records(self, hashes: Any, numbers: Any) -> bytes:
        """Records as datatrove has them: the values of a band, and the number of the document."""
        kind = np.dtype(f"<{self.config.hash_config.struct_format}")
        values = np.dtype([("values", kind, (self.config.hashes_per_bucket,)), ("document", "<u4")])
        records = np.zeros(len(hashes), values)
        bits = 8 * kind.itemsize - (_SPARE_BITS if kind.itemsize == np.dtype(np.uint64).itemsize else 0)
        records["values"] = (hashes >> np.uint64(64 - bits)).astype(kind)[:, None]
        records["document"] = numbers
        return records.tobytes()
