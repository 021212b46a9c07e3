"""What supervisor and children say to each other: one JSON object a line over a socket pair.

The first message to a child is its `Assignment`, with the descriptors it needs in front of it.
"""

import itertools
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from yggdrasil.protocol.node import Raw

_DESCRIPTORS_AT_ONCE = 200
_CARRIER = b"\0"


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NodeInfo(_Message):
    """What every process knows of its node from the start."""

    version: str
    run_id: str
    replication_id: str
    """Names the history of the node's data over all runs: 40 hexadecimal digits."""
    shard_ids: tuple[str, ...]
    """The identity of each shard as a node of the cluster, as CLUSTER names it: 40 hexadecimal digits."""
    supervisor_pid: int
    started_at_ms: int
    executable: str
    config_file: str
    directory: str
    log_directory: str = ""
    """Where the logs of the shards are; empty where none are kept."""
    log_is_begun: bool = False
    """There must be a log of each shard where the keys are."""
    log_directory_before: str = ""
    """Where the logs of another number of shards are, from which theirs are made; empty where they are there."""
    log_shards_before: int = 0
    snapshot_before: str = ""
    """The snapshot that those logs go on from; empty for none."""
    hosts: tuple[str, ...]
    """The addresses that the node listens on."""
    port: int
    worker_ports: tuple[int, ...]
    tls_port: int = 0
    tls_worker_ports: tuple[int, ...] = ()
    unixsocket: str
    admin_port: int

    @property
    def address(self) -> str:
        """The first address that clients reach the node by, as Redis shows it among the processes."""
        port = self.port or self.tls_port
        if not port:
            return self.unixsocket
        host = "*" if self.hosts[0] in ("0.0.0.0", "::") else self.hosts[0]  # noqa: S104 - compared, not listened on
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class ShapeInfo(_Message):
    """The arguments of `yggdrasil._core.NodeShape`."""

    shards: int
    arena_bytes: int
    ring_bytes: int
    databases: int
    hash_seed: int


class GuestInfo(_Message):
    """A process that reads the shared memory, as workers know it."""

    id: int
    leases: int
    """How many values it may look at in place at a time."""


class WorkerDuty(_Message):
    """What a worker does: it serves a shard."""

    kind: Literal["worker"] = "worker"
    shard: int
    is_successor: bool = False
    """Another worker was there since the node was started."""
    was_served: bool = False
    """Another worker has served the shard since then."""
    failures: int = 0
    """How many workers in a row could not make the shard."""
    guests: tuple[GuestInfo, ...] = ()
    """Descriptors `guest-pages` are theirs, in this order; `guest-channel` tells of others."""
    users: tuple[Raw, ...] = ()
    """Lines that make the users of the node."""
    users_origin: str = ""
    """Where they come from, for errors."""
    snapshot: str = ""
    """The snapshot that the shard begins with; empty for none."""


class StewardDuty(_Message):
    """What the steward does: whatever takes time."""

    kind: Literal["steward"] = "steward"
    doors: tuple[str, ...] = ()
    """Where the worker of each shard listens for it."""


Duty = WorkerDuty | StewardDuty


class Assignment(_Message):
    """Tells a spare process what it is from now on."""

    kind: Literal["assignment"] = "assignment"
    name: str
    """The process's, in the log and in `ps`."""
    duty: Annotated[Duty, Field(discriminator="kind")]
    node: NodeInfo
    shape: ShapeInfo
    config: dict[str, Any]
    log_format: str
    descriptors: dict[str, int] = {}
    """How many descriptors of each name come with it, in this order."""


class Descriptors:
    """Descriptors that came with an assignment, by name. What nobody takes is closed."""

    def __init__(self, counts: Mapping[str, int], received: Sequence[int]) -> None:
        assert sum(counts.values()) == len(received), "every descriptor has a name"
        left = iter(received)
        self._by_name = {name: list(itertools.islice(left, count)) for name, count in counts.items()}

    def take(self, name: str) -> list[int]:
        """Those of a name; they are the caller's now."""
        return self._by_name.pop(name, [])

    def take_one(self, name: str) -> int:
        """The only one of a name."""
        (descriptor,) = self.take(name)
        return descriptor

    def close(self) -> None:
        """Closes what was not taken."""
        for descriptors in self._by_name.values():
            for descriptor in descriptors:
                os.close(descriptor)
        self._by_name.clear()


