"""Sources of keys, streams and channels of Yggdrasil or Redis."""

from collections.abc import Iterator, Sequence
from typing import Any

from mithril.core.config import CoreSettings, load
from mithril.core.redis_store import RedisStore
from mithril.pipeline.errors import SourceError
from mithril.pipeline.stages import IndexedSource, Source

_CHUNK = 64
_PAGE = 512
_SCAN = 1000
_PIECE_BYTES = 1 << 20


def connected(url: str) -> RedisStore:
    """A connection to ygg://HOST:PORT or redis://HOST:PORT/DB; a path behind it is a prefix of keys."""
    if url.partition("://")[0] not in RedisStore.schemes:
        raise SourceError(f"{url}: keys are at ygg://, redis:// or rediss://")
    return RedisStore(url, load(CoreSettings).settings)


class KeySource(IndexedSource):
    """A source of string values: dictionaries of `key` and `value`, in the order of the keys.

    `keys` names them, or all under the prefix that the URL has are taken, as they are now.
    """

    def __init__(self, url: str, keys: Sequence[str] | None = None, *, chunk: int = _CHUNK) -> None:
        if chunk < 1:
            raise SourceError(f"chunk is at least 1, not {chunk}")
        self._store = connected(url)
        self._chunk = chunk
        self._keys = self._found() if keys is None else [f"{self._store.prefix}{key}".encode() for key in keys]

    def __len__(self) -> int:
        """The number of chunks."""
        return (len(self._keys) + self._chunk - 1) // self._chunk

    def read(self, index: int) -> list[dict[str, Any]]:
        """Some of the values."""
        keys = self._keys[index * self._chunk : (index + 1) * self._chunk]
        with self._store.errors(""):
            values = self._store.client.mget(keys)
        missing = [key for key, value in zip(keys, values, strict=True) if value is None]
        if missing:
            raise SourceError(f"{self.place(index)}: {missing[0].decode(errors='replace')} is gone, or is no string")
        names = [key[len(self._store.prefix.encode()) :].decode("utf-8", "surrogateescape") for key in keys]
        return [{"key": name, "value": value} for name, value in zip(names, values, strict=True)]

    def place(self, index: int) -> str:
        """Names the first key."""
        return f"{self._store.url} key {self._keys[index * self._chunk].decode(errors='replace')}"

    def size_hint(self) -> int:
        """The number of keys."""
        return len(self._keys)

    def _found(self) -> list[bytes]:
        prefix = self._store.prefix
        escaped = "".join(f"\\{letter}" if letter in "*?[]\\" else letter for letter in prefix)
        with self._store.errors(""):
            return sorted(self._store.client.scan_iter(match=f"{escaped}*", count=_SCAN, _type="string"))


class ValueSource(Source):
    """A source of long values in pieces, as they are streamed: dictionaries of `key`, `offset` and `data`.

    Yggdrasil sends a value by GET_STREAM, all pieces of one version; one that changes meanwhile is an error. Redis
    sends ranges of it.
    """

    def __init__(self, url: str, *keys: str, chunk_bytes: int = _PIECE_BYTES) -> None:
        if not keys:
            raise SourceError(f"{url}: name at least one key")
        if chunk_bytes < 1:
            raise SourceError(f"chunk_bytes is at least 1, not {chunk_bytes}")
        self._store = connected(url)
        self._keys = keys
        self._chunk_bytes = chunk_bytes
        self._pieces: Iterator[dict[str, Any]] = iter(())
        self._at = ""

    def reset(self, epoch: int) -> None:
        """Goes to the first piece of the first value."""
        self._pieces = self._read()

    def next_batch(self) -> Sequence[dict[str, Any]] | None:
        """The next piece."""
        piece = next(self._pieces, None)
        return None if piece is None else [piece]

    def place(self) -> str:
        """The key."""
        return f"{self._store.url} key {self._at}"

    def _read(self) -> Iterator[dict[str, Any]]:
        for key in self._keys:
            self._at, offset = f"{self._store.prefix}{key}", 0
            with self._store.errors(key):
                for data in self._parts(self._at):
                    yield {"key": key, "offset": offset, "data": data}
                    offset += len(data)

    def _parts(self, name: str) -> Iterator[bytes]:
        client = self._store.client
        if hasattr(client, "stream"):
            yield from client.stream(name, chunk_size=self._chunk_bytes)
            return
        size = client.strlen(name)
        if not size and not client.exists(name):
            raise SourceError(f"{self.place()}: there is no such key")
        for start in range(0, size, self._chunk_bytes):
            yield client.getrange(name, start, start + self._chunk_bytes - 1)


class StreamSource(Source):
    """A source of the entries of a stream: dictionaries of `id` and `fields`, from `first` to `last`."""

    def __init__(self, url: str, stream: str, *, first: str = "-", last: str = "+") -> None:
        self._store = connected(url)
        self._key = stream
        self._stream = f"{self._store.prefix}{stream}"
        self._first, self._last = first, last
        self._next = first

    def reset(self, epoch: int) -> None:
        """Goes to the first entry."""
        self._next = self._first

    def next_batch(self) -> Sequence[dict[str, Any]] | None:
        """The next entries."""
        with self._store.errors(self._key):
            entries = self._store.client.xrange(self._stream, self._next, self._last, count=_PAGE)
        if not entries:
            return None
        self._next = f"({entries[-1][0].decode()}"
        return [{"id": number.decode(), "fields": _decoded(fields)} for number, fields in entries]

    def place(self) -> str:
        """The stream and the position."""
        return f"{self._store.url} stream {self._stream} from {self._next}"


class ChannelSource(Source):
    """A source of messages of channels: dictionaries of `channel` and `data`.

    It ends after `count` messages, or when none came for `idle_s` seconds. Messages come once: a run that goes on gets
    those of its time, and `state_dict` does not bring back earlier ones.
    """

    def __init__(self, url: str, *channels: str, count: int | None = None, idle_s: float | None = None) -> None:
        if not channels:
            raise SourceError(f"{url}: name at least one channel")
        self._store = connected(url)
        self._channels = channels
        self._count = count
        self._idle_s = idle_s
        self._messages: Iterator[dict[str, Any]] = iter(())

    def reset(self, epoch: int) -> None:
        """Subscribes; what is published from now on comes."""
        with self._store.errors(""):
            listener = self._store.client.pubsub(ignore_subscribe_messages=True)
            listener.subscribe(*self._channels)
            # The subscription counts when it has been answered.
            for _ in self._channels:
                listener.get_message(timeout=self._store.settings.timeout_s)
        self._messages = self._read(listener)

    def next_batch(self) -> Sequence[dict[str, Any]] | None:
        """The next message."""
        message = next(self._messages, None)
        return None if message is None else [message]

    def place(self) -> str:
        """The channels."""
        return f"{self._store.url} channels {', '.join(self._channels)}"

    def _read(self, listener: Any) -> Iterator[dict[str, Any]]:
        taken = 0
        with listener, self._store.errors(""):
            while self._count is None or taken < self._count:
                message = listener.get_message(timeout=self._idle_s)
                if message is None:
                    return
                taken += 1
                yield {"channel": message["channel"].decode(), "data": message["data"]}


def _decoded(fields: dict[bytes, bytes]) -> dict[str, bytes]:
    return {name.decode("utf-8", "surrogateescape"): value for name, value in fields.items()}
