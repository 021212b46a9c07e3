"""Data to the accelerator, within a hard memory budget, and exactly resumable.

from mithril.pipeline import JsonlSource, Pipeline
for batch in Pipeline(JsonlSource("s3://bucket/data")).shuffle(1000).map(encode).batch(32).to_torch(): ...
"""

from mithril.pipeline.errors import MemoryBudgetError, PipelineError, SourceError, TransformError
from mithril.pipeline.images import DecodeImage
from mithril.pipeline.pipeline import Pipeline
from mithril.pipeline.sinks import JsonlSink, ParquetSink
from mithril.pipeline.sources.archive import TarSource
from mithril.pipeline.sources.arrow import ArrowSource, ParquetSource
from mithril.pipeline.sources.files import FileSource
from mithril.pipeline.sources.memory import IterableSource, MemorySource
from mithril.pipeline.sources.text import CsvSource, JsonlSource, TextSource
from mithril.pipeline.stages import IndexedSource, Sink, Source, Transform
from mithril.pipeline.statistics import Statistics

__all__ = [
    "ArrowSource",
    "CsvSource",
    "DecodeImage",
    "FileSource",
    "IndexedSource",
    "IterableSource",
    "JsonlSink",
    "JsonlSource",
    "MemoryBudgetError",
    "MemorySource",
    "ParquetSink",
    "ParquetSource",
    "Pipeline",
    "PipelineError",
    "Sink",
    "Source",
    "SourceError",
    "Statistics",
    "TarSource",
    "TextSource",
    "Transform",
    "TransformError",
]
