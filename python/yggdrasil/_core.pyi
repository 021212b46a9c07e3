"""The engine. Private: what users import is in `yggdrasil`."""

import builtins
from asyncio import AbstractEventLoop, Future
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, Literal, NoReturn, NotRequired, Protocol, Self, TypedDict, Unpack, final, type_check_only

from typing_extensions import Buffer

__all__ = [
    "ACL_CATEGORIES",
    "ARENA_BYTES_MAX",
    "CAPTURE_SHIFT_MAX",
    "COMPATIBLE_VERSION",
    "DATABASES_MAX",
    "HASH_SLOTS",
    "LEASES_MAX",
    "LOG_PERSISTS",
    "NEAR_PROTOCOL_VERSION",
    "PIN_PREFIXES_MAX",
    "SHARDS_MAX",
    "TAG_SERIAL_BITS",
    "CaptureWriter",
    "ConfigError",
    "Connection",
    "ConnectionFactory",
    "Context",
    "Control",
    "DamageError",
    "GuestPage",
    "LogRecovery",
    "Members",
    "MovedShard",
    "NearBufferError",
    "NearError",
    "NearKindError",
    "NearReader",
    "NearRefusedError",
    "NearUnavailableError",
    "NearView",
    "NodeShape",
    "RdbItem",
    "RdbReader",
    "RecordParts",
    "ReplyError",
    "Simulation",
    "SnapshotLoader",
    "SnapshotStore",
    "Snapshotter",
    "TlsContext",
    "Verbatim",
    "Worker",
    "YggdrasilError",
    "__version__",
    "counter_specs",
    "create_segments",
    "detect_trace_format",
    "engine_commands",
    "key_slot",
    "readable_prefixes",
    "refers_to_objects",
    "simulated_policies",
    "tls_ciphers",
    "trace_formats",
]

__version__: str
COMPATIBLE_VERSION: str
"""The version of Redis whose commands and replies are ours."""
ACL_CATEGORIES: Sequence[str]
"""The categories of commands, in Redis's order."""
ARENA_BYTES_MAX: int
"""Address space of an arena at most."""
CAPTURE_SHIFT_MAX: int
"""A capture records one key in `2**shift`; this is the highest."""
DATABASES_MAX: int
"""Logical databases at most."""
HASH_SLOTS: int
"""Hash slots, as in Redis Cluster."""
LEASES_MAX: int
"""Large values that a process may look at in place at a time, at most."""
LOG_PERSISTS: list[str]
"""The ways in which a log is made durable, by the numbers of the statistic from 1 on."""
NEAR_PROTOCOL_VERSION: int
"""The version of what is said on a near socket."""
PIN_PREFIXES_MAX: int
"""Prefixes that may have limits of their own for pinned bytes."""
SHARDS_MAX: int
"""Workers of a node at most."""
TAG_SERIAL_BITS: int
"""Bits of a tag that count the transactions of a worker; those above name its run."""

class YggdrasilError(Exception):
    """Root of all errors of Yggdrasil."""

class DamageError(OSError):
    """A log or a snapshot is not as it was written."""

class ConfigError(YggdrasilError):
    """An option has a value that it cannot have."""

class ReplyError(YggdrasilError):
    """Raised by a command: its text is the error reply."""

class NearError(YggdrasilError):
    """A read through shared memory has no answer; a worker may have one."""

class NearUnavailableError(NearError):
    """The node cannot be read now: it restarts, or it has cut this process off. The next read connects anew."""

class NearRefusedError(NearError):
    """The node does not let this process read, or not this key."""

class NearKindError(NearError):
    """The value is no string, which is all that can be read through shared memory."""

class NearBufferError(NearError):
    """The value does not fit."""

    needed: int
    given: int

