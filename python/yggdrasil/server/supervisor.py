"""The supervisor: starts the processes of a node, replaces those that die, and ends them. It never touches a key."""

import asyncio
import itertools
import os
import signal
from collections.abc import Callable, Coroutine
from enum import Enum
from typing import Any, Protocol

import structlog

from yggdrasil._core import ConfigError, Control
from yggdrasil.server import log as logs
from yggdrasil.server.child_process import ANSWER_TIMEOUT_S, Child, Stage
from yggdrasil.server.config import Config
from yggdrasil.server.config_live import changed
from yggdrasil.server.config_rewrite import LiveConfig
from yggdrasil.server.errors import ConfigSetError, StartError, UsersChangeError, UsersLateError
from yggdrasil.server.guests import Guests
from yggdrasil.server.limits import files_reserved, raise_files_limit
from yggdrasil.server.listeners import Listeners
from yggdrasil.server.log_layout import LogLayout
from yggdrasil.server.messages import (
    Answer,
    Assignment,
    Drain,
    Drained,
    ErrandDone,
    Failed,
    FromChild,
    Loading,
    NodeInfo,
    NodeState,
    OptionsSet,
    Ready,
    Request,
    Saving,
    ShapeInfo,
    ShardFailed,
    SnapshotState,
    StewardState,
    Stop,
    UsersChange,
    UsersChanged,
)
from yggdrasil.server.namespaces import keep_namespaces, with_promise
from yggdrasil.server.roles import AssignedRole, Role, SpareRole, StewardRole, WorkerRole
from yggdrasil.server.segments import Segments
from yggdrasil.server.tls import OPTIONS as TLS_OPTIONS
from yggdrasil.server.tls import contexts
from yggdrasil.server.tls_listening import TlsListening
from yggdrasil.server.users import NodeUsers, password_rules

log = structlog.stdlib.get_logger(__name__)

CRASHES_MAX = 5
CRASH_AGE_S = 10.0
_STOP_TIMEOUT_S = 2.0


class Phase(Enum):
    """Where the node is in its life."""

    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"


class Renewable(Protocol):
    """Somebody who has to know of a new certificate."""

    async def renew(self, config: Config) -> None:
        """Goes on with the certificate of this configuration."""


