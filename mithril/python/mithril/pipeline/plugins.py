"""Sources, transforms and sinks that other distributions bring: entry points by name."""

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from mithril.core.errors import ConfigError

SOURCES, TRANSFORMS, SINKS = "mithril.sources", "mithril.transforms", "mithril.sinks"


def names(group: str) -> list[str]:
    """The names that a group has."""
    return sorted({point.name for point in entry_points(group=group)})


def find(group: str, name: str, where: str) -> Any:
    """What an entry point names; None where there is none. Two of one name are an error."""
    found: list[EntryPoint] = list(entry_points(group=group, name=name))
    if not found:
        return None
    if len({point.value for point in found}) > 1:
        values = ", ".join(sorted(point.value for point in found))
        raise ConfigError(f"{where}: {name} is brought by several distributions ({values}); write package.module:Class")
    try:
        return found[0].load()
    except Exception as error:
        # A module of others may raise anything.
        raise ConfigError(f"{where}: {name} ({found[0].value}) cannot be loaded: {error}") from error