@final
class NearReader:
    """Reads strings of a node on the same machine through its shared memory.

    A read is a look into memory: no message, no system call. Any thread may use a reader; reads of small values do not
    let other threads in between. In a process that was forked it connects anew, and so it does when the node has
    restarted or has cut it off: reads raise NearUnavailableError until that has come about.

    Keys are bytes, or text that is encoded as UTF-8. Values are as they were at one moment; those of `mget` need not be
    of the same moment. All methods raise NearError where a read has no answer: NearUnavailableError when the node or
    the shard cannot be read now, NearRefusedError for a key that this reader may not read, NearKindError for a value
    that is no string.
    """

    def __new__(
        cls,
        url: str,
        *,
        username: str | None = None,
        password: str | None = None,
        db: int = 0,
        patience: float = 1.0,
    ) -> NearReader:
        """Connects to `unix:///path/of/near.sock`.

        `username` and `password` are a name and a token of the node's near-users, or none and requirepass; without
        both, the node lets in the user that it runs as, if it has no passwords. `patience` is how long a read waits,
        in seconds, for a shard that a transaction is going through or whose worker is being replaced.
        NearUnavailableError when nobody answers, NearRefusedError when the node does not let us read.
        """

    @property
    def db(self) -> int:
        """The database that is read."""

    def get(self, key: bytes | str) -> bytes | None:
        """A copy of the value; None without the key."""

    def mget(self, keys: Sequence[bytes | str]) -> list[bytes | None]:
        """The values of several keys, in their order, each for itself; faster than one after the other."""

    def get_into(self, key: bytes | str, buffer: Buffer) -> int | None:
        """Copies the value to the beginning of a writable contiguous buffer and returns its length in bytes.

        None without the key. NearBufferError when it does not fit: the buffer is as it was then.
        """

    def view(self, key: bytes | str) -> NearView:
        """The value where it is; KeyError without the key.

        A value above about 16 KB is not copied, whatever its size; of a smaller one the view is a copy. NearError when
        as many views are open as the node allows (near-leases-max).
        """

    def exists(self, key: bytes | str) -> bool:
        """Whether the key exists, of whatever kind."""

@final
class NearView(Buffer):
    """A value where it is: a buffer that can only be read, and a context manager that gives itself.

    `numpy.frombuffer(view, dtype)`, `torch.frombuffer(view.memory, dtype=...)` and `memoryview(view)` do not copy it.
    The bytes stay as they are, also when the key is changed or deleted, until the block ends and no array, tensor or
    memoryview of them is left. (Of what it is given, torch keeps the object but not its buffer, and only `memory` keeps
    the buffer.) The node takes the memory back from a process that keeps it for too long after the value is gone
    (near-lease-age): then `valid` is False, and leaving the block raises NearUnavailableError.
    """

    @property
    def nbytes(self) -> int:
        """Length of the value in bytes."""

    @property
    def version(self) -> int:
        """Version of the value: another one, and the key was written since."""

    @property
    def valid(self) -> bool:
        """Whether the bytes are those of the value for sure."""

    @property
    def memory(self) -> memoryview:
        """A memoryview of the bytes."""

    def release(self) -> None:
        """Lets the value go, as soon as no buffer of it is left."""

    def __len__(self) -> int: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *_exception: object) -> None: ...

@final
class NodeShape:
    """What every process of the node must agree on."""

    def __new__(
        cls, *, shards: int, arena_bytes: int, ring_bytes: int, databases: int, hash_seed: int
    ) -> NodeShape: ...
    @property
    def shards(self) -> int: ...
    @property
    def arena_bytes(self) -> int: ...
    @property
    def ring_bytes(self) -> int: ...
    @property
    def databases(self) -> int: ...
    @property
    def hash_seed(self) -> int: ...
    def shard_of_slot(self, slot: int) -> int:
        """The shard of a hash slot."""

    def slots_of_shard(self, shard: int) -> tuple[int, int]:
        """The first and the last hash slot of a shard."""

def create_segments(shape: NodeShape) -> tuple[int, list[int], list[int]]:
    """Creates the node's shared memory: control segment, one arena a shard, one eventfd a shard.

    The caller owns the descriptors, which are closed on exec.
    """

def key_slot(key: bytes) -> int:
    """The key's hash slot, as in Redis Cluster."""

def readable_prefixes(list: bytes, name: bytes, password: bytes | None) -> list[bytes] | None:  # noqa: A002
    """The beginnings of the keys that a user of a list may read through shared memory; None for all keys.

    ReplyError where the password is wrong, or without one where there is no such user.
    """

def refers_to_objects(item_format: str) -> bool:
    """Whether items of this format of a buffer refer to Python objects: then nothing may be written over them."""

@final
class CaptureWriter:
    """A capture in the making: what the workers of a node have recorded becomes one file."""

    def __new__(cls, shift: int, workers: int) -> CaptureWriter:
        """One key in `2**shift` (0 to CAPTURE_SHIFT_MAX) is recorded; YggdrasilError for another shift."""

    def add(self, worker: int, records: bytes) -> None:
        """Takes what `Worker.record` of that worker has given."""

    def take(self, until_us: int) -> bytes:
        """What the file goes on with: all that was recorded before this moment, in the order of its times."""

@final
class Simulation:
    """Several eviction policies at several sizes over one trace, which is fed in pieces."""

    def __new__(
        cls,
        *,
        policies: Sequence[str],
        memory: Sequence[int],
        format: str,  # noqa: A002
        object_bytes: int,
        overhead: int,
    ) -> Simulation:
        """`memory` in bytes. `object_bytes`: of objects whose size the trace does not give; `overhead`: bytes that
        every object takes besides.

        Raises `YggdrasilError` for a policy or format that does not exist.
        """

    def feed(self, piece: bytes) -> int:
        """Takes the next piece of the trace. Returns the requests so far.

        Raises `YggdrasilError`, which names the line, where the trace is wrong.
        """

    def finish(self) -> list[_SimulatedRow]:
        """Takes the end of the trace: what each policy made of it at each size."""

