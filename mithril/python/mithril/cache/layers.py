"""The cache of one process: this machine's artifacts over the shared ones.

A request never raises, and never waits for the shared store longer than its limits; writes happen in the background.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Self

from mithril.cache import metrics
from mithril.cache.artifact import Artifact, Signer, Verifier, unseal
from mithril.cache.keys import CacheKey
from mithril.cache.local import LocalArtifacts
from mithril.cache.runs import Recorder
from mithril.cache.settings import CacheSettings
from mithril.cache.shared import SharedArtifacts
from mithril.cache.signing import Ed25519Signer, Ed25519Verifier, UntrustedError
from mithril.core.errors import DamagedError, MithrilError
from mithril.core.telemetry import logger

_log = logger("cache")
# Waiting writes beyond this number are not kept: the artifacts are made again some day.
_WRITES_MAX = 1000


class ArtifactCache:
    """Artifacts by key, from memory, the folder or the shared store, whichever has them first."""

    def __init__(
        self,
        settings: CacheSettings,
        recorder: Recorder | None = None,
        shared: SharedArtifacts | None = None,
    ) -> None:
        self.settings = settings
        self.local = LocalArtifacts(settings.root.expanduser())
        self.shared = shared or (SharedArtifacts(settings) if settings.url else None)
        self.recorder = recorder or Recorder(settings.root.expanduser(), settings.program)
        self._signer: Signer | None = Ed25519Signer(settings.signing_key) if settings.signing_key else None
        self._verifier: Verifier | None = Ed25519Verifier(settings.trusted_keys) if settings.trusted_keys else None
        self._prefetched: dict[str, bytes] = {}
        self._prefetching: threading.Thread | None = None
        self._writes: queue.Queue[Callable[[], None] | None] = queue.Queue(_WRITES_MAX)
        self._writer: threading.Thread | None = None
        self._start_lock = threading.Lock()
        self._asked: dict[str, None] = {}
        self._grown = False

    # Reading.

    def get(self, key: CacheKey) -> Artifact | None:
        """The artifact, or None."""
        start = time.perf_counter()
        path = key.path()
        self._asked[path] = None
        self._await_prefetch()
        outcome, artifact = "miss", None
        for layer, source in self._sources():
            data = source(path)
            if data is None:
                continue
            artifact, outcome = self._opened(key, path, data, layer)
            if artifact is not None:
                if layer != "local":
                    self._write(partial(self._put_local, key, data))
                break
        self._count(key, outcome, time.perf_counter() - start, artifact)
        return artifact

    def _sources(self) -> Iterable[tuple[str, Callable[[str], bytes | None]]]:
        yield "prefetched", lambda path: self._prefetched.pop(path, None)
        yield "local", self._get_local
        if self.shared is not None:
            yield "shared", self.shared.get

    def _get_local(self, path: str) -> bytes | None:
        try:
            return self.local.get(path)
        except MithrilError as error:
            _log.warning(f"the folder of the cache cannot be read: {error}")
            return None

    def _opened(self, key: CacheKey, path: str, data: bytes, layer: str) -> tuple[Artifact | None, str]:
        try:
            sealed = unseal(data, self._verifier, key)
            return sealed.open(self.settings.artifact_max_bytes), layer
        except UntrustedError as error:
            _log.warning(f"{path}: {error}")
            return None, "untrusted"
        except DamagedError as error:
            aside = f"; it is now {self.local.set_aside(path)}" if layer == "local" else ""
            _log.warning(f"{path} ({layer}): {error}{aside}")
            return None, "damaged"

    def _count(self, key: CacheKey, outcome: str, seconds: float, artifact: Artifact | None) -> None:
        metrics.REQUESTS.labels(key.framework, key.kind, outcome).inc()
        metrics.REQUEST_SECONDS.labels(outcome).observe(seconds)
        saved = artifact.cost_s if artifact else 0.0
        if saved:
            metrics.SAVED_SECONDS.labels(key.framework, key.kind).inc(saved)
        self.recorder.record(
            "get",
            framework=key.framework,
            kind=key.kind,
            subject=key.subject,
            path=key.path(),
            outcome=outcome,
            seconds=round(seconds, 6),
            saved_s=saved,
        )

    # Prefetching.

    def prefetch(self, paths: Callable[[], list[str]]) -> None:
        """Begins to fetch what will be asked for; `paths` is called in the background."""

        def fetch() -> None:
            try:
                wanted = [path for path in paths() if not self.local.has(path)]
                if wanted and self.shared is not None:
                    self._prefetched.update(self.shared.get_many(wanted))
            except MithrilError as error:
                _log.warning(f"nothing was fetched ahead: {error}")

        self._prefetching = threading.Thread(target=fetch, name="mithril-cache-prefetch", daemon=True)
        self._prefetching.start()

    def _await_prefetch(self) -> None:
        if self._prefetching is not None:
            # The shared store's limits end this; the join has one for a folder that hangs.
            self._prefetching.join(4 * self.settings.timeout_s)
            self._prefetching = None

    def asked(self) -> list[str]:
        """The places of all that was asked for, in order."""
        return list(self._asked)

    # Writing.

    def put(self, artifact: Artifact | Callable[[], Artifact | None]) -> None:
        """Stores an artifact, in the background; one that takes work to make may be given as a function."""

        def write() -> None:
            made = artifact() if callable(artifact) else artifact
            if made is None:
                return
            if sum(map(len, made.parts.values())) > self.settings.artifact_max_bytes:
                _log.warning(f"an artifact of {made.key.kind} is larger than artifact_max_bytes and is not kept")
                return
            data = made.encode(self.settings.level, self._signer)
            self._put_local(made.key, data)
            self._put_shared(made.key, data)
            self._grown = True
            self.recorder.record(
                "put",
                framework=made.key.framework,
                kind=made.key.kind,
                subject=made.key.subject,
                path=made.key.path(),
                bytes=len(data),
                cost_s=made.cost_s,
            )

        self._write(write)

    def after_writes(self, work: Callable[[], None]) -> None:
        """Does something when all writes until now are done."""
        self._write(work)

    def peek(self, key: CacheKey) -> Artifact | None:
        """The newest artifact of a key that changes, without counting it: the shared one before this machine's."""
        path = key.path()
        for layer, source in reversed([*self._sources()]):
            data = source(path)
            artifact = self._opened(key, path, data, layer)[0] if data is not None else None
            if artifact is not None:
                return artifact
        return None

    def _put_local(self, key: CacheKey, data: bytes) -> None:
        try:
            self.local.put(key.path(), data)
        except MithrilError as error:
            _log.warning(f"the artifact is not kept on this machine: {error}")
            return
        metrics.WRITTEN.labels(key.framework, "local").inc()
        metrics.WRITTEN_BYTES.labels(key.framework, "local").inc(len(data))

    def _put_shared(self, key: CacheKey, data: bytes) -> None:
        if self.shared is None:
            return
        written = self.shared.put(key.path(), data)
        metrics.WRITTEN.labels(key.framework, "shared" if written else "lost").inc()
        if written:
            metrics.WRITTEN_BYTES.labels(key.framework, "shared").inc(len(data))

    def _write(self, work: Callable[[], None]) -> None:
        with self._start_lock:
            if self._writer is None:
                self._writer = threading.Thread(target=self._write_all, name="mithril-cache-writer", daemon=True)
                self._writer.start()
        try:
            self._writes.put_nowait(work)
        except queue.Full:
            _log.warning("writes to the cache are behind by too much; one is left out")

    def _write_all(self) -> None:
        while (work := self._writes.get()) is not None:
            try:
                work()
            except Exception:  # noqa: BLE001 (a write that fails must not end the thread)
                _log.warning("a write to the cache failed", exc_info=True)
            finally:
                self._writes.task_done()

    def _bound(self) -> None:
        if self._grown:
            self.local.collect(self.settings.size_max_bytes)

    def flush(self) -> bool:
        """Waits for the writes, for `flush_s` seconds at most, and gives whether all were done."""
        done = threading.Event()
        self._write(done.set)
        return done.wait(self.settings.flush_s)

    def close(self) -> None:
        """Flushes, bounds the folder, and ends the threads."""
        if self._writer is not None:
            self._write(self._bound)
            self.flush()
            self._writes.put(None)
            self._writer = None
        if self.shared is not None:
            metrics.LOST_SECONDS.inc(self.shared.breaker.lost)
            self.shared.close()
        self.recorder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
