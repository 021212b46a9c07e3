"""The way of a shard from its log into memory, while its worker answers LOADING."""

import asyncio
import struct
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import structlog

from yggdrasil._core import TAG_SERIAL_BITS, DamageError, LogRecovery, MovedShard, Worker, YggdrasilError
from yggdrasil.protocol.services import LOG_SYNC
from yggdrasil.server.config import Config
from yggdrasil.server.link import Link
from yggdrasil.server.log_layout import generation_of, is_log_there, shard_directory
from yggdrasil.server.messages import Loading, ToChild
from yggdrasil.server.snapshots.restore import ShardRestore

log = structlog.stdlib.get_logger(__name__)

_END = "log-end"
_PARTS = "log-parts"
_DECISIONS = "log-decisions"
_DECIDED = "log-decided"
# Bytes of the log between two looks at the rings and sockets.
_STEP_BYTES = 1 << 20
_REPORT_S = 1.0
_RETRY_S = 0.05
_ATTEMPTS = 5
_LOOK_S = 1.0
_AGAIN_S = 30.0
"""A log that cannot be read for another reason than damage is read again after so long."""
_TAG = struct.Struct("<Q")
_PART = struct.Struct("<HQ")
_LOST = struct.Struct("<QH")
_NO, _YES, _UNKNOWN = b"\0", b"\1", b"\2"
_UNKNOWN_PARTS = 255
"""In the place of how many parts a decision has, of one that may have been in what is damaged."""

Group = tuple[int, int]
"""A coordinator and its tag."""
Part = tuple[int, int]
"""A shard and the number of its last change."""
Run = tuple[int, int]
"""A coordinator and the part of its tags that names a run of it."""
_File = tuple[str, int, int]
"""Name, length, and the time of the last change."""
Told = TypeVar("Told")


class UndecidedError(OSError):
    """A log is missing that would say whether changes of a transaction count."""

    def __init__(self, shard: int) -> None:
        super().__init__(f"the log of shard {shard} cannot be read: it would say whether changes of transactions count")


@dataclass(frozen=True, slots=True)
class _End:
    """The end of a log, and the runs of workers of which it has transactions since the last recovery."""

    number: int
    runs: frozenset[Run]

    @classmethod
    def decode(cls, answer: bytes) -> "_End":
        (number,) = _TAG.unpack_from(answer)
        return cls(number, frozenset(_PART.iter_unpack(memoryview(answer)[_TAG.size :])))

    def tells(self, group: Group) -> bool:
        """Whether the number alone tells that a part is there: the log goes up to the run that has made it."""
        coordinator, tag = group
        return (coordinator, tag >> TAG_SERIAL_BITS) in self.runs


class _Unread:
    """What is known of a log that cannot be read: as much of it as is whole."""

    def __init__(self, one: LogRecovery) -> None:
        self._decisions: dict[int, list[Part]] = {}
        self._number = 0
        with suppress(OSError):
            self._number, self._decisions = one.remains()

    def decision(self, tag: int) -> list[Part] | None:
        """The parts of a decision; None where nobody knows."""
        return self._decisions.get(tag)

    def runs(self) -> set[Run]:
        """None: its parts have to be asked for one by one."""
        return set()

    def parts(self, groups: Sequence[Group]) -> list[int]:
        """Numbers up to which their changes are there for certain."""
        return [self._number] * len(groups)

    def found(self) -> tuple[int, int, int, int]:
        """As of a log that is whole."""
        return self._number, 0, 0, 0


def _counting_of(one: LogRecovery, others: Sequence[LogRecovery]) -> list[Group]:
    """The groups of a log that count, by the logs of all shards."""
    decided = _Decided()
    ends = [_End(other.found()[0], frozenset(other.runs())) for other in others]
    for coordinator, tag, _ in one.open_groups():
        decided.add((coordinator, tag), others[coordinator].decision(tag) or [], ends)
    for shard, asked in decided.asked.items():
        decided.told(asked, others[shard].parts([group for group, _ in asked]))
    return list(decided.counting)


class _Decided:
    """Groups that were decided, as long as no part of them is missing."""

    def __init__(self) -> None:
        self.counting: set[Group] = set()
        self.asked: dict[int, list[tuple[Group, int]]] = defaultdict(list)
        """Of each shard the groups and numbers that it has to be asked for one by one."""

    def add(self, group: Group, parts: Sequence[Part], ends: Sequence[_End]) -> None:
        """Looks at the parts of a decision."""
        if not parts:
            return
        self.counting.add(group)
        for shard, number in parts:
            if not ends[shard].tells(group):
                self.asked[shard].append((group, number))
            elif ends[shard].number < number:
                self.counting.discard(group)

    def told(self, asked: Iterable[tuple[Group, int]], numbers: Iterable[int]) -> None:
        """Takes what a shard has said of these."""
        for (group, wanted), number in zip(asked, numbers, strict=True):
            if number < wanted:
                self.counting.discard(group)


