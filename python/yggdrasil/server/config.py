"""The configuration of a node: every option, declared once.

Where values come from is the business of `config_sources`; nothing else reads the environment or the file.
"""

import ipaddress
import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from yggdrasil._core import DATABASES_MAX, LEASES_MAX, SHARDS_MAX
from yggdrasil.server.option import (
    ENVIRONMENT_PREFIX,
    GIB,
    INTEGER_MAX,
    KIB,
    MIB,
    Choice,
    NearUsers,
    Octal,
    Option,
    OptionRow,
    OutputLimits,
    Percentiles,
    Share,
    Shares,
    Size,
    Switch,
    Whole,
    row_of,
)

PORT_DEFAULT = 6379
PORT_MAX = 65535
WORKER_PORT_OFFSET = 10000

Port = Annotated[Whole, Field(ge=0, le=PORT_MAX)]
Count = Annotated[Whole, Field(ge=0, le=2**31 - 1)]


def cores() -> int:
    """How many cores this process may use."""
    return min(len(os.sched_getaffinity(0)), SHARDS_MAX)


def _worker_port_base(validated: dict[str, Any]) -> int:
    """The usual distance from the common port; 0 where the workers' ports would be beyond the last one."""
    port: int = validated.get("port", PORT_DEFAULT)
    base = port + WORKER_PORT_OFFSET
    return base if port and base + SHARDS_MAX <= PORT_MAX + 1 else 0


