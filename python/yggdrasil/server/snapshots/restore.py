"""The way of a shard from a snapshot into memory, while its worker answers LOADING."""

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial

import structlog

from yggdrasil._core import MovedShard, SnapshotLoader, Worker
from yggdrasil.server.config import Config
from yggdrasil.server.link import Link
from yggdrasil.server.messages import Loading, ToChild
from yggdrasil.server.snapshots.places import open_store
from yggdrasil.server.snapshots.start import newest_snapshot

log = structlog.stdlib.get_logger(__name__)

_REPORT_S = 1.0


class ShardRestore:
    """Fills a shard from a snapshot, if there is one."""

    def __init__(self, worker: Worker, shard: int, config: Config, snapshot: str, link: Link[ToChild]) -> None:
        self._worker = worker
        self._shard = shard
        self._config = config
        self._snapshot = snapshot
        self._link = link

    async def run(self) -> None:
        """Until the shard serves, where nothing but a snapshot is to be loaded."""
        shards = await asyncio.to_thread(open_store(self._config).shards, self._snapshot)
        if shards == self._worker.shards:
            await self.fill()
        else:
            moved = [MovedShard(shard, shards) for shard in range(shards)]
            await self.fill_moved(self._snapshot, moved)
            self._worker.finish_moved(moved[0])
        self._worker.end_loading()

    async def fill(self) -> None:
        """Until all of the snapshot is there. YggdrasilError says why it cannot be used."""
        if self._snapshot:
            await self._load(self._snapshot, self._shard, self._worker.shards, self._worker.restore)

    async def find_newest(self, node: str, generation: int) -> None:
        """Begins with the newest snapshot there is: one may have been taken since the worker was started."""
        newest = await asyncio.to_thread(newest_snapshot, self._config, node, generation)
        self._snapshot = newest or self._snapshot

    async def start(self) -> int:
        """The number from which on a log has to go on behind the snapshot; 0 without one."""
        if not self._snapshot:
            return 0
        place = self._snapshot, self._shard, self._worker.shards
        return (await asyncio.to_thread(SnapshotLoader, open_store(self._config), *place)).start

    async def fill_moved(self, snapshot: str, moved: Sequence[MovedShard]) -> None:
        """The same from a snapshot of another number of shards, if there is one."""
        for shard, one in enumerate(moved):
            if snapshot:
                await self._load(snapshot, shard, len(moved), partial(self._restore_moved, one))

    def _restore_moved(self, moved: MovedShard, loader: SnapshotLoader) -> bool:
        return self._worker.restore_moved(loader, moved)

    async def _load(self, snapshot: str, shard: int, shards: int, step: Callable[[SnapshotLoader], bool]) -> None:
        began = reported = time.monotonic()
        loader = await asyncio.to_thread(SnapshotLoader, open_store(self._config), snapshot, shard, shards)
        while step(loader):
            now = time.monotonic()
            if now - reported >= _REPORT_S:
                reported = now
                self._report(loader, now - began)
            await asyncio.sleep(0)
        records, done, _ = loader.progress()
        log.info(
            "shard was filled from a snapshot",
            snapshot=snapshot,
            records=records,
            bytes=done,
            seconds=round(time.monotonic() - began, 3),
        )

    def _report(self, loader: SnapshotLoader, seconds: float) -> None:
        records, done, total = loader.progress()
        left_s = seconds * (total - done) / max(done, 1)
        log.info("loading a snapshot", records=records, bytes=done, of_bytes=total, seconds_left=round(left_s, 1))
        began_ms = round((time.time() - seconds) * 1000)
        self._link.send(
            Loading(began_ms=began_ms, changes=records, bytes=done, of_bytes=total, seconds_left=round(left_s, 1))
        )
