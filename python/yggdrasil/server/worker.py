"""A worker: one process, one thread, one event loop, one shard."""

import asyncio
import gc
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

from yggdrasil import protocol
from yggdrasil._core import ConfigError, DamageError, NodeShape, Worker, YggdrasilError
from yggdrasil.protocol.modules import ModuleError, load_modules
from yggdrasil.server import log as logs
from yggdrasil.server.accepting import Acceptor
from yggdrasil.server.config import OPTIONS, Config
from yggdrasil.server.config_live import changed
from yggdrasil.server.errors import ConfigSetError, UsersLoadError
from yggdrasil.server.guests import GuestListener
from yggdrasil.server.learning import learn_from, tell_others
from yggdrasil.server.libraries import LibraryFile, log_line
from yggdrasil.server.link import Link
from yggdrasil.server.messages import (
    TO_CHILD,
    Answer,
    Assignment,
    ChangeUsers,
    Descriptors,
    Drain,
    Drained,
    Errand,
    Failed,
    OptionsSet,
    Ready,
    SetOptions,
    ShardFailed,
    Stop,
    ToChild,
    UsersChanged,
    WorkerDuty,
)
from yggdrasil.server.recovery import ShardRecovery
from yggdrasil.server.services import Services
from yggdrasil.server.snapshots.door import serve_door
from yggdrasil.server.snapshots.restore import ShardRestore
from yggdrasil.server.tls import OPTIONS as TLS_OPTIONS
from yggdrasil.server.tls_listening import Received
from yggdrasil.shards import cluster, cluster_changes

log = structlog.stdlib.get_logger(__name__)

_LOOK_S = 1.0
"""A worker without its shard looks so often whether clients had better go to others."""
_AGAIN_S = 30.0
_AGAIN_MAX_S = 600.0
"""A worker that cannot make its shard goes on answering for so long, twice as long each time, until its successor
tries again.
"""


async def run(
    assignment: Assignment, duty: WorkerDuty, config: Config, descriptors: Descriptors, connection: socket.socket
) -> int:
    """Serves a shard until told to stop."""
    process = _WorkerProcess(assignment, duty, config)
    await process.link.attach(connection)
    asyncio.get_running_loop().set_exception_handler(_log_exception)
    try:
        await process.start(descriptors)
        await process.recover()
    except Exception as error:
        log.debug("start failed", exc_info=True)
        kind = "" if isinstance(error, ModuleError | UsersLoadError) else f"{type(error).__name__}: "
        process.link.send(Failed(reason=f"{kind}{error}"))
        process.link.close()
        return 1
    if process.has_shard:
        process.link.send(Ready(users=process.user_lines))
        log.info("worker is ready")
    await process.ended()
    process.end_log()
    return 0


