"""What the children of a node are for, as the supervisor sees it: a class for each kind of process."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from yggdrasil._core import Control
from yggdrasil.server.child_process import Child, Stage
from yggdrasil.server.errands import Errands
from yggdrasil.server.guests import Guests
from yggdrasil.server.listeners import Listeners
from yggdrasil.server.messages import Duty, ErrandDone, Loading, StewardDuty, WorkerDuty
from yggdrasil.server.segments import Segments
from yggdrasil.server.snapshots.door import address_of
from yggdrasil.server.tls_listening import TlsListening
from yggdrasil.server.users import NodeUsers

Handover = tuple[Duty, dict[str, list[int]]]
"""What a child is told, and descriptors for it, by name."""


class Role(ABC):
    """A place among the processes of a node that one child at a time fills."""

    name: str
    """As it appears in the log and in the list of processes."""

    def __init__(self) -> None:
        self.child: Child | None = None

    @abstractmethod
    def lost(self) -> None:
        """Called when the child has died, before anything else is done about it."""


class AssignedRole(Role):
    """A role that a child is given with an assignment."""

    def __init__(self) -> None:
        super().__init__()
        self.restarts = 0
        """How often the child was replaced."""

    @property
    def is_ready(self) -> bool:
        """True while it has a child that does its work."""
        return self.child is not None and self.child.stage is Stage.READY

    @property
    def is_settled(self) -> bool:
        """True where nothing more is to be waited for at the start of the node."""
        return self.is_ready

    @property
    def pid(self) -> int:
        """The process; 0 while it is being replaced."""
        return self.child.pid if self.child is not None and self.child.alive else 0

    @abstractmethod
    def handover(self) -> AbstractContextManager[Handover]:
        """All that a child needs for this role. The descriptors are open until the end of the block."""


class WorkerRole(AssignedRole):
    """Serves a shard."""

    def __init__(
        self,
        shard: int,
        segments: Segments,
        listeners: Listeners,
        guests: Guests,
        tls: TlsListening,
        control: Control,
        users: NodeUsers,
        snapshot: Callable[[], str],
    ) -> None:
        super().__init__()
        self._snapshot = snapshot
        self.name = f"shard-{shard}"
        self._shard = shard
        self._segments = segments
        self._listeners = listeners
        self._guests = guests
        self._tls = tls
        self._control = control
        self._users = users
        self.loading: Loading | None = None
        """How far it is with making its shard from its log, as long as it is."""
        self.failure = ""
        """Why the last try to make the shard has failed."""
        self.failures = 0
        """How many workers in a row could not make it."""
        self._has_served = False

    @property
    def is_settled(self) -> bool:
        """True while it serves its shard, or has said why that is not there."""
        return self.is_ready or bool(self.failure)

    def shard_failed(self, reason: str) -> None:
        """Its shard cannot be made."""
        self.loading = None
        self.failure = reason

    def serves(self) -> None:
        """Its shard is there."""
        self.loading = None
        self.failure = ""
        self.failures = 0
        self._has_served = True

    @contextmanager
    def handover(self) -> Iterator[Handover]:
        """The shared memory, its listening sockets, and the guests that read its shard."""
        sockets = self._listeners
        infos, pages, channel = self._guests.connect(self._shard)
        tls_common, tls_own = sockets.tls.of(self._shard)
        with channel, self._tls.connect(self._shard) as tls_channel:
            yield (
                WorkerDuty(
                    shard=self._shard,
                    is_successor=self.restarts > 0,
                    was_served=self._has_served,
                    failures=self.failures,
                    guests=infos,
                    users=self._users.lines,
                    users_origin=self._users.origin,
                    snapshot=self._snapshot(),
                ),
                {
                    "control": [self._segments.control],
                    "arenas": self._segments.arenas,
                    "events": self._segments.events,
                    "common": [one.fileno() for one in sockets.common[self._shard]] if sockets.common else [],
                    "own": [one.fileno() for one in sockets.own[self._shard]] if sockets.own else [],
                    "tls-common": tls_common,
                    "tls-own": tls_own,
                    "tls-channel": [tls_channel.fileno()],
                    "unix": [sockets.unix.fileno()] if sockets.unix is not None else [],
                    "door": [self._segments.doors[self._shard].fileno()],
                    "guest-pages": pages,
                    "guest-channel": [channel.fileno()],
                },
            )

    def lost(self) -> None:
        """The others fail what they have under way to it, instead of waiting for a successor that knows nothing."""
        self.loading = None
        self.failures += bool(self.failure)
        self._control.next_incarnation(self._shard)
        self._guests.disconnect(self._shard)
        self._tls.disconnect(self._shard)


class StewardRole(AssignedRole):
    """Does what takes time."""

    name = "steward"

    def __init__(self, segments: Segments) -> None:
        super().__init__()
        self.errands = Errands()
        self._segments = segments

    @contextmanager
    def handover(self) -> Iterator[Handover]:
        """The arenas, which it reads for snapshots, and the doors of their owners.

        It changes shards only by sending commands.
        """
        doors = tuple(address_of(door) for door in self._segments.doors)
        yield StewardDuty(doors=doors), {"arenas": self._segments.arenas}

    async def run(self, values: dict[str, str]) -> ErrandDone:
        """Has it do something, and waits for that."""
        if not self.is_ready or self.child is None:
            return ErrandDone(id=0, error="ERR the steward is being replaced; try again")
        return await self.errands.run(self.child, values)

    async def run_last(self, values: dict[str, str]) -> ErrandDone:
        """The same when it has nothing else to do any more."""
        if self.child is None or self.child.stage is not Stage.DRAINED:
            return ErrandDone(id=0, error="ERR the steward has ended")
        return await self.errands.run(self.child, values)

    def lost(self) -> None:
        """Who waits for it is told."""
        self.errands.lost()


class SpareRole(Role):
    """Waits to be given another role, with all imports done."""

    name = "spare"

    def take(self) -> Child | None:
        """The child, which is a spare no more."""
        child, self.child = self.child, None
        return child

    def lost(self) -> None:
        """It cannot be taken any more."""
        self.child = None
