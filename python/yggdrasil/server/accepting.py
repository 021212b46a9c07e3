"""The sockets that a worker accepts clients from."""

import asyncio
import socket
from collections.abc import Mapping

from yggdrasil._core import ConnectionFactory, Worker
from yggdrasil.server.config import Config
from yggdrasil.server.messages import Descriptors
from yggdrasil.server.tls import server_context
from yggdrasil.server.tls_listening import TcpListener

_TCP: tuple[TcpListener, ...] = ("common", "own")


class Acceptor:
    """Accepts clients for a worker."""

    def __init__(self, worker: Worker, unixsocket: str, backlog: int) -> None:
        self._worker = worker
        self._unixsocket = unixsocket
        self._backlog = backlog
        self._servers: list[asyncio.Server] = []
        self._secure: list[ConnectionFactory] = []
        self._secure_servers: list[asyncio.Server] = []

    async def listen(self, descriptors: Descriptors, config: Config) -> None:
        """Begins to accept."""
        loop = asyncio.get_running_loop()
        for listener in _TCP:
            for descriptor in descriptors.take(listener):
                self._servers.append(await self._accept(self._worker.connection(listener), descriptor))
        await self.listen_securely({listener: descriptors.take(f"tls-{listener}") for listener in _TCP}, config)
        for one in map(_socket, descriptors.take("unix")):
            factory = self._worker.connection("unix", self._unixsocket)
            self._servers.append(await loop.create_unix_server(factory, sock=one, backlog=self._backlog))

    async def listen_securely(self, descriptors: Mapping[TcpListener, list[int]], config: Config) -> None:
        """Accepts clients by TLS from these sockets, and no more from others; ConfigError leaves all as it was."""
        context = server_context(config) if any(descriptors.values()) else None
        before = self._secure_servers
        self._secure, self._secure_servers = [], []
        for listener, some in descriptors.items():
            for descriptor in some:
                factory = self._worker.connection(listener, tls=context)
                self._secure.append(factory)
                self._secure_servers.append(await self._accept(factory, descriptor))
        for server in before:
            server.close()

    async def _accept(self, factory: ConnectionFactory, descriptor: int) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        return await loop.create_server(factory, sock=_socket(descriptor), backlog=self._backlog)

    def renew(self, config: Config) -> None:
        """Makes connections by TLS of these options from now on; ConfigError leaves all as it was."""
        if self._secure:
            context = server_context(config)
            for factory in self._secure:
                factory.renew(context)

    def close(self) -> None:
        """Accepts nobody any more."""
        for server in (*self._servers, *self._secure_servers):
            server.close()


def _socket(descriptor: int) -> socket.socket:
    return socket.socket(fileno=descriptor)
