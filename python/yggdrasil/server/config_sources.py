"""Where the configuration comes from: flags before the environment before the file before the defaults."""

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from yggdrasil._core import ConfigError
from yggdrasil.server.config import OPTIONS, SECTIONS, Config, OptionError
from yggdrasil.server.namespaces import NAMESPACE_TABLES, from_tables
from yggdrasil.server.option import ENVIRONMENT_PREFIX, Kind, OptionRow

FILE_DEFAULT = "yggdrasil.toml"
FILE_VARIABLE = f"{ENVIRONMENT_PREFIX}CONFIG"
"""Names another file."""

_ROWS = {(row.section, row.field): row for row in OPTIONS.values()}
_KEYS = {(row.section, row.key): row for row in OPTIONS.values()}
_VARIABLES = {row.variable: row for row in OPTIONS.values()}


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
        {name: (value, f"flag {OPTIONS[name].flag}") for name, value in flags.items()},
    ]
    merged: dict[str, tuple[Any, str]] = {}
    for layer in layers:
        merged.update(layer)
    sources = {name: merged[name][1] if name in merged else "default" for name in OPTIONS}
    config = build({name: value for name, (value, _) in merged.items()}, sources)
    return Loaded(config=config, sources=sources, file=None if file is None else file.absolute())


def build(values: Mapping[str, Any], sources: Mapping[str, str]) -> Config:
    """Makes a configuration of values by option name; ConfigError says in one line which cannot be used, and why."""
    try:
        return Config.of(values)
    except ValidationError as error:
        name, allowed = explain(error)
        row = OPTIONS[name]
        shown = f" = {values[name]!r}" if name in values and not row.option.secret else ""
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
    section, field = first["loc"][:2]
    row = _ROWS[str(section), str(field)]
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
    found: dict[str, tuple[Any, str]] = {}
    for row, where, value in _rows(table, file):
        if isinstance(value, dict | list) and not (row.kind is Kind.USER_LINES and isinstance(value, list)):
            raise ConfigError(f"{where} in {file} has to be a single value; allowed is {row.allowed}")
        if row.name in found:
            tables = f", or as [[{NAMESPACE_TABLES}]]" if row.name == "namespaces" else ""
            raise ConfigError(f"{row.name} is in {file} twice: in section {row.section}, and outside of it{tables}")
        found[row.name] = (value, str(file))
    return found


def _rows(table: dict[str, Any], file: Path) -> Iterator[tuple[OptionRow, str, Any]]:
    """The options of a file with their values, under their flat names and in sections."""
    for name, value in table.items():
        if name == NAMESPACE_TABLES and isinstance(value, list):
            try:
                yield OPTIONS["namespaces"], NAMESPACE_TABLES, from_tables(value)
            except ValueError as error:
                raise ConfigError(f"a [[namespace]] in {file} cannot be used: {error}") from None
        elif name in SECTIONS and isinstance(value, dict):
            for key, inner in value.items():
                if (name, key) not in _KEYS:
                    known = [key for section, key in _KEYS if section == name]
                    raise ConfigError(f"{key} in section {name} of {file} is no option{_similar(key, known)}")
                yield _KEYS[name, key], f"{key} in section {name}", inner
        elif name in OPTIONS:
            yield OPTIONS[name], name, value
        else:
            kind = "section" if isinstance(value, dict) else "option"
            known = list(SECTIONS) if isinstance(value, dict) else list(OPTIONS)
            raise ConfigError(f"{name} in {file} is no {kind}{_similar(name, known)}")


def _from_environment() -> dict[str, tuple[Any, str]]:
    found: dict[str, tuple[Any, str]] = {}
    for variable, value in os.environ.items():
        name = variable.upper()
        if not name.startswith(ENVIRONMENT_PREFIX) or name == FILE_VARIABLE:
            continue
        if name not in _VARIABLES:
            raise ConfigError(f"{variable} in the environment is no option{_similar(variable, sorted(_VARIABLES))}")
        found[_VARIABLES[name].name] = (value, f"variable {name}")
    return found


def _similar(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name.replace("_", "-") if name not in known else name, known, n=1, cutoff=0.6)
    if not close:
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; is {close[0]} meant?" if close else "; `yggdrasil config` lists all options"
