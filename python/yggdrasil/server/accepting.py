"""The sockets that a worker accepts clients from."""

import asyncio
import os
import socket
from collections.abc import Mapping

from yggdrasil._core import ConnectionFactory, Worker
from yggdrasil.server.config import Config
from yggdrasil.server.messages import Descriptors
from yggdrasil.server.tls import server_context
from yggdrasil.server.tls_listening import TcpListener

_TCP: tuple[TcpListener, ...] = ("common", "own")


class _Place:
    """A listening socket. The one of a common port can be left to the other workers for a while."""

    def __init__(self, listener: str, factory: ConnectionFactory, descriptor: int, backlog: int) -> None:
        self.is_common = listener != "own"
        self.factory = factory
        self._is_unix = listener == "unix"
        self._backlog = backlog
        self._idle: socket.socket | None = socket.socket(fileno=descriptor)
        self._server: asyncio.Server | None = None

    async def accept(self) -> None:
        """Begins to accept."""
        idle, self._idle = self._idle, None
        if idle is None:
            return
        # A Unix socket, too: `create_unix_server` of Python 3.13 looks for its path, which only the supervisor can
        # follow, and would remove it when one worker leaves.
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self.factory, sock=idle, backlog=self._backlog)

    def leave(self) -> None:
        """Has new clients connect to others."""
        server, self._server = self._server, None
        if server is None:
            return
        self._idle = socket.socket(fileno=os.dup(server.sockets[0].fileno()))
        server.close()
        if not self._is_unix:
            # Each worker has a socket of its own for the port: one that does not listen gets no clients. The socket
            # of the Unix path is everybody's.
            self._idle.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Accepts nobody any more."""
        if self._server is not None:
            self._server.close()
        if self._idle is not None:
            self._idle.close()


class Acceptor:
    """Accepts clients for a worker."""

    def __init__(self, worker: Worker, unixsocket: str, backlog: int) -> None:
        self._worker = worker
        self._unixsocket = unixsocket
        self._backlog = backlog
        self._places: list[_Place] = []
        self._secure: list[_Place] = []
        self._has_left = False

    async def listen(self, descriptors: Descriptors, config: Config) -> None:
        """Begins to accept."""
        for listener in _TCP:
            for descriptor in descriptors.take(listener):
                self._places.append(await self._accept(listener, self._worker.connection(listener), descriptor))
        await self.listen_securely({listener: descriptors.take(f"tls-{listener}") for listener in _TCP}, config)
        for descriptor in descriptors.take("unix"):
            factory = self._worker.connection("unix", self._unixsocket)
            self._places.append(await self._accept("unix", factory, descriptor))

    async def listen_securely(self, descriptors: Mapping[TcpListener, list[int]], config: Config) -> None:
        """Accepts clients by TLS from these sockets, and no more from others; ConfigError leaves all as it was."""
        context = server_context(config) if any(descriptors.values()) else None
        before, self._secure = self._secure, []
        for listener, some in descriptors.items():
            for descriptor in some:
                factory = self._worker.connection(listener, tls=context)
                self._secure.append(await self._accept(listener, factory, descriptor))
        for place in before:
            place.close()

    async def _accept(self, listener: str, factory: ConnectionFactory, descriptor: int) -> _Place:
        place = _Place(listener, factory, descriptor, self._backlog)
        await place.accept()
        if self._has_left and place.is_common:
            place.leave()
        return place

    async def share(self, wanted: bool) -> None:
        """Takes its part of the clients that come to the common ports and the Unix socket, or leaves them to others."""
        if self._has_left != wanted:
            return
        self._has_left = not wanted
        for place in (*self._places, *self._secure):
            if not place.is_common:
                continue
            if wanted:
                await place.accept()
            else:
                place.leave()

    def renew(self, config: Config) -> None:
        """Makes connections by TLS of these options from now on; ConfigError leaves all as it was."""
        if self._secure:
            context = server_context(config)
            for place in self._secure:
                place.factory.renew(context)

    def close(self) -> None:
        """Accepts nobody any more."""
        for place in (*self._places, *self._secure):
            place.close()