class _SimulatedRow(TypedDict):
    """What one policy made of a trace at one size. Sizes are in bytes."""

    policy: str
    memory: int
    reads: int
    hits: int
    read_bytes: int
    hit_bytes: int

def simulated_policies() -> list[str]:
    """The policies that can be simulated, the engine's own first."""

def trace_formats() -> list[str]:
    """The formats of traces that are read."""

def detect_trace_format(beginning: bytes) -> str:
    """The format that a trace with this beginning most probably has."""

def counter_specs() -> list[tuple[str, str, str]]:
    """The declared numbers of a worker: name, "counter" or "gauge", help."""

@final
class Verbatim:
    """A text that clients show as it is (RESP3 verbatim string)."""

    def __new__(cls, text: str, format: str = "txt") -> Verbatim: ...  # noqa: A002
    @property
    def text(self) -> str: ...
    @property
    def format(self) -> str: ...

@final
class Members:
    """A set (RESP3). Unlike a set of Python it has an order, and its members may be lists and maps."""

    def __new__(cls, members: Sequence[object]) -> Members: ...

class _Argument(TypedDict):
    """An argument in the syntax of a command."""

    name: str
    type: str
    flags: list[str]
    token: NotRequired[str]
    arguments: NotRequired[list[_Argument]]

class _CommandRow(TypedDict):
    """A row of the command table. Subcommands have names like "client|list"; arity is Redis's signed number."""

    name: str
    arity: int
    flags: list[str]
    first_key: int
    last_key: int
    step: int
    # Of keys that only a request tells the places of: an index, a word that is sought from there, whether a count is.
    moving_keys: tuple[int, str | None, bool] | None
    # A place, and words that are sought from there: behind each a key may stand that is overwritten.
    key_words: tuple[int, list[str]]
    # Those of MIGRATE.
    migrated_keys: bool
    # Those of SORT.
    sorted_keys: bool
    acl_categories: list[str]
    tips: list[str]
    key_uses: list[list[str]]
    group: str
    summary: str
    since: str
    complexity: str
    syntax: str
    container: bool
    arguments: list[_Argument]

class _NewCommand(TypedDict):
    """A row that is added."""

    name: str
    arity: int
    flags: list[str]
    group: str
    summary: str
    since: str
    complexity: str
    syntax: str
    tips: list[str]
    key_uses: list[list[str]]
    first_key: NotRequired[int]
    last_key: NotRequired[int]
    step: NotRequired[int]
    migrated_keys: NotRequired[bool]
    container: NotRequired[bool]
    help: NotRequired[bool]

class _ClientFilter(TypedDict, total=False):
    """Which clients are meant; what is None or not given does not matter."""

    ids: Set[int] | None
    address: bytes | None
    local_address: bytes | None
    kind: str | None
    user: bytes | None
    age_s_min: int | None
    except_id: int | None

_Caching = Literal["all", "optin", "optout", "bcast"]

_ClientInfo = TypedDict(
    "_ClientInfo",
    {
        "id": int,
        "addr": str,
        "laddr": str,
        "fd": int,
        "name": str,
        "age": int,
        "idle": int,
        "flags": str,
        "db": int,
        "user": str,
        "sub": int,
        "psub": int,
        "ssub": int,
        "multi": int,
        "watch": int,
        "qbuf": int,
        "qbuf-free": int,
        "obl": int,
        "oll": int,
        "omem": int,
        "rbs": int,
        "tot-mem": int,
        "cmd": str,
        "redir": int,
        "resp": int,
        "lib-name": str,
        "lib-ver": str,
        "listener": Literal["common", "own", "unix"],
        "tls": bool,
        "tot-cmds": int,
        "tot-net-in": int,
        "tot-net-out": int,
    },
)

@type_check_only
class _LibraryStore(Protocol):
    """Where the libraries of functions are kept, in the form of FUNCTION DUMP."""

    def read(self) -> bytes | None:
        """Reads them; None where nothing is kept."""

    def replace(self, payload: bytes, /) -> object:
        """Puts others in their place, or raises and leaves what is there."""

    def sync(self) -> object:
        """Makes what was put there survive a power cut."""

class _User(TypedDict):
    """A user: rules in Redis's words."""

    flags: list[str]
    passwords: list[str]
    """Hashes, as hexadecimal digits."""
    selectors: list[tuple[str, bytes, bytes]]
    """Commands, keys and channels of each selector."""

