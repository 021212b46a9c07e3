"""A pipeline as a job of Ray gives what it gives here."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mithril.pipeline import Augment, ParquetSource, Pipeline, PipelineError

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed"),
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def _ray() -> Iterator[None]:
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, object_store_memory=100_000_000)
    yield
    ray.shutdown()


@pytest.mark.usefixtures("_ray")
@pytest.mark.filterwarnings("ignore")
def test_a_job_of_ray_gives_what_the_pipeline_gives(tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": range(300)}), tmp_path / "in.parquet", row_group_size=40)
    pipeline = Pipeline(ParquetSource(tmp_path / "in.parquet", column="n"), seed=3).shuffle()
    pipeline = pipeline.filter(lambda number: number % 3).flat_map(lambda number: [number, -number])
    pipeline = pipeline.map(Augment(lambda number, chance: {"n": number, "r": int(chance.integers(1000))}))
    found = pipeline.to_ray(workers=2).take_all()
    assert sorted(found, key=str) == sorted(pipeline, key=str)
    assert {row["value"] for row in Pipeline(np.arange(5)).to_ray().take_all()} == set(range(5))


def test_what_ray_has_stages_for_is_refused() -> None:
    with pytest.raises(PipelineError, match="functions alone"):
        Pipeline(range(3)).batch(2).to_ray()
    with pytest.raises(PipelineError, match="numbered chunks"):
        Pipeline(lambda: iter([1])).to_ray()