class Supervisor:
    """Owns the children of a node: `start`, `wait`, then `stop`, which may also be called after either failed."""

    def __init__(
        self,
        live: LiveConfig,
        node: NodeInfo,
        shape: ShapeInfo,
        control: Control,
        segments: Segments,
        listeners: Listeners,
        guests: Guests,
        users: NodeUsers,
        log_format: str,
        snapshots: SnapshotState,
        layout: LogLayout | None = None,
    ) -> None:
        self.live = live
        self.node = node
        self.control = control
        self.phase = Phase.STARTING
        self.admin: Renewable | None = None
        """What else has a certificate."""
        self._shape = shape
        self._listeners = listeners
        self._guests = guests
        self._users = users
        self._log_format = log_format
        self.snapshots = snapshots
        self._tls = TlsListening(listeners)
        self._workers = [
            WorkerRole(shard, segments, listeners, guests, self._tls, control, users, lambda: self.snapshots.id)
            for shard in range(shape.shards)
        ]
        self._steward = StewardRole(segments)
        self._layout = layout
        self._moved = 0
        self._has_moved = asyncio.Event()
        self._spare = SpareRole()
        self._children: dict[Child, Role] = {}
        self._crashes: dict[str, int] = {}
        self._failure = ""
        self._stop_asked = False
        self._now_asked = False
        self._forced = False
        self._saving: Saving = "auto"
        self._was_whole = False
        """All shards were there when the node began to stop."""
        self._happened = asyncio.Event()
        self._numbers = itertools.count(1)
        self._config_lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def state(self) -> NodeState:
        """The processes as they are now."""
        return NodeState(
            pids=tuple(worker.pid for worker in self._workers),
            restarts=tuple(self.restarts),
            steward_pid=self._steward.pid,
            ready=tuple(self.ready_shards),
            loading=tuple(self.loading.values()),
            failures=self.failures,
            snapshots=self.snapshots,
        )

    @property
    def version(self) -> str:
        """The version of the node."""
        return self.node.version

    def stats(self, shard: int) -> dict[str, Any]:
        """What the worker of a shard counts."""
        return self.control.stats(shard)

    @property
    def near_readers(self) -> int:
        """How many processes read the shared memory."""
        return len(self._guests)

    @property
    def pids(self) -> dict[str, int]:
        """The processes that are alive, by the names that `ps` shows."""
        return {"supervisor": os.getpid()} | {child.name: child.pid for child in self._children if child.alive}

    @property
    def ready_shards(self) -> list[bool]:
        """Which shards have a worker that serves."""
        return [worker.is_ready for worker in self._workers]

    @property
    def loading(self) -> dict[int, Loading]:
        """How far shards are that are made from their logs just now."""
        return {shard: worker.loading for shard, worker in enumerate(self._workers) if worker.loading is not None}

    @property
    def failures(self) -> dict[int, str]:
        """Why shards are not there whose workers have said so."""
        return {shard: worker.failure for shard, worker in enumerate(self._workers) if worker.failure}

    @property
    def restarts(self) -> list[int]:
        """How often the worker of each shard was replaced."""
        return [worker.restarts for worker in self._workers]

    async def start(self) -> bool:
        """Starts all processes and waits until they do their work; false when told to stop before.

        Shards that cannot be made are left to an operator, as long as there are others.
        """
        for role in (*self._workers, self._steward):
            await self._place(role)
        await self._until(lambda: bool(self._failure) or self._stop_asked or self._all_settled())
        if self._stop_asked and not self._failure:
            return False
        if not self._failure and not any(self.ready_shards):
            self._failure = f"{self._workers[0].name} could not start: {self._workers[0].failure}"
        if self._failure:
            raise StartError(self._failure)
        self.phase = Phase.READY
        self._keep_spare()
        return True

    async def wait(self) -> None:
        """Until the node is to stop, or cannot go on: then StartError says why."""
        await self._until(lambda: bool(self._failure) or self._stop_asked)
        if self._failure:
            raise StartError(self._failure)

    def ask_to_stop(self) -> None:
        """What the first SIGTERM or SIGINT does; the second one ends everything at once."""
        if self._stop_asked:
            log.warning("stopping at once")
            self._now_asked = self._forced = True
        self._stop_asked = True
        self._happened.set()

    async def drain(self) -> bool:
        """Takes nothing new and lets requests under way end; false when it was cut short by a second signal."""
        timeout_s = self.live.config.node.shutdown_timeout
        self._was_whole = self.phase is Phase.READY and self._all_ready()
        self._begin_stopping()
        for child in list(self._children):
            if child.stage in (Stage.READY, Stage.WITHOUT_SHARD):
                child.send(Drain())
            else:
                child.kill()
        log.info("stopping", shutdown_timeout=timeout_s)
        unfinished = (Stage.READY, Stage.WITHOUT_SHARD, Stage.ASSIGNED)
        drained = await self._until(
            lambda: self._now_asked or not any(child.stage in unfinished for child in self._children), timeout_s
        )
        if not drained:
            log.warning("connections are closed with requests under way", shutdown_timeout=timeout_s)
        return not self._forced

    async def save(self) -> bool:
        """Takes the snapshot of the end, if one is due; false when that failed. It comes between `drain` and `stop`."""
        if self._now_asked or not self._is_snapshot_due():
            return True
        if not self._was_whole:
            log.warning("no snapshot is taken at the end, as not all shards are there")
            return True
        saving = asyncio.get_running_loop().create_task(self._steward.run_last({"action": "end"}))
        saving.add_done_callback(lambda _: self._happened.set())
        await self._until(lambda: self._now_asked or saving.done())
        if not saving.done():
            saving.cancel()
            log.warning("stopping without the snapshot that was begun")
            return False
        error = saving.result().error
        if error is not None:
            log.error("no snapshot could be taken at the end", error=error)
        return error is None

    def _is_snapshot_due(self) -> bool:
        config = self.live.config
        choice = config.snapshot.at_shutdown if self._saving == "auto" else self._saving
        if choice == "auto":
            return bool(config.snapshot.interval) and not config.has_log
        return choice == "yes"

    async def stop(self) -> None:
        """Ends all children. Workers serve each other until all are done, so this comes after `drain`."""
        self._begin_stopping()
        for child in self._children:
            child.send(Stop())
        if not self._now_asked:
            await self._until(lambda: self._now_asked or not self._children, _STOP_TIMEOUT_S)
        for child in self._children:
            child.kill()
        await self._until(lambda: not self._children, _STOP_TIMEOUT_S)
        self._guests.close()

    def _begin_stopping(self) -> None:
        self.phase = Phase.STOPPING
        self._listeners.close_for_clients()

    def _all_ready(self) -> bool:
        return all(role.is_ready for role in (*self._workers, self._steward))

    def _all_settled(self) -> bool:
        return all(role.is_settled for role in (*self._workers, self._steward))

    async def _until(self, condition: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Waits for a condition that only `_happened` makes true; whether it came true in time."""
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():
                    self._happened.clear()
                    await self._happened.wait()
        except TimeoutError:
            return condition()
        return True

    def _spawn(self) -> Child:
        child = Child(self._spare.name, self._on_message, self._on_death)
        self._children[child] = self._spare
        return child

    def _keep_spare(self) -> None:
        if self.phase is Phase.READY and self._spare.child is None:
            self._spare.child = self._spawn()

    async def _place(self, role: AssignedRole) -> None:
        """Gives a role to the spare, or to a new process where there is none."""
        child = self._spare.take() or self._spawn()
        self._children[child] = role
        role.child = child
        with role.handover() as (duty, descriptors):
            assignment = Assignment(
                name=role.name,
                duty=duty,
                node=self.node,
                shape=self._shape,
                config=self.live.config.model_dump(mode="json"),
                log_format=self._log_format,
            )
            await child.assign(assignment, descriptors)

    def _on_message(self, child: Child, message: FromChild) -> None:
        match message:
            case Ready():
                child.stage = Stage.READY
                self._users.started_with(message.users)
                self._note_ready(child)
                log.debug("child is ready", child=child.name, pid=child.pid, after_s=round(child.age_s, 3))
                self._keep_spare()
            case Loading():
                self._note_loading(child, message)
            case Failed() | ShardFailed():
                self._on_failure(child, message)
            case Drained():
                child.stage = Stage.DRAINED
            case OptionsSet() | UsersChanged():
                self._on_change_made(child, message)
            case ErrandDone():
                self._steward.errands.done(message)
            case StewardState():
                self.snapshots = message.snapshots
            case Request(ask="snapshot"):
                self._in_background(self._run_errand(child, message))
            case Request():
                self._in_background(self._answer(child, message))
        self._happened.set()

    def _on_change_made(self, child: Child, message: OptionsSet | UsersChanged) -> None:
        is_awaited = child.answered(message)
        if isinstance(message, UsersChanged) and message.error is None:
            is_news = self._users.became(message.id, message.lines)
            if is_news and not is_awaited:
                # Its time was over, and whoever began meanwhile has the users of before.
                self._in_background(self._spread_users())

    def _note_loading(self, child: Child, loading: Loading) -> None:
        role = self._children.get(child)
        if isinstance(role, WorkerRole):
            role.loading = loading

    def _note_ready(self, child: Child) -> None:
        role = self._children.get(child)
        if isinstance(role, WorkerRole):
            role.serves()
        if self._layout is not None and all(worker.is_ready for worker in self._workers):
            self._note_begun(self._layout)

    def _note_begun(self, layout: LogLayout) -> None:
        try:
            self._layout = layout.begun()
        except OSError as error:
            # The logs are there; only a loss of a whole one would not be noticed.
            log.warning("that all logs were begun is not noted", error=str(error))
        else:
            self.node = self.node.model_copy(update={"log_is_begun": self._layout.is_begun})

    def _on_failure(self, child: Child, message: Failed | ShardFailed) -> None:
        role = self._children.get(child)
        if isinstance(message, ShardFailed) and isinstance(role, WorkerRole):
            child.stage = Stage.WITHOUT_SHARD
            role.shard_failed(message.reason)
            log.error("a shard is not there", child=child.name, pid=child.pid, reason=message.reason)
            return
        child.failure = message.reason
        if self.phase is Phase.READY:
            log.error("a process cannot do its work", child=child.name, pid=child.pid, reason=message.reason)

    def _on_death(self, child: Child) -> None:
        role = self._children.pop(child)
        role.lost()
        if self.phase is Phase.STARTING and not (isinstance(role, WorkerRole) and role.failure):
            self._failure = self._failure or f"{child.name} could not start: {child.failure or child.ended_how}"
        elif self.phase is not Phase.STOPPING:
            log.warning("a process died and is replaced", child=child.name, pid=child.pid, ended=child.ended_how)
            if self._is_crash_loop(child):
                cause = f"{child.name} died {CRASHES_MAX} times within {CRASH_AGE_S:.0f} s of its start"
                self._failure = f"{cause}, last by {child.failure or child.ended_how}"
            else:
                self._in_background(self._replace(role))
        self._happened.set()

    def _is_crash_loop(self, child: Child) -> bool:
        if child.killed_from_outside:
            return False
        quick = child.age_s < CRASH_AGE_S
        self._crashes[child.name] = self._crashes.get(child.name, 0) + 1 if quick else 0
        return self._crashes[child.name] >= CRASHES_MAX

    async def _replace(self, role: Role) -> None:
        match role:
            case AssignedRole():
                role.restarts += 1
                await self._place(role)
            case _:
                self._keep_spare()

    async def _answer(self, child: Child, request: Request) -> None:
        error: str | None = None
        removed = 0
        try:
            match request.ask:
                case "log-moved":
                    await self._log_moved()
                case "config-set" | "namespace-set":
                    async with self._config_lock:
                        await self._config_set(self._values(request))
                case "config-rewrite":
                    async with self._config_lock:
                        self.live.rewrite()
                case "users-change":
                    assert request.users is not None, "a change comes with it"
                    async with self._config_lock:
                        removed = await self._change_users(request.users)
                case "users-load":
                    async with self._config_lock:
                        change = self._users.load()
                        await self._change_users(change.model_copy(update={"client_id": request.client_id}))
                case "users-save":
                    # Behind a change that is under way: some see it already.
                    async with self._config_lock:
                        self._users.save()
                case "shutdown":
                    self._now_asked = self._now_asked or request.now
                    self._saving = request.save
                    self._stop_asked = True
                    self._happened.set()
                case "state":
                    pass
        except (ConfigSetError, UsersChangeError) as refused:
            error = str(refused)
        state = self.state if request.ask == "state" else None
        child.send(Answer(id=request.id, error=error, state=state, removed=removed))

    async def _run_errand(self, child: Child, request: Request) -> None:
        done = await self._steward.run(request.values)
        child.send(Answer(id=request.id, error=done.error, result=done.result))

    async def _log_moved(self) -> None:
        """Until all workers have said so; then their logs are in force."""
        self._moved += 1
        if self._moved == len(self._workers) and self._layout is not None:
            self._layout.take_over()
            self._has_moved.set()
        await self._has_moved.wait()

    def _values(self, request: Request) -> dict[str, str]:
        if request.ask == "config-set":
            return request.values
        before = self.live.config.durability.namespaces
        return {"namespaces": with_promise(before, request.values["prefix"], request.values["promise"])}

    async def _config_set(self, values: dict[str, str]) -> None:
        before = self.live.config
        after = changed(before, values.items())
        _check_contexts(after, values)
        if after.has_log and not self.node.log_directory:
            raise ConfigSetError(
                "ERR CONFIG SET failed (possibly related to argument 'namespaces') - this node keeps no log from its "
                "start on: see option ack"
            )
        if "maxclients" in values:
            self._allow_files(after.clients.maxclients + files_reserved(after))
        # In force before anyone is told: a worker that starts meanwhile gets it with its assignment.
        replaced = self._tls.replace(after) if after.tls.port != before.tls.port else None
        self._is_configured(after)
        refusals, late = await self._set_everywhere(values, after)
        if refusals:
            if replaced is not None:
                self._tls.put(before.tls.port, replaced).close()
            self._is_configured(before)
            await self._broadcast({name: before.text(name) for name in values})
            raise ConfigSetError(refusals[0])
        if replaced is not None:
            replaced.close()
        if TLS_OPTIONS & values.keys() and self.admin is not None:
            await self.admin.renew(after)
        self.live.was_set(values)
        logs.set_level(after.log.loglevel)
        self._listeners.set_keepalive(after.network.tcp_keepalive)
        if "namespaces" in values:
            _keep_namespaces(after)
        if late is not None:
            raise late

    def _is_configured(self, config: Config) -> None:
        self.live.config = config
        ports = {"tls_port": config.tls.port, "tls_worker_ports": tuple(self._listeners.tls.own_ports)}
        self.node = self.node.model_copy(update=ports)

    async def _set_everywhere(self, values: dict[str, str], config: Config) -> tuple[list[str], UsersLateError | None]:
        """Has all children set options, and the workers the password among them: why not, or why somewhere later."""
        refusals = await self._broadcast(values)
        if refusals or "requirepass" not in values:
            return refusals, None
        rules = password_rules(config.clients.requirepass)
        try:
            await self._change_users(UsersChange(name="set", arguments=(b"default", *rules)), is_password=True)
        except UsersLateError as late:
            return [], late
        except UsersChangeError as refused:
            return [str(refused)], None
        return [], None

    async def _broadcast(self, values: dict[str, str]) -> list[str]:
        number = next(self._numbers)
        told = [child.set_options(number, values) for child in self._children if child.stage is not Stage.SPARE]
        return [error for error in await asyncio.gather(*told) if error is not None]

    async def _change_users(self, change: UsersChange, *, is_password: bool = False) -> int:
        """Has all workers make the same change; how many users were removed.

        That of requirepass stands in the file as that, where no users stand there.
        """
        told = self._workers_at_work()
        answers = await asyncio.gather(*(child.change_users(next(self._numbers), change) for child in told))
        made = [answer for answer in answers if answer is not None]
        for answer in made:
            if answer.error is not None:
                raise UsersChangeError(answer.error)
        pairs = zip(told, answers, strict=True)
        silent = [child.name for child, answer in pairs if answer is None and child.alive]
        if not made and not silent:
            raise UsersChangeError("ERR no worker is there to change the users")
        if self._users.file is None and (self.live.has_users or not is_password):
            self.live.users_changed(self._users.lines)
        # Whoever began meanwhile has the users of before.
        await self._load_users([child for child in self._workers_at_work() if child not in told])
        if silent:
            raise UsersLateError(
                f"ERR {', '.join(silent)} did not answer for {ANSWER_TIMEOUT_S:.0f} s, and makes the change later"
            )
        return made[0].removed

    async def _load_users(self, children: list[Child]) -> None:
        lines = UsersChange(name="load", arguments=(b"\n".join(self._users.lines), b"users"))
        await asyncio.gather(*(child.change_users(next(self._numbers), lines) for child in children))

    async def _spread_users(self) -> None:
        """Gives all workers the users of one that has made a change late."""
        async with self._config_lock:
            if self.live.has_changed_users:
                self.live.users_changed(self._users.lines)
            await self._load_users(self._workers_at_work())

    def _workers_at_work(self) -> list[Child]:
        return [child for child, role in self._children.items() if isinstance(role, WorkerRole)]

    def _allow_files(self, wanted: int) -> None:
        # New processes inherit the supervisor's limit.
        for pid in (0, *(child.pid for child in self._children)):
            if raise_files_limit(pid, wanted) < wanted:
                raise ConfigSetError(
                    "ERR CONFIG SET failed (possibly related to argument 'maxclients') - "
                    f"this system does not allow the {wanted} open files that it needs"
                )

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._background_done)

    def _background_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task of the supervisor failed", exc_info=error)
            self._failure = self._failure or f"the supervisor failed: {error}"
            self._happened.set()


def _check_contexts(config: Config, values: dict[str, str]) -> None:
    """Refuses what TLS cannot be spoken with, where one of its options is set."""
    named = {"tls-port", *TLS_OPTIONS} & values.keys()
    if not named:
        return
    try:
        contexts(config)
    except ConfigError as refused:
        raise ConfigSetError(
            f"ERR CONFIG SET failed (possibly related to argument '{min(named)}') - {refused}"
        ) from None


def _keep_namespaces(config: Config) -> None:
    """Keeps them for the next start; a disk that is full is no reason to end the node."""
    try:
        keep_namespaces(config.directory, config.durability.namespaces)
    except OSError as error:
        raise ConfigSetError(
            f"ERR the change is made, but would not survive a restart: {error.strerror or error}"
        ) from None


def install_signals(supervisor: Supervisor) -> None:
    """SIGTERM, SIGINT and the loss of the terminal end the node in good order."""
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(signal_number, supervisor.ask_to_stop)
