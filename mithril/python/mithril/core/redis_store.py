"""Objects in Yggdrasil or Redis, as strings.

A value begins with a header of 24 bytes: `MTS1`, four zero bytes, eight random bytes (the version), and the time of
writing in nanoseconds (little endian). It makes versions comparable and a repeated write recognisable.
"""

import contextlib
import importlib
import secrets
import struct
import time
from collections.abc import Iterator, Sequence
from typing import IO, Any
from urllib.parse import parse_qs, unquote, urlsplit

from mithril.core.config import CoreSettings
from mithril.core.errors import (
    AccessError,
    ChangedError,
    ConfigError,
    DamagedError,
    ExistsError,
    FullError,
    MissingExtraError,
    NotFoundError,
    StoreError,
    UnavailableError,
)
from mithril.core.store import Condition, Data, ObjectInfo, SpooledWriter, Store, Writer

_HEADER = struct.Struct("<4s4x8sQ")
_MAGIC = b"MTS1"
_SCAN_COUNT = 1000
# Values from this size on are sent in pieces where the server takes them.
_STREAM_BYTES_MIN = 8 << 20
_PORT = 6379


class RedisStore(Store):
    """A store on Yggdrasil (ygg://HOST:PORT/PREFIX) or Redis (redis://HOST:PORT/DB/PREFIX, rediss:// with TLS).

    On the machine of the node, `ygg://HOST:PORT/PREFIX?near=/path/of/near.sock` reads from the node's memory.
    """

    schemes = ("ygg", "redis", "rediss")
    expires = True

    def __init__(self, url: str, settings: CoreSettings) -> None:
        parts = urlsplit(url)
        shown = parts.netloc.rpartition("@")[2]
        super().__init__(f"{parts.scheme}://{shown}{parts.path}", settings)
        database, self._prefix = _database_and_prefix(url)
        self._streams = parts.scheme == "ygg"
        self._client: Any = _client_class(parts.scheme)(
            host=parts.hostname or "localhost",
            port=parts.port or _PORT,
            db=database,
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            ssl=parts.scheme == "rediss",
            socket_timeout=settings.timeout_s,
            socket_connect_timeout=settings.connect_timeout_s,
            retry=_retry(settings.retries),
        )
        self._exceptions = importlib.import_module("redis.exceptions")
        self._errors_of_values = _errors_of_values() if self._streams else ()
        self._near = _nearby(url, self._client)

    @property
    def client(self) -> Any:
        """The client of redis-py, for what a store does not do."""
        return self._client

    @property
    def prefix(self) -> str:
        """The prefix of all keys."""
        return self._prefix

    def errors(self, key: str) -> contextlib.AbstractContextManager[None]:
        """Turns errors of the client into those of stores."""
        return self._errors(key)

    def _name(self, key: str) -> str:
        return f"{self._prefix}{key}"

    def _get(self, key: str) -> bytes:
        near = self._read_near(key, None)
        if near is not None:
            self._info(key, near[0], 0)
            return near[1]
        with self._errors(key):
            value = self._client.get(self._name(key))
        if value is None:
            raise NotFoundError("there is no such object", self.url_of(key))
        self._info(key, value[: _HEADER.size], len(value))
        return bytes(memoryview(value)[_HEADER.size :])

    def _get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        if not keys:
            return {}
        with self._errors(keys[0]):
            values = self._client.mget([self._name(key) for key in keys])
        found = {}
        for key, value in zip(keys, values, strict=True):
            if value is not None:
                self._info(key, value[: _HEADER.size], len(value))
                found[key] = bytes(memoryview(value)[_HEADER.size :])
        return found

    def _get_ranges(self, key: str, ranges: Sequence[tuple[int, int]], version: str | None) -> list[bytes]:
        near = self._read_near(key, ranges)
        answers = near if near is not None else self._ask_ranges(key, ranges)
        header, found = answers[0], answers[1:]
        info = self._info(key, header, 0)
        if version is not None and info.version != version:
            raise ChangedError("the object has changed since it was opened; open it again", self.url_of(key))
        return found

    def _read_near(self, key: str, ranges: Sequence[tuple[int, int]] | None) -> list[bytes] | None:
        """The header and parts of a value (all after the header without `ranges`), or nothing to be asked otherwise."""
        view = self._near.view(self._name(key)) if self._near is not None else None
        if view is None:
            return None
        head = _HEADER.size
        try:
            with view:
                memory = view.memory
                spans = [(0, len(memory))] if ranges is None else ranges
                parts = [bytes(memory[head + start : head + start + length]) for start, length in spans]
                return [bytes(memory[:head]), *parts]
        except importlib.import_module("yggdrasil.client.near").NearError:
            # The node has taken the memory back meanwhile.
            return None

    def _ask_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        name = self._name(key)
        with self._errors(key), self._client.pipeline(transaction=True) as pipe:
            pipe.getrange(name, 0, _HEADER.size - 1)
            for start, length in ranges:
                # An empty range has no expression in GETRANGE: its end would lie before its start.
                end = start + _HEADER.size + length - 1
                pipe.getrange(name, start + _HEADER.size, end) if length else pipe.getrange(name, 1, 0)
            answers: list[bytes] = pipe.execute()
        return answers

    def _head(self, key: str) -> ObjectInfo:
        with self._errors(key), self._client.pipeline(transaction=True) as pipe:
            header, size = pipe.getrange(self._name(key), 0, _HEADER.size - 1).strlen(self._name(key)).execute()
        return self._info(key, header, size)

    def _put(self, key: str, data: Data, condition: Condition, ttl: float | None) -> ObjectInfo:
        header, info = _new_header(key, memoryview(data).nbytes)
        if self._streams and info.size >= _STREAM_BYTES_MIN and not condition:
            with self._errors(key):
                self._client.put_stream(self._name(key), [header, data], size=info.size + len(header), px=_px(ttl))
            return info
        value = b"".join((header, data))
        with self._errors(key):
            if condition.version is not None:
                self._replace_version(key, value, condition.version, ttl)
            elif not self._client.set(self._name(key), value, nx=condition.absent, px=_px(ttl)):
                self._accept_own(key, header, ExistsError("there is such an object already", self.url_of(key)))
        return info

    def _replace_version(self, key: str, value: bytes, version: str, ttl: float | None) -> None:
        name = self._name(key)
        changed = ChangedError("the object is not of the expected version", self.url_of(key))
        with self._client.pipeline(transaction=True) as pipe:
            pipe.watch(name)
            found = pipe.getrange(name, 0, _HEADER.size - 1)
            if not found or self._info(key, found, 0).version != version:
                pipe.unwatch()
                self._accept_own(key, value[: _HEADER.size], changed)
                return
            pipe.multi()
            pipe.set(name, value, px=_px(ttl))
            try:
                pipe.execute()
            except self._exceptions.WatchError:
                raise changed from None

    def _accept_own(self, key: str, header: bytes, refusal: StoreError) -> None:
        # The client repeats a write whose answer was lost: what is there may be this very write.
        if self._client.getrange(self._name(key), 0, _HEADER.size - 1) != header:
            raise refusal

    def _put_file(self, key: str, file: IO[bytes], size: int, condition: Condition, ttl: float | None) -> ObjectInfo:
        if not self._streams or condition or size < _STREAM_BYTES_MIN:
            return self._put(key, file.read(), condition, ttl)
        header, info = _new_header(key, size)
        with self._errors(key):
            self._client.put_stream(self._name(key), _pieces(header, file), size=size + len(header), px=_px(ttl))
        return info

    def _list(self, folder: str) -> Iterator[ObjectInfo]:
        within = self._name(f"{folder}/" if folder else "")
        cursor = -1
        while cursor != 0:
            with self._errors(folder or "."):
                cursor, names = self._client.scan(max(cursor, 0), match=f"{_escaped(within)}*", count=_SCAN_COUNT)
                with self._client.pipeline(transaction=False) as pipe:
                    for name in names:
                        pipe.getrange(name, 0, _HEADER.size - 1).strlen(name)
                    answers = pipe.execute()
            for name, header, size in zip(names, answers[::2], answers[1::2], strict=True):
                # A key may go between SCAN and this, and others may use the same prefix.
                if header[: len(_MAGIC)] == _MAGIC:
                    yield self._info(name.decode()[len(self._prefix) :], header, size)

    def _delete(self, keys: Sequence[str]) -> None:
        if keys:
            with self._errors(keys[0]):
                self._client.unlink(*map(self._name, keys))

    def _pin(self, keys: Sequence[str], seconds: float) -> int:
        if not self._streams or not keys:
            return 0
        with self._errors(keys[0]):
            return int(self._client.pin(*map(self._name, keys), px=_px(seconds)))

    def _open_writer(self, key: str, condition: Condition, ttl: float | None) -> Writer:
        return SpooledWriter(self, key, condition, ttl)

    def close(self) -> None:
        """Gives connections back."""
        self._client.close()

    def _info(self, key: str, header: bytes, size: int) -> ObjectInfo:
        if not header:
            raise NotFoundError("there is no such object", self.url_of(key))
        if len(header) < _HEADER.size or header[: len(_MAGIC)] != _MAGIC:
            raise DamagedError(f"{self.url_of(key)}: this value was not written by Mithril; use a prefix of its own")
        _, version, modified = _HEADER.unpack(header)
        return ObjectInfo(key, max(size - _HEADER.size, 0), version.hex(), modified / 1e9)

    @contextlib.contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except self._exceptions.RedisError as error:
            raise self._mapped(error, self.url_of(key)) from error
        except self._errors_of_values as error:
            if isinstance(error, LookupError):
                raise NotFoundError("there is no such key", self.url_of(key)) from error
            raise ChangedError("the value has changed while it was read; start again", self.url_of(key)) from error
        except OSError as error:
            raise UnavailableError(str(error), self.url_of(key)) from error

    def _mapped(self, error: Exception, url: str) -> StoreError:
        text = str(error)
        code = text.split(" ", 1)[0]
        known = self._exceptions
        if isinstance(error, known.AuthenticationError | known.NoPermissionError) or code in ("NOAUTH", "WRONGPASS"):
            return AccessError(f"{text}; check user and password in the URL", url)
        if isinstance(error, known.OutOfMemoryError) or code == "OOM" or "maxmemory" in text:
            return FullError(text, url)
        if isinstance(error, known.ConnectionError | known.TimeoutError) or code in ("LOADING", "MOVED", "CLUSTERDOWN"):
            return UnavailableError(text, url)
        return StoreError(text, url)