class SetOptions(_Message):
    """To a child: these options have a new value, as text."""

    kind: Literal["set-options"] = "set-options"
    id: int
    values: dict[str, str]


class UsersChange(_Message):
    """A change of the users of the node, as `Worker.change_users` takes it."""

    name: Literal["set", "delete", "load"]
    arguments: tuple[Raw, ...]
    client_id: int | None = None
    """The client that asks for it."""


class ChangeUsers(_Message):
    """To a worker: make this change, and say what the users are then."""

    kind: Literal["change-users"] = "change-users"
    id: int
    change: UsersChange


class Drain(_Message):
    """To a child: take nothing new and finish what is under way."""

    kind: Literal["drain"] = "drain"


class Stop(_Message):
    """To a child: end."""

    kind: Literal["stop"] = "stop"


class SnapshotState(_Message):
    """What is known of the node's snapshots."""

    id: str = ""
    """The last one."""
    ended_ms: int = 0
    """When it was complete, Unix time."""
    keys: int = 0
    bytes: int = 0
    new_bytes: int = 0
    """Bytes that were written for it."""
    numbers: tuple[int, ...] = ()
    """The last change of each shard when it was begun."""
    taken: int = 0
    """Snapshots taken since the start of the node."""
    failed: int = 0
    seconds: float = -1.0
    """How long the last one took; -1 for none."""
    error: str = ""
    """Why the last attempt failed; empty where it did not."""
    began_ms: int = 0
    """When the one under way was begun; 0 for none."""
    keys_to_write: int = 0
    records_written: int = 0
    bytes_written: int = 0
    checked_bytes: int = 0
    """Bytes that the verifier has read since the start."""
    checked_ms: int = 0
    """When it was last done with all of them."""
    damaged: int = 0
    """Objects that it found damaged then."""
    damaged_segments: int = 0
    """Segments of the logs that it found damaged then."""
    archives: int = 0
    """How often the logs were archived since the start."""
    archived_ms: int = 0
    """When that was last done, Unix time; 0 for never."""
    archived_bytes: int = 0
    """Bytes that were archived since the start."""
    archive_error: str = ""
    """Why the logs could not be archived; empty where they could."""


class Loading(_Message):
    """From a worker: how far it is with making its shard from its log."""

    kind: Literal["loading"] = "loading"
    began_ms: int
    """When it began, Unix time."""
    changes: int
    bytes: int
    of_bytes: int
    seconds_left: float


class NodeState(_Message):
    """What changes while a node runs."""

    pids: tuple[int, ...]
    """The process of each shard; 0 while it is being replaced."""
    restarts: tuple[int, ...]
    steward_pid: int
    ready: tuple[bool, ...] = ()
    """Which shards are served."""
    loading: tuple[Loading, ...] = ()
    """How far shards are that are made from their logs just now."""
    failures: dict[int, str] = {}
    """Why shards are not there that could not be made."""
    snapshots: SnapshotState = SnapshotState()


class Answer(_Message):
    """To a child: what came of its request."""

    kind: Literal["answer"] = "answer"
    id: int
    error: str | None = None
    state: NodeState | None = None
    removed: int = 0
    """Users that were removed."""
    result: str = ""
    """What the steward answered, as JSON."""


class Errand(_Message):
    """To the steward: do this. It answers by `ErrandDone`."""

    kind: Literal["errand"] = "errand"
    id: int
    values: dict[str, str]


class Ready(_Message):
    """From a child: it does its work."""

    kind: Literal["ready"] = "ready"
    users: tuple[Raw, ...] = ()
    """The lines of all users, from a worker."""


class Failed(_Message):
    """From a child: it cannot do its work, and why. It ends."""

    kind: Literal["failed"] = "failed"
    reason: str


