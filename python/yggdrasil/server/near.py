"""The near socket: processes of this machine are given the shared memory, to read it by themselves.

A client sends one JSON object on a line: `{"version": 1, "username": ..., "password": ...}`, where the last two may be
left out. The answer is one line too: either `{"error": ...}`, or what the client has to know, together with
descriptors: one arena a shard, which can only be read, and then its own lease page. The connection stays open for as
long as it reads; when it ends, all leases of that page have ended.
"""

import asyncio
import contextlib
import hashlib
import hmac
import json
import os
import socket
import struct
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from yggdrasil._core import NEAR_PROTOCOL_VERSION, NodeShape, ReplyError, readable_prefixes
from yggdrasil.server.config import Config
from yggdrasil.server.config_rewrite import LiveConfig
from yggdrasil.server.guests import Guest, Guests, GuestsError
from yggdrasil.server.messages import NodeInfo, ShapeInfo
from yggdrasil.server.option import NearUser, parse_near_users
from yggdrasil.server.users import NodeUsers

log = structlog.stdlib.get_logger(__name__)

_REQUEST_BYTES_MAX = 4096
_REQUEST_TIMEOUT_S = 5.0
_LOOK_INTERVAL_S = 0.25
_CREDENTIALS = struct.Struct("3i")


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    version: int
    username: str | None = None
    password: str | None = None


class _RefusedError(Exception):
    """The client may not read; the message says why."""


