"""Tasks: chunks on their way through a segment."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from mithril.pipeline.chunk import Item, Token


class Phase(Enum):
    """A phase of the life of a task."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"


@dataclass(slots=True)
class Task:
    """A chunk on its way through the functions of a segment.

    `load` reads the part of it that begins at a row; a task that has been read, or came from a stage before, has
    `inputs`.
    """

    token: Token
    load: Callable[[int], list[Item]] | None
    load_hint: int | None = None
    parts: bool = False
    """The chunk may have more than one part."""
    inputs: list[Item] | None = None
    unread: bool = field(init=False)
    """There may be a part that has not been read."""
    phase: Phase = Phase.WAITING
    room: int = 0
    """Bytes reserved that no sample takes yet."""
    alone: bool = False
    """Nothing else can free memory: the next piece may pass the budget."""
    results: list[Item] = field(default_factory=list)
    skipped: int = 0
    error: BaseException | None = None
    need: int = 0
    """Bytes without which the task did not get on."""
    leave: int = 0
    """Bytes of the budget that are for tasks before this one."""
    after: Token | None = None
    """The position behind the chunk, where that is known."""
    consumed: int = 0
    """Inputs that are done."""
    finished: bool = False
    reloadable: bool = True
    """A second load gives the same samples."""

    def __post_init__(self) -> None:
        self.unread = self.load is not None

    @property
    def row(self) -> int:
        """The row of the chunk that is to be read next, where all before have been done."""
        return int(self.token[1]) + self.consumed

    @property
    def whole(self) -> bool:
        """All of the chunk has been read and done."""
        return not self.inputs and not self.unread

    def rest(self) -> "Task":
        """A task for what has not been done."""
        load = self.load if self.unread else None
        rest = Task([self.token[0], self.row], load, self.load_hint, self.parts, self.inputs or None, after=self.after)
        rest.need = self.need
        return rest

    def forget(self) -> None:
        """Forgets what has been read and done; it is read again."""
        self.results, self.inputs, self.skipped, self.consumed = [], None, 0, 0
        self.unread = True
        self.phase = Phase.WAITING
