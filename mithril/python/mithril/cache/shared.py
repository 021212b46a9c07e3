"""The store that hosts share, behind a guard: a store that is down, slow or full costs a run a bounded time."""

import queue
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from mithril.cache.settings import CacheSettings
from mithril.core.config import CoreSettings, load
from mithril.core.errors import (
    DamagedError,
    ExistsError,
    FullError,
    MithrilError,
    NotFoundError,
    StoreError,
    UnavailableError,
)
from mithril.core.store import Store
from mithril.core.telemetry import logger

T = TypeVar("T")
_LEASES = "leases"
_log = logger("cache")


class _Job:
    def __init__(self, work: Callable[[], Any]) -> None:
        self.work = work
        self.done = threading.Event()
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.result = self.work()
        except BaseException as error:  # noqa: BLE001 (handed to the waiting thread)
            self.error = error
        self.done.set()


class _Worker:
    """A thread for requests, which is left to itself where one hangs."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="mithril-cache-shared", daemon=True).start()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.run()

    def submit(self, job: _Job) -> None:
        self._jobs.put(job)

    def end(self) -> None:
        self._jobs.put(None)


class Breaker:
    """The cost of failed requests, and the time until which no more are made."""

    def __init__(self, budget: float, retry_after: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._budget = budget
        self._retry_after = retry_after
        self._clock = clock
        self._until = 0.0
        self._lock = threading.Lock()
        self.lost = 0.0

    def closed(self) -> bool:
        """True while requests may be made."""
        return self.lost < self._budget and self._clock() >= self._until

    def failed(self, seconds: float) -> None:
        """Counts a failure, which opens the breaker."""
        with self._lock:
            self.lost += seconds
            self._until = self._clock() + self._retry_after


class SharedArtifacts:
    """Artifacts in a store. No method raises because of the store, or waits longer than the settings allow."""

    def __init__(self, settings: CacheSettings, store: Store | None = None) -> None:
        self._settings = settings
        self._prefix = settings.namespace
        self._store = store
        self._lock = threading.Lock()
        self._worker: _Worker | None = None
        self.breaker = Breaker(settings.budget_s, settings.retry_after_s)
        self.full = False
        self._warned: set[str] = set()

    def get(self, path: str) -> bytes | None:
        """The stored form, or None: absent, or the store is not to be had."""
        return self._call(lambda store: store.get(self._name(path)), None)

    def get_many(self, paths: list[str]) -> dict[str, bytes]:
        """Those that exist, in one round trip where the store can."""
        names = {self._name(path): path for path in paths}
        nothing: dict[str, bytes] = {}
        found = self._call(lambda store: store.get_many(names), nothing)
        return {names[name]: data for name, data in found.items()}

    def put(self, path: str, data: bytes, if_absent: bool = False, ttl: float | None = None) -> bool:
        """Writes the stored form, and gives whether that was done."""
        if self.full:
            return False

        def write(store: Store) -> bool:
            store.put(self._name(path), data, if_absent=if_absent, ttl=ttl or self._settings.ttl_s)
            return True

        return self._call(write, False)

    def lease(self, path: str, seconds: float, renew: bool = False) -> bool | None:
        """Takes or renews a lease that ends by itself: True, or False where another has it.

        None where there are no leases: a store without expiry, or one that is not to be had.
        """

        def take(store: Store) -> bool | None:
            if not store.expires:
                return None
            try:
                store.put(self._name(f"{_LEASES}/{path}"), b"", if_absent=not renew, ttl=seconds)
            except ExistsError:
                return False
            return True

        return self._call(take, None)

    def end_lease(self, path: str) -> None:
        """Gives a lease back."""
        self.delete(f"{_LEASES}/{path}")

    def delete(self, path: str) -> None:
        """Removes an artifact."""
        self._call(lambda store: store.delete(self._name(path)), None)

    def close(self) -> None:
        """Ends the thread of the requests."""
        with self._lock:
            if self._worker is not None:
                self._worker.end()
                self._worker = None

    def _name(self, path: str) -> str:
        return f"{self._prefix}/{path}"

    def _opened(self) -> Store:
        if self._store is None:
            timeout_s = self._settings.timeout_s
            limits = {"timeout_s": timeout_s, "connect_timeout_s": timeout_s, "retries": 0}
            core = load(CoreSettings, limits).settings
            self._store = Store.open(self._settings.url, core)
        return self._store

    def _call(self, request: Callable[[Store], T], otherwise: T) -> T:
        """The answer, or `otherwise` where there is none. One request at a time: others wait, within their limit."""
        with self._lock:
            if not self.breaker.closed():
                return otherwise
            try:
                # Imports a client, which takes a while and asks nobody: that is not the store's time.
                store = self._opened()
            except MithrilError as error:
                self.breaker.failed(self._settings.budget_s)
                self._warn("unusable", f"the shared store cannot be used: {error}")
                return otherwise
            start = time.monotonic()
            job = _Job(lambda: request(store))
            self._worker = self._worker or _Worker()
            self._worker.submit(job)
            # The store's own limit comes first; this one is for what knows no limits, such as a hanging file system.
            if not job.done.wait(self._settings.timeout_s * 2):
                self._worker.end()
                self._worker = None
                job.error = UnavailableError("no answer in time", self._settings.url)
            return self._answer(job, time.monotonic() - start, otherwise)

    def _answer(self, job: _Job, seconds: float, otherwise: T) -> T:
        error = job.error
        if error is None:
            result: T = job.result
            return result
        if isinstance(error, FullError):
            self.full = True
            self._warn("full", f"the shared store is full, so nothing more is written to it in this run: {error}")
        elif isinstance(error, StoreError) and not isinstance(error, UnavailableError):
            if not isinstance(error, NotFoundError):
                self._warn(type(error).__name__, str(error))
        elif isinstance(error, DamagedError):
            self._warn("damaged", str(error))
        else:
            self.breaker.failed(seconds)
            self._warn("unavailable", f"the shared store is not used for now: {error}")
        return otherwise

    def _warn(self, kind: str, message: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            _log.warning(message)
