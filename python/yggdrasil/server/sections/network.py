"""Where clients reach the node."""

from typing import Annotated, Any

from pydantic import Field

from yggdrasil._core import SHARDS_MAX
from yggdrasil.server.option import PORT_MAX, Count, Octal, Option, Port, Section, Whole

PORT_DEFAULT = 6379
WORKER_PORT_OFFSET = 10000


def _worker_port_base(validated: dict[str, Any]) -> int:
    """The usual distance from the common port; 0 where the workers' ports would be beyond the last one."""
    port: int = validated.get("port", PORT_DEFAULT)
    base = port + WORKER_PORT_OFFSET
    return base if port and base + SHARDS_MAX <= PORT_MAX + 1 else 0


class Network(Section):
    """Where clients reach the node."""

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

    @property
    def bind_addresses(self) -> tuple[str, ...]:
        """The addresses of `bind`; a minus before one says that it may be missing."""
        return tuple(self.bind.split())
