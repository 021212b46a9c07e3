"""MIGRATE: keys go to another node, or to a Redis, by DUMP here and RESTORE there."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING

from yggdrasil._core import ReplyError, YggdrasilError
from yggdrasil.protocol.command import command
from yggdrasil.protocol.node import CommandContext
from yggdrasil.protocol.reply import OK, Reply, integer, syntax_error, text

if TYPE_CHECKING:
    import ssl

_TIMEOUT_DEFAULT_MS = 1000
_BATCH_BYTES = 4 * 1024 * 1024
_BATCH_KEYS = 64
_REPLY_BYTES_MAX = 64 * 1024


@dataclass(frozen=True, slots=True)
class _Order:
    """What is to be moved, and where to."""

    host: str
    port: int
    db: int
    timeout_s: float
    keys: Sequence[bytes]
    keeps: bool = False
    replaces: bool = False
    login: tuple[bytes, ...] = field(default=(), repr=False)


@command(
    "migrate",
    arity=-6,
    flags=("write", "movablekeys", "dangerous"),
    group="generic",
    summary="Moves keys to another node or to a Redis, or copies them there. Who uses their shards waits meanwhile.",
    since="2.6.0",
    complexity="That of DUMP and DEL here and of RESTORE there, and O(N) for N bytes that travel.",
    syntax='host port <key | ""> destination-db timeout [COPY] [REPLACE] [AUTH password | AUTH2 username password] '
    "[KEYS key [key ...]]",
    tips=("nondeterministic_output",),
    migrated_keys=True,
    key_uses=(("RW", "access", "delete"),),
    atomic=True,
)
async def migrate(ctx: CommandContext, args: list[bytes]) -> Reply:
    """A key is deleted here when it is there; an error tells of the first that is not."""
    order = _parse(args)
    found = [key for key in order.keys if await ctx.execute(b"EXISTS", key, as_node=True)]
    if not found:
        return "NOKEY"
    try:
        context = ctx.services.migration_context()
    except YggdrasilError as error:
        raise ReplyError(f"ERR {error}") from None
    async with _connected(order, context) as target:
        await target.log_in()
        for start in range(0, len(found), _BATCH_KEYS):
            await _send(ctx, target, order, found[start : start + _BATCH_KEYS])
    if target.error is not None:
        raise target.error
    return OK


def _parse(args: list[bytes]) -> _Order:
    host, port, key, db, timeout = args[:5]
    timeout_ms = integer(timeout)
    order = _Order(
        host=text(host),
        port=integer(port, "ERR Invalid TCP port number"),
        db=integer(db),
        timeout_s=(timeout_ms if timeout_ms > 0 else _TIMEOUT_DEFAULT_MS) / 1000,
        keys=[key],
    )
    options = iter(args[5:])
    for option in options:
        match option.upper():
            case b"COPY":
                order = replace(order, keeps=True)
            case b"REPLACE":
                order = replace(order, replaces=True)
            case b"AUTH":
                order = replace(order, login=_next(options, 1))
            case b"AUTH2":
                order = replace(order, login=_next(options, 2))
            case b"KEYS":
                if key:
                    raise ReplyError(
                        "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string"
                    )
                order = replace(order, keys=list(options))
            case _:
                raise syntax_error()
    if not 0 < order.port < 65536:
        raise ReplyError("ERR Invalid TCP port number")
    return order


def _next(options: Iterator[bytes], count: int) -> tuple[bytes, ...]:
    found = tuple(islice(options, count))
    if len(found) < count:
        raise syntax_error()
    return found


class _Target:
    """A connection to where the keys go."""

    def __init__(self, order: _Order, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._order = order
        self._reader = reader
        self._writer = writer
        self.error: ReplyError | None = None
        """The first error that was answered to a key."""

    async def log_in(self) -> None:
        """Says who asks, and chooses the database."""
        if self._order.login:
            await self.ask([b"AUTH", *self._order.login])
        await self.ask([b"SELECT", b"%d" % self._order.db])

    async def ask(self, request: Sequence[bytes]) -> None:
        """Sends one request; an error that is answered ends all."""
        await self.send([request])
        if error := await self.answer():
            raise error

    async def send(self, requests: Sequence[Sequence[bytes]]) -> None:
        """Sends requests, whose answers are to be read in their order."""
        try:
            for request in requests:
                self._writer.write(b"*%d\r\n" % len(request))
                for part in request:
                    self._writer.writelines((b"$%d\r\n" % len(part), part, b"\r\n"))
            async with asyncio.timeout(self._order.timeout_s):
                await self._writer.drain()
        except (OSError, RuntimeError, TimeoutError):
            # The loop's transport says by a RuntimeError that it is closed.
            raise ReplyError("IOERR error or timeout writing to target instance") from None

    async def answer(self) -> ReplyError | None:
        """The next answer, if it is an error."""
        try:
            async with asyncio.timeout(self._order.timeout_s):
                line = await self._reader.readline()
        except (OSError, TimeoutError, ValueError):
            line = b""
        if not line.endswith(b"\r\n"):
            raise ReplyError("IOERR error or timeout reading from target instance")
        if line.startswith(b"-"):
            return ReplyError(f"ERR Target instance replied with error: {line[1:-2].decode('utf-8', 'replace')}")
        return None


@asynccontextmanager
async def _connected(order: _Order, context: "ssl.SSLContext | None") -> AsyncIterator[_Target]:
    try:
        async with asyncio.timeout(order.timeout_s):
            reader, writer = await asyncio.open_connection(order.host, order.port, limit=_REPLY_BYTES_MAX, ssl=context)
    except TimeoutError:
        raise ReplyError("IOERR error or timeout connecting to the client") from None
    except OSError:
        # Redis writes before it knows that nobody is there.
        raise ReplyError("IOERR error or timeout writing to target instance") from None
    try:
        yield _Target(order, reader, writer)
    finally:
        writer.transport.abort()


async def _send(ctx: CommandContext, target: _Target, order: _Order, keys: Sequence[bytes]) -> None:
    """Moves some keys: as many as fit into the memory that a batch may take, and then the next."""
    sent: list[bytes] = []
    requests: list[list[bytes]] = []
    size = 0
    for key in keys:
        payload = await ctx.execute(b"DUMP", key, as_node=True)
        ttl_ms = await ctx.execute(b"PTTL", key, as_node=True)
        if payload is None or ttl_ms == -2:
            # Its time is over.
            continue
        ttl_ms = 0 if ttl_ms == -1 else max(ttl_ms, 1)
        request = [b"RESTORE", key, b"%d" % ttl_ms, payload]
        requests.append([*request, b"REPLACE"] if order.replaces else request)
        sent.append(key)
        size += len(payload)
        if size >= _BATCH_BYTES:
            await _deliver(ctx, target, order, sent, requests)
            sent, requests, size = [], [], 0
    await _deliver(ctx, target, order, sent, requests)


async def _deliver(
    ctx: CommandContext, target: _Target, order: _Order, keys: list[bytes], requests: list[list[bytes]]
) -> None:
    if not keys:
        return
    await target.send(requests)
    for key in keys:
        error = await target.answer()
        if error is not None:
            target.error = target.error or error
        elif not order.keeps:
            await ctx.execute(b"DEL", key, as_node=True)
