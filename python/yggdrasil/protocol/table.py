"""The command table as the commands about commands read it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from yggdrasil._core import _CommandRow


@dataclass(frozen=True)
class Entry:
    """A command with its subcommands."""

    row: "_CommandRow"
    subcommands: dict[str, "Entry"] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Lower case; "container|name" for a subcommand."""
        return self.row["name"]


class Table:
    """All commands, found by their names in any case."""

    def __init__(self, rows: "Iterable[_CommandRow]") -> None:
        self._entries: dict[str, Entry] = {}
        for row in rows:
            container, _, own = row["name"].partition("|")
            if own:
                self._entries[container].subcommands[own] = Entry(row)
            else:
                self._entries[container] = Entry(row)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        """Commands without subcommands."""
        return iter(self._entries.values())

    def all(self) -> Iterator[Entry]:
        """Commands, each followed by its subcommands."""
        for entry in self:
            yield entry
            yield from entry.subcommands.values()

    def find(self, name: str) -> Entry | None:
        """By full name."""
        container, bar, own = name.lower().partition("|")
        entry = self._entries.get(container)
        return entry.subcommands.get(own) if entry is not None and bar else entry

    def named(self, pattern: str) -> Iterator[Entry]:
        """Commands and subcommands whose names fit."""
        return (entry for entry in self.all() if fnmatchcase(entry.name, pattern.lower()))

    def of_category(self, category: str) -> Iterator[Entry]:
        """Commands and subcommands of an ACL category."""
        return (entry for entry in self.all() if category.lower() in entry.row["acl_categories"])

    @property
    def categories(self) -> list[str]:
        """ACL categories that have a command."""
        return sorted({category for entry in self.all() for category in entry.row["acl_categories"]})
