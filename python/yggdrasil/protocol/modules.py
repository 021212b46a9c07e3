"""Modules of commands that are not part of this package: found, imported, and checked."""

import importlib
import importlib.util
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

from yggdrasil._core import YggdrasilError
from yggdrasil.protocol.command import commands_of

ENTRY_POINTS = "yggdrasil.commands"
"""The group of entry points whose modules are loaded wherever they are installed."""


class ModuleError(YggdrasilError):
    """A module of commands that cannot be used; the message says which, why, and where its name stands."""


def load_modules(names: Iterable[str]) -> dict[str, ModuleType]:
    """Imports the modules of installed packages, and then those with these names, or in these files, by their name."""
    found: dict[str, ModuleType] = {}
    for name, where, load in (*_installed(), *_named(names)):
        if name in found:
            raise ModuleError(f"command module {name!r} ({where}) is there twice; leave one of them out")
        found[name] = _loaded(name, where, load)
    return found


def _installed() -> Iterator[tuple[str, str, Callable[[], object]]]:
    def described(point: EntryPoint) -> str:
        return f"entry point of {point.dist.name}" if point.dist is not None else "entry point"

    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name):
        yield point.name, described(point), point.load


def _named(names: Iterable[str]) -> Iterator[tuple[str, str, Callable[[], object]]]:
    for name in names:
        if name.endswith(".py"):
            file = Path(name)
            yield file.stem, f"option command-modules, file {name}", partial(_from_file, file)
        else:
            yield name, "option command-modules", partial(importlib.import_module, name)


def _from_file(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None, "a name that ends in .py has a loader"
    assert spec.loader is not None, "a name that ends in .py has a loader"
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _loaded(name: str, where: str, load: Callable[[], object]) -> ModuleType:
    try:
        module = load()
    except Exception as error:
        raise ModuleError(f"command module {name!r} ({where}) cannot be loaded: {_described(error)}") from error
    if not isinstance(module, ModuleType):
        raise ModuleError(f"command module {name!r} ({where}) is no module but a {type(module).__name__}")
    if not any(commands_of(module)):
        raise ModuleError(
            f"command module {name!r} ({where}) has no commands; they are coroutines below yggdrasil.commands.command"
        )
    return module


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
