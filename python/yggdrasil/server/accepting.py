"""The sockets that a worker accepts clients from."""

import asyncio
import os
import socket
import ssl

from yggdrasil._core import Worker
from yggdrasil.server.config import Config
from yggdrasil.server.messages import Descriptors
from yggdrasil.server.tls import server_context


class Acceptor:
    """Accepts clients for a worker. The supervisor has the sockets too, so that nobody is lost while one is renewed."""

    def __init__(self, worker: Worker, unixsocket: str, backlog: int) -> None:
        self._worker = worker
        self._unixsocket = unixsocket
        self._backlog = backlog
        self._plain: list[asyncio.Server] = []
        self._secure: list[asyncio.Server] = []
        self._secure_descriptors: dict[str, list[int]] = {}

    async def listen(self, descriptors: Descriptors, config: Config) -> None:
        """Begins to accept."""
        loop = asyncio.get_running_loop()
        for listener in ("common", "own"):
            for one in map(_socket, descriptors.take(listener)):
                factory = self._worker.connection(listener)
                self._plain.append(await loop.create_server(factory, sock=one, backlog=self._backlog))
            self._secure_descriptors[listener] = descriptors.take(f"tls-{listener}")
        for one in map(_socket, descriptors.take("unix")):
            factory = self._worker.connection("unix", self._unixsocket)
            self._plain.append(await loop.create_unix_server(factory, sock=one, backlog=self._backlog))
        if self.has_tls:
            await self._listen_secure(server_context(config))

    @property
    def has_tls(self) -> bool:
        """Whether clients may come by TLS."""
        return any(self._secure_descriptors.values())

    async def renew(self, config: Config) -> None:
        """Goes on with another context of TLS, for clients that come from now on; ConfigError leaves it as it was."""
        context = server_context(config)
        for server in self._secure:
            server.close()
        self._secure.clear()
        await self._listen_secure(context)

    async def _listen_secure(self, context: ssl.SSLContext) -> None:
        loop = asyncio.get_running_loop()
        for listener in ("common", "own"):
            for descriptor in self._secure_descriptors[listener]:
                # A server closes its socket, and the next one has to have it again.
                one = _socket(os.dup(descriptor))
                factory = self._worker.connection(listener, secure=True)
                server = await loop.create_server(factory, sock=one, backlog=self._backlog, ssl=context)
                self._secure.append(server)

    def close(self) -> None:
        """Accepts nobody any more."""
        for server in (*self._plain, *self._secure):
            server.close()
        for descriptors in self._secure_descriptors.values():
            while descriptors:
                os.close(descriptors.pop())


def _socket(descriptor: int) -> socket.socket:
    return socket.socket(fileno=descriptor)