def _retry(retries: int) -> Any:
    module = importlib.import_module("redis.retry")
    backoff = importlib.import_module("redis.backoff")
    return module.Retry(backoff.ExponentialWithJitterBackoff(base=0.05, cap=1.0), retries)


def _client_class(scheme: str) -> Any:
    if scheme == "ygg":
        try:
            from yggdrasil.client import Client  # noqa: PLC0415
        except ImportError:
            raise MissingExtraError("ygg://", "yggdrasil", "yggdrasil") from None
        return Client
    try:
        return importlib.import_module("redis").Redis
    except ImportError:
        raise MissingExtraError(f"{scheme}://", "redis", "redis") from None


def _errors_of_values() -> tuple[type[Exception], ...]:
    """The errors of Yggdrasil's client about values that it streams: they are no errors of redis-py."""
    from yggdrasil.client.errors import MissingKeyError, StaleValueError  # noqa: PLC0415

    return MissingKeyError, StaleValueError


def _nearby(url: str, client: Any) -> Any:
    """The reader of the node's memory that a URL asks for, or nothing."""
    parts = urlsplit(url)
    path = parse_qs(parts.query).get("near", [""])[0]
    if not path:
        return None
    if parts.scheme != "ygg":
        raise ConfigError(f"{url}: near is for ygg:// only")
    from yggdrasil.client.nearby import nearby_of  # noqa: PLC0415

    return nearby_of(client, f"unix://{path}")


def _database_and_prefix(url: str) -> tuple[int, str]:
    parts = urlsplit(url)
    path = unquote(parts.path).strip("/")
    database = parse_qs(parts.query).get("db", ["0"])[0]
    first, _, rest = path.partition("/")
    if parts.scheme != "ygg" and first.isdigit():
        database, path = first, rest
    if not database.isdigit():
        raise ConfigError(f"{url}: db is the number of a database, not {database!r}")
    return int(database), f"{path}/" if path else ""


def _new_header(key: str, size: int) -> tuple[bytes, ObjectInfo]:
    version = secrets.token_bytes(8)
    modified = time.time_ns()
    return _HEADER.pack(_MAGIC, version, modified), ObjectInfo(key, size, version.hex(), modified / 1e9)


def _pieces(header: bytes, file: IO[bytes]) -> Iterator[bytes]:
    yield header
    while piece := file.read(1 << 20):
        yield piece


def _px(seconds: float | None) -> int | None:
    return None if seconds is None else max(1, int(seconds * 1000))


def _escaped(text: str) -> str:
    return "".join(f"\\{letter}" if letter in "*?[]\\" else letter for letter in text)
