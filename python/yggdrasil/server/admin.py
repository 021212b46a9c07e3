"""The admin HTTP server: /metrics, /healthz, /readyz. It reads shared memory and asks no worker anything."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator

import uvicorn
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope

from yggdrasil.server.config import Config
from yggdrasil.server.metrics import NodeCollector
from yggdrasil.server.supervisor import Phase, Supervisor
from yggdrasil.server.tls import admin_context

_TEXT = "text/plain; charset=utf-8"


class AdminServer:
    """Runs beside the supervisor on its event loop."""

    def __init__(self, supervisor: Supervisor, config: Config) -> None:
        self._supervisor = supervisor
        self._config = config
        self._registry = CollectorRegistry()
        self._registry.register(NodeCollector(supervisor))
        self._listener: socket.socket | None = None
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self, listener: socket.socket) -> None:
        """Begins to answer on a socket that listens already."""
        self._listener = listener
        self._server = _Server(self._server_config())
        # A server closes its socket, and the next one has to have it again.
        sockets = [listener.dup()]
        self._task = asyncio.get_running_loop().create_task(self._server.serve(sockets=sockets))

    async def stop(self) -> None:
        """Ends the answers under way and closes."""
        if self._task is not None and self._server is not None:
            self._server.should_exit = True
            await self._task

    async def renew(self, config: Config) -> None:
        """Goes on with the certificate of this configuration."""
        self._config = config
        if config.admin.tls and self._listener is not None:
            await self.stop()
            self.start(self._listener)

    def _server_config(self) -> uvicorn.Config:
        config = uvicorn.Config(
            self._application,
            loop="none",
            http="h11",
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=1,
        )
        config.load()
        if self._config.admin.tls:
            config.ssl = admin_context(self._config)
        return config

    async def _application(self, scope: Scope, _receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        assert scope["type"] == "http"
        accept = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"accept"), "")
        status, content_type, body = self._respond(scope["method"], scope["path"], accept)
        headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
        if status == 405:
            headers.append((b"allow", b"GET, HEAD"))
        await send({"type": "http.response.start", "status": status, "headers": headers, "trailers": False})
        await send(
            {"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body, "more_body": False}
        )

    def _loading(self) -> str:
        lines = (
            f"shard {shard} is loading: {one.changes} changes, {one.bytes} of {one.of_bytes} bytes, "
            f"{one.seconds_left:.0f} s left\n"
            for shard, one in self._supervisor.loading.items()
        )
        failures = (f"shard {shard} failed: {reason}\n" for shard, reason in self._supervisor.failures.items())
        return "".join((*lines, *failures))

    def _refused_writes(self) -> str:
        shards = range(len(self._supervisor.ready_shards))
        errors = {shard: self._supervisor.stats(shard)["log_error"] for shard in shards}
        lines = (
            f"shard {shard} refuses writes: its log cannot be written: {os.strerror(error)}\n"
            for shard, error in errors.items()
            if error
        )
        return "".join(lines)

    def _respond(self, method: str, path: str, accept: str) -> tuple[int, str, bytes]:
        if path not in ("/metrics", "/healthz", "/readyz"):
            return 404, _TEXT, b"not found; there are /metrics, /healthz and /readyz\n"
        if method not in ("GET", "HEAD"):
            return 405, _TEXT, b"method not allowed; use GET\n"
        if path == "/metrics":
            encoder, content_type = choose_encoder(accept)
            return 200, content_type, encoder(self._registry)
        if path == "/healthz":
            # That this answers shows that the supervisor does its work; it replaces workers by itself.
            return 200, _TEXT, b"ok\n"
        missing = [str(shard) for shard, ready in enumerate(self._supervisor.ready_shards) if not ready]
        if self._supervisor.phase is not Phase.READY:
            return 503, _TEXT, f"{self._supervisor.phase.value}\n{self._loading()}".encode()
        if missing:
            return 503, _TEXT, f"shards without a worker: {', '.join(missing)}\n{self._loading()}".encode()
        refused = self._refused_writes()
        return (503, _TEXT, refused.encode()) if refused else (200, _TEXT, b"ready\n")


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the supervisor's."""
        yield
