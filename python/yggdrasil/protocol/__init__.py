"""Commands that are written in Python."""

from types import ModuleType

from yggdrasil._core import Worker
from yggdrasil.protocol import memory_use, node_report
from yggdrasil.protocol.command import commands_of, questions_of
from yggdrasil.protocol.families import FAMILIES
from yggdrasil.protocol.node import Here
from yggdrasil.protocol.services import Services

__all__ = ["Here", "Services", "register_all"]


def register_all(worker: Worker, services: Services, *further: ModuleType) -> Here:
    """Adds the commands of all families, and of further modules, to a worker's command table."""
    here = Here(worker, services)
    families = (*FAMILIES, *further)
    for module in (*families, memory_use, node_report):
        for question in questions_of(module):
            question.serve(here)
    here.capturing.serve()
    commands = [command for family in families for command in commands_of(family)]
    for command in sorted(commands, key=lambda command: not command.row.get("container", False)):
        command.register(here)
    return here
