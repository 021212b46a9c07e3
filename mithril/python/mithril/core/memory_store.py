"""Objects in the memory of this process: for tests and for what need not outlive it."""

import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mithril.core.config import CoreSettings
from mithril.core.errors import ChangedError, ExistsError, NotFoundError
from mithril.core.store import Condition, Data, ObjectInfo, SpooledWriter, Store, Writer


@dataclass(frozen=True, slots=True)
class _Held:
    data: bytes
    info: ObjectInfo
    expires: float


class _Space:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.objects: dict[str, _Held] = {}
        self.versions = itertools.count(1)


_named: dict[str, _Space] = {}
_named_lock = threading.Lock()


class MemoryStore(Store):
    """A store in memory. Stores of one name (memory://NAME) share their objects; memory:// alone is private."""

    schemes = ("memory",)
    expires = True

    def __init__(self, url: str, settings: CoreSettings) -> None:
        super().__init__(url, settings)
        name = url.removeprefix("memory://").rstrip("/")
        with _named_lock:
            self._space = _named.setdefault(name, _Space()) if name else _Space()

    def _held(self, key: str) -> _Held:
        held = self._space.objects.get(key)
        if held is None or held.expires <= time.monotonic():
            raise NotFoundError("there is no such object", self.url_of(key))
        return held

    def _get(self, key: str) -> bytes:
        return self._held(key).data

    def _get_ranges(self, key: str, ranges: Sequence[tuple[int, int]], version: str | None) -> list[bytes]:
        held = self._held(key)
        if version is not None and held.info.version != version:
            raise ChangedError("the object has changed since it was opened; open it again", self.url_of(key))
        return [held.data[start : start + length] for start, length in ranges]

    def _put(self, key: str, data: Data, condition: Condition, ttl: float | None) -> ObjectInfo:
        with self._space.lock:
            try:
                held = self._held(key)
            except NotFoundError:
                held = None
            if condition.absent and held is not None:
                raise ExistsError("there is such an object already", self.url_of(key))
            if condition.version is not None and (held is None or held.info.version != condition.version):
                raise ChangedError("the object is not of the expected version", self.url_of(key))
            info = ObjectInfo(key, memoryview(data).nbytes, str(next(self._space.versions)), time.time())
            expires = time.monotonic() + ttl if ttl is not None else float("inf")
            self._space.objects[key] = _Held(bytes(data), info, expires)
            return info

    def _head(self, key: str) -> ObjectInfo:
        return self._held(key).info

    def _list(self, folder: str) -> Iterator[ObjectInfo]:
        now = time.monotonic()
        with self._space.lock:
            held = [held for held in self._space.objects.values() if held.expires > now]
        return (one.info for one in held if not folder or one.info.key.startswith(f"{folder}/"))

    def _delete(self, keys: Sequence[str]) -> None:
        with self._space.lock:
            for key in keys:
                self._space.objects.pop(key, None)

    def _open_writer(self, key: str, condition: Condition, ttl: float | None) -> Writer:
        return SpooledWriter(self, key, condition, ttl)
