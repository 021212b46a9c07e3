"""Pipelines without code: a TOML file with a source, stages and a sink."""

import importlib
import sys
import tomllib
from collections.abc import Callable, Container, Iterable
from operator import attrgetter
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mithril.core.errors import ConfigError
from mithril.pipeline import named, plugins
from mithril.pipeline.errors import PipelineError
from mithril.pipeline.pipeline import Pipeline
from mithril.pipeline.stages import Sink
from mithril.pipeline.transforms import Window

_WITH_FUNCTION = frozenset({"map", "filter", "flat_map"})
_STAGES = _WITH_FUNCTION | {"batch", "shuffle", "pack", "shard"}
# Arguments of the stage that runs a transform; all others are the transform's.
_OF_STAGE = frozenset({"workers", "on_error", "reserve", "processes"})
# Arguments that are functions, named as `package.module:name`.
_FUNCTIONS = frozenset({"function", "connect", "model", "collate"})


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
    where = f"{path}: source"
    source = _made(
        where,
        _class(where, named.SOURCES, plugins.SOURCES, definition.source),
        _arguments(where, named.SOURCES, definition.source),
    )
    pipeline: Pipeline = _made(f"{path}: options", lambda **options: Pipeline(source, **options), definition.options)
    for number, stage in enumerate(definition.stage):
        pipeline = _add(pipeline, f"{path}: stage {number}", stage)
    where = f"{path}: sink"
    sink = _class(where, named.SINKS, plugins.SINKS, definition.sink)
    arguments = _arguments(where, named.SINKS, definition.sink)
    return pipeline, lambda: _made(where, sink, arguments)


def _add(pipeline: Pipeline, where: str, stage: _Named) -> Pipeline:
    arguments = _arguments(where, {*_STAGES, *named.TRANSFORMS}, stage)
    if stage.type in _STAGES:
        if stage.type in _WITH_FUNCTION and "function" not in arguments:
            raise ConfigError(f'{where}: {stage.type} needs function = "package.module:name"')
        added: Pipeline = _made(where, getattr(pipeline, stage.type), arguments)
        return added
    options = {name: arguments.pop(name) for name in _OF_STAGE & arguments.keys()}
    transform = _made(where, _class(where, named.TRANSFORMS, plugins.TRANSFORMS, stage, _STAGES), arguments)
    if not isinstance(transform, Window):
        return pipeline.map(transform, **options)
    windows: Pipeline = _made(where, pipeline.flat_map, {"function": transform, **options})
    return windows


def _arguments(where: str, known: Container[str], part: _Named) -> dict[str, Any]:
    """The arguments of a part; those that name functions become these, where the type is one of ours."""
    arguments = part.arguments
    for name, value in arguments.items():
        is_function = name in _FUNCTIONS and part.type in known
        if is_function and not isinstance(value, str):
            raise ConfigError(f'{where}: {name} is a function: {name} = "package.module:name"')
        if is_function or (name == "on_error" and ":" in str(value)):
            arguments[name] = _imported(where, value)
    return arguments


def _class(where: str, known: dict[str, str], group: str, part: _Named, others: Iterable[str] = ()) -> Any:
    if part.type not in known and ":" not in part.type:
        found = plugins.find(group, part.type, where)
        if found is not None:
            return found
        there = ", ".join(sorted({*others, *known, *plugins.names(group)}))
        raise ConfigError(f"{where}: no type {part.type}; there are {there}, and package.module:Class")
    return _imported(where, known.get(part.type, part.type))


def _imported(where: str, name: str) -> Any:
    module, _, attribute = name.partition(":")
    try:
        return attrgetter(attribute)(importlib.import_module(module))
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"{where}: {name} cannot be imported: {error}; write package.module:name") from None


def _made(where: str, make: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    try:
        return make(**arguments)
    except (TypeError, PipelineError, ConfigError) as error:
        raise ConfigError(f"{where}: {error}") from None
