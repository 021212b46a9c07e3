"""The sockets that a worker accepts clients from."""

import asyncio
import socket
from typing import Literal

from yggdrasil._core import ConnectionFactory, Worker
from yggdrasil.server.config import Config
from yggdrasil.server.messages import Descriptors
from yggdrasil.server.tls import server_context

_TCP: tuple[Literal["common", "own"], ...] = ("common", "own")


class Acceptor:
    """Accepts clients for a worker."""

    def __init__(self, worker: Worker, unixsocket: str, backlog: int) -> None:
        self._worker = worker
        self._unixsocket = unixsocket
        self._backlog = backlog
        self._servers: list[asyncio.Server] = []
        self._secure: list[ConnectionFactory] = []

    async def listen(self, descriptors: Descriptors, config: Config) -> None:
        """Begins to accept."""
        loop = asyncio.get_running_loop()
        secure = {listener: descriptors.take(f"tls-{listener}") for listener in _TCP}
        context = server_context(config) if any(secure.values()) else None
        for listener in _TCP:
            for descriptor in descriptors.take(listener):
                await self._accept(self._worker.connection(listener), descriptor)
            for descriptor in secure[listener]:
                factory = self._worker.connection(listener, tls=context)
                self._secure.append(factory)
                await self._accept(factory, descriptor)
        for one in map(_socket, descriptors.take("unix")):
            factory = self._worker.connection("unix", self._unixsocket)
            self._servers.append(await loop.create_unix_server(factory, sock=one, backlog=self._backlog))

    async def _accept(self, factory: ConnectionFactory, descriptor: int) -> None:
        loop = asyncio.get_running_loop()
        self._servers.append(await loop.create_server(factory, sock=_socket(descriptor), backlog=self._backlog))

    def renew(self, config: Config) -> None:
        """Makes connections by TLS of these options from now on; ConfigError leaves all as it was."""
        if self._secure:
            context = server_context(config)
            for factory in self._secure:
                factory.renew(context)

    def close(self) -> None:
        """Accepts nobody any more."""
        for server in self._servers:
            server.close()


def _socket(descriptor: int) -> socket.socket:
    return socket.socket(fileno=descriptor)
