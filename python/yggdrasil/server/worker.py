"""A worker: one process, one thread, one event loop, one shard."""

import asyncio
import gc
import os
import socket
from collections.abc import Sequence
from typing import Any

import structlog

from yggdrasil import protocol
from yggdrasil._core import ConfigError, NodeShape, Worker
from yggdrasil.protocol.modules import ModuleError, load_modules
from yggdrasil.server import log as logs
from yggdrasil.server.config import OPTIONS, Config
from yggdrasil.server.config_live import changed
from yggdrasil.server.errors import ConfigSetError
from yggdrasil.server.guests import GuestListener
from yggdrasil.server.link import Link
from yggdrasil.server.messages import (
    TO_CHILD,
    Answer,
    Assignment,
    Drain,
    Drained,
    Failed,
    OptionsSet,
    Ready,
    SetOptions,
    Stop,
    ToChild,
)
from yggdrasil.server.services import Services
from yggdrasil.shards import cluster

log = structlog.stdlib.get_logger(__name__)


async def run(assignment: Assignment, config: Config, descriptors: Sequence[int], connection: socket.socket) -> int:
    """Serves a shard until told to stop."""
    process = _WorkerProcess(assignment, config)
    await process.link.attach(connection)
    asyncio.get_running_loop().set_exception_handler(_log_exception)
    try:
        await process.start(descriptors)
    except Exception as error:
        log.debug("start failed", exc_info=True)
        kind = "" if isinstance(error, ModuleError) else f"{type(error).__name__}: "
        process.link.send(Failed(reason=f"{kind}{error}"))
        process.link.close()
        return 1
    process.link.send(Ready())
    log.info("worker is ready")
    await process.stopped.wait()
    return 0


class _WorkerProcess:
    def __init__(self, assignment: Assignment, config: Config) -> None:
        self.assignment = assignment
        self.stopped = asyncio.Event()
        self.link: Link[ToChild] = Link(TO_CHILD, self._on_message, self.stopped.set)
        self.services = Services(assignment.node, assignment.shard, config, self.link)
        self._servers: list[asyncio.Server] = []
        self._draining: asyncio.Task[None] | None = None
        self._worker: Worker | None = None
        self._guests: GuestListener | None = None
        self._here: protocol.Here | None = None

    async def start(self, descriptors: Sequence[int]) -> None:
        shards = self.assignment.shape.shards
        control, arenas, events = descriptors[0], descriptors[1 : 1 + shards], descriptors[1 + shards : 1 + 2 * shards]
        guests = self.assignment.guests
        *opened, channel = descriptors[1 + 2 * shards :]
        listeners, pages = opened[: len(opened) - len(guests)], opened[len(opened) - len(guests) :]
        worker = Worker(
            NodeShape(**self.assignment.shape.model_dump()),
            self.assignment.shard,
            control,
            arenas,
            events,
            self.services.config.engine_options(),
            [(guest.id, page, guest.leases) for guest, page in zip(guests, pages, strict=True)],
        )
        self._worker = worker
        # The engine has mapped these; the eventfds it goes on using.
        for descriptor in (control, *arenas, *pages):
            os.close(descriptor)
        self._guests = GuestListener(socket.socket(fileno=channel), worker.add_guest, worker.remove_guest)
        modules = load_modules(self.services.config.command_modules.split())
        self._here = protocol.register_all(worker, self.services, cluster, modules=modules)
        loop = asyncio.get_running_loop()
        worker.start(loop)
        await self._listen(loop, worker, listeners)
        # What exists now stays; nothing that follows makes cycles that reference counts would not free.
        gc.freeze()
        gc.disable()

    async def _listen(self, loop: asyncio.AbstractEventLoop, worker: Worker, descriptors: Sequence[int]) -> None:
        backlog = self.services.config.tcp_backlog
        sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
        common = self.assignment.common_listeners
        own = common + self.assignment.own_listeners
        for one in sockets[:common]:
            self._servers.append(await loop.create_server(worker.connection("common"), sock=one, backlog=backlog))
        for one in sockets[common:own]:
            self._servers.append(await loop.create_server(worker.connection("own"), sock=one, backlog=backlog))
        for one in sockets[own:]:
            factory = worker.connection("unix", self.assignment.node.unixsocket)
            self._servers.append(await loop.create_unix_server(factory, sock=one, backlog=backlog))

    def _on_message(self, message: ToChild) -> None:
        match message:
            case SetOptions():
                self.link.send(OptionsSet(id=message.id, error=self._set_options(message.values)))
            case Answer():
                self.services.answered(message)
            case Drain():
                # Kept: the loop itself would not keep a task from being collected.
                self._draining = self._draining or asyncio.get_running_loop().create_task(self._drain())
            case Stop():
                self.stopped.set()

    def _set_options(self, values: dict[str, str]) -> str | None:
        """Sets options in the engine; on an error everything is as it was."""
        before = self.services.config
        try:
            after = changed(before, values.items())
            self._apply(after, values)
        except ConfigSetError as error:
            return str(error)
        except ConfigError as error:
            self._apply(before, values)
            return f"ERR CONFIG SET failed - {error}"
        self.services.config = after
        logs.set_level(after.loglevel)
        return None

    def _apply(self, config: Config, names: dict[str, str]) -> None:
        if self._worker is None:
            return
        options = config.engine_options()
        for name in names:
            if OPTIONS[name].option.engine:
                self._worker.set_option(name, options[name])

    async def _drain(self) -> None:
        for server in self._servers:
            server.close()
        try:
            if self._worker is not None:
                drained = self._worker.drain()
                if self._here is not None:
                    self._here.end_waiting()
                await drained
        finally:
            self.link.send(Drained())


def _log_exception(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    log.error(context["message"], exc_info=context.get("exception"))
