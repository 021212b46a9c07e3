"""Objects that are named by the hash of their bytes: what is equal is stored once."""

import threading
import time
from collections.abc import Collection

import blake3

from mithril.core.errors import DamagedError, NotFoundError
from mithril.core.store import Store

FOLDER = "objects"
# What is written again after half of the grace time is young enough for every collector of garbage.
_REFRESH_SHARE = 0.5


def key_of(address: str) -> str:
    """The key of an object."""
    return f"{FOLDER}/{address[:2]}/{address[2:]}"


class Objects:
    """The objects of a store. Several processes and hosts may write at once."""

    def __init__(self, store: Store, grace_s: float, ttl: float | None = None) -> None:
        self.store = store
        self._grace = grace_s
        self._ttl = ttl
        self._lock = threading.Lock()
        self._known: set[str] = set()
        self.written_bytes = 0

    def put(self, data: bytes) -> str:
        """Stores an object, unless it is there already, and gives its address."""
        address = blake3.blake3(data).hexdigest()
        with self._lock:
            if address in self._known:
                return address
        key = key_of(address)
        if not self._is_fresh(key, len(data)):
            self.store.put(key, data, ttl=self._ttl)
            with self._lock:
                self.written_bytes += len(data)
        with self._lock:
            self._known.add(address)
        return address

    def _is_fresh(self, key: str, size: int) -> bool:
        # An old object may be about to be collected: it is written again, which makes it young.
        try:
            info = self.store.head(key)
        except NotFoundError:
            return False
        young = time.time() - info.modified < self._grace * _REFRESH_SHARE
        return info.size == size and young and self._ttl is None

    def read(self, address: str, start: int, length: int) -> bytes:
        """A part of an object."""
        key = key_of(address)
        try:
            data = self.store.get_range(key, start, length)
        except NotFoundError as error:
            raise NotFoundError(
                "an object of the checkpoint is missing; restore it from a copy, or use another step", error.url
            ) from None
        if len(data) != length:
            raise DamagedError(f"{self.store.url_of(key)}: the object is shorter than the checkpoint says")
        return data

    def pin(self, addresses: Collection[str], seconds: float) -> int:
        """Keeps objects from eviction for a time."""
        return self.store.pin([key_of(address) for address in addresses], seconds)

    def collect(self, reachable: Collection[str]) -> tuple[int, int]:
        """Deletes what no checkpoint needs and is older than the grace time; gives the number and the bytes."""
        before = time.time() - self._grace
        doomed = []
        freed = 0
        for info in self.store.list(FOLDER):
            address = info.key.removeprefix(f"{FOLDER}/").replace("/", "")
            if address not in reachable and info.modified <= before:
                doomed.append(info.key)
                freed += info.size
        self.store.delete(*doomed)
        return len(doomed), freed
