"""The way of a shard from a snapshot into memory, while its worker answers LOADING."""

import asyncio
import time

import structlog

from yggdrasil._core import SnapshotLoader, Worker
from yggdrasil.server.config import Config
from yggdrasil.server.link import Link
from yggdrasil.server.messages import Loading, ToChild
from yggdrasil.server.snapshots.places import open_store

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
        await self.fill()
        self._worker.end_loading()

    async def fill(self) -> None:
        """Until all of the snapshot is there. YggdrasilError says why it cannot be used."""
        if not self._snapshot:
            return
        began = reported = time.monotonic()
        store = open_store(self._config)
        loader = await asyncio.to_thread(SnapshotLoader, store, self._snapshot, self._shard, self._worker.shards)
        while self._worker.restore(loader):
            now = time.monotonic()
            if now - reported >= _REPORT_S:
                reported = now
                self._report(loader, now - began)
            await asyncio.sleep(0)
        records, done, _ = loader.progress()
        log.info(
            "shard was filled from a snapshot",
            snapshot=self._snapshot,
            records=records,
            bytes=done,
            seconds=round(time.monotonic() - began, 3),
        )

    def _report(self, loader: SnapshotLoader, seconds: float) -> None:
        records, done, total = loader.progress()
        left_s = seconds * (total - done) / max(done, 1)
        log.info("loading a snapshot", records=records, bytes=done, of_bytes=total, seconds_left=round(left_s, 1))
        self._link.send(Loading(changes=records, bytes=done, of_bytes=total, seconds_left=round(left_s, 1)))