class NearServer:
    """Runs beside the supervisor on its event loop."""

    def __init__(
        self,
        live: LiveConfig,
        node: NodeInfo,
        shape: ShapeInfo,
        arenas: Sequence[int],
        guests: Guests,
        users: NodeUsers,
    ) -> None:
        self._live = live
        self._node = node
        self._shape = shape
        self._guests = guests
        self._users = users
        # The open file says what may be done with it: these can be neither written nor mapped for writing.
        self._arenas = [os.open(f"/proc/self/fd/{arena}", os.O_RDONLY | os.O_CLOEXEC) for arena in arenas]
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, listener: socket.socket) -> None:
        """Begins to answer on a socket that listens already."""
        self._in_background(self._accept(listener))

    async def stop(self) -> None:
        """Ends all connections: nobody reads any more, or is told so."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for descriptor in self._arenas:
            os.close(descriptor)
        self._arenas.clear()

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task of the near socket failed", exc_info=error)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listener)
            except OSError as error:
                log.warning("a near reader could not be accepted", reason=str(error))
                await asyncio.sleep(_LOOK_INTERVAL_S)
                continue
            self._in_background(self._serve(connection))

    async def _serve(self, connection: socket.socket) -> None:
        with connection:
            connection.setblocking(False)
            try:
                pid, uid, _ = _CREDENTIALS.unpack(
                    connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
                )
                request = await self._request(connection)
                name, prefixes = _admitted(self._live.config, self._users, request, uid)
                version = self._users.version
                guest = await self._admit()
            except _RefusedError as refused:
                log.info("a near reader was refused", reason=str(refused))
                await _send(connection, {"error": str(refused)}, ())
                return
            except (OSError, TimeoutError):
                return
            try:
                log.info("a process reads the shared memory", pid=pid, uid=uid, user=request.username or "")
                await _send(connection, self._welcome(prefixes), [*self._arenas, guest.page.fileno()])
                await _until_gone(connection, pid, guest, lambda: self._has_other_rights(name, prefixes, version))
                if guest.page.overdue:
                    log.warning("a process was cut off: it held a value for too long that was gone", pid=pid)
            except (OSError, TimeoutError):
                pass
            finally:
                self._guests.dismiss(guest)

    def _has_other_rights(self, name: str | None, prefixes: tuple[str, ...] | None, version: int) -> bool:
        """Whether the user of a reader may read something else than when it came: then it has to come again."""
        if name is None or self._users.version == version:
            return False
        try:
            return _readable(self._users, name, None) != prefixes
        except _RefusedError:
            return True

    async def _request(self, connection: socket.socket) -> _Request:
        received = b""
        async with asyncio.timeout(_REQUEST_TIMEOUT_S):
            while b"\n" not in received:
                more = await asyncio.get_running_loop().sock_recv(connection, _REQUEST_BYTES_MAX)
                received += more
                if not more or len(received) > _REQUEST_BYTES_MAX:
                    raise _RefusedError("the request is not one line of JSON")
        try:
            request = _Request.model_validate_json(received)
        except ValidationError:
            raise _RefusedError("the request is not one line of JSON") from None
        if request.version != NEAR_PROTOCOL_VERSION:
            raise _RefusedError(f"version {request.version} is not known here, only {NEAR_PROTOCOL_VERSION}")
        return request

    async def _admit(self) -> Guest:
        config = self._live.config
        if len(self._guests) >= config.near.readers_max:
            raise _RefusedError(f"{config.near.readers_max} processes read already (option near-readers-max)")
        try:
            return await self._guests.admit(config.near.leases_max)
        except GuestsError as error:
            raise _RefusedError(str(error)) from None

    def _welcome(self, prefixes: tuple[str, ...] | None) -> dict[str, object]:
        shape, config = self._shape, self._live.config
        native = NodeShape(**shape.model_dump())
        return {
            "version": NEAR_PROTOCOL_VERSION,
            "node": {"version": self._node.version, "run_id": self._node.run_id},
            "shape": {
                "shards": shape.shards,
                "arena_bytes": shape.arena_bytes,
                "databases": shape.databases,
                "hash_seed": shape.hash_seed,
                "slots": [native.slots_of_shard(shard) for shard in range(shape.shards)],
            },
            "leases_max": config.near.leases_max,
            "lease_age_s": config.near.lease_age,
            "prefixes": prefixes,
        }


def _admitted(
    config: Config, users: NodeUsers, request: _Request, uid: int
) -> tuple[str | None, tuple[str, ...] | None]:
    """The user of the node that a client is, if it is none of near-users, and what the keys may begin with."""
    near_users = parse_near_users(config.near.users)
    given = request.password
    if given is None:
        if near_users or not users.is_open:
            raise _RefusedError("a user and a password are needed")
        if uid not in (os.getuid(), 0):
            raise _RefusedError("only the user that the node runs as may read without a password")
        return "default", _readable(users, "default", None)
    near_user = near_users.get(request.username or "")
    if near_user is not None and _fits(near_user, given):
        return None, near_user.prefixes
    name = request.username or "default"
    if name == "default" and users.is_open:
        # Any password would do, so this one says nothing.
        raise _RefusedError("wrong user or password")
    return name, _readable(users, name, given)


def _readable(users: NodeUsers, name: str, password: str | None) -> tuple[str, ...] | None:
    """What a user of the node may read, as far as beginnings of keys say it; None for all keys."""
    word = None if password is None else password.encode()
    try:
        prefixes = readable_prefixes(b"\n".join(users.lines), name.encode(), word)
    except ReplyError as error:
        raise _RefusedError(str(error)) from None
    if prefixes is None:
        return None
    found = tuple(prefix.decode() for prefix in prefixes if _is_text(prefix))
    if not found:
        raise _RefusedError(f"user {name} has no rule such as %R~prefix* that lets it read keys by their beginning")
    return found


def _is_text(prefix: bytes) -> bool:
    try:
        prefix.decode()
    except UnicodeDecodeError:
        return False
    return True


def _fits(user: NearUser, given: str) -> bool:
    if user.token.startswith("#"):
        return hmac.compare_digest(f"#{hashlib.sha256(given.encode()).hexdigest()}", user.token)
    return hmac.compare_digest(given.encode(), user.token.encode())


async def _send(connection: socket.socket, answer: dict[str, object], descriptors: Sequence[int]) -> None:
    """One line, with descriptors. What is sent first on a connection always has room."""
    payload = json.dumps(answer).encode() + b"\n"
    sent = socket.send_fds(connection, [payload], list(descriptors))
    async with asyncio.timeout(_REQUEST_TIMEOUT_S):
        await asyncio.get_running_loop().sock_sendall(connection, payload[sent:])


async def _until_gone(connection: socket.socket, pid: int, guest: Guest, is_over: Callable[[], bool]) -> None:
    """Until the connection or the process that opened it has ended, or it was cut off, or may go on no longer.

    A process may end without its connection: children that it forked have it too.
    """
    gone = asyncio.Event()
    with contextlib.ExitStack() as stack:
        _watch(stack, os.dup(connection.fileno()), gone)
        # A process of another PID namespace has no number here.
        if pid > 0:
            with contextlib.suppress(OSError):
                _watch(stack, os.pidfd_open(pid), gone)
        while not gone.is_set() and not guest.page.overdue and not is_over():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_INTERVAL_S):
                    await gone.wait()


def _watch(stack: contextlib.ExitStack, descriptor: int, gone: asyncio.Event) -> None:
    """Sets `gone` when there is something to read: clients say nothing more, so that is the end."""
    stack.callback(os.close, descriptor)
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, gone.set)
    stack.callback(loop.remove_reader, descriptor)
