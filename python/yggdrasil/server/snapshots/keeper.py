"""What the steward does about snapshots: it takes them, removes old ones, and reads them again to find damage."""

import asyncio
import contextlib
import json
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import structlog

from yggdrasil._core import COMPATIBLE_VERSION, NodeShape, SnapshotStore, Snapshotter, YggdrasilError
from yggdrasil.protocol.services import EXPORT_PREFIX
from yggdrasil.server.config import Config
from yggdrasil.server.errors import ErrandError
from yggdrasil.server.libraries import LibraryFile
from yggdrasil.server.log_layout import generation_of
from yggdrasil.server.messages import NodeState, SnapshotState
from yggdrasil.server.snapshots.door import Owners

log = structlog.stdlib.get_logger(__name__)

GROWTH_MAX = 50
"""A shard is written anew when all its layers take so much more than a whole one would, in percent."""
DRAFT_AGE_S = 3600.0
"""Chunks of no snapshot are removed at this age: younger ones may belong to one that somebody is taking."""

_TICK_S = 0.5
_NOTE_S = 1.0
_FOOTER_BYTES = 10
"""Version and checksum behind what FUNCTION DUMP gives."""
_LOG_LOOK_S = 5.0
_LEAST_BYTES = 64 << 20
"""Logs of less are never long."""
_NICENESS = 10