class _Denial(TypedDict):
    """Something that users were denied, once or several times. Times are Unix time."""

    id: int
    count: int
    reason: str
    context: str
    object: bytes
    user: bytes
    created_ms: int
    updated_ms: int
    client: str

class _KeyInfo(TypedDict):
    """A key of the own shard."""

    bytes: int
    length: int
    encoding: str
    expire_at: int | None
    version: int
    access: int
    idle: int

@final
class TlsContext:
    """What connections by TLS are made of."""

    def __new__(
        cls,
        *,
        certificate: bytes,
        key: bytes,
        key_password: str,
        issuers: Sequence[bytes],
        authenticate: Literal["no", "optional", "yes"],
        protocols: Sequence[str],
        ciphers: Sequence[str],
        prefers_own_order: bool,
        keeps_sessions: bool,
    ) -> TlsContext:
        """`certificate`, `key` and `issuers` are texts in PEM; ConfigError says what is wrong with one of them."""

def tls_ciphers() -> list[str]:
    """The names of all ciphers there are, as OpenSSL has them."""

@final
class ConnectionFactory:
    """Makes the protocol object of each connection that a listener accepts."""

    def __call__(self, *args: object, **kwargs: object) -> Any: ...
    def renew(self, tls: TlsContext) -> None:
        """Makes connections by TLS of this from now on."""

@final
class Connection:
    """The protocol object of one connection (a BufferedProtocol of asyncio)."""

    def connection_made(self, transport: Any) -> None: ...
    def connection_lost(self, error: Exception | None) -> None: ...
    def get_buffer(self, size_hint: int) -> Any: ...
    def buffer_updated(self, bytes: int) -> None: ...  # noqa: A002
    def eof_received(self) -> bool: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...

def engine_commands() -> list[_CommandRow]:
    """The commands that are written in Rust."""

@final
class LogRecovery:
    """The log of a shard while it is read."""

    def __new__(cls, directory: Path) -> Self: ...
    def scan(self) -> None:
        """Reads all of it once; OSError says why that cannot be, DamageError that it is damaged."""

    def found(self) -> tuple[int, int, int, int]:
        """Number of the last change, changes, bytes of records, and bytes of a torn tail."""

    def forget(self) -> None:
        """Gives back the memory of what was found, which is not asked for any more."""

    def begins_behind(self) -> int:
        """Number of the last change before the log: those up to there are in a snapshot."""

    def open_groups(self) -> list[tuple[int, int, bool]]:
        """Groups of changes whose coordinator knows whether they count: coordinator, tag, and whether it said so."""

    def runs(self) -> set[tuple[int, int]]:
        """Runs of workers of which it has groups since its last recovery: coordinator, and the run in their tags."""

    def parts(self, groups: Sequence[tuple[int, int]]) -> list[int]:
        """Numbers of the last changes of these groups; 0 for one that is not there, or is said not to count."""

    def remains(self) -> tuple[int, dict[int, list[tuple[int, int]]]]:
        """What is whole of a log that is damaged: the last number known to have been there, and decisions by tag."""

    def decision(self, tag: int) -> list[tuple[int, int]] | None:
        """The last changes that a transaction of this worker has made, by shard; None if it was not decided."""

    def begin_at(self, start: int) -> None:
        """Passes over the changes with lower numbers, which a snapshot has."""

    def decide(self, counting: Sequence[tuple[int, int]]) -> None:
        """Says which groups count."""

    def progress(self) -> tuple[int, int]:
        """Bytes of records, and changes that are made so far."""

@final
class RdbItem:
    """A part of a file of Redis."""

    @property
    def kind(self) -> Literal["entry", "library", "note", "skipped"]: ...
    @property
    def db(self) -> int: ...
    @property
    def key(self) -> bytes:
        """The key of an entry, the name of a note."""

    @property
    def value(self) -> bytes:
        """The payload of an entry, the source of a library, the value of a note, the name of a module."""

    @property
    def expire_at(self) -> int | None:
        """Unix time in milliseconds; None for never."""

    @property
    def idle(self) -> int | None: ...
    @property
    def frequency(self) -> int | None: ...

@final
class RdbReader:
    """A file of Redis that is read from its beginning to its end."""

    def __new__(cls, path: Path, value_bytes_max: int, databases: int) -> RdbReader: ...
    def read(self, count: int, bytes: int) -> list[RdbItem]:  # noqa: A002
        """Up to so many items, of about so many bytes; none at the end."""

    def progress(self) -> tuple[int, int]:
        """The version of the file, and bytes read so far."""

@final
class RecordParts:
    """The record of an entry with a tree, as it was at one moment."""

    @property
    def number(self) -> int:
        """Its version."""

    def next(self, bytes: int) -> builtins.bytes | None:  # noqa: A002
        """The next part, of about so many bytes; an empty one while the copy is given up, None at the end."""

