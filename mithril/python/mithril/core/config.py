"""Configuration: mithril.toml, MITHRIL_* variables and arguments, typed and frozen, with the origin of each value.

A product declares its section as a `Settings` model; nothing else reads files or the environment.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mithril.core.errors import ConfigError

FILE_DEFAULT = "mithril.toml"
FILE_VARIABLE = "MITHRIL_CONFIG"


class Settings(BaseModel):
    """A section of the configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
    section: ClassVar[str]


class CoreSettings(Settings):
    """The section [core]."""

    section = "core"

    timeout_s: float = Field(30.0, gt=0, description="Seconds that a request to a store may take.")
    connect_timeout_s: float = Field(5.0, gt=0, description="Seconds that connecting to a store may take.")
    retries: int = Field(3, ge=0, description="Times that a failed request to a store is repeated.")
    fsync: bool = Field(True, description="A file is on the disk before it counts as written.")
    s3_endpoint: str = Field("", description="URL of an S3 server other than Amazon's.")
    s3_allow_http: bool = Field(False, description="An S3 server may be asked without TLS.")


S = TypeVar("S", bound=Settings)


@dataclass(frozen=True, slots=True)
class Loaded(Generic[S]):
    """A section, and where each of its values came from."""

    settings: S
    origins: Mapping[str, str]


def load(model: type[S], arguments: Mapping[str, Any] | None = None, file: Path | None = None) -> Loaded[S]:
    """The section as the file, the environment and the arguments make it; later ones win."""
    layers: list[tuple[str, Mapping[str, Any]]] = []
    path = file or _file()
    if path is not None:
        layers.append((str(path), _section(path, model.section)))
    layers.append(("", _environment(model)))
    layers.append(("argument", {name: value for name, value in (arguments or {}).items() if value is not None}))
    values: dict[str, Any] = {}
    origins = dict.fromkeys(model.model_fields, "default")
    for origin, layer in layers:
        for name, value in layer.items():
            if name not in model.model_fields:
                raise ConfigError(_unknown(origin, model, name))
            values[name] = value
            origins[name] = origin or variable(model, name)
    try:
        return Loaded(model.model_validate(values), origins)
    except ValidationError as error:
        raise ConfigError(_invalid(model, error, origins)) from None


def variable(model: type[Settings], name: str) -> str:
    """The environment variable of an option."""
    return f"MITHRIL_{model.section}_{name}".upper()


def _file() -> Path | None:
    if named := os.environ.get(FILE_VARIABLE):
        return Path(named)
    default = Path(FILE_DEFAULT)
    return default if default.exists() else None


def _section(path: Path, section: str) -> Mapping[str, Any]:
    try:
        content = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; name a file that can be read") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    found = content.get(section, {})
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: {section} is a table: [{section}]")
    return found


def _environment(model: type[Settings]) -> Mapping[str, str]:
    return {name: value for name in model.model_fields if (value := os.environ.get(variable(model, name))) is not None}


def _unknown(origin: str, model: type[Settings], name: str) -> str:
    return f"{origin}: [{model.section}] has no option {name}; it has {', '.join(sorted(model.model_fields))}"


def _invalid(model: type[Settings], error: ValidationError, origins: Mapping[str, str]) -> str:
    problems = []
    for problem in error.errors():
        message = problem["msg"].removeprefix("Value error, ")
        if not problem["loc"]:
            # Options that do not go together.
            problems.append(f"{model.section}: {message}")
            continue
        name = str(problem["loc"][0])
        where = origins.get(name, "argument")
        problems.append(f"{model.section}.{name} ({where}): {message}, not {problem['input']!r}")
    return "; ".join(problems)
