"""Commands that are written in Python."""

from collections.abc import Mapping
from types import ModuleType

from yggdrasil._core import Worker, YggdrasilError
from yggdrasil.protocol import memory_use, node_report
from yggdrasil.protocol.command import commands_of, questions_of
from yggdrasil.protocol.families import FAMILIES
from yggdrasil.protocol.modules import ModuleError
from yggdrasil.protocol.node import CommandModule, Here
from yggdrasil.protocol.services import Services

__all__ = ["Here", "Services", "register_all"]


def register_all(
    worker: Worker, services: Services, *further: ModuleType, modules: Mapping[str, ModuleType] | None = None
) -> Here:
    """Adds the commands of all families, of further ones, and of modules by name to a worker's command table.

    ModuleError says which module has a row that cannot be registered, and why.
    """
    here = Here(worker, services)
    families = (*FAMILIES, *further)
    for module in (*families, memory_use, node_report):
        for question in questions_of(module):
            question.serve(here)
    here.capturing.serve()
    _register(here, *families)
    for name, module in (modules or {}).items():
        for question in questions_of(module):
            question.serve(here)
        try:
            _register(here, module)
        except YggdrasilError as error:
            raise ModuleError(f"command module {name!r}: {error}") from error
        names = tuple(command.row["name"] for command in commands_of(module))
        here.modules[name] = CommandModule(str(module.__file__ or ""), names)
    return here


def _register(here: Here, *families: ModuleType) -> None:
    commands = [command for family in families for command in commands_of(family)]
    # A container comes before its subcommands.
    for command in sorted(commands, key=lambda command: not command.row.get("container", False)):
        command.register(here)
