"""The sources, transforms and sinks that a file of a pipeline names by a word; any other is `package.module:Class`."""

from collections.abc import Sequence
from typing import Any

from mithril.pipeline.augment import Augment, crop, flip
from mithril.pipeline.sources.yggdrasil import ChannelSource, ValueSource

SOURCES = {
    "text": "mithril.pipeline.sources.text:TextSource",
    "jsonl": "mithril.pipeline.sources.text:JsonlSource",
    "csv": "mithril.pipeline.sources.text:CsvSource",
    "streamed-text": "mithril.pipeline.sources.streamed:StreamedTextSource",
    "streamed-jsonl": "mithril.pipeline.sources.streamed:StreamedJsonlSource",
    "parquet": "mithril.pipeline.sources.parquet:ParquetSource",
    "arrow": "mithril.pipeline.sources.arrow:ArrowFileSource",
    "arrow-stream": "mithril.pipeline.sources.arrow:ArrowStreamSource",
    "tar": "mithril.pipeline.sources.archive:TarSource",
    "files": "mithril.pipeline.sources.files:FileSource",
    "sql": "mithril.pipeline.sources.database:SqlSource",
    "keys": "mithril.pipeline.sources.yggdrasil:KeySource",
    "values": f"{__name__}:values",
    "stream": "mithril.pipeline.sources.yggdrasil:StreamSource",
    "channels": f"{__name__}:channels",
}
TRANSFORMS = {
    "tokenize": "mithril.pipeline.tokenizing:Tokenize",
    "decode-image": "mithril.pipeline.images:DecodeImage",
    "normalize": "mithril.pipeline.transforms:Normalize",
    "one-hot": "mithril.pipeline.transforms:OneHot",
    "hash-bucket": "mithril.pipeline.transforms:HashBucket",
    "window": "mithril.pipeline.transforms:Window",
    "augment": "mithril.pipeline.augment:Augment",
    "flip": f"{__name__}:flipped",
    "crop": f"{__name__}:cropped",
    "embed": "mithril.pipeline.transforms:Embed",
}
SINKS = {
    "jsonl": "mithril.pipeline.json_sink:JsonlSink",
    "parquet": "mithril.pipeline.arrow_sinks:ParquetSink",
    "arrow": "mithril.pipeline.arrow_sinks:ArrowSink",
    "numpy": "mithril.pipeline.array_sinks:NumpySink",
    "safetensors": "mithril.pipeline.array_sinks:SafetensorsSink",
    "sql": "mithril.pipeline.store_sinks:SqlSink",
    "store": "mithril.pipeline.store_sinks:StoreSink",
    "keys": "mithril.pipeline.store_sinks:KeySink",
}


def values(url: str, keys: Sequence[str], **options: Any) -> ValueSource:
    """The source of some long values."""
    return ValueSource(url, *keys, **options)


def channels(url: str, channels: Sequence[str], **options: Any) -> ChannelSource:
    """The source of the messages of some channels."""
    return ChannelSource(url, *channels, **options)


def flipped(name: str | None = None) -> Augment:
    """The transform that makes some images their mirror images."""
    return Augment(flip, name=name)


def cropped(height: int, width: int, name: str | None = None) -> Augment:
    """The transform that takes a part of each image."""
    return Augment(crop(height, width), name=name)