class _WorkerProcess:
    def __init__(self, assignment: Assignment, duty: WorkerDuty, config: Config) -> None:
        self.assignment = assignment
        self.duty = duty
        self.stopped = asyncio.Event()
        self.link: Link[ToChild] = Link(TO_CHILD, self._on_message, self.stopped.set)
        self.services = Services(assignment.node, duty.shard, config, self.link)
        self._acceptor: Acceptor | None = None
        self._tls_channel: socket.socket | None = None
        self._listens = asyncio.Event()
        self._draining: asyncio.Task[None] | None = None
        self._setting: asyncio.Task[None] | None = None
        self._worker: Worker | None = None
        self._guests: GuestListener | None = None
        self._here: protocol.Here | None = None
        self._users_are_loaded = False
        self._door: asyncio.Server | None = None
        self._early: list[ChangeUsers] = []
        """Changes of users that came before there were any."""
        self._recovery: ShardRecovery | ShardRestore | None = None
        self._failure = ""
        """Why the shard could not be made."""
        self.has_shard = False

    async def start(self, descriptors: Descriptors) -> None:
        control, arenas, pages = (
            descriptors.take_one("control"),
            descriptors.take("arenas"),
            descriptors.take("guest-pages"),
        )
        worker = Worker(
            NodeShape(**self.assignment.shape.model_dump()),
            self.duty.shard,
            control,
            arenas,
            descriptors.take("events"),
            self.services.config.engine_options(),
            [(guest.id, page, guest.leases) for guest, page in zip(self.duty.guests, pages, strict=True)],
            loading=bool(self.assignment.node.log_directory or self.duty.snapshot),
        )
        self._worker = worker
        # The engine has mapped these; the eventfds it goes on using.
        for descriptor in (control, *arenas, *pages):
            os.close(descriptor)
        channel = socket.socket(fileno=descriptors.take_one("guest-channel"))
        self._guests = GuestListener(channel, worker.add_guest, worker.remove_guest)
        modules = load_modules(self.services.config.node.command_modules.split())
        self._here = protocol.register_all(worker, self.services, cluster, cluster_changes, modules=modules)
        self._load_users(worker)
        self._share_libraries(worker)
        self._recovery = self._recovery_of(worker)
        loop = asyncio.get_running_loop()
        tell_others(worker)
        worker.start(loop)
        if self.duty.is_successor:
            shards = range(self.services.config.node.shards)
            await learn_from(worker, [shard for shard in shards if shard != self.duty.shard])
        unixsocket, backlog = self.assignment.node.unixsocket, self.services.config.network.tcp_backlog
        self._acceptor = Acceptor(worker, unixsocket, backlog)
        self._tls_channel = socket.socket(fileno=descriptors.take_one("tls-channel"))
        await self._acceptor.listen(descriptors, self.services.config)
        self._listens.set()
        door = socket.socket(fileno=descriptors.take_one("door"))
        self._door = await serve_door(worker, door)
        descriptors.close()

    async def recover(self) -> None:
        """Makes the shard. Where that fails for good, `has_shard` stays false."""
        node = self.assignment.node
        if node.log_directory_before and not self.duty.was_served and isinstance(self._recovery, ShardRecovery):
            before = Path(node.log_directory_before)
            # All shards come from all logs, so none is there without the others.
            await self._recovery.run_moved(
                before, node.log_shards_before, node.snapshot_before, self.services.log_moved
            )
        elif self._recovery is not None and not await self._is_made(self._recovery):
            return
        self.has_shard = True
        # What exists now stays; nothing that follows makes cycles that reference counts would not free.
        gc.freeze()
        gc.disable()

    def _load_users(self, worker: Worker) -> None:
        try:
            worker.change_users("load", [b"\n".join(self.duty.users), self.duty.users_origin.encode()])
        except YggdrasilError as error:
            raise UsersLoadError(f"the users cannot be used: {error}") from None
        self._users_are_loaded = True
        for message in self._early:
            self.link.send(self._change_users(worker, message))

    @property
    def user_lines(self) -> tuple[bytes, ...]:
        """The users as they are now."""
        return tuple(line for _, line in self._worker.users()) if self._worker is not None else ()

    def _change_users(self, worker: Worker, message: ChangeUsers) -> UsersChanged:
        change = message.change
        try:
            removed = worker.change_users(change.name, change.arguments, change.client_id)
        except YggdrasilError as error:
            return UsersChanged(id=message.id, error=f"ERR {error}")
        return UsersChanged(id=message.id, removed=removed, lines=self.user_lines)

    def _share_libraries(self, worker: Worker) -> None:
        worker.serve_call("scripts.log", log_line)
        file = LibraryFile(Path(self.services.config.node.dir))
        try:
            worker.share_libraries(file)
        except YggdrasilError as error:
            raise file.refused(error) from None

    async def _is_made(self, recovery: ShardRecovery | ShardRestore) -> bool:
        making = asyncio.get_running_loop().create_task(recovery.run())
        stopped = asyncio.get_running_loop().create_task(self.stopped.wait())
        while not making.done() and not stopped.done():
            await asyncio.wait((making, stopped), timeout=_LOOK_S, return_when=asyncio.FIRST_COMPLETED)
            await self._share_clients(is_whole=making.done() and making.exception() is None)
        stopped.cancel()
        if not making.done():
            making.cancel()
            return False
        try:
            making.result()
        except Exception as error:
            log.debug("the shard cannot be made", exc_info=True)
            self._fail(error)
            return False
        return True

    async def _share_clients(self, *, is_whole: bool) -> None:
        """Leaves clients of the common ports to workers that have their shards, while there are any."""
        if self._acceptor is not None and self._worker is not None and self._draining is None:
            await self._acceptor.share(is_whole or not self._worker.others_serve())

    def _fail(self, error: Exception) -> None:
        """Has clients and the supervisor know why the shard is not there."""
        reason = str(error)
        if isinstance(error, DamageError):
            reason += f"; stop the node and run `yggdrasil check {self.services.config.directory} --repair`"
        if reason == self._failure or self._worker is None:
            return
        self._failure = reason
        self._worker.fail_loading(f"shard {self.duty.shard} is not there: {reason}")
        self.link.send(ShardFailed(reason=reason))

    async def ended(self) -> None:
        """Until it is told to stop; without a shard until it is time that its successor tries."""
        if self.has_shard:
            await self.stopped.wait()
        pause_s = min(_AGAIN_S * 2**self.duty.failures, _AGAIN_MAX_S)
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                while not self.stopped.is_set():
                    await self._share_clients(is_whole=False)
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self.stopped.wait(), _LOOK_S)

    def _recovery_of(self, worker: Worker) -> ShardRecovery | ShardRestore | None:
        restore = ShardRestore(worker, self.duty.shard, self.services.config, self.duty.snapshot, self.link)
        if not self.assignment.node.log_directory:
            return restore if self.duty.snapshot else None
        return ShardRecovery(
            worker,
            self.duty.shard,
            self.services.config,
            Path(self.assignment.node.log_directory),
            self.link,
            restore,
            self._fail,
            node=self.assignment.node.replication_id,
            is_begun=self.assignment.node.log_is_begun,
            was_served=self.duty.was_served,
        )

    def end_log(self) -> None:
        """Makes durable what was written last."""
        if self._worker is not None:
            self._worker.end_log()

    def _on_message(self, message: ToChild) -> None:
        match message:
            case SetOptions() if "tls-port" in message.values:
                # Kept as below. The supervisor sends one such message at a time.
                self._setting = asyncio.get_running_loop().create_task(self._set_port(message))
            case SetOptions():
                self.link.send(OptionsSet(id=message.id, error=self._set_options(message.values)))
            case ChangeUsers():
                if self._worker is None or not self._users_are_loaded:
                    self._early.append(message)
                else:
                    self.link.send(self._change_users(self._worker, message))
            case Answer():
                self.services.answered(message)
            case Drain():
                # Kept: the loop itself would not keep a task from being collected.
                self._draining = self._draining or asyncio.get_running_loop().create_task(self._drain())
            case Stop():
                self.stopped.set()
            case Errand():
                # The steward's alone.
                pass

    async def _set_port(self, message: SetOptions) -> None:
        """Sets options with tls-port among them; on an error everything is as it was."""
        await self._listens.wait()
        error = None
        try:
            await self._listen_securely(changed(self.services.config, message.values.items()))
        except ConfigSetError as refused:
            error = str(refused)
        except ConfigError as refused:
            error = f"ERR CONFIG SET failed - {refused}"
        self.link.send(OptionsSet(id=message.id, error=error or self._set_options(message.values)))

    async def _listen_securely(self, config: Config) -> None:
        assert self._acceptor is not None
        assert self._tls_channel is not None, "it listens"
        port = config.tls.port
        if port == self.services.node.tls_port:
            return
        received = Received.from_channel(self._tls_channel, port)
        try:
            await self._acceptor.listen_securely(received.descriptors, config)
        except ConfigError:
            received.close()
            raise
        ports = {"tls_port": port, "tls_worker_ports": received.worker_ports}
        self.services.node = self.services.node.model_copy(update=ports)

    def _set_options(self, values: dict[str, str]) -> str | None:
        """Sets options in the engine; on an error everything is as it was."""
        before = self.services.config
        try:
            after = changed(before, values.items())
            self._apply(after, values)
            if self._acceptor is not None and TLS_OPTIONS & values.keys():
                self._acceptor.renew(after)
        except ConfigSetError as error:
            return str(error)
        except ConfigError as error:
            self._apply(before, values)
            return f"ERR CONFIG SET failed - {error}"
        self.services.config = after
        logs.set_level(after.log.loglevel)
        return None

    def _apply(self, config: Config, names: dict[str, str]) -> None:
        if self._worker is None:
            return
        options = config.engine_options()
        for name in names:
            if OPTIONS[name].option.engine:
                self._worker.set_option(name, options[name])

    async def _drain(self) -> None:
        if self._acceptor is not None:
            self._acceptor.close()
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