class Config(BaseSettings):
    """Parsed and checked once, frozen, and passed down."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix=ENVIRONMENT_PREFIX)

    bind: Annotated[
        str,
        Option(
            help="Addresses to listen on, separated by spaces; * and ::* stand for all of IPv4 and IPv6. "
            "One with a minus before it may be missing on this machine.",
            redis=True,
            allowed="addresses such as 127.0.0.1 or ::1, separated by spaces, or * or ::*",
        ),
    ] = "127.0.0.1 -::1"
    port: Annotated[
        Port,
        Option(help="The TCP port that all workers share; 0 for no TCP at all.", redis=True),
    ] = PORT_DEFAULT
    worker_port_base: Annotated[
        Port,
        Option(
            help="Worker i also listens on this port + i; cluster-aware clients reach the owner of a key there. "
            "0 takes any free ports.",
            default_text="port + 10000 where these ports are free, otherwise any that are",
        ),
    ] = Field(default_factory=_worker_port_base)
    tcp_backlog: Annotated[
        Whole,
        Field(ge=1, le=65535),
        Option(help="Connections that may wait to be accepted, per listening socket.", redis=True),
    ] = 511
    tcp_keepalive: Annotated[
        Count,
        Option(
            help="A probe is sent on a connection that was silent for this long; 0 for none.",
            unit="seconds",
            redis=True,
            runtime=True,
        ),
    ] = 300
    unixsocket: Annotated[
        str,
        Option(help="Path of a Unix socket to listen on as well; empty for none.", redis=True, allowed="a path"),
    ] = ""
    unixsocketperm: Annotated[
        Octal, Option(help="Permissions of the Unix socket; 0 leaves what the umask gives.", redis=True)
    ] = "0"
    shards: Annotated[
        Whole,
        Field(ge=1, le=SHARDS_MAX),
        Option(help="Worker processes, each of which owns one shard.", default_text="the number of cores"),
    ] = Field(default_factory=cores)
    databases: Annotated[
        Whole, Field(ge=1, le=DATABASES_MAX), Option(help="Logical databases (SELECT).", redis=True)
    ] = 16
    dir: Annotated[
        str,
        Option(
            help="Directory of the node, which is made where only the last part of the path is missing. One node at a "
            "time runs on a directory.",
            redis=True,
            allowed="a directory",
        ),
    ] = "."
    maxmemory: Annotated[
        Size,
        Option(
            help="Memory for keys and values of all shards together, each of which has an equal part; 0 for no limit.",
            unit="bytes",
            redis=True,
            runtime=True,
            engine=True,
        ),
    ] = 0
    maxmemory_policy: Annotated[
        Literal[
            "tinylfu",
            "noeviction",
            "allkeys-lru",
            "allkeys-lfu",
            "allkeys-random",
            "volatile-lru",
            "volatile-lfu",
            "volatile-random",
            "volatile-ttl",
        ],
        Choice,
        Option(
            help="Which keys are removed at maxmemory. tinylfu keeps what is used often for its size, and learns how "
            "much room new keys need to prove themselves; noeviction refuses writes with OOM instead; the others "
            "choose by samples as Redis does, those for volatile keys among keys with a time to live only. Pinned "
            "keys stay.",
            redis=True,
            runtime=True,
            engine=True,
        ),
    ] = "tinylfu"
    maxmemory_samples: Annotated[
        Whole,
        Field(ge=1, le=64),
        Option(
            help="Keys that are compared for each one that is removed, by the policies that choose by samples.",
            redis=True,
            runtime=True,
            engine=True,
        ),
    ] = 5
    lfu_log_factor: Annotated[
        Count,
        Option(
            help="How many more uses the counter of the LFU policies needs for each step; 0 counts every use.",
            redis=True,
            runtime=True,
            engine=True,
        ),
    ] = 10
    lfu_decay_time: Annotated[
        Count,
        Option(
            help="How long it takes that counter to shrink by one; 0 for ever.",
            unit="minutes",
            redis=True,
            runtime=True,
            engine=True,
        ),
    ] = 1
    maxpinned: Annotated[
        Share,
        Option(
            help="What pinned keys may take, over all shards; beyond it PIN is refused, and writes that make a pinned "
            "key larger are too. A percentage is one of maxmemory, and no limit where that has none.",
            unit="bytes",
            runtime=True,
            engine=True,
        ),
    ] = "25%"
    maxpinned_prefixes: Annotated[
        Shares,
        Option(
            help='What pinned keys whose names begin so may take of that, such as "model: 10% session: 64mb".',
            runtime=True,
            engine=True,
        ),
    ] = ""
    pin_default_ttl: Annotated[
        Whole,
        Field(ge=1, le=2**31 - 1),
        Option(help="How long a key is pinned by PIN without EX or PX.", unit="seconds", runtime=True, engine=True),
    ] = 3600
    maxclients: Annotated[
        Whole,
        Field(ge=1, le=2**32 - 1),
        Option(
            help="Connections at a time, over all workers; lowered at the start where the system allows fewer files.",
            redis=True,
            runtime=True,
            engine=True,
        ),
    ] = 10000
    timeout: Annotated[
        Count,
        Option(
            help="A client that is idle for this long is disconnected; 0 for never.",
            unit="seconds",
            redis=True,
            runtime=True,
            engine=True,
        ),
    ] = 0
    requirepass: Annotated[
        str,
        Option(
            help="Password that clients have to give (AUTH, HELLO); empty for none.",
            redis=True,
            runtime=True,
            engine=True,
            secret=True,
        ),
    ] = ""
    proto_max_bulk_len: Annotated[
        Size,
        Field(ge=MIB, le=INTEGER_MAX),
        Option(help="The largest bulk string in a request.", unit="bytes", redis=True, runtime=True, engine=True),
    ] = 512 * MIB
    stream_upload_timeout: Annotated[
        Count,
        Option(
            help="An upload (PUT_STREAM) of which nothing has come for this long is forgotten; 0 for never.",
            unit="seconds",
            runtime=True,
            engine=True,
        ),
    ] = 60
    stream_uploads_max: Annotated[
        Count,
        Option(help="Uploads (PUT_STREAM) that may be under way in a shard at a time.", runtime=True, engine=True),
    ] = 256
    stream_upload_bytes_max: Annotated[
        Size,
        Option(
            help="What all uploads (PUT_STREAM) under way in a shard may hold; 0 for no limit but the memory.",
            unit="bytes",
            runtime=True,
            engine=True,
        ),
    ] = 0
    client_query_buffer_limit: Annotated[
        Size,
        Field(ge=MIB, le=INTEGER_MAX),
        Option(
            help="What a client may have sent of requests that are not complete; more closes its connection.",
            unit="bytes",
            redis=True,
            runtime=True,
            engine=True,
        ),
    ] = GIB
    client_output_buffer_limit: Annotated[
        OutputLimits,
        Option(
            help="Replies that may wait for a client, per class: more than HARD bytes, or more than SOFT bytes for "
            "SECONDS, closes its connection; 0 for no limit.",
            redis=True,
            runtime=True,
            engine=True,
        ),
    ] = "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"
    slowlog_log_slower_than: Annotated[
        Whole,
        Field(ge=-1, le=INTEGER_MAX),
        Option(
            help="Commands that took longer go to the slow log; 0 for every command, -1 for none.",
            unit="microseconds",
            redis=True,
            runtime=True,
            engine=True,
        ),
    ] = 10000
    slowlog_max_len: Annotated[
        Whole,
        Field(ge=0, le=INTEGER_MAX),
        Option(help="Entries the slow log of a worker keeps.", redis=True, runtime=True, engine=True),
    ] = 128
    latency_tracking: Annotated[
        Switch,
        Option(help="Keep a latency histogram of each command.", redis=True, runtime=True, engine=True),
    ] = True
    latency_tracking_info_percentiles: Annotated[
        Percentiles,
        Option(help="The percentiles that INFO prints of each histogram.", redis=True, runtime=True),
    ] = "50 99 99.9"
    latency_monitor_threshold: Annotated[
        Count,
        Option(
            help="Events that took longer are kept for LATENCY; 0 for none.",
            unit="milliseconds",
            redis=True,
            runtime=True,
            engine=True,
        ),
    ] = 0
    enable_debug_command: Annotated[
        Literal["no", "yes", "local"],
        Choice,
        Option(help="Who may use DEBUG; local: clients on this machine.", redis=True, engine=True),
    ] = "no"
    command_modules: Annotated[
        str,
        Option(
            help="Python modules whose commands the node has too, beside those of installed packages: names that can "
            "be imported, or files that end in .py.",
            allowed="names of modules, or paths that end in .py, separated by spaces",
        ),
    ] = ""
    ring_size: Annotated[
        Size,
        Field(ge=64 * KIB, le=GIB),
        Option(
            help="Shared memory of the ring from one worker to another; there is one for each ordered pair.",
            unit="bytes",
            allowed="a power of two from 64kb to 1gb",
        ),
    ] = 128 * KIB
    near_socket: Annotated[
        str,
        Option(
            help="Path of the Unix socket through which processes of this machine get to read the shared memory; "
            "relative to dir; empty for none.",
            allowed="a path",
        ),
    ] = "near.sock"
    near_socket_perm: Annotated[
        Octal,
        Option(help="Permissions of that socket; 0 leaves what the umask gives."),
    ] = "600"
    near_users: Annotated[
        NearUsers,
        Option(
            help="Who may read the shared memory: groups of a name, a token, and the prefixes of the keys that may be "
            "read, separated by commas, * for all. #HEX is the SHA-256 of a token. With none, and without requirepass, "
            "only the user that the node runs as may, and root.",
            runtime=True,
            secret=True,
        ),
    ] = ""
    near_readers_max: Annotated[
        Whole,
        Field(ge=1, le=1024),
        Option(help="Processes that may read the shared memory at a time.", runtime=True),
    ] = 64
    near_leases_max: Annotated[
        Whole,
        Field(ge=1, le=LEASES_MAX),
        Option(help="Large values that one of them may look at in place at a time."),
    ] = 256
    near_lease_age: Annotated[
        Whole,
        Field(ge=1, le=2**31 - 1),
        Option(
            help="A process that still looks at a large value for this long after the value was changed, deleted or "
            "evicted is cut off.",
            unit="seconds",
            runtime=True,
            engine=True,
        ),
    ] = 60
    huge_pages: Annotated[
        Switch,
        Option(
            help="Put full parts of the shared memory into huge pages (2 MiB). Reads get faster, by a third where there"
            " are millions of keys. While a part is moved, once, whoever touches it waits for some milliseconds. Linux "
            "6.1 or later.",
            runtime=True,
            engine=True,
        ),
    ] = False
    admin_bind: Annotated[
        str, Option(help="Address of the admin HTTP server.", allowed="one address such as 127.0.0.1")
    ] = "127.0.0.1"
    admin_port: Annotated[
        Port,
        Option(
            help="Port of the admin HTTP server: /metrics, /healthz, /readyz; 0 for none.",
            default_text="9379 where it is free, otherwise any free port",
        ),
    ] = 9379
    shutdown_timeout: Annotated[
        Count,
        Option(
            help="How long a stopping node waits for requests under way before it closes connections.",
            unit="seconds",
            redis=True,
            runtime=True,
        ),
    ] = 10
    loglevel: Annotated[
        Literal["debug", "verbose", "notice", "warning", "nothing"],
        Choice,
        Option(help="The least important messages that are logged.", redis=True, runtime=True),
    ] = "notice"
    log_format: Annotated[
        Literal["auto", "console", "json"],
        Choice,
        Option(help="Form of the log on standard error; auto: console on a terminal, otherwise json."),
    ] = "auto"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """A `Config` is exactly what it is made from: `config_sources` merges, workers get the result."""
        return (init_settings,)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.worker_port_base + self.shards > PORT_MAX + 1:
            raise OptionError("worker-port-base", f"at most {PORT_MAX + 1 - self.shards} for {self.shards} shards")
        if self.ring_size & (self.ring_size - 1):
            raise OptionError("ring-size", OPTIONS["ring-size"].allowed)
        if not self.port and not self.unixsocket:
            raise OptionError("port", "0 only together with a unixsocket")
        for address in self.bind_addresses:
            _check_address("bind", address.removeprefix("-"))
        if not self.bind_addresses and self.port:
            raise OptionError("bind", OPTIONS["bind"].allowed)
        _check_address("admin-bind", self.admin_bind)
        return self

    @property
    def bind_addresses(self) -> tuple[str, ...]:
        """The addresses of `bind`; a minus before one says that it may be missing."""
        return tuple(self.bind.split())

    def is_default(self, field: str) -> bool:
        """True for an option that nobody has given: the node may take another value where that one does not work."""
        return field not in self.model_fields_set

    @property
    def worker_ports(self) -> tuple[int, ...]:
        """The own port of each worker; 0 where any will do."""
        base = self.worker_port_base
        return tuple(base + shard if base else 0 for shard in range(self.shards))

    @property
    def directory(self) -> Path:
        """The directory of the node, absolute."""
        return Path(self.dir).absolute()

    def engine_options(self) -> dict[str, int | str]:
        """What the engine of one worker reads, under Redis's names. The memory is this shard's part."""
        options: dict[str, int | str] = {}
        for name, row in OPTIONS.items():
            if row.option.engine:
                value = getattr(self, row.field)
                options[name] = int(value) if isinstance(value, bool) else value
        options["maxmemory"] = -(-self.maxmemory // self.shards)
        return options

    def text(self, name: str) -> str:
        """The value of an option as CONFIG GET prints it."""
        row = OPTIONS[name]
        return row.text(getattr(self, row.field))


class OptionError(ValueError):
    """A value that fits its own option but not the others."""

    def __init__(self, name: str, allowed: str) -> None:
        super().__init__(allowed)
        self.name = name
        self.allowed = allowed


def _check_address(name: str, address: str) -> None:
    if address in ("*", "::*") and name == "bind":
        return
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise OptionError(name, OPTIONS[name].allowed) from None


OPTIONS: dict[str, OptionRow] = {
    row.name: row for row in (row_of(field, info) for field, info in Config.model_fields.items())
}
