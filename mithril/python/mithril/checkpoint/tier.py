"""A fast store before a durable one: the newest checkpoints are on a node, and go to a bucket in the background.

What is written goes to the fast store with a time to live, and is pinned there. As soon as a checkpoint is committed it
is *drained*: its objects are copied to the durable store, its manifest last. Readers take what they find in the fast
store, and everything else from the durable one; a fast store that is gone costs nothing but its speed.
"""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from mithril.checkpoint import manifest as manifests
from mithril.checkpoint import steps
from mithril.core.config import CoreSettings, load
from mithril.core.content import ContentStore
from mithril.core.errors import ExistsError, NotFoundError, StoreError, UnavailableError
from mithril.core.store import Condition, Data, ObjectInfo, SpooledWriter, Store, Writer
from mithril.core.telemetry import logger

_log = logger("checkpoint")
_GONE = (NotFoundError, UnavailableError)
_TTL_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Drained:
    """The outcome of a drain."""

    steps: list[int]
    objects: int
    bytes: int


class Tier(Store):
    """A store of two: give it to `save` and `load` in place of a URL.

    with Tier("ygg://localhost:6379/run", "s3://bucket/run") as tier:
        mc.save(state, tier, step=1000)
        tier.wait()  # until all is in the bucket; raises what went wrong
    """

    def __init__(
        self,
        fast: str,
        durable: str,
        *,
        ttl_s: float = _TTL_S,
        drain: bool = True,
        settings: CoreSettings | None = None,
    ) -> None:
        settings = settings or load(CoreSettings).settings
        super().__init__(durable, settings)
        self.fast = Store.open(fast, settings)
        self.durable = Store.open(durable, settings)
        self._ttl_s = ttl_s
        self._drains = drain
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="mithril-drain")
        self._pending: list[Future[Drained]] = []
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Waits until what was committed is in the durable store. Raises what went wrong."""
        with self._lock:
            pending, self._pending = self._pending, []
        for future in pending:
            future.result()

    def close(self) -> None:
        """Waits for the drain, and closes both stores."""
        try:
            self.wait()
        finally:
            self._executor.shutdown()
            self.fast.close()
            self.durable.close()

    def _get(self, key: str) -> bytes:
        try:
            return self.fast.get(key)
        except _GONE:
            return self.durable.get(key)

    def _get_ranges(self, key: str, ranges: Sequence[tuple[int, int]], version: str | None) -> list[bytes]:
        try:
            return self.fast.get_ranges(key, ranges, version)
        except StoreError:
            return self.durable.get_ranges(key, ranges, version)

    def _head(self, key: str) -> ObjectInfo:
        try:
            return self.fast.head(key)
        except _GONE:
            return self.durable.head(key)

    def _list(self, folder: str) -> Iterator[ObjectInfo]:
        seen = set()
        try:
            for info in self.fast.list(folder):
                seen.add(info.key)
                yield info
        except UnavailableError as error:
            _log.warning("the fast store cannot be reached", error=str(error))
        for info in self.durable.list(folder):
            if info.key not in seen:
                yield info

    def _put(self, key: str, data: Data, condition: Condition, ttl: float | None) -> ObjectInfo:
        if condition.absent and self.durable.exists(key):
            raise ExistsError("there is such an object already", self.durable.url_of(key))
        conditions = {"if_absent": condition.absent, "if_version": condition.version}
        try:
            info = self.fast.put(key, data, ttl=ttl or self._ttl_s, **conditions)  # type: ignore[arg-type]
        except UnavailableError as error:
            _log.warning("the fast store cannot be reached; writing to the durable one", error=str(error))
            return self.durable.put(key, data, **conditions)  # type: ignore[arg-type]
        if key.startswith(f"{steps.FOLDER}/"):
            self._committed(key, bytes(data))
        return info

    def _committed(self, key: str, data: bytes) -> None:
        manifest = manifests.decode(data, self.fast.url_of(key))
        ContentStore(self.fast).pin(manifest.objects(), self._ttl_s)
        if self._drains:
            with self._lock:
                self._pending = [future for future in self._pending if not future.done() or future.exception()]
                self._pending.append(self._executor.submit(drain_stores, self.fast, self.durable))

    def _delete(self, keys: Sequence[str]) -> None:
        try:
            self.fast.delete(*keys)
        except UnavailableError as error:
            _log.warning("the fast store cannot be reached; what is there expires", error=str(error))
        self.durable.delete(*keys)

    def _pin(self, keys: Sequence[str], seconds: float) -> int:
        return self.fast.pin(keys, seconds)

    def _open_writer(self, key: str, condition: Condition, ttl: float | None) -> Writer:
        return SpooledWriter(self, key, condition, ttl)


def drain(fast: str, durable: str) -> Drained:
    """Copies all checkpoints that only the fast store has: what a killed program has left there."""
    with Store.open(fast) as source, Store.open(durable) as target:
        return drain_stores(source, target)


def drain_stores(fast: Store, durable: Store) -> Drained:
    """Copies checkpoints from an open store to another one: objects first, then the manifest."""
    there = {info.step for info in steps.committed(durable)}
    done = []
    objects = size = 0
    for info in steps.committed(fast):
        if info.step in there:
            continue
        key = steps.key_of(info.step)
        data = fast.get(key)
        source, target = ContentStore(fast), ContentStore(durable)
        for address in sorted(manifests.decode(data, fast.url_of(key)).objects()):
            if target.has(address):
                continue
            content = source.get(address)
            if content is None:
                raise NotFoundError("the object went from the fast store before it was drained", source.url_of(address))
            target.put(content)
            objects, size = objects + 1, size + len(content)
        try:
            durable.put(key, data, if_absent=True)
        except ExistsError:
            continue
        done.append(info.step)
    return Drained(done, objects, size)
