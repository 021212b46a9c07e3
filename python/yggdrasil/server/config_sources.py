"""Where the configuration comes from: flags before the environment before the file before the defaults."""

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import EnvSettingsSource

from yggdrasil._core import ConfigError
from yggdrasil.server.config import OPTIONS, Config, OptionError
from yggdrasil.server.option import ENVIRONMENT_PREFIX

FILE_DEFAULT = "yggdrasil.toml"
FILE_VARIABLE = f"{ENVIRONMENT_PREFIX}CONFIG"
"""Names another file."""

_FIELDS = {row.field: row for row in OPTIONS.values()}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration, and where each of its values came from (by option name)."""

    config: Config
    sources: Mapping[str, str]
    file: Path | None


def load(flags: Mapping[str, str], file: Path | None) -> Loaded:
    """Reads all sources. `flags` goes by option name; without a file, `yggdrasil.toml` is read where it exists."""
    if file is None and Path(FILE_DEFAULT).is_file():
        file = Path(FILE_DEFAULT)
    layers: list[dict[str, tuple[Any, str]]] = [
        {} if file is None else _from_file(file),
        _from_environment(),
        {OPTIONS[name].field: (value, f"flag {OPTIONS[name].flag}") for name, value in flags.items()},
    ]
    merged: dict[str, tuple[Any, str]] = {}
    for layer in layers:
        merged.update(layer)
    sources = {row.name: merged[row.field][1] if row.field in merged else "default" for row in OPTIONS.values()}
    config = build({field: value for field, (value, _) in merged.items()}, sources)
    return Loaded(config=config, sources=sources, file=None if file is None else file.absolute())


def build(values: Mapping[str, Any], sources: Mapping[str, str]) -> Config:
    """Makes a configuration of values by field name; ConfigError says in one line which one cannot be used, and why."""
    try:
        return Config(**values)
    except ValidationError as error:
        name, allowed = explain(error)
        row = OPTIONS[name]
        shown = f" = {values[row.field]!r}" if row.field in values and not row.option.secret else ""
        where = sources.get(name, "default")
        if where == "default" and row.option.default_text:
            where = f"default, {row.option.default_text}"
        raise ConfigError(f"{name}{shown} ({where}) cannot be used; allowed is {allowed}") from None


def explain(error: ValidationError) -> tuple[str, str]:
    """The first option that an error is about, and what it allows."""
    first = error.errors()[0]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, OptionError):
        return cause.name, cause.allowed
    row = _FIELDS[str(first["loc"][0])]
    return row.name, row.allowed


def _from_file(file: Path) -> dict[str, tuple[Any, str]]:
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file} is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file} is not TOML: {error}") from None
    for name, value in table.items():
        if name not in OPTIONS:
            raise ConfigError(f"{name} in {file} is no option{_similar(name, list(OPTIONS))}")
        if isinstance(value, dict | list):
            raise ConfigError(f"{name} in {file} has to be a single value; allowed is {OPTIONS[name].allowed}")
    return {OPTIONS[name].field: (value, str(file)) for name, value in table.items()}


def _from_environment() -> dict[str, tuple[Any, str]]:
    known = {row.variable for row in OPTIONS.values()}
    for variable in os.environ:
        name = variable.upper()
        if name.startswith(ENVIRONMENT_PREFIX) and name not in {*known, FILE_VARIABLE}:
            raise ConfigError(f"{variable} in the environment is no option{_similar(variable, sorted(known))}")
    return {
        field: (value, f"variable {_FIELDS[field].variable}") for field, value in EnvSettingsSource(Config)().items()
    }


def _similar(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name.replace("_", "-") if name not in known else name, known, n=1, cutoff=0.6)
    if not close:
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; is {close[0]} meant?" if close else "; `yggdrasil config` lists all options"