class ShardFailed(_Message):
    """From a worker: its shard could not be made, and why. It goes on answering for the others, and tries again."""

    kind: Literal["shard-failed"] = "shard-failed"
    reason: str


class OptionsSet(_Message):
    """From a child: the answer to `SetOptions`."""

    kind: Literal["options-set"] = "options-set"
    id: int
    error: str | None = None


class UsersChanged(_Message):
    """From a worker: the answer to `ChangeUsers`."""

    kind: Literal["users-changed"] = "users-changed"
    id: int
    error: str | None = None
    removed: int = 0
    lines: tuple[Raw, ...] = ()
    """The lines of all users."""


class Drained(_Message):
    """From a child: nothing is under way any more, as far as its own clients go."""

    kind: Literal["drained"] = "drained"


class ErrandDone(_Message):
    """From the steward: the answer to `Errand`."""

    kind: Literal["errand-done"] = "errand-done"
    id: int
    error: str | None = None
    result: str = ""
    """JSON."""


class StewardState(_Message):
    """From the steward: what has changed there."""

    kind: Literal["steward-state"] = "steward-state"
    snapshots: SnapshotState


Ask = Literal[
    "config-set",
    "namespace-set",
    "config-rewrite",
    "log-moved",
    "shutdown",
    "snapshot",
    "state",
    "users-change",
    "users-load",
    "users-save",
]


Saving = Literal["auto", "yes", "no"]
"""Whether a snapshot is taken when a node ends: auto is what it is configured to do."""


class Request(_Message):
    """From a child: do this for me. It gets an `Answer`."""

    kind: Literal["request"] = "request"
    id: int
    ask: Ask
    values: dict[str, str] = {}
    now: bool = False
    save: Saving = "auto"
    """Whether a snapshot is taken at the end."""
    users: UsersChange | None = None
    client_id: int | None = None


ToChild = SetOptions | ChangeUsers | Drain | Stop | Answer | Errand
FromChild = (
    Ready | Loading | Failed | ShardFailed | OptionsSet | UsersChanged | Drained | Request | ErrandDone | StewardState
)
TO_CHILD: TypeAdapter[ToChild] = TypeAdapter(Annotated[ToChild, Field(discriminator="kind")])
FROM_CHILD: TypeAdapter[FromChild] = TypeAdapter(Annotated[FromChild, Field(discriminator="kind")])


def encode(message: BaseModel) -> bytes:
    """One line."""
    return message.model_dump_json().encode() + b"\n"


def send_assignment(
    connection: socket.socket, assignment: Assignment, descriptors: Mapping[str, Sequence[int]]
) -> None:
    """Sends descriptors, each group of them with one byte to carry it, and then the line."""
    counts = {name: len(some) for name, some in descriptors.items()}
    all_of_them = [descriptor for some in descriptors.values() for descriptor in some]
    for start in range(0, len(all_of_them), _DESCRIPTORS_AT_ONCE):
        socket.send_fds(connection, [_CARRIER], all_of_them[start : start + _DESCRIPTORS_AT_ONCE])
    connection.sendall(encode(assignment.model_copy(update={"descriptors": counts})))


def receive_assignment(connection: socket.socket) -> tuple[Assignment, Descriptors] | None:
    """Waits for an assignment; nothing when the other side has gone."""
    descriptors: list[int] = []
    while True:
        # What the kernel hands over together with descriptors ends at their carrier.
        carrier, received, _, _ = socket.recv_fds(connection, 1, _DESCRIPTORS_AT_ONCE)
        descriptors.extend(received)
        if carrier != _CARRIER:
            break
    line = bytearray(carrier)
    while carrier and not line.endswith(b"\n"):
        # What follows the line is for the event loop: look first, then take the line alone.
        seen = connection.recv(65536, socket.MSG_PEEK)
        end = seen.find(b"\n")
        if not seen:
            return None
        line += connection.recv(end + 1 if end >= 0 else len(seen))
    if not carrier:
        return None
    assignment = Assignment.model_validate_json(bytes(line))
    return assignment, Descriptors(assignment.descriptors, descriptors)
