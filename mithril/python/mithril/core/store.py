"""Storage: one interface to folders, memory, object stores, Yggdrasil and Redis, opened by URL."""

import abc
import contextlib
import importlib
import io
import tempfile
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from types import TracebackType
from typing import IO, ClassVar, ParamSpec, Self, TypeVar
from urllib.parse import urlsplit

from mithril.core.config import CoreSettings, load
from mithril.core.errors import ConfigError, KeyNameError, NotFoundError

P = ParamSpec("P")
T = TypeVar("T")
Data = bytes | bytearray | memoryview
KEY_BYTES_MAX = 900
PART_BYTES_MAX = 200
SPOOL_BYTES_MAX = 32 << 20
# `Store.list` hides the builtin inside the class.
_Parts = list[bytes]
_PATTERN = frozenset("*?[")
RESERVED_PREFIX = ".mithril-"

# The backend of each scheme: module and class, imported when a URL asks for it.
_BACKENDS: dict[str, tuple[str, str]] = {
    "file": ("mithril.core.file_store", "FileStore"),
    "memory": ("mithril.core.memory_store", "MemoryStore"),
    "s3": ("mithril.core.object_store", "ObjectStore"),
    "gs": ("mithril.core.object_store", "ObjectStore"),
    "az": ("mithril.core.object_store", "ObjectStore"),
    "ygg": ("mithril.core.redis_store", "RedisStore"),
    "redis": ("mithril.core.redis_store", "RedisStore"),
    "rediss": ("mithril.core.redis_store", "RedisStore"),
}


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """Facts about one version of an object."""

    key: str
    size: int
    version: str
    """An opaque name of this version, for `if_version`."""
    modified: float
    """Unix time in seconds."""


_Infos = list[ObjectInfo]


class Reader(io.RawIOBase):
    """A seekable reader of one version of an object. `info` says which."""

    info: ObjectInfo

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes."""
        return super().read(self._at_most(size)) or b""

    def _at_most(self, size: int) -> int:
        """The size of a read as far as there are bytes: damaged data may ask for any, which would be allocated."""
        return size if size < 0 else min(size, max(self.info.size - self.tell(), 0))


class Writer(abc.ABC):
    """A writer of an object that nobody sees before it is complete.

    Leaving a `with` block commits; an exception in it aborts, and leaves the object as it was.
    """

    info: ObjectInfo | None = None

    @abc.abstractmethod
    def write(self, data: Data) -> None:
        """Appends to the object."""

    @abc.abstractmethod
    def commit(self) -> ObjectInfo:
        """Makes the object visible, whole."""

    @abc.abstractmethod
    def abort(self) -> None:
        """Drops what was written."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.info = self.commit()
        else:
            self.abort()


class Batch:
    """Puts that are durable and visible when `commit` returns; some may be before.

    Where a put alone has to wait for a disk, one of a batch does not: the batch waits once. Several threads may put.
    """

    def __init__(self, store: "Store") -> None:
        self._store = store

    def put(self, key: str, data: Data, *, ttl: float | None = None) -> None:
        """Writes an object, whole; one that is there is replaced.

        This may happen later: the data stays as it is until `commit`, which raises what a put has not.
        """
        self._store.put(key, data, ttl=ttl)

    def commit(self) -> None:
        """Waits until all is stored. Nobody puts meanwhile."""

    def abort(self) -> None:
        """Drops what is not stored yet."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.commit()
        finally:
            self.abort()


def scheme_of(url: str) -> str:
    """The scheme of a store's URL. Raises ConfigError where no store has it."""
    scheme = urlsplit(url).scheme if "://" in url else "file"
    if scheme not in _BACKENDS:
        raise ConfigError(
            f"{url}: the scheme {scheme}:// is not known; use a path or one of {', '.join(sorted(_BACKENDS))}"
        )
    return scheme


