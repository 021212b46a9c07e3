"""The sockets for TLS while the node runs: the supervisor opens others and hands them to the workers.

Each worker has a channel for them, where descriptors travel with the message that they belong to.
"""

import contextlib
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict

from yggdrasil.server.config import Config
from yggdrasil.server.errors import ConfigSetError, StartError
from yggdrasil.server.listeners import Listeners, TlsSockets, open_tls

_MESSAGE_BYTES_MAX = 4096
_DESCRIPTORS_MAX = 250
TcpListener = Literal["common", "own"]


class _Word(BaseModel):
    """What the supervisor says: the ports for TLS from now on, and how many sockets of each kind come with it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    port: int
    worker_ports: tuple[int, ...]
    common: int
    own: int


class TlsListening:
    """The supervisor's part."""

    def __init__(self, listeners: Listeners) -> None:
        self._listeners = listeners
        self._channels: dict[int, socket.socket] = {}

    def connect(self, shard: int) -> socket.socket:
        """A channel to the worker that takes a shard over. The caller closes that end once it has been sent."""
        self.disconnect(shard)
        self._channels[shard], theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channels[shard].setblocking(False)
        theirs.setblocking(False)
        return theirs

    def disconnect(self, shard: int) -> None:
        """The worker of a shard is dead."""
        channel = self._channels.pop(shard, None)
        if channel is not None:
            channel.close()

    def replace(self, config: Config) -> TlsSockets:
        """Opens what a configuration says and hands it to all workers. Returns what there was.

        A ConfigSetError leaves all as it was.
        """
        try:
            opened = open_tls(config)
        except StartError as error:
            raise ConfigSetError(f"ERR CONFIG SET failed (possibly related to argument 'tls-port') - {error}") from None
        return self.put(config.tls.port, opened)

    def put(self, port: int, sockets: TlsSockets) -> TlsSockets:
        """Hands sockets to all workers, which take them when they are told of the port. Returns what there was."""
        before, self._listeners.tls = self._listeners.tls, sockets
        for shard, channel in self._channels.items():
            common, own = sockets.of(shard)
            word = _Word(port=port, worker_ports=tuple(sockets.own_ports), common=len(common), own=len(own))
            # A worker that has gone is noticed in the usual way, and its successor gets what there is then.
            with contextlib.suppress(OSError):
                socket.send_fds(channel, [word.model_dump_json().encode()], [*common, *own])
        return before


@dataclass(frozen=True, slots=True)
class Received:
    """What a worker has got: descriptors by the kind of the listener, which are its own now."""

    worker_ports: tuple[int, ...]
    descriptors: Mapping[TcpListener, list[int]]

    @classmethod
    def from_channel(cls, channel: socket.socket, port: int) -> Self:
        """The last sockets that came for a port; ConfigSetError where none did. All others are closed."""
        found: Self | None = None
        with contextlib.suppress(BlockingIOError):
            while True:
                payload, descriptors, _, _ = socket.recv_fds(channel, _MESSAGE_BYTES_MAX, _DESCRIPTORS_MAX)
                if not payload:
                    break
                if found is not None:
                    found.close()
                word = _Word.model_validate_json(payload)
                found = cls(
                    word.worker_ports, {"common": descriptors[: word.common], "own": descriptors[word.common :]}
                )
                if word.port != port:
                    found.close()
                    found = None
        if found is None:
            raise ConfigSetError("ERR CONFIG SET failed - no sockets came for tls-port")
        return found

    def close(self) -> None:
        """Nobody listens on them."""
        for some in self.descriptors.values():
            for descriptor in some:
                os.close(descriptor)