@final
class MovedShard:
    """A shard of another number of shards, while its snapshot and its log are read."""

    def __new__(cls, shard: int, shards: int) -> MovedShard: ...

@final
class Worker:
    """The engine of one shard. Used from the thread of its event loop only."""

    def __new__(
        cls,
        shape: NodeShape,
        shard: int,
        control_fd: int,
        arena_fds: Sequence[int],
        event_fds: Sequence[int],
        options: Mapping[str, int | str],
        guests: Sequence[tuple[int, int, int]] = ...,
        loading: bool = False,
    ) -> Worker:
        """`options` has every option of the engine under Redis's name, sizes in bytes, switches as 0 and 1.

        `guests` are the processes that read the shared memory already, each with the arguments of `add_guest`.
        When `loading`, it answers LOADING until `end_loading`.
        """

    @property
    def shard(self) -> int:
        """Index of the own shard."""

    @property
    def shards(self) -> int:
        """Number of shards of the node."""

    def crash(self) -> NoReturn:
        """Ends the process as a broken belief of the engine would."""

    def start(self, event_loop: AbstractEventLoop) -> None:
        """Hooks into the running uvloop: listens to the own eventfd and begins housekeeping."""

    def connection(
        self, listener: Literal["common", "own", "unix"], path: str = "", *, tls: TlsContext | None = None
    ) -> ConnectionFactory:
        """A protocol factory for `loop.create_server`; `path` is that of the Unix socket.

        With `tls`, its connections are encrypted.
        """

    def set_option(self, name: str, value: int | str) -> None:
        """Changes a run-time option; ConfigError for a value that it cannot have."""

    def record_of(self, physical: int, key: bytes) -> tuple[int, bytes] | None:
        """The version of an entry of a physical database, and the record that puts it elsewhere.

        None for no such entry. BlockingIOError while a transaction is changing the shard.
        """

    def record_parts(self, physical: int, key: bytes) -> RecordParts | None:
        """The record of an entry of a physical database in parts; None for one without a tree. Errors as above."""

    def pin_records(self, physical: int, cursor: int, count: int) -> tuple[int, list[tuple[int, bytes]]]:
        """About `count` pins of a physical database from a cursor on.

        Gives the next cursor, and versions of entries with records. Errors as above.
        """

    def restore(self, loader: SnapshotLoader) -> bool:
        """Fills the shard by one more chunk of a snapshot; False when that was all."""

    def add_guest(self, id: int, page_fd: int, leases: int) -> None:  # noqa: A002
        """Lets a process that reads the shared memory hold values of the own shard, as many as `leases`.

        `page_fd` is the descriptor of its `GuestPage`, which the process is given after this.
        """

    def remove_guest(self, id: int) -> None:  # noqa: A002
        """Forgets such a process, which holds nothing any more."""

    def drain(self) -> Future[None]:
        """Finishes what is under way, then closes all connections; those of clients that wait for a change at once.

        The listeners are to be closed before.
        """

    def register(
        self, row: _NewCommand, handler: Callable[[Context, list[bytes]], Coroutine[Any, Any, object]] | None
    ) -> None:
        """Adds a row to the command table, and who runs it: nobody for a container or its HELP.

        The handler gets all arguments, the name included, and returns None (null), bool, int, float, bytes (bulk
        string), str (simple string), list or tuple (array), dict (map), Members (set) or Verbatim; or it raises
        ReplyError.
        """

    def share_libraries(self, store: _LibraryStore) -> None:
        """Shares the libraries of functions in a place with the other workers, and loads them.

        What its methods raise is part of the errors of requests, and here the reason of YggdrasilError.
        """

    def ask_for_scripts(self) -> tuple[int, bytes]:
        """Asks for scripts of SCRIPT LOAD that are not known here: a number and a question."""

    def tell_scripts(self, question: bytes) -> bytes:
        """Answers such a question of another worker."""

    def learn_scripts(self, asked: int, answer: bytes) -> bool:
        """Learns from the answer; whether to ask again."""

    def replay(self, log: LogRecovery, step: int) -> bool:
        """Makes changes from about so many bytes of a log. True when all are made."""

    def begin_log(self, log: LogRecovery, *, segment_bytes: int, flush_interval_ms: int, unflushed_max: int) -> None:
        """Goes on with a log that was read."""

    def restore_moved(self, loader: SnapshotLoader, other: MovedShard) -> bool:
        """The same from a shard of another number of shards, as far as its keys are those of this shard."""

    def replay_moved(self, log: LogRecovery, other: MovedShard, step: int) -> bool:
        """Makes changes from about so many bytes of the log of a shard of another number of shards.

        They are made as far as they are about keys of this shard. True when all are made.
        """

    def finish_moved(self, other: MovedShard) -> None:
        """Gives the databases the order that they had where another number of shards was."""

    def begin_loading(self) -> None:
        """Begins the loading, once more where it has failed."""

    def fail_loading(self, reason: str) -> None:
        """Ends the loading for want of a shard: what needs it is refused with the reason from now on."""

    def others_serve(self) -> bool:
        """Whether another worker has its shard."""

    def end_loading(self) -> None:
        """Ends the loading: the shard serves."""

    def sync_log(self) -> Future[bytes]:
        """Makes durable what is written; the future ends when it is."""

    def end_log(self) -> None:
        """Makes durable what is written, and ends the thread that does it."""

    def has_decided(self, tag: int, lost: int) -> bool:
        """True where a transaction of this worker was decided; the shard `lost` is reserved by none any more."""

    def serve_call(self, topic: str, handler: Callable[[bytes], bytes | Awaitable[bytes]]) -> None:
        """Answers calls of workers on this topic."""

    def call(self, shard: int, topic: str, payload: bytes) -> Future[bytes]:
        """Asks a worker, oneself included; YggdrasilError when it dies before it answers.

        The answer is empty when nobody serves the topic there, or when who does has failed.
        """

    def commands(self) -> list[_CommandRow]:
        """All rows of the command table."""

    def command_keys(self, args: Sequence[bytes]) -> list[tuple[bytes, list[str]]]:
        """The keys of a request, each with what becomes of it, for COMMAND GETKEYS; ReplyError where there are none."""

    def change_users(self, change: str, arguments: Sequence[bytes], client_id: int | None = None) -> int:
        """Changes users of this worker: all of it or, with YggdrasilError, nothing. How many were removed.

        "set" with a name and rules, "delete" with names, or "load" with a list of users and the name of where it comes
        from. `client_id` is who asked for it.
        """

    def users(self) -> list[tuple[bytes, bytes]]:
        """The name and the line of each user, by their names."""

    def user(self, name: bytes) -> _User | None:
        """A user with its rules."""

    def dry_run(self, name: bytes, args: Sequence[bytes]) -> str | None:
        """Says what of a request a user may not do; None where all of it is allowed. ReplyError for no request."""

    def denials(self) -> list[_Denial]:
        """What users were denied on this worker, the latest first."""

    def forget_denials(self) -> None:
        """Forgets them."""

    def clients(self, **filter: Unpack[_ClientFilter]) -> list[_ClientInfo]:  # noqa: A002
        """The worker's own clients that fit a filter, under the names of CLIENT LIST."""

    def client_lines(
        self,
        start: int,
        places: int,
        **filter: Unpack[_ClientFilter],  # noqa: A002
    ) -> tuple[int | None, list[tuple[int, str]]]:
        """Ids and lines of CLIENT LIST of the worker's own clients that fit a filter, page by page.

        A page has those of so many places, from a place on. Also told is where the next one begins, if there is one.
        """

    def kill_clients(
        self,
        start: int,
        places: int,
        **filter: Unpack[_ClientFilter],  # noqa: A002
    ) -> tuple[int | None, int]:
        """Closes clients of this worker that fit a filter, page by page as `client_lines`; tells how many."""

    def kill_client(self, client_id: int, *, at_once: bool) -> bool:
        """Closes a client of this worker at once, or after the replies that are due; false when it is not here."""

    def place_of_client(self, client_id: int) -> int | None:
        """The place of a client of this worker; None when it is not here."""

    def hear_broadcasts(self) -> None:
        """Looks which workers have clients that hear of all keys with a prefix."""

    def unblock_client(self, client_id: int, *, with_error: bool) -> bool:
        """Lets a client of this worker go on that waits for a key to change; false when none waits here."""

    def pause(self, until_ms: int, writes_only: bool) -> None:
        """Pauses this worker's clients until a moment in Unix ms."""

    def unpause(self) -> None:
        """Ends a pause."""

    def stats(self, shard: int | None = None) -> dict[str, Any]:
        """Statistics of any worker; of this one by default.

        Counters and gauges by name; "commands": by name, group, calls, nanoseconds, rejected, failed and histogram
        (pairs of upper bound in us and calls; the last bound is None).
        """

    def counters(self, shard: int) -> dict[str, int]:
        """Counters and gauges of any worker, without those of commands."""

    def errors(self) -> list[tuple[str, int]]:
        """Error replies by prefix."""

    def reset_stats(self) -> None:
        """Sets counters to zero."""

    def memory(self) -> dict[str, int]:
        """Bytes of the arena: limit, used, peak, entries, index, overhead, live; and sessions, the clients' buffers.

        A limit of 0 is none.
        """

    def purge(self) -> None:
        """Gives memory that the shard keeps for later back to the system."""

    def record(self, shift: int | None) -> tuple[bytes, int, int, int]:
        """Records requests for one key in `2**shift` until the next call, or none without it.

        Gives what was recorded since the last call, for `CaptureWriter`: records, their number, how many found no room,
        and the time of this call in Unix us.
        Ends by itself when it is not called for ten seconds.
        """

    def slowlog(self) -> list[tuple[int, int, int, list[bytes], int, str, bytes]]:
        """Requests that took long, newest first.

        Id, Unix time in us, microseconds, arguments, the client's id, address and name; the last two are empty for a
        client of another worker.
        """

    def slowlog_reset(self) -> None:
        """Forgets them."""

    def latency(self) -> list[tuple[str, int, list[tuple[int, int]]]]:
        """Latency events by kind, oldest first: Unix time in s, milliseconds."""

    def latency_reset(self, event: str | None = None) -> int:
        """Forgets the latency events of one kind, or of all; how many kinds that were."""

    def owner_of(self, key: bytes) -> int:
        """The shard that owns a key."""

    def shard_of_slot(self, slot: int) -> int:
        """The shard of a hash slot."""

    def slots_of_shard(self, shard: int) -> tuple[int, int]:
        """The first and the last hash slot of a shard."""

    def slot_len(self, slot: int) -> int:
        """Keys of database 0 in a hash slot of the own shard."""

    def keys_in_slot(self, slot: int, count: int) -> list[bytes]:
        """Up to `count` of them."""

    def database_len(self, db: int) -> tuple[int, int, int]:
        """Keys, expiring keys and hashes with expiring fields of one database of the own shard."""

    def channels(self, pattern: bytes | None, sharded: bool) -> list[tuple[bytes, int]]:
        """Own channels with their number of listeners."""

    def patterns(self) -> list[bytes]:
        """The patterns that own clients listen to."""

    def describe_key(self, db: int, key: bytes) -> _KeyInfo | None:
        """A key of the own shard.

        Bytes in the arena, length, encoding, expire_at (Unix ms or None), access bits, idle seconds, version.
        """