class Store(abc.ABC):
    """A store of objects under keys, which are relative paths such as `step-100/rank-0.bin`.

    All stores promise the same. A put is whole or absent; a reader sees one version; errors are `mithril.core.errors`
    with the object's URL. Retries and time limits are those of `CoreSettings`. Stores may be used by several threads.
    """

    schemes: ClassVar[tuple[str, ...]] = ()
    expires: ClassVar[bool] = False
    """Objects with a `ttl` go by themselves."""

    def __init__(self, url: str, settings: CoreSettings) -> None:
        self.url = url.rstrip("/") if not url.endswith("://") else url
        self.settings = settings

    @staticmethod
    def open(url: str | Path, settings: CoreSettings | None = None) -> "Store":
        """The store at a URL: file, memory, s3, gs, az, ygg, redis or rediss; a path without a scheme is a folder.

        Without settings, those of the section [core].
        """
        url = str(url)
        module, name = _BACKENDS[scheme_of(url)]
        backend: type[Store] = getattr(importlib.import_module(module), name)
        return backend(url, settings or load(CoreSettings).settings)

    # What a caller uses.

    def get(self, key: str) -> bytes:
        """The whole object. Raises NotFoundError."""
        return self._get(self._checked(key))

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        """The objects that exist among these, in one round trip where the store can."""
        return self._get_many([self._checked(key) for key in keys])

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """A part of the object; shorter where the object ends before it."""
        return self.get_ranges(key, [(start, length)])[0]

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]], version: str | None = None) -> _Parts:
        """Parts (start, length) of one version of the object. Raises ChangedError if it is not `version`."""
        for start, length in ranges:
            if start < 0 or length < 0:
                raise ValueError(
                    f"{self.url_of(key)}: a range starts and has a length of at least 0: {start}, {length}"
                )
        return self._get_ranges(self._checked(key), ranges, version)

    def put(
        self,
        key: str,
        data: Data | Iterable[Data],
        *,
        if_absent: bool = False,
        if_version: str | None = None,
        ttl: float | None = None,
    ) -> ObjectInfo:
        """Writes an object, whole or by parts.

        With `if_absent`, raises ExistsError where there is one; with `if_version`, ChangedError unless that is the
        version. `ttl` (seconds) is a hint: stores without expiry keep the object.
        """
        condition = self._condition(if_absent, if_version)
        if isinstance(data, Data):
            return self._put(self._checked(key), data, condition, ttl)
        with self._open_writer(self._checked(key), condition, ttl) as writer:
            for part in data:
                writer.write(part)
        assert writer.info is not None
        return writer.info

    def head(self, key: str) -> ObjectInfo:
        """Facts about the object. Raises NotFoundError."""
        return self._head(self._checked(key))

    def exists(self, key: str) -> bool:
        """True where there is such an object."""
        try:
            self.head(key)
        except NotFoundError:
            return False
        return True

    def list(self, folder: str = "") -> Iterator[ObjectInfo]:
        """The objects below a folder, in no particular order."""
        return self._list(self._checked(folder) if folder else "")

    def matching(self, pattern: str) -> _Infos:
        """The objects that are in no folder and whose names match a pattern of `*`, `?` and `[...]`, by name."""
        if _PATTERN.isdisjoint(pattern):
            return []
        found = [info for info in self.list() if "/" not in info.key and fnmatchcase(info.key, pattern)]
        return sorted(found, key=lambda info: info.key)

    def delete(self, *keys: str) -> None:
        """Deletes objects; one that does not exist is no error."""
        self._delete([self._checked(key) for key in keys])

    def open_reader(self, key: str) -> Reader:
        """A seekable reader of the object's version of now."""
        return self._open_reader(self._checked(key))

    def open_writer(
        self, key: str, *, if_absent: bool = False, if_version: str | None = None, ttl: float | None = None
    ) -> Writer:
        """A writer of the object, with the conditions of `put`."""
        return self._open_writer(self._checked(key), self._condition(if_absent, if_version), ttl)

    def open_batch(self) -> Batch:
        """A batch of puts that wait together."""
        return Batch(self)

    def sweep(self) -> int:
        """Removes what writers that were killed have left, and gives how many pieces that were."""
        return 0

    def pin(self, keys: Iterable[str], seconds: float) -> int:
        """Keeps objects from eviction for a time, and gives how many were; a store that never evicts pins none."""
        return self._pin([self._checked(key) for key in keys], seconds)

    def close(self) -> None:
        """Gives connections back."""
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def url_of(self, key: str) -> str:
        """The URL of an object."""
        return f"{self.url}{key}" if self.url.endswith("://") else f"{self.url}/{key}"

    # The same for asyncio. A backend with sockets of its own may do better than a thread.

    async def get_async(self, key: str) -> bytes:
        """`get`, awaited."""
        return await _in_thread(self.get, key)

    async def get_many_async(self, keys: Iterable[str]) -> dict[str, bytes]:
        """`get_many`, awaited."""
        return await _in_thread(self.get_many, keys)

    async def get_range_async(self, key: str, start: int, length: int) -> bytes:
        """`get_range`, awaited."""
        return (await self.get_ranges_async(key, [(start, length)]))[0]

    async def get_ranges_async(self, key: str, ranges: Sequence[tuple[int, int]], version: str | None = None) -> _Parts:
        """`get_ranges`, awaited."""
        return await _in_thread(self.get_ranges, key, ranges, version)

    async def put_async(
        self,
        key: str,
        data: Data | Iterable[Data] | AsyncIterable[Data],
        *,
        if_absent: bool = False,
        if_version: str | None = None,
        ttl: float | None = None,
    ) -> ObjectInfo:
        """`put`, awaited; the parts may come from an asynchronous iterator."""
        if not isinstance(data, AsyncIterable):
            return await _in_thread(self.put, key, data, if_absent=if_absent, if_version=if_version, ttl=ttl)
        writer = await _in_thread(self.open_writer, key, if_absent=if_absent, if_version=if_version, ttl=ttl)
        try:
            async for part in data:
                await _in_thread(writer.write, part)
        except BaseException:
            await _in_thread(writer.abort)
            raise
        return await _in_thread(writer.commit)

    async def head_async(self, key: str) -> ObjectInfo:
        """`head`, awaited."""
        return await _in_thread(self.head, key)

    async def list_async(self, folder: str = "") -> AsyncIterator[ObjectInfo]:
        """`list`, as an asynchronous iterator."""
        found = iter(self.list(folder))
        while batch := await _in_thread(lambda: [info for _, info in zip(range(1000), found, strict=False)]):
            for info in batch:
                yield info

    async def delete_async(self, *keys: str) -> None:
        """`delete`, awaited."""
        await _in_thread(self.delete, *keys)

    # What a backend carries out: keys and conditions are checked already.

    @abc.abstractmethod
    def _get_ranges(self, key: str, ranges: Sequence[tuple[int, int]], version: str | None) -> _Parts: ...

    @abc.abstractmethod
    def _put(self, key: str, data: Data, condition: "Condition", ttl: float | None) -> ObjectInfo: ...

    @abc.abstractmethod
    def _head(self, key: str) -> ObjectInfo: ...

    @abc.abstractmethod
    def _get(self, key: str) -> bytes: ...

    @abc.abstractmethod
    def _list(self, folder: str) -> Iterator[ObjectInfo]: ...

    @abc.abstractmethod
    def _delete(self, keys: Sequence[str]) -> None: ...

    @abc.abstractmethod
    def _open_writer(self, key: str, condition: "Condition", ttl: float | None) -> Writer: ...

    def _open_reader(self, key: str) -> Reader:
        return RangeReader(self, self._head(key))

    def _get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for key in keys:
            with contextlib.suppress(NotFoundError):
                found[key] = self._get(key)
        return found

    def _put_file(self, key: str, file: IO[bytes], size: int, condition: "Condition", ttl: float | None) -> ObjectInfo:
        return self._put(key, file.read(), condition, ttl)

    def _pin(self, keys: Sequence[str], seconds: float) -> int:
        return 0

    def _checked(self, key: str) -> str:
        problem = _problem(key)
        if problem:
            raise KeyNameError(f"the key {key!r} {problem}", self.url)
        return key

    def _condition(self, if_absent: bool, if_version: str | None) -> "Condition":
        if if_absent and if_version is not None:
            raise ValueError("if_absent and if_version exclude each other")
        return Condition(if_absent, if_version)


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on the object that a write replaces."""

    absent: bool = False
    version: str | None = None

    def __bool__(self) -> bool:
        return self.absent or self.version is not None


class RangeReader(Reader):
    """A reader that asks the store for each part, of the version that it began with."""

    def __init__(self, store: Store, info: ObjectInfo) -> None:
        self._store = store
        self._at = 0
        self.info = info

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The position."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves the position."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.info.size}[whence]
        if start + offset < 0:
            raise ValueError(f"{self._store.url_of(self.info.key)}: cannot seek to {start + offset}")
        self._at = start + offset
        return self._at

    def readinto(self, buffer: object) -> int:
        """Reads into a buffer, and gives how many bytes that were."""
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        length = min(len(view), self.info.size - self._at)
        if length <= 0:
            return 0
        part = self._store.get_ranges(self.info.key, [(self._at, length)], self.info.version)[0]
        view[: len(part)] = part
        self._at += len(part)
        return len(part)


class SpooledWriter(Writer):
    """A writer that keeps the parts, beyond some megabytes in a file, and puts them when they are complete."""

    def __init__(self, store: Store, key: str, condition: Condition, ttl: float | None) -> None:
        self._store = store
        self._target = (key, condition, ttl)
        self._file = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES_MAX)  # noqa: SIM115 (closed with the writer)

    def write(self, data: Data) -> None:
        """Keeps a part."""
        self._file.write(data)

    def commit(self) -> ObjectInfo:
        """Puts the parts as one object."""
        key, condition, ttl = self._target
        size = self._file.tell()
        self._file.seek(0)
        with self._file:
            return self._store._put_file(key, self._file, size, condition, ttl)  # noqa: SLF001

    def abort(self) -> None:
        """Drops the parts."""
        self._file.close()


def _problem(key: str) -> str:
    """The fault of a key, or nothing."""
    if not key or len(key.encode()) > KEY_BYTES_MAX:
        return f"has {len(key.encode())} bytes; a key has 1 to {KEY_BYTES_MAX}"
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in key) or "\\" in key:
        return "has a control character or a backslash"
    for part in key.split("/"):
        if part in ("", ".", "..") or len(part.encode()) > PART_BYTES_MAX:
            return f"has the part {part!r}; parts between slashes have 1 to {PART_BYTES_MAX} bytes and are not . or .."
        if part.startswith(RESERVED_PREFIX):
            return f"has a part that begins with {RESERVED_PREFIX}, which is kept for temporary files"
    return ""


async def _in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    import asyncio  # noqa: PLC0415, which a short command does without

    return await asyncio.to_thread(function, *args, **kwargs)
