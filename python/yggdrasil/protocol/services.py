"""What Python commands may ask of the node they run on. The server part provides it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import ssl

EXPORT_PREFIX = ".export-"
"""Beginning of the names of files in the directory of a node that are made for a client and sent to it."""

LOG_SYNC = "log-sync"
"""The topic by which a worker is asked to make its log durable."""


class Node(Protocol):
    """What does not change while a node runs."""

    @property
    def version(self) -> str:
        """The version of Yggdrasil."""

    @property
    def run_id(self) -> str:
        """Identity of this run of the node: 40 hexadecimal digits."""

    @property
    def replication_id(self) -> str:
        """Name of the history of the node's data over all runs: 40 hexadecimal digits."""

    @property
    def shard_ids(self) -> tuple[str, ...]:
        """Identity of each shard as a node of the cluster: 40 hexadecimal digits."""

    @property
    def supervisor_pid(self) -> int:
        """The supervisor's process."""

    @property
    def started_at_ms(self) -> int:
        """When the node was started, Unix time."""

    @property
    def executable(self) -> str:
        """The interpreter."""

    @property
    def config_file(self) -> str:
        """The configuration file, empty where there is none."""

    @property
    def directory(self) -> str:
        """The directory of the node."""

    @property
    def log_directory(self) -> str:
        """Where the logs of the shards are; empty where none are kept."""

    @property
    def hosts(self) -> tuple[str, ...]:
        """The addresses that the node listens on."""

    @property
    def port(self) -> int:
        """The common port; 0 without TCP."""

    @property
    def worker_ports(self) -> tuple[int, ...]:
        """The own port of each worker; empty without TCP."""

    @property
    def tls_port(self) -> int:
        """The common port for TLS; 0 without."""

    @property
    def tls_worker_ports(self) -> tuple[int, ...]:
        """The own port of each worker for TLS; empty without."""

    @property
    def unixsocket(self) -> str:
        """Path of the Unix socket, empty where there is none."""


class Namespace(Protocol):
    """The promise for keys that begin with a prefix."""

    @property
    def prefix(self) -> bytes:
        """Empty for all keys without another one."""

    @property
    def ack(self) -> str:
        """The promise."""

    @property
    def may_lower(self) -> bool:
        """A connection may ask for less."""


class Snapshots(Protocol):
    """What is known of the node's snapshots."""

    @property
    def id(self) -> str:
        """The last one."""

    @property
    def ended_ms(self) -> int:
        """When it was complete, Unix time."""

    @property
    def keys(self) -> int:
        """Keys in it."""

    @property
    def bytes(self) -> int:
        """Bytes of all its chunks."""

    @property
    def new_bytes(self) -> int:
        """Bytes that were written for it."""

    @property
    def numbers(self) -> tuple[int, ...]:
        """The last change of each shard when it was begun."""

    @property
    def taken(self) -> int:
        """Snapshots taken since the start of the node."""

    @property
    def seconds(self) -> float:
        """How long the last one took; -1 for none."""

    @property
    def error(self) -> str:
        """Why the last attempt failed; empty where it did not."""

    @property
    def began_ms(self) -> int:
        """When the one under way was begun; 0 for none."""

    @property
    def keys_to_write(self) -> int:
        """Keys of the node when the one under way was begun."""

    @property
    def records_written(self) -> int:
        """Records of the one under way."""

    @property
    def archives(self) -> int:
        """How often logs were archived since the start of the node."""

    @property
    def archived_bytes(self) -> int:
        """Bytes that were archived then."""

    @property
    def archive_error(self) -> str:
        """Why logs could not be archived; empty where they could."""

    @property
    def checked_ms(self) -> int:
        """When the check in the background was last done with all objects, Unix time."""

    @property
    def damaged(self) -> int:
        """Objects that it found damaged then."""

    @property
    def damaged_segments(self) -> int:
        """Segments of the logs that it found damaged then."""


class Loading(Protocol):
    """How far a shard is that is made from its log."""

    @property
    def began_ms(self) -> int:
        """When that began, Unix time."""

    @property
    def bytes(self) -> int:
        """Bytes of the log that are done."""

    @property
    def of_bytes(self) -> int:
        """Bytes of the log."""

    @property
    def seconds_left(self) -> float:
        """How much longer it will take."""


class State(Protocol):
    """What changes while a node runs."""

    @property
    def pids(self) -> tuple[int, ...]:
        """The process of each shard; 0 while it is being replaced."""

    @property
    def restarts(self) -> tuple[int, ...]:
        """How often the worker of each shard was replaced."""

    @property
    def steward_pid(self) -> int:
        """The steward's process."""

    @property
    def ready(self) -> Sequence[bool]:
        """Which shards are served."""

    @property
    def loading(self) -> Sequence[Loading]:
        """How far shards are that are made from their logs just now."""

    @property
    def failures(self) -> Mapping[int, str]:
        """Why shards are not there that could not be made."""

    @property
    def snapshots(self) -> Snapshots:
        """Its snapshots."""


class Services(Protocol):
    """The node as one worker sees it."""

    @property
    def node(self) -> Node:
        """What does not change."""

    @property
    def shard(self) -> int:
        """The shard of this worker."""

    def config_get(self, patterns: Iterable[str]) -> dict[str, str]:
        """Options whose name fits a pattern, with their values as Redis prints them."""

    async def config_set(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Sets options on all workers, all of them or none; a YggdrasilError has the text of the error reply."""

    @property
    def namespaces(self) -> Mapping[bytes, Namespace]:
        """Promises by the prefixes of the keys; that of all other keys has an empty one."""

    async def namespace_set(self, prefix: bytes, ack: str, *, may_lower: bool) -> None:
        """Makes a promise for keys with a prefix, or takes it back.

        ValueError says what is wrong with it; other errors as above.
        """

    async def config_rewrite(self) -> None:
        """Writes options that were set back to the configuration file; errors as above."""

    async def set_user(self, name: bytes, rules: Sequence[bytes], client_id: int) -> None:
        """Changes or makes a user on all workers; a YggdrasilError has the text of the error reply."""

    async def delete_users(self, names: Sequence[bytes], client_id: int) -> int:
        """Removes users; how many there were. Errors as above."""

    async def load_users(self, client_id: int) -> None:
        """Reads the ACL file again; errors as above."""

    async def save_users(self) -> None:
        """Writes the ACL file; errors as above."""

    def migration_context(self) -> "ssl.SSLContext | None":
        """The context of TLS for other nodes; None where they are reached without. YggdrasilError says what lacks."""

    async def snapshot(self, action: str, **values: str) -> str:
        """Has the steward do something about snapshots; a YggdrasilError has the text of the error reply."""

    async def shutdown(self, *, now: bool = False, save: "Literal['auto', 'yes', 'no']" = "auto") -> None:
        """Ends the node: drained as by SIGTERM, or at once; with a snapshot, without, or as it is configured."""

    async def state(self) -> State:
        """Processes and restarts, as they are now."""
