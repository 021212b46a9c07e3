"""Larger engines: Ray signs and keeps with several processes, datatrove's later stages read our signatures."""

import collections
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.mithril.dedup.documents import planted

from mithril.core.errors import ConfigError, InputError
from mithril.dedup import deduplicate_ray, deduplicate_table

pytestmark = pytest.mark.timeout(300)
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
needs_datatrove = pytest.mark.skipif(importlib.util.find_spec("datatrove") is None, reason="datatrove is not installed")


@pytest.fixture(scope="module")
def table() -> pa.Table:
    texts = planted(5)
    return pa.table({"id": range(len(texts)), "text": [*texts[:-2], None, ""]})


@pytest.fixture(scope="module")
def data(table: pa.Table) -> Iterator[Any]:
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, object_store_memory=100_000_000)
    yield ray.data.from_arrow([table.slice(start, 50) for start in range(0, table.num_rows, 50)])
    ray.shutdown()


@needs_ray
@pytest.mark.filterwarnings("ignore")
def test_ray_keeps_what_one_process_keeps(table: pa.Table, data: Any) -> None:
    expected, report = deduplicate_table(table, threshold=0.7)
    found, by_ray = deduplicate_ray(data, threshold=0.7)
    rows = sorted(found.take_all(), key=lambda row: row["id"])
    assert rows == expected.to_pylist()
    for name in ("documents", "kept", "removed_exact", "removed_minhash", "candidates", "accepted", "histogram"):
        assert getattr(by_ray, name) == getattr(report, name)


@needs_ray
@pytest.mark.filterwarnings("ignore")
def test_what_ray_cannot_do_is_said(data: Any) -> None:
    with pytest.raises(ConfigError, match="by one process"):
        deduplicate_ray(data, method="exact,substring")
    with pytest.raises(InputError, match="no column 'words'; there are id, text"):
        deduplicate_ray(data, column="words")


@needs_datatrove
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("precision", [32, 64])
def test_datatrove_goes_on_from_our_signatures(table: pa.Table, tmp_path: Path, precision: int) -> None:
    from datatrove.data import Document  # noqa: PLC0415 (where it is installed)
    from datatrove.pipeline.dedup.minhash import (  # noqa: PLC0415
        MinhashConfig,
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
    )
    from datatrove.utils.hashing import HashConfig  # noqa: PLC0415

    from mithril.dedup.datatrove_steps import Signatures  # noqa: PLC0415

    config = MinhashConfig(num_buckets=20, hashes_per_bucket=5, hash_config=HashConfig(precision=precision))
    texts = [text or "" for text in table["text"].to_pylist()]
    documents = [Document(text=text, id=str(number)) for number, text in enumerate(texts)]
    half = len(documents) // 2
    parts = [documents[:half], documents[half:]]
    signatures, buckets, removed = (str(tmp_path / name) for name in ("signatures", "buckets", "removed"))
    for rank, part in enumerate(parts):
        Signatures(signatures, config).run(iter(part), rank, 2)
    for rank in range(config.num_buckets):
        MinhashDedupBuckets(signatures, buckets, config=config).run(None, rank, config.num_buckets)
    MinhashDedupCluster(buckets, removed, config=config).run(None, 0, 1)
    kept = [
        int(document.id)
        for rank, part in enumerate(parts)
        for document in MinhashDedupFilter(removed).run(iter(part), rank, 2)
    ]
    options: dict[str, Any] = {"method": "minhash", "verify": False, "bands": 20, "rows": 5, "mark": True}
    marked, _ = deduplicate_table(pa.table({"text": texts}), **options)
    clusters = marked["dedup_cluster"].to_pylist()
    # It keeps some document of each cluster, and whatever has no shingles.
    found = collections.Counter(clusters[number] for number in kept if texts[number])
    assert found == collections.Counter({clusters[number] for number in range(len(texts)) if texts[number]})
    assert len(kept) < len(texts)
