"""The configuration of a node: its sections, and all of their options by the flat names that Redis users know.

Where values come from is the business of `config_sources`; nothing else reads the environment or the file.
"""

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, model_validator

from yggdrasil.server.namespaces import STRONG, engine_text, parse_namespaces
from yggdrasil.server.option import PORT_MAX, OptionRow, Section, row_of
from yggdrasil.server.sections.admin import Admin
from yggdrasil.server.sections.clients import Clients
from yggdrasil.server.sections.collections import Collections
from yggdrasil.server.sections.durability import Durability
from yggdrasil.server.sections.events import Events
from yggdrasil.server.sections.latency import Latency
from yggdrasil.server.sections.log import Log
from yggdrasil.server.sections.memory import Memory
from yggdrasil.server.sections.near import Near
from yggdrasil.server.sections.network import Network
from yggdrasil.server.sections.node import Node
from yggdrasil.server.sections.scripts import Scripts
from yggdrasil.server.sections.slowlog import SlowLog
from yggdrasil.server.sections.snapshot import Snapshot
from yggdrasil.server.sections.stream import Stream
from yggdrasil.server.sections.tls import Tls
from yggdrasil.server.sections.users import Users


class Config(BaseModel):
    """Parsed and checked once, frozen, and passed down."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    node: Node = Field(default_factory=Node)
    network: Network = Field(default_factory=Network)
    clients: Clients = Field(default_factory=Clients)
    collections: Collections = Field(default_factory=Collections)
    tls: Tls = Field(default_factory=Tls)
    users: Users = Field(default_factory=Users)
    memory: Memory = Field(default_factory=Memory)
    durability: Durability = Field(default_factory=Durability)
    stream: Stream = Field(default_factory=Stream)
    scripts: Scripts = Field(default_factory=Scripts)
    near: Near = Field(default_factory=Near)
    snapshot: Snapshot = Field(default_factory=Snapshot)
    slowlog: SlowLog = Field(default_factory=SlowLog)
    events: Events = Field(default_factory=Events)
    latency: Latency = Field(default_factory=Latency)
    admin: Admin = Field(default_factory=Admin)
    log: Log = Field(default_factory=Log)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Makes one of values by option name; ValidationError when one cannot be used."""
        sections: dict[str, dict[str, Any]] = {}
        for name, value in values.items():
            row = OPTIONS[name]
            sections.setdefault(row.section, {})[row.field] = value
        return cls.model_validate(sections)

    def with_values(self, values: Mapping[str, Any]) -> Self:
        """The same with other values for some options."""
        given = {name: row.value(self) for name, row in OPTIONS.items() if not self.is_default(name)}
        return self.of(given | dict(values))

    @model_validator(mode="after")
    def _check(self) -> Self:
        network, shards = self.network, self.node.shards
        if network.worker_port_base + shards > PORT_MAX + 1:
            raise OptionError("worker-port-base", f"at most {PORT_MAX + 1 - shards} for {shards} shards")
        if self.node.ring_size & (self.node.ring_size - 1):
            raise OptionError("ring-size", OPTIONS["ring-size"].allowed)
        if not network.port and not self.tls.port and not network.unixsocket:
            raise OptionError("port", "0 only together with a tls-port or a unixsocket")
        if self.tls.port and self.tls.port == network.port:
            raise OptionError("tls-port", "another port than port")
        if self.tls.worker_port_base + shards > PORT_MAX + 1:
            raise OptionError("tls-worker-port-base", f"at most {PORT_MAX + 1 - shards} for {shards} shards")
        if self.users.aclfile and self.users.user:
            raise OptionError("aclfile", OPTIONS["aclfile"].allowed)
        for address in network.bind_addresses:
            _check_address("bind", address.removeprefix("-"))
        if not network.bind_addresses and (network.port or self.tls.port):
            raise OptionError("bind", OPTIONS["bind"].allowed)
        _check_address("admin-bind", self.admin.bind)
        if self.durability.ack == "strong":
            raise OptionError("ack", f"none, fast or sync; {STRONG}")
        return self

    def is_default(self, name: str) -> bool:
        """True for an option that nobody has given: the node may take another value where that one does not work."""
        row = OPTIONS[name]
        section: BaseModel = getattr(self, row.section)
        return row.field not in section.model_fields_set

    @property
    def worker_ports(self) -> tuple[int, ...]:
        """The own port of each worker; 0 where any will do."""
        base = self.network.worker_port_base
        return tuple(base + shard if base else 0 for shard in range(self.node.shards))

    @property
    def tls_worker_ports(self) -> tuple[int, ...]:
        """The own port of each worker for TLS; 0 where any will do."""
        base = self.tls.worker_port_base
        return tuple(base + shard if base else 0 for shard in range(self.node.shards))

    @property
    def directory(self) -> Path:
        """The directory of the node, absolute."""
        return Path(self.node.dir).absolute()

    @property
    def ack(self) -> str:
        """The promise behind the reply to a write of a key without a namespace."""
        if self.durability.ack != "auto":
            return self.durability.ack
        return "none" if self.is_default("dir") else "fast"

    @property
    def has_log(self) -> bool:
        """True where changes of any keys are kept on disk."""
        namespaces = parse_namespaces(self.durability.namespaces).values()
        return self.ack != "none" or any(one.ack != "none" for one in namespaces)

    def engine_options(self) -> dict[str, int | str]:
        """What the engine of one worker reads, under Redis's names. The memory is this shard's part."""
        options: dict[str, int | str] = {}
        for name, row in OPTIONS.items():
            if row.option.engine:
                value = row.value(self)
                options[name] = int(value) if isinstance(value, bool) else value
        options["maxmemory"] = -(-self.memory.maxmemory // self.node.shards)
        options["ack"] = self.ack
        options["namespaces"] = engine_text(self.durability.namespaces)
        return options

    def text(self, name: str) -> str:
        """The value of an option as CONFIG GET prints it."""
        row = OPTIONS[name]
        return row.text(row.value(self))


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


SECTIONS: dict[str, type[Section]] = {
    name: kind for name, kind in get_type_hints(Config).items() if isinstance(kind, type) and issubclass(kind, Section)
}
"""The sections by their names."""

OPTIONS: dict[str, OptionRow] = {
    row.name: row
    for section, kind in SECTIONS.items()
    for row in (row_of(section, kind.prefix, field, info) for field, info in kind.model_fields.items())
}
"""All options by their flat names."""
