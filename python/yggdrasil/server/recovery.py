"""The way of a shard from its log into memory, while its worker answers LOADING."""

import asyncio
import struct
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import structlog

from yggdrasil._core import LogRecovery, MovedShard, Worker, YggdrasilError
from yggdrasil.protocol.services import LOG_SYNC
from yggdrasil.server.config import Config
from yggdrasil.server.link import Link
from yggdrasil.server.log_layout import generation_of
from yggdrasil.server.messages import Loading, ToChild
from yggdrasil.server.snapshots.restore import ShardRestore

log = structlog.stdlib.get_logger(__name__)

_END = "log-end"
_DECISIONS = "log-decisions"
_DECIDED = "log-decided"
# Bytes of the log between two looks at the rings and sockets.
_STEP_BYTES = 1 << 20
_REPORT_S = 1.0
_RETRY_S = 0.05
_ATTEMPTS = 5
_TAG = struct.Struct("<Q")
_PART = struct.Struct("<HQ")
_LOST = struct.Struct("<QH")

Group = tuple[int, int]
"""A coordinator and its tag."""


def shard_directory(logs: Path, shard: int) -> Path:
    """Where the log of a shard is."""
    return logs / f"shard-{shard}"


def _counts(parts: Sequence[tuple[int, int]], ends: Sequence[int]) -> bool:
    """Whether a decision was made whose parts are all there."""
    return bool(parts) and all(ends[shard] >= number for shard, number in parts)


async def _scan(one: LogRecovery) -> None:
    await asyncio.get_running_loop().run_in_executor(None, one.scan)


