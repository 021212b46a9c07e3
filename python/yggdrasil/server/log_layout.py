"""Where the logs of a node's shards are. Another number of shards gets logs of its own, made from those before."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from yggdrasil._core import SHARDS_MAX
from yggdrasil.server.errors import StartError
from yggdrasil.server.files import read_record, replace_file

FILE_NAME = "layout.json"
_PREFIX = "generation-"


class _Layout(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal[1, 2] = 1
    """2 where snapshots that do not name their generation belong to one before."""
    generation: Annotated[int, Field(ge=1)]
    shards: Annotated[int, Field(ge=1, le=SHARDS_MAX)]
    begun: bool = False
    """All shards have begun their logs: one without segments has lost them."""


@dataclass(frozen=True, slots=True)
class LogLayout:
    """The directories of the logs in force, and of those that they are made from."""

    root: Path
    layout: _Layout
    before: _Layout | None = None
    """What is in force until the keys are where they belong."""

    @property
    def directory(self) -> Path:
        """Where the logs of the shards are."""
        return _directory(self.root, self.layout)

    @property
    def directory_before(self) -> str:
        """Where the keys are still; empty where they have not moved."""
        return "" if self.before is None else str(_directory(self.root, self.before))

    @property
    def shards_before(self) -> int:
        """How many shards they are in there."""
        return 0 if self.before is None else self.before.shards

    def begins_with(self, generation: int, shards: int) -> bool:
        """Whether logs in force go on from a snapshot of that generation, which is 0 where the snapshot names none."""
        in_force = self.before or self.layout
        if generation == 0:
            return in_force.format == 1 and in_force.shards == shards
        return in_force.generation == generation

    @property
    def is_begun(self) -> bool:
        """Whether there must be a log of each shard where the keys are."""
        return (self.before or self.layout).begun

    def begun(self) -> "LogLayout":
        """Notes that all shards have begun their logs."""
        if self.before is not None or self.layout.begun:
            return self
        layout = self.layout.model_copy(update={"begun": True})
        _write(self.root, layout)
        return replace(self, layout=layout)

    def take_over(self) -> None:
        """Puts the new logs in force, which have all keys, and removes those before."""
        if self.before is not None:
            _write(self.root, self.layout.model_copy(update={"begun": True}))
            shutil.rmtree(_directory(self.root, self.before), ignore_errors=True)


def shard_directory(logs: Path, shard: int) -> Path:
    """Where the log of a shard is."""
    return logs / f"shard-{shard}"


def is_log_there(directory: Path) -> bool:
    """Whether there are segments of a log in a directory."""
    return any(directory.glob("*.log"))


def lost_logs(root: Path) -> list[Path]:
    """The directories of logs in force that were begun and are not there."""
    known = _read(root)
    if known is None or not known.begun:
        return []
    directories = [shard_directory(_directory(root, known), shard) for shard in range(known.shards)]
    return [directory for directory in directories if not is_log_there(directory)]


def give_up_lost(root: Path) -> None:
    """Lets a node start without logs that are lost; the next start begins them anew."""
    known = _read(root)
    if known is not None:
        _write(root, known.model_copy(update={"begun": False}))


def shards_of_logs(root: Path) -> int | None:
    """How many shards the logs in force are of; None where there are none."""
    known = _read(root)
    return None if known is None else known.shards


def generation_of(directory: Path) -> int:
    """The generation of the logs in a directory."""
    return int(directory.name.removeprefix(_PREFIX))


def write_layout(root: Path, generation: int, shards: int) -> Path:
    """Makes a place for logs that go on from a snapshot of so many shards; where they are."""
    layout = _Layout(generation=generation, shards=shards)
    root.mkdir(exist_ok=True)
    _write(root, layout)
    directory = _directory(root, layout)
    directory.mkdir(exist_ok=True)
    return directory


def open_layout(root: Path, shards: int, snapshot: tuple[int, int] | None = None) -> LogLayout:
    """The logs of a node of so many shards; StartError says why there are none.

    Where there are none yet, they go on from the snapshot of this generation and number of shards.
    """
    try:
        known = _read(root)
        if known is None:
            generation, shards_before = snapshot or (1, shards)
            write_layout(root, max(generation, 1), shards_before)
            known = _Layout(generation=max(generation, 1), shards=shards_before)
        if known.shards == shards:
            layout = LogLayout(root, known)
        else:
            layout = LogLayout(root, _Layout(format=2, generation=known.generation + 1, shards=shards), known)
            # What an earlier attempt has left.
            shutil.rmtree(layout.directory, ignore_errors=True)
        layout.directory.mkdir(exist_ok=True)
    except OSError as error:
        raise StartError(f"{root} cannot be used: {error.strerror}; see option dir") from None
    return layout


def _directory(root: Path, layout: _Layout) -> Path:
    return root / f"{_PREFIX}{layout.generation}"


def _read(root: Path) -> _Layout | None:
    return read_record(root / FILE_NAME, _Layout, "where the logs are")


def _write(root: Path, layout: _Layout) -> None:
    replace_file(root / FILE_NAME, f"{layout.model_dump_json(indent=2)}\n".encode())
