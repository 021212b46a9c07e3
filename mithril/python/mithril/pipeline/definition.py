"""Pipelines without code: a TOML file with a source, stages and a sink."""

import importlib
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mithril.core.errors import ConfigError
from mithril.pipeline import plugins
from mithril.pipeline.pipeline import Pipeline
from mithril.pipeline.stages import Sink

# The classes that a file names by a word; any other is named as `package.module:Class`.
SOURCES = {
    "text": "mithril.pipeline.sources.text:TextSource",
    "jsonl": "mithril.pipeline.sources.text:JsonlSource",
    "csv": "mithril.pipeline.sources.text:CsvSource",
    "streamed-text": "mithril.pipeline.sources.streamed:StreamedTextSource",
    "streamed-jsonl": "mithril.pipeline.sources.streamed:StreamedJsonlSource",
    "keys": "mithril.pipeline.sources.yggdrasil:KeySource",
    "stream": "mithril.pipeline.sources.yggdrasil:StreamSource",
    "parquet": "mithril.pipeline.sources.arrow:ParquetSource",
    "tar": "mithril.pipeline.sources.archive:TarSource",
    "files": "mithril.pipeline.sources.files:FileSource",
}
SINKS = {
    "jsonl": "mithril.pipeline.sinks:JsonlSink",
    "parquet": "mithril.pipeline.sinks:ParquetSink",
    "arrow": "mithril.pipeline.sinks:ArrowSink",
    "numpy": "mithril.pipeline.array_sinks:NumpySink",
    "safetensors": "mithril.pipeline.array_sinks:SafetensorsSink",
    "store": "mithril.pipeline.store_sinks:StoreSink",
    "keys": "mithril.pipeline.store_sinks:KeySink",
}
_WITH_FUNCTION = frozenset({"map", "filter", "flat_map"})
_STAGES = _WITH_FUNCTION | {"batch", "shuffle", "pack", "shard"}


class _Named(BaseModel):
    """A table with a type; its other entries are arguments."""

    model_config = ConfigDict(extra="allow")
    type: str

    @property
    def arguments(self) -> dict[str, Any]:
        """The entries besides the type."""
        return dict(self.model_extra or {})


class _Definition(BaseModel):
    model_config = ConfigDict(extra="forbid")
    options: dict[str, Any] = Field(default_factory=dict)
    source: _Named
    stage: list[_Named] = Field(default_factory=list)
    sink: _Named


def read(path: Path) -> tuple[Pipeline, Callable[[], Sink]]:
    """The pipeline of a file, and a function that opens its sink. Functions are found beside the file too."""
    try:
        definition = _Definition.model_validate(tomllib.loads(path.read_text()))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; name a file that can be read") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, part['loc']))}: {part['msg']}" for part in error.errors())
        raise ConfigError(f"{path}: {problems}") from None
    folder = str(path.absolute().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    source = _made(
        f"{path}: source",
        _class(path, "source", SOURCES, plugins.SOURCES, definition.source),
        definition.source.arguments,
    )
    pipeline: Pipeline = _made(f"{path}: options", lambda **options: Pipeline(source, **options), definition.options)
    for number, stage in enumerate(definition.stage):
        pipeline = _add(pipeline, f"{path}: stage {number}", stage)
    sink = _class(path, "sink", SINKS, plugins.SINKS, definition.sink)
    return pipeline, lambda: _made(f"{path}: sink", sink, definition.sink.arguments)


def _add(pipeline: Pipeline, where: str, stage: _Named) -> Pipeline:
    if stage.type not in _STAGES:
        made = plugins.find(plugins.TRANSFORMS, stage.type, where)
        if made is None:
            there = ", ".join(sorted({*_STAGES, *plugins.names(plugins.TRANSFORMS)}))
            raise ConfigError(f"{where}: no stage {stage.type}; there are {there}")
        return pipeline.map(_made(where, made, stage.arguments))
    arguments = stage.arguments
    if stage.type in _WITH_FUNCTION:
        name = arguments.get("function")
        if not isinstance(name, str):
            raise ConfigError(f'{where}: {stage.type} needs function = "package.module:name"')
        arguments["function"] = _imported(where, name)
    added: Pipeline = _made(where, getattr(pipeline, stage.type), arguments)
    return added


def _class(path: Path, part: str, known: dict[str, str], group: str, named: _Named) -> Any:
    if named.type not in known and ":" not in named.type:
        found = plugins.find(group, named.type, f"{path}: {part}")
        if found is not None:
            return found
        there = ", ".join(sorted({*known, *plugins.names(group)}))
        raise ConfigError(f"{path}: {part}: no type {named.type}; there are {there}, and package.module:Class")
    return _imported(f"{path}: {part}", known.get(named.type, named.type))


def _imported(where: str, name: str) -> Any:
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"{where}: {name} cannot be imported: {error}; write package.module:name") from None


def _made(where: str, make: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    try:
        return make(**arguments)
    except TypeError as error:
        raise ConfigError(f"{where}: {error}") from None
