"""Data to the accelerator, within a hard memory budget, and exactly resumable.

from mithril.pipeline import JsonlSource, Pipeline
for batch in Pipeline(JsonlSource("s3://bucket/data")).shuffle(1000).map(encode).batch(32).to_torch(): ...
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mithril.pipeline.array_sinks import NumpySink, SafetensorsSink
    from mithril.pipeline.arrow_sinks import ArrowSink, ParquetSink
    from mithril.pipeline.augment import Augment, crop, flip
    from mithril.pipeline.errors import MemoryBudgetError, PipelineError, SourceError, TransformError
    from mithril.pipeline.images import DecodeImage
    from mithril.pipeline.json_sink import JsonlSink
    from mithril.pipeline.layouts import Ragged, Sparse
    from mithril.pipeline.pipeline import Pipeline
    from mithril.pipeline.sources.archive import TarSource
    from mithril.pipeline.sources.arrow import ArrowFileSource, ArrowSource, ArrowStreamSource
    from mithril.pipeline.sources.database import SqlSource
    from mithril.pipeline.sources.files import FileSource
    from mithril.pipeline.sources.memory import IterableSource, MemorySource
    from mithril.pipeline.sources.parquet import ParquetSource
    from mithril.pipeline.sources.streamed import StreamedJsonlSource, StreamedTextSource
    from mithril.pipeline.sources.text import CsvSource, JsonlSource, TextSource
    from mithril.pipeline.sources.yggdrasil import ChannelSource, KeySource, StreamSource, ValueSource
    from mithril.pipeline.stages import IndexedSource, Sink, Source, Transform
    from mithril.pipeline.statistics import Statistics
    from mithril.pipeline.store_sinks import KeySink, SqlSink, StoreSink
    from mithril.pipeline.tokenizing import Tokenize
    from mithril.pipeline.transforms import Deduplicate, Embed, HashBucket, Normalize, OneHot, Window

# The module of each name: a worker process imports only what it needs.
_MODULES = {
    "ArrowFileSource": "mithril.pipeline.sources.arrow",
    "ArrowSink": "mithril.pipeline.arrow_sinks",
    "ArrowSource": "mithril.pipeline.sources.arrow",
    "ArrowStreamSource": "mithril.pipeline.sources.arrow",
    "Augment": "mithril.pipeline.augment",
    "ChannelSource": "mithril.pipeline.sources.yggdrasil",
    "CsvSource": "mithril.pipeline.sources.text",
    "DecodeImage": "mithril.pipeline.images",
    "Deduplicate": "mithril.pipeline.transforms",
    "Embed": "mithril.pipeline.transforms",
    "FileSource": "mithril.pipeline.sources.files",
    "HashBucket": "mithril.pipeline.transforms",
    "IndexedSource": "mithril.pipeline.stages",
    "IterableSource": "mithril.pipeline.sources.memory",
    "JsonlSink": "mithril.pipeline.json_sink",
    "JsonlSource": "mithril.pipeline.sources.text",
    "KeySink": "mithril.pipeline.store_sinks",
    "KeySource": "mithril.pipeline.sources.yggdrasil",
    "MemoryBudgetError": "mithril.pipeline.errors",
    "MemorySource": "mithril.pipeline.sources.memory",
    "Normalize": "mithril.pipeline.transforms",
    "NumpySink": "mithril.pipeline.array_sinks",
    "OneHot": "mithril.pipeline.transforms",
    "ParquetSink": "mithril.pipeline.arrow_sinks",
    "ParquetSource": "mithril.pipeline.sources.parquet",
    "Pipeline": "mithril.pipeline.pipeline",
    "PipelineError": "mithril.pipeline.errors",
    "Ragged": "mithril.pipeline.layouts",
    "SafetensorsSink": "mithril.pipeline.array_sinks",
    "Sink": "mithril.pipeline.stages",
    "Source": "mithril.pipeline.stages",
    "SourceError": "mithril.pipeline.errors",
    "Sparse": "mithril.pipeline.layouts",
    "SqlSink": "mithril.pipeline.store_sinks",
    "SqlSource": "mithril.pipeline.sources.database",
    "Statistics": "mithril.pipeline.statistics",
    "StoreSink": "mithril.pipeline.store_sinks",
    "StreamSource": "mithril.pipeline.sources.yggdrasil",
    "StreamedJsonlSource": "mithril.pipeline.sources.streamed",
    "StreamedTextSource": "mithril.pipeline.sources.streamed",
    "TarSource": "mithril.pipeline.sources.archive",
    "TextSource": "mithril.pipeline.sources.text",
    "Tokenize": "mithril.pipeline.tokenizing",
    "Transform": "mithril.pipeline.stages",
    "TransformError": "mithril.pipeline.errors",
    "ValueSource": "mithril.pipeline.sources.yggdrasil",
    "Window": "mithril.pipeline.transforms",
    "crop": "mithril.pipeline.augment",
    "flip": "mithril.pipeline.augment",
}

__all__ = [
    "ArrowFileSource",
    "ArrowSink",
    "ArrowSource",
    "ArrowStreamSource",
    "Augment",
    "ChannelSource",
    "CsvSource",
    "DecodeImage",
    "Deduplicate",
    "Embed",
    "FileSource",
    "HashBucket",
    "IndexedSource",
    "IterableSource",
    "JsonlSink",
    "JsonlSource",
    "KeySink",
    "KeySource",
    "MemoryBudgetError",
    "MemorySource",
    "Normalize",
    "NumpySink",
    "OneHot",
    "ParquetSink",
    "ParquetSource",
    "Pipeline",
    "PipelineError",
    "Ragged",
    "SafetensorsSink",
    "Sink",
    "Source",
    "SourceError",
    "Sparse",
    "SqlSink",
    "SqlSource",
    "Statistics",
    "StoreSink",
    "StreamSource",
    "StreamedJsonlSource",
    "StreamedTextSource",
    "TarSource",
    "TextSource",
    "Tokenize",
    "Transform",
    "TransformError",
    "ValueSource",
    "Window",
    "crop",
    "flip",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = found
    return found
