"""The objects that checkpoints consist of: what is equal is stored once."""

import contextlib
import threading
from collections.abc import Callable, Collection, Iterator

from mithril.core.content import Collected, ContentStore
from mithril.core.errors import DamagedError, NotFoundError
from mithril.core.store import Batch, Data, Store

Location = str | Store
"""Where checkpoints are: a URL, or an open store, which stays open."""

# An object is written again after half of the grace time: so it is young for every collection of garbage.
_REFRESH_SHARE = 0.5


@contextlib.contextmanager
def opened(location: Location) -> Iterator[Store]:
    """The store of a location, closed again if it was opened here."""
    if isinstance(location, Store):
        yield location
        return
    with Store.open(location) as store:
        yield store


class Objects:
    """The objects of a store. Several threads, processes and hosts may write at once."""

    def __init__(self, store: Store, grace_s: float, ttl: float | None = None) -> None:
        self.store = store
        self._content = ContentStore(store)
        self._grace = grace_s
        self._ttl = ttl
        self._lock = threading.Lock()
        self._batch: Batch | None = None
        self.written_bytes = 0

    def put(self, data: Data) -> str:
        """Stores an object by the next `flush`, unless it is there already, and gives its address."""
        # An object with a time to live is written again, which makes it live as long as this checkpoint.
        age_max = self._grace * _REFRESH_SHARE if self._ttl is None else 0.0
        with self._lock:
            batch = self._batch = self._batch or self.store.open_batch()
        address, written = self._content.put_fresh(data, age_max=age_max, ttl=self._ttl, batch=batch)
        if written:
            with self._lock:
                self.written_bytes += memoryview(data).nbytes
        return address

    def flush(self) -> None:
        """Waits until all that was put is stored. Nobody puts meanwhile."""
        batch, self._batch = self._batch, None
        if batch is not None:
            with batch:
                pass

    def abort(self) -> None:
        """Drops what was put since the last `flush`, where the store still can."""
        batch, self._batch = self._batch, None
        if batch is not None:
            batch.abort()

    def read(self, address: str, start: int, length: int) -> bytes:
        """A part of an object."""
        try:
            data = self._content.get_range(address, start, length)
        except NotFoundError as error:
            raise NotFoundError(
                "an object of the checkpoint is missing; restore it from a copy, or use another step", error.url
            ) from None
        if len(data) != length:
            raise DamagedError(f"{self.url_of(address)}: the object is shorter than the checkpoint says")
        return data

    def url_of(self, address: str) -> str:
        """The URL of an object."""
        return self._content.url_of(address)

    def pin(self, addresses: Collection[str], seconds: float) -> int:
        """Keeps objects from eviction for a time."""
        return self._content.pin(addresses, seconds)

    def collect(self, live: Callable[[], Collection[str]]) -> Collected:
        """Deletes what no checkpoint needs and is older than the grace time."""
        return self._content.collect(self._grace, live)