@final
class Context:
    """The caller of a Python command."""

    @property
    def client_id(self) -> int:
        """Id of the client."""

    @property
    def user(self) -> bytes:
        """The name of its user."""

    @property
    def db(self) -> int:
        """Its logical database."""

    @property
    def protocol(self) -> int:
        """Its protocol version, 2 or 3."""

    @property
    def in_transaction(self) -> bool:
        """Whether it runs as a step of a transaction, which must not wait for anything but other workers."""

    @property
    def name(self) -> bytes:
        """The command's name as it was sent."""

    @property
    def worker(self) -> Worker | None:
        """The worker that the client is connected to."""

    def execute(self, args: Sequence[bytes], *, as_node: bool = False) -> Future[Any]:
        """Executes a request on the shards of its keys; ReplyError where its reply is an error.

        The reply is given as RESP3 has it, in the types that a command may return. With `as_node`, the rules of the
        client's user do not count.
        """

    def send_raw(self, data: bytes) -> int | None:
        """Sends bytes that are no reply, before that of this command; how many are not sent yet.

        None while replies to earlier requests are still due: nothing is taken then. ConnectionError when the client has
        gone.
        """

    def client_line(self) -> str | None:
        """The client's line of CLIENT LIST; None when it has gone."""

    def tracking(self) -> tuple[_Caching, list[bytes]] | None:
        """How the client is told of what it keeps, and of which prefixes; None where it keeps nothing."""

    def start_tracking(
        self,
        caching: _Caching,
        *,
        no_loop: bool,
        redirect: tuple[int, int, int] | None,
        prefixes: list[bytes],
    ) -> None:
        """Begins to tell the client of what it keeps, or changes how.

        `redirect` is another client that hears instead: its worker, its place there, and its id.
        """

    def end_tracking(self) -> None:
        """Ends that."""

    def client(self) -> _ClientInfo | None:
        """The client as in `Worker.clients`; None when it has gone."""