class ShardRecovery:
    """Brings a shard back, and answers the others, who bring theirs back."""

    def __init__(
        self,
        worker: Worker,
        shard: int,
        config: Config,
        logs: Path,
        link: Link[ToChild],
        restore: ShardRestore,
        *,
        node: str,
        is_successor: bool,
    ) -> None:
        self._restore = restore
        self._logs = logs
        self._node = node
        """The replication id: snapshots of other nodes may lie at the same place."""
        self._worker = worker
        self._shard = shard
        self._shards = config.node.shards
        self._durability = config.durability
        self._directory = shard_directory(logs, shard)
        self._log = LogRecovery(self._directory)
        self._link = link
        self._is_successor = is_successor
        """The node has run on: all that its other workers were told is in their logs."""
        self._scanned = asyncio.Event()
        self._last_number = 0
        self._serves = False
        self._began = time.monotonic()
        self._began_ms = time.time_ns() // 1_000_000
        self._reported = self._began
        worker.serve_call(_END, self._answer_end)
        worker.serve_call(_DECISIONS, self._answer_decisions)
        worker.serve_call(_DECIDED, self._answer_decided)
        worker.serve_call(LOG_SYNC, self._answer_sync)

    async def run(self) -> None:
        """Until the shard serves. OSError says why its log cannot be used."""
        await self._find()
        number, changes, _, torn = self._log.found()
        if torn:
            log.warning("the end of the log was torn and is cut", bytes=torn, last_number=number)
        self._last_number = number
        self._scanned.set()
        self._log.decide(await self._counting())
        await self._restore.fill()
        while not self._worker.replay(self._log, _STEP_BYTES):
            self._report(self._log)
            await asyncio.sleep(0)
        self._begin_log()
        self._end(changes)

    async def _find(self) -> None:
        """Reads the log once, and finds the snapshot that it goes on from."""
        attempts = _ATTEMPTS if self._is_successor else 1
        while True:
            attempts -= 1
            try:
                await _scan(self._log)
            except OSError:
                # A snapshot may just have shortened it.
                if not attempts:
                    raise
                await asyncio.sleep(_RETRY_S)
                continue
            if self._is_successor:
                await self._restore.find_newest(self._node, generation_of(self._logs))
            behind, start = self._log.begins_behind(), await self._restore.start()
            if behind <= start:
                self._log.begin_at(start)
                return
            if not attempts:
                raise OSError(
                    f"{shard_directory(self._logs, self._shard)} begins behind change {behind}, and the snapshot has "
                    f"those up to {start}: what is between them is missing"
                )
            await asyncio.sleep(_RETRY_S)

    async def run_moved(self, logs: Path, shards: int, snapshot: str, moved: Callable[[], Awaitable[None]]) -> None:
        """The same from snapshot and logs of another number of shards.

        `moved` ends when all workers have come so far.
        """
        others = [LogRecovery(shard_directory(logs, shard)) for shard in range(shards)]
        await asyncio.gather(_scan(self._log), *map(_scan, others))
        self._scanned.set()
        self._begin_log()
        ends = [other.found()[0] for other in others]
        all_moved = [MovedShard(shard, shards) for shard in range(shards)]
        await self._restore.fill_moved(snapshot, all_moved)
        for one, other in zip(all_moved, others, strict=True):
            groups = {(coordinator, tag) for coordinator, tag, _ in other.open_groups()}
            parts = {group: others[group[0]].decision(group[1]) or [] for group in groups}
            other.decide([group for group in groups if _counts(parts[group], ends)])
            while not self._worker.replay_moved(other, one, _STEP_BYTES):
                self._report(other)
                await asyncio.sleep(0)
        self._worker.finish_moved(all_moved[0])
        await self._worker.sync_log()
        await moved()
        self._end(sum(other.progress()[1] for other in others))

    def _begin_log(self) -> None:
        self._worker.begin_log(
            self._log,
            segment_bytes=self._durability.log_segment_size,
            flush_interval_ms=self._durability.flush_interval,
            unflushed_max=self._durability.log_unflushed_max,
        )

    def _end(self, changes: int) -> None:
        self._worker.end_loading()
        self._serves = True
        # Transactions of long ago: whoever still asks has them read again.
        self._log.forget()
        if changes:
            log.info("shard was recovered", changes=changes, seconds=round(time.monotonic() - self._began, 3))

    def _report(self, one: LogRecovery) -> None:
        now = time.monotonic()
        if now - self._reported < _REPORT_S:
            return
        self._reported = now
        _, changes, total, _ = one.found()
        done, made = one.progress()
        left_s = (now - self._began) * (total - done) / max(done, 1)
        log.info("loading", changes=made, of=changes, bytes=done, of_bytes=total, seconds_left=round(left_s, 1))
        self._link.send(
            Loading(
                began_ms=self._began_ms,
                changes=made,
                bytes=done,
                of_bytes=total,
                seconds_left=round(left_s, 1),
            )
        )

    async def _counting(self) -> list[Group]:
        """The groups of changes of several shards that count."""
        groups = self._log.open_groups()
        if self._is_successor:
            released = [(coordinator, tag) for coordinator, tag, was_released in groups if was_released]
            others = [(coordinator, tag) for coordinator, tag, was_released in groups if not was_released]
            return released + [group for group in others if await self._was_decided(group)]
        if not groups:
            return []
        ends = [_TAG.unpack(await self._ask(shard, _END, b""))[0] for shard in range(self._shards)]
        counting: list[Group] = []
        for coordinator in {coordinator for coordinator, _, _ in groups}:
            tags = [tag for owner, tag, _ in groups if owner == coordinator]
            answer = memoryview(await self._ask(coordinator, _DECISIONS, b"".join(map(_TAG.pack, tags))))
            for tag in tags:
                count, answer = answer[0], answer[1:]
                parts = [_PART.unpack_from(answer, place * _PART.size) for place in range(count)]
                answer = answer[count * _PART.size :]
                if _counts(parts, ends):
                    counting.append((coordinator, tag))
        return counting

    async def _was_decided(self, group: Group) -> bool:
        coordinator, tag = group
        return await self._ask(coordinator, _DECIDED, _LOST.pack(tag, self._shard)) == b"\1"

    async def _ask(self, shard: int, topic: str, payload: bytes) -> bytes:
        """Asks until there is an answer: a worker that dies has a successor."""
        while True:
            try:
                answer = await self._worker.call(shard, topic, payload)
            except YggdrasilError:
                answer = b""
            if answer:
                return answer
            await asyncio.sleep(_RETRY_S)

    async def _answer_end(self, _payload: bytes) -> bytes:
        await self._scanned.wait()
        return _TAG.pack(self._last_number)

    async def _readable(self) -> LogRecovery:
        """What the first reading of the log has found; it is read again where that was forgotten."""
        await self._scanned.wait()
        while self._serves:
            again = LogRecovery(self._directory)
            try:
                await _scan(again)
            except OSError:
                # It is written meanwhile.
                await asyncio.sleep(_RETRY_S)
            else:
                return again
        return self._log

    async def _answer_decisions(self, payload: bytes) -> bytes:
        """The parts of each transaction that was decided, after their number."""
        one = await self._readable()
        answer = bytearray()
        for (tag,) in _TAG.iter_unpack(payload):
            parts = one.decision(tag) or []
            answer.append(len(parts))
            answer += b"".join(_PART.pack(*part) for part in parts)
        return bytes(answer)

    async def _answer_sync(self, _payload: bytes) -> bytes:
        await self._worker.sync_log()
        return b"\1"

    async def _answer_decided(self, payload: bytes) -> bytes:
        tag, lost = _LOST.unpack(payload)
        await self._scanned.wait()
        if self._serves:
            return b"\1" if self._worker.has_decided(tag, lost) else b"\0"
        return b"\1" if self._log.decision(tag) else b"\0"