class Keeper:
    """Takes one snapshot at a time. `report` hears of each change of its state."""

    def __init__(
        self,
        config: Config,
        node: str,
        shape: NodeShape,
        arenas: Sequence[int],
        store: SnapshotStore,
        owners: Owners,
        logs: Path | None,
        report: Callable[[SnapshotState], None],
        node_state: Callable[[], Awaitable[NodeState]],
    ) -> None:
        self.config = config
        self._store = store
        self._snapshotter = Snapshotter(
            shape, list(arenas), store, node, owners, logs, 0 if logs is None else generation_of(logs)
        )
        self._longest = shape.arena_bytes
        self._node_state = node_state
        self._report = report
        self._state = SnapshotState()
        self._under_way: asyncio.Task[dict[str, Any]] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._is_closing = False
        self._is_checking = False
        self._must_be_full = False
        """What the next snapshot would share with others, or take from the logs, is damaged."""
        self._is_last = False
        """The node has ended all else."""
        self._has_logs = logs is not None
        self._directory = config.directory

    async def start(self) -> None:
        """Goes on from the state that the supervisor has kept, and begins what is due by itself."""
        state = (await self._node_state()).snapshots
        # What was under way in a steward that has died is not any more.
        self._tell(**state.model_dump() | {"began_ms": 0, "keys_to_write": 0, "records_written": 0, "bytes_written": 0})
        try:
            await asyncio.to_thread(self._store.remove_drafts)
        except YggdrasilError as error:
            # The next snapshot says so, too.
            log.error("unfinished snapshots could not be removed", error=str(error))
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(work)
            for work in (self._keep_schedule(), self._keep_checking(), self._keep_noting(), self._keep_archiving())
        ]
        for left in self._directory.glob(f"{EXPORT_PREFIX}*"):
            left.unlink(missing_ok=True)

    async def stop(self) -> None:
        """Ends everything; a snapshot under way is given up."""
        self._is_closing = True
        self._snapshotter.cancel()
        for task in self._tasks:
            task.cancel()
        with contextlib.suppress(YggdrasilError):
            if self._under_way is not None:
                await self._under_way
        await self._archive()

    async def run(self, values: dict[str, str]) -> Any:
        """Does what a command wants. ErrandError has the text of the error reply."""
        try:
            match values["action"]:
                case "take":
                    return await self.take(is_full=values.get("full") == "yes")
                case "end":
                    return await self._take_last()
                case "export":
                    return await self._export(Path(values["file"]), with_keys=values["keys"] == "yes")
                case "begin":
                    self.begin(is_full=values.get("full") == "yes")
                    return None
                case "list":
                    return json.loads(await asyncio.to_thread(self._store.list))
                case "check":
                    return await self._check(0)
                case "prune":
                    keep = int(values.get("keep") or self.config.snapshot.keep)
                    return await self._prune(keep)
                case other:
                    raise ErrandError(f"ERR the steward does not know what {other} is")
        except ErrandError:
            raise
        except YggdrasilError as error:
            raise ErrandError(f"ERR {error}") from error

    def begin(self, *, is_full: bool) -> "asyncio.Task[dict[str, Any]]":
        """Begins a snapshot, if none is under way."""
        if self._under_way is not None and not self._under_way.done():
            raise ErrandError("ERR Background save already in progress")
        self._under_way = asyncio.get_running_loop().create_task(self._take(is_full))
        self._under_way.add_done_callback(_retrieve)
        return self._under_way

    async def take(self, *, is_full: bool) -> dict[str, Any]:
        """Takes a snapshot and tells what is in it."""
        return await asyncio.shield(self.begin(is_full=is_full))

    async def _take_last(self) -> None:
        """Takes a snapshot of a node that serves nobody any more, if anything has changed since the last one."""
        if self._under_way is not None and not self._under_way.done():
            await asyncio.wait([self._under_way])
        if tuple(self._snapshotter.numbers()) != self._state.numbers:
            self._is_last = True
            await self.take(is_full=False)

    async def _export(self, file: Path, *, with_keys: bool) -> dict[str, int]:
        """Writes all keys and functions, or the functions alone, to a file of Redis."""
        if with_keys:
            await self._all_ready()
        libraries = (LibraryFile(self._directory).read() or b"")[:-_FOOTER_BYTES]
        entries, skipped, written = await asyncio.to_thread(
            self._snapshotter.export, file, COMPATIBLE_VERSION, libraries, with_keys
        )
        return {"entries": entries, "skipped": skipped, "bytes": written}

    async def _all_ready(self) -> NodeState:
        """The state of the node. What is being filled is no state to keep."""
        state = await self._node_state()
        absent = [shard for shard, ready in enumerate(state.ready) if not ready]
        if absent and not self._is_last:
            reason = state.failures.get(absent[0])
            raise YggdrasilError(f"shard {absent[0]} is not ready" + (f": {reason}" if reason else ""))
        return state

    async def _take(self, is_full: bool) -> dict[str, Any]:
        numbers = tuple(self._snapshotter.numbers())
        began, options = time.monotonic(), self.config.snapshot
        self._tell(began_ms=time.time_ns() // 1_000_000, keys_to_write=0, records_written=0, bytes_written=0)
        try:
            taken: dict[str, Any] = json.loads(await self._written(is_full))
        except YggdrasilError as error:
            self._tell(began_ms=0, error=str(error), failed=self._state.failed + 1)
            if not self._is_closing:
                log.error("a snapshot failed", error=str(error))
                # Chunks of failed ones, which would fill the disk otherwise.
                with contextlib.suppress(YggdrasilError):
                    await self._prune(options.keep)
            raise
        seconds = round(time.monotonic() - began, 3)
        self._tell(
            id=taken["id"],
            ended_ms=taken["ended_ms"],
            keys=taken["keys"],
            bytes=taken["bytes"],
            new_bytes=taken["new_bytes"],
            numbers=numbers,
            taken=self._state.taken + 1,
            seconds=seconds,
            error="",
            began_ms=0,
        )
        log.info("snapshot taken", id=taken["id"], keys=taken["keys"], new_bytes=taken["new_bytes"], seconds=seconds)
        # The snapshot is there whatever becomes of older ones.
        try:
            await self._prune(options.keep)
        except YggdrasilError as error:
            log.error("old snapshots could not be removed", error=str(error))
        return taken

    async def _written(self, is_full: bool) -> str:
        before = await self._all_ready()
        is_full = is_full or self._must_be_full
        options = self.config.snapshot
        manner = {
            "level": options.level,
            "threads": options.threads,
            "bytes_per_second": options.rate,
            "layers_max": options.layers_max,
            "growth_max": GROWTH_MAX,
            "namespaces": self.config.engine_options()["namespaces"],
            "ack": self.config.ack,
        }
        writing = asyncio.get_running_loop().create_task(
            asyncio.to_thread(_politely, self._snapshotter.take, is_full, manner)
        )
        while not writing.done():
            await asyncio.wait([writing], timeout=_TICK_S)
            keys, records, written, _ = self._snapshotter.progress()
            self._tell(keys_to_write=keys, records_written=records, bytes_written=written)
        result = writing.result()
        if (await self._node_state()).restarts != before.restarts:
            raise YggdrasilError("a worker died meanwhile")
        if is_full:
            self._must_be_full = False
        return result

    async def _prune(self, keep: int) -> Any:
        pruned = json.loads(await asyncio.to_thread(self._store.prune, keep, DRAFT_AGE_S))
        if pruned["unreadable"]:
            log.warning("snapshots cannot be read, so no chunks are removed", ids=pruned["unreadable"])
        else:
            await asyncio.to_thread(self._snapshotter.prune_archive)
        return pruned

    async def _keep_schedule(self) -> None:
        due_from = looked_at = time.monotonic()
        while True:
            await asyncio.sleep(_TICK_S)
            now, interval = time.monotonic(), self.config.snapshot.interval
            is_due = interval and now - due_from >= interval
            if not is_due and now - looked_at >= _LOG_LOOK_S:
                looked_at = now
                is_due = await self._is_log_long()
            if not is_due:
                continue
            due_from = now
            if tuple(self._snapshotter.numbers()) == self._state.numbers:
                continue
            with contextlib.suppress(YggdrasilError):
                await self.take(is_full=False)

    async def _is_log_long(self) -> bool:
        """True where logs have become longer than what a snapshot is worth; one shortens them."""
        options = self.config.snapshot
        if not options.log_growth:
            return False
        try:
            log_bytes = await asyncio.to_thread(self._snapshotter.log_bytes)
        except YggdrasilError:
            # A segment that was just removed, or a log that is being begun.
            return False
        segments = 2 * self.config.node.shards * self.config.durability.log_segment_size
        return log_bytes > segments + options.log_growth * max(self._state.bytes, _LEAST_BYTES)

    async def _keep_noting(self) -> None:
        """Notes how far the shards have come, so that archived logs can be read up to a time."""
        while True:
            # From the start on: the first snapshot may cut the log at once.
            if self._is_archiving:
                self._snapshotter.note()
            await asyncio.sleep(_NOTE_S)

    async def _keep_archiving(self) -> None:
        while True:
            await asyncio.sleep(self.config.snapshot.archive_interval)
            await self._archive()

    @property
    def _is_archiving(self) -> bool:
        return self._has_logs and self.config.snapshot.archive

    async def _archive(self) -> None:
        if not self._is_archiving:
            return
        try:
            written = await asyncio.to_thread(self._snapshotter.archive_logs)
        except YggdrasilError as error:
            if str(error) != self._state.archive_error:
                log.error("logs could not be archived", error=str(error))
            self._tell(archive_error=str(error))
        else:
            self._tell(
                archives=self._state.archives + 1,
                archived_ms=time.time_ns() // 1_000_000,
                archived_bytes=self._state.archived_bytes + written,
                archive_error="",
            )

    async def _keep_checking(self) -> None:
        due_from = time.monotonic()
        while True:
            await asyncio.sleep(_TICK_S)
            options = self.config.snapshot
            if time.monotonic() - due_from < options.check_interval or not options.check_rate or self._is_checking:
                continue
            try:
                await self._check(options.check_rate)
            except YggdrasilError as error:
                log.error("snapshots could not be checked", error=str(error))
            if self._must_be_full:
                # All keys are in memory still; a node that ended now might not have them any more.
                with contextlib.suppress(YggdrasilError):
                    await self.take(is_full=True)
            due_from = time.monotonic()

    async def _check(self, rate: int) -> Any:
        """Reads everything again, at so many bytes a second; 0 for no limit."""
        loop = asyncio.get_running_loop()

        def read(count: int) -> bool:
            loop.call_soon_threadsafe(lambda: self._tell(checked_bytes=self._state.checked_bytes + count))
            return not self._is_closing

        newest = self._state.id
        self._is_checking = True
        try:
            verdict = json.loads(await asyncio.to_thread(self._store.verify, self._longest, rate, read))
            segments = await asyncio.to_thread(self._snapshotter.verify_logs, rate, read)
        finally:
            self._is_checking = False
        self._tell(
            checked_ms=time.time_ns() // 1_000_000, damaged=len(verdict["damage"]), damaged_segments=len(segments)
        )
        # One that was taken or removed meanwhile is not among those that were read.
        is_gone = newest == self._state.id and newest not in verdict["whole"]
        self._must_be_full = bool(segments) or (bool(newest) and (is_gone or newest in verdict["damaged"]))
        for file, offset in segments:
            log.error("a log is damaged", file=str(file), offset=offset)
        for damage in verdict["damage"]:
            log.error("a snapshot is damaged", object=damage["object"], fault=damage["fault"], ids=damage["snapshots"])
        return verdict

    def _tell(self, **changed: Any) -> None:
        self._state = self._state.model_copy(update=changed)
        self._report(self._state)


def _politely(take: Callable[[bool, dict[str, int | str]], str], is_full: bool, manner: dict[str, int | str]) -> str:
    """On a thread of its own, behind whatever serves clients; the threads that it starts are like it."""
    # Niceness is one of threads in Linux, and this one is used again for what the steward does in the background.
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, _NICENESS)
    return take(is_full, manner)


def _retrieve(task: "asyncio.Task[dict[str, Any]]") -> None:
    """Nobody may wait for it; its error was logged."""
    if not task.cancelled():
        task.exception()