@final
class GuestPage:
    """The page in which a process that reads the shared memory says what it looks at."""

    def __new__(cls, shape: NodeShape) -> GuestPage: ...
    def fileno(self) -> int:
        """The descriptor of the page, which lives as long as this object."""

    @property
    def overdue(self) -> bool:
        """Whether a worker has cut the process off.

        It held the memory of a value for too long that was gone.
        """

    def close(self) -> None:
        """Tells the process that its leases count no more."""

@final
class Control:
    """Reads counters, declares workers dead. Never touches a key."""

    def __new__(cls, shape: NodeShape, control_fd: int, event_fds: Sequence[int]) -> Control: ...
    def next_incarnation(self, shard: int) -> int:
        """Called when a worker was seen dead, before its successor starts.

        All others fail what they had under way to it.
        """

    def stats(self, shard: int) -> dict[str, Any]:
        """Statistics of a worker as in `Worker.stats`, read without disturbing it."""

@type_check_only
class _Objects(Protocol):
    def get(self, name: str, limit: int) -> bytes | None: ...
    def put(self, name: str, data: bytes) -> None: ...
    def list(self, part: str) -> builtins.list[tuple[str, int, float]]: ...
    def remove(self, name: str) -> None: ...

@final
class SnapshotStore:
    """A place where snapshots lie. Results are JSON."""

    def __new__(cls, target: Path | str | _Objects) -> SnapshotStore: ...
    def list(self) -> str:
        """The snapshots, the oldest first; one that cannot be read has a `fault`."""

    def shards(self, snapshot: str) -> int:
        """How many shards a snapshot is of."""

    def verify(self, record_bytes_max: int, bytes_per_second: int, progress: Callable[[int], bool] | None) -> str:
        """Checks everything, at so many bytes a second; 0 for no limit.

        `progress` gets the bytes of each chunk, and ends the check by False.
        """

    def prune(self, keep: int, age_s: float) -> str:
        """Removes all but the newest `keep` snapshots, and chunks of none that are older than so many seconds."""

    def check(self, directory: Path, record_bytes_max: int) -> str:
        """Checks the snapshots and all logs below a directory."""

    def repair(self, directory: Path, record_bytes_max: int, name: str) -> str:
        """Checks them and mends what is damaged: the report from before, and what was done.

        Originals are copied to `backup-NAME` in the directory first. Snapshots in a bucket are left alone.
        """

    def copy_to(self, target: SnapshotStore, snapshot: str | None) -> str:
        """Copies a snapshot, the newest one without a name, to an empty store. All is checked on the way."""

    def restore_until(
        self,
        node: str,
        time: int | None,
        numbers: Sequence[tuple[int, int]],
        target: SnapshotStore,
        logs: Path,
        as_node: str,
    ) -> str:
        """Restores a node: a snapshot to a store, and logs to a directory. It has another name from then on.

        As it was at a time (Unix time in milliseconds), at changes of some shards, or with neither as far as its
        archived logs go.
        """

    def nodes(self) -> builtins.list[str]:
        """The nodes that have snapshots or archived logs here."""

    def remove_drafts(self) -> int:
        """Removes what earlier writers have left unfinished. Nobody may be writing."""