def _files_of(directory: Path) -> Collection[_File]:
    """What tells whether somebody has changed something in a directory."""
    with suppress(OSError):
        return {(file.name, stat.st_size, stat.st_mtime_ns) for file in directory.iterdir() for stat in (file.stat(),)}
    return ()


def _end_of(one: LogRecovery | _Unread) -> bytes:
    return _TAG.pack(one.found()[0]) + b"".join(_PART.pack(*run) for run in one.runs())


async def _scan(one: LogRecovery) -> None:
    await asyncio.get_running_loop().run_in_executor(None, one.scan)


def _check_there(directory: Path) -> None:
    """Raises DamageError where a log is lost that was begun."""
    if not is_log_there(directory):
        raise DamageError(f"{directory} has no segments: the log of this shard is lost")


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
        failed: Callable[[Exception], None],
        *,
        node: str,
        is_begun: bool,
        was_served: bool,
    ) -> None:
        self._failed = failed
        """Called with the reason where the shard cannot be made; it is tried again."""
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
        self._is_begun = is_begun
        """There must be a log."""
        self._was_served = was_served
        """The node has run on: all that its other workers were told is in their logs."""
        self._scanned = asyncio.Event()
        self._unread: _Unread | None = None
        """What others are told of a log that cannot be read."""
        self._end_told: bytes | None = None
        self._serves = False
        self._began = time.monotonic()
        self._began_ms = time.time_ns() // 1_000_000
        self._reported = self._began
        worker.serve_call(_END, self._answer_end)
        worker.serve_call(_PARTS, self._answer_parts)
        worker.serve_call(_DECISIONS, self._answer_decisions)
        worker.serve_call(_DECIDED, self._answer_decided)
        worker.serve_call(LOG_SYNC, self._answer_sync)

    async def run(self) -> None:
        """Until the shard serves, however often that has to be tried. OSError says that this process cannot go on."""
        await self._read()
        number, changes, _, torn = self._log.found()
        if torn:
            log.warning("the end of the log was torn and is cut", bytes=torn, last_number=number)
        # Later on there are more changes.
        self._end_told = _end_of(self._log)
        self._log.decide(await self._counted())
        self._worker.begin_loading()
        await self._restore.fill()
        while not self._worker.replay(self._log, _STEP_BYTES):
            self._report(self._log)
            await asyncio.sleep(0)
        self._begin_log()
        self._end(changes)

    async def _read(self) -> None:
        """Reads the log, however often that has to be tried."""
        while True:
            before = _files_of(self._directory)
            try:
                await self._find()
            except (OSError, YggdrasilError) as error:
                self._scanned.set()
                self._failed(error)
                is_log_damaged = self._unread is not None and isinstance(error, DamageError)
                await self._until_changed(before, None if is_log_damaged else _AGAIN_S)
            else:
                self._scanned.set()
                return

    async def _until_changed(self, before: Collection[_File], timeout_s: float | None) -> None:
        """Until somebody has changed files of the log, or until some time has passed."""
        last = before
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while True:
                    await asyncio.sleep(_LOOK_S)
                    now = _files_of(self._directory)
                    # What is being copied to its place changes for some time.
                    if now == last != before:
                        return
                    last = now

    async def _find(self) -> None:
        """Reads the log once, and finds the snapshot that it goes on from."""
        attempts = _ATTEMPTS if self._was_served else 1
        while True:
            attempts -= 1
            try:
                if self._is_begun:
                    await asyncio.to_thread(_check_there, self._directory)
                await _scan(self._log)
            except OSError:
                # A snapshot may just have shortened it.
                if not attempts:
                    self._unread = await asyncio.to_thread(_Unread, self._log)
                    raise
                await asyncio.sleep(_RETRY_S)
                continue
            self._unread = None
            if self._was_served:
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
        directories = [shard_directory(logs, shard) for shard in range(shards)]
        if self._is_begun:
            for directory in directories:
                _check_there(directory)
        others = [LogRecovery(directory) for directory in directories]
        await asyncio.gather(_scan(self._log), *map(_scan, others))
        self._scanned.set()
        self._begin_log()
        all_moved = [MovedShard(shard, shards) for shard in range(shards)]
        await self._restore.fill_moved(snapshot, all_moved)
        for one, other in zip(all_moved, others, strict=True):
            other.decide(await asyncio.to_thread(_counting_of, other, others))
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

    async def _counted(self) -> list[Group]:
        """The groups of changes of several shards that count, once that can be told."""
        while True:
            try:
                return await self._counting()
            except UndecidedError as error:
                self._failed(error)
                await asyncio.sleep(_LOOK_S)

    async def _counting(self) -> list[Group]:
        groups = self._log.open_groups()
        if self._was_served:
            released = [(coordinator, tag) for coordinator, tag, was_released in groups if was_released]
            others = [(coordinator, tag) for coordinator, tag, was_released in groups if not was_released]
            return released + [group for group in others if await self._was_decided(group)]
        if not groups:
            return []
        ends = [_End.decode(await self._ask(shard, _END, b"")) for shard in range(self._shards)]
        decided = _Decided()
        for coordinator in {coordinator for coordinator, _, _ in groups}:
            tags = [tag for owner, tag, _ in groups if owner == coordinator]
            decisions = memoryview(await self._ask(coordinator, _DECISIONS, b"".join(map(_TAG.pack, tags))))
            for tag in tags:
                count, decisions = decisions[0], decisions[1:]
                if count == _UNKNOWN_PARTS:
                    raise UndecidedError(coordinator)
                parts = [_PART.unpack_from(decisions, at * _PART.size) for at in range(count)]
                decided.add((coordinator, tag), parts, ends)
                decisions = decisions[count * _PART.size :]
        for shard, asked in decided.asked.items():
            answer = await self._ask(shard, _PARTS, b"".join(_PART.pack(*group) for group, _ in asked))
            numbers = [number for (number,) in _TAG.iter_unpack(memoryview(answer)[1:])]
            is_unread = answer[:1] == _UNKNOWN
            if is_unread and any(number < wanted for (_, wanted), number in zip(asked, numbers, strict=True)):
                raise UndecidedError(shard)
            decided.told(asked, numbers)
        return list(decided.counting)

    async def _was_decided(self, group: Group) -> bool:
        coordinator, tag = group
        answer = await self._ask(coordinator, _DECIDED, _LOST.pack(tag, self._shard))
        if answer == _UNKNOWN:
            raise UndecidedError(coordinator)
        return answer == _YES

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

    async def _told(self, ask: Callable[[LogRecovery | _Unread], Told]) -> Told:
        """What the first reading of the log has found; it is read again where that was forgotten."""
        await self._scanned.wait()
        while True:
            if self._unread is not None:
                return ask(self._unread)
            one = LogRecovery(self._directory) if self._serves else self._log
            try:
                if one is not self._log:
                    await _scan(one)
                return await asyncio.to_thread(ask, one)
            except (OSError, YggdrasilError):
                # It is written meanwhile, or was just forgotten.
                await asyncio.sleep(_RETRY_S)

    async def _answer_end(self, _payload: bytes) -> bytes:
        """The end that the log had at the start, as `_End` reads it."""
        await self._scanned.wait()
        if self._end_told is not None:
            return self._end_told
        return await self._told(_end_of)

    async def _answer_parts(self, payload: bytes) -> bytes:
        """Of each group the number of its last change here, 0 where it has none that counts.

        Before them stands whether the log can be read.
        """
        groups = list(_PART.iter_unpack(payload))

        def parts(one: LogRecovery | _Unread) -> bytes:
            head = _UNKNOWN if isinstance(one, _Unread) else _YES
            return head + b"".join(map(_TAG.pack, one.parts(groups)))

        return await self._told(parts)

    async def _answer_decisions(self, payload: bytes) -> bytes:
        """The parts of each transaction that was decided, after their number."""
        tags = [tag for (tag,) in _TAG.iter_unpack(payload)]

        def decisions(one: LogRecovery | _Unread) -> bytes:
            answer = bytearray()
            for tag in tags:
                parts = one.decision(tag)
                if parts is None and isinstance(one, _Unread):
                    answer.append(_UNKNOWN_PARTS)
                else:
                    answer.append(len(parts or []))
                    answer += b"".join(_PART.pack(*part) for part in parts or [])
            return bytes(answer)

        return await self._told(decisions)

    async def _answer_sync(self, _payload: bytes) -> bytes:
        await self._worker.sync_log()
        return _YES

    async def _answer_decided(self, payload: bytes) -> bytes:
        tag, lost = _LOST.unpack(payload)
        await self._scanned.wait()
        if self._serves:
            return _YES if self._worker.has_decided(tag, lost) else _NO
        if self._unread is not None:
            return _UNKNOWN if self._unread.decision(tag) is None else _YES
        return _YES if self._log.decision(tag) else _NO
