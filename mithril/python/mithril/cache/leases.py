"""Leases of graphs to compile: one process on a machine by a lock, one machine by a lease in the shared store.

A lock dies with its process. A lease is renewed while its holder lives, and ends by itself soon after it has died.
"""

import fcntl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from mithril.cache.keys import CacheKey
from mithril.cache.shared import SharedArtifacts
from mithril.core.telemetry import logger

_log = logger("cache")
_LOCK_POLL_S = 0.02
_LEASE_POLL_S = 0.25
LEASE_S = 30.0


class Leases:
    """The graphs that this process compiles, or waits for."""

    def __init__(self, folder: Path, shared: SharedArtifacts | None, wait: float) -> None:
        self._folder = folder
        self._shared = shared
        self._wait = wait
        self._held: dict[CacheKey, tuple[IO[str], bool]] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._renewing: threading.Thread | None = None

    def take(self, key: CacheKey, made: Callable[[], bool]) -> bool:
        """Waits while another compiles: True where it has made the artifact, False where this process is to make it.

        `made` says whether the artifact is there. Whoever has waited for the limit makes it, too.
        """
        lock = self._open(key)
        if lock is None:
            return False
        deadline = time.monotonic() + self._wait
        while not _try_lock(lock):
            if time.monotonic() >= deadline:
                lock.close()
                return False
            time.sleep(_LOCK_POLL_S)
        if made():
            lock.close()
            return True
        while (leased := self._lease(key)) is False and time.monotonic() < deadline:
            time.sleep(_LEASE_POLL_S)
            if made():
                lock.close()
                return True
        with self._lock:
            self._held[key] = (lock, bool(leased))
        return False

    def held(self) -> list[CacheKey]:
        """The graphs that this process compiles."""
        with self._lock:
            return list(self._held)

    def end(self, key: CacheKey) -> None:
        """Lets the others go on."""
        with self._lock:
            lock, leased = self._held.pop(key, (None, False))
        if leased and self._shared is not None:
            self._shared.end_lease(key.path())
        if lock is not None:
            lock.close()

    def close(self) -> None:
        """Lets the others go on with everything."""
        self._ended.set()
        for key in self.held():
            self.end(key)

    def _lease(self, key: CacheKey) -> bool | None:
        if self._shared is None:
            return None
        leased = self._shared.lease(key.path(), LEASE_S)
        if leased and self._renewing is None:
            self._renewing = threading.Thread(target=self._renew, name="mithril-cache-leases", daemon=True)
            self._renewing.start()
        return leased

    def _renew(self) -> None:
        while not self._ended.wait(LEASE_S / 3):
            with self._lock:
                leased = [key for key, (_, by_lease) in self._held.items() if by_lease]
            for key in leased:
                if self._shared is not None:
                    self._shared.lease(key.path(), LEASE_S, renew=True)

    def _open(self, key: CacheKey) -> IO[str] | None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            # A fixed number of files: two graphs that share one only wait for each other.
            return (self._folder / f"{key.digest()[:3]}.lock").open("a")
        except OSError as error:
            _log.warning(f"{self._folder}: {error.strerror}; graphs may be compiled several times at once")
            return None


def _try_lock(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