@final
class SnapshotLoader:
    """A shard in a snapshot, on its way into memory. Threads read and unpack ahead."""

    def __new__(cls, store: SnapshotStore, snapshot: str, shard: int, shards: int) -> SnapshotLoader: ...
    @property
    def start(self) -> int:
        """The number from which on a log goes on."""

    def progress(self) -> tuple[int, int, int]:
        """Records and bytes before compression that were loaded, and all bytes."""

@type_check_only
class _Owners(Protocol):
    def entries(self, shard: int, physical: int, keys: list[bytes]) -> Iterator[tuple[int, bytes]]: ...
    def pins(self, shard: int, physical: int) -> Iterator[tuple[int, bytes]]: ...

@final
class Snapshotter:
    """Takes snapshots of all shards of a running node."""

    def __new__(
        cls,
        shape: NodeShape,
        arena_fds: list[int],
        store: SnapshotStore,
        node: str,
        owners: _Owners,
        logs: Path | None,
        generation: int,
    ) -> Snapshotter: ...
    def note(self) -> None:
        """Notes how far all shards have come, for the archive."""

    def archive_logs(self) -> int:
        """Archives what the logs have that is not archived yet; the bytes written."""

    def prune_archive(self) -> int:
        """Removes archived logs that no snapshot which is kept goes on with; how many objects."""

    def verify_logs(self, bytes_per_second: int, progress: Callable[[int], bool]) -> builtins.list[tuple[Path, int]]:
        """Reads again what logs have that is not written to any more; the file and the offset of each damage."""

    def export(self, file: Path, version: str, libraries: bytes, with_keys: bool) -> tuple[int, int, int]:
        """Writes all keys to a file of Redis, each as it is at some moment, and libraries of functions.

        Those as FUNCTION DUMP has them, without its last ten bytes. Gives entries, those for which Redis has no form,
        and bytes.
        """

    def log_bytes(self) -> int:
        """Bytes of the logs of all shards."""

    def take(self, full: bool, manner: dict[str, int | str]) -> str:
        """Takes a snapshot, which names the chunks of the newest one where `full` does not forbid that."""

    def progress(self) -> tuple[int, int, int, int]:
        """Keys when it began, records and bytes written, and shards done."""

    def cancel(self) -> None:
        """Ends the snapshot under way."""

    def numbers(self) -> builtins.list[int]:
        """The number of the last change of each shard."""
