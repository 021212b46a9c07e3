"""Data to the accelerator, within a hard memory budget, and exactly resumable.

from mithril.pipeline import JsonlSource, Pipeline
for batch in Pipeline(JsonlSource("s3://bucket/data")).shuffle(1000).map(encode).batch(32).to_torch(): ...
"""

from mithril.pipeline.errors import MemoryBudgetError, PipelineError, SourceError, TransformError
from mithril.pipeline.pipeline import Pipeline
from mithril.pipeline.sources.memory import IterableSource, MemorySource
from mithril.pipeline.stages import IndexedSource, Sink, Source, Transform
from mithril.pipeline.statistics import Statistics

__all__ = [
    "IndexedSource",
    "IterableSource",
    "MemoryBudgetError",
    "MemorySource",
    "Pipeline",
    "PipelineError",
    "Sink",
    "Source",
    "SourceError",
    "Statistics",
    "Transform",
    "TransformError",
]
