"""A capture under way: the workers record, one of them collects what all have recorded and writes it to a file.

The collector asks ten times a second. A worker that is not asked any more ends its recording by itself.
"""

import asyncio
import contextlib
import json
import os
import struct
import time
from dataclasses import asdict, dataclass
from typing import Any

from yggdrasil._core import CaptureWriter, ReplyError, Worker, YggdrasilError

COLLECTOR = 0
"""The shard whose worker collects and writes."""

_PERIOD_S = 0.1
_FOR_EVER = 2**64 - 1
_ANSWER = struct.Struct("<QQQ")
_TAKE, _START, _STOP, _STATUS = "capture.take", "capture.start", "capture.stop", "capture.status"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be captured, and when that ends."""

    path: str
    shift: int
    """One key in `2**shift` is recorded."""
    seconds: int
    requests: int


@dataclass(slots=True)
class Status:
    """How far the last capture is."""

    running: bool = False
    file: str = ""
    sample: int = 0
    """One key in so many is recorded."""
    seconds: float = 0.0
    requests: int = 0
    """Requests that the file has."""
    dropped: int = 0
    """Requests that were to be recorded and found no room."""
    bytes: int = 0
    """Length of the file."""
    ended: str = ""
    """Why it ended."""


class Capturing:
    """The part of one worker, and that of the collector if it is that."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._collection: _Collection | None = None

    def serve(self) -> None:
        """Takes part in captures from now on."""
        self._worker.serve_call(_TAKE, self._take)
        if self._worker.shard == COLLECTOR:
            self._worker.serve_call(_START, self._start)
            self._worker.serve_call(_STOP, self._stop)
            self._worker.serve_call(_STATUS, lambda _payload: _packed(asdict(self._status)))

    async def start(self, plan: Plan) -> None:
        """Lets the collector begin; ReplyError where it cannot."""
        await self._ask(_START, asdict(plan))

    async def stop(self) -> Status:
        """Lets the collector end, and waits until the file is whole; ReplyError when there is nothing to end."""
        return Status(**await self._ask(_STOP, {}))

    async def status(self) -> Status:
        """How far the last capture is."""
        return Status(**await self._ask(_STATUS, {}))

    async def _ask(self, topic: str, asked: dict[str, Any]) -> dict[str, Any]:
        try:
            answer = await self._worker.call(COLLECTOR, topic, _packed(asked))
        except YggdrasilError as error:
            raise ReplyError(f"ERR {error}") from None
        answered: dict[str, Any] = json.loads(answer) if answer else {"error": "ERR the capture failed; see the log"}
        if "error" in answered:
            raise ReplyError(answered["error"])
        return answered

    def _take(self, payload: bytes) -> bytes:
        """What this worker has recorded; the payload says which sample it goes on with, and nothing that it ends."""
        records, *counts = self._worker.record(int(payload) if payload else None)
        return _ANSWER.pack(*counts) + records

    @property
    def _status(self) -> Status:
        return self._collection.status if self._collection else Status()

    async def _start(self, payload: bytes) -> bytes:
        plan = Plan(**json.loads(payload))
        if self._status.running:
            return _packed(
                {"error": f"ERR a capture is under way to {self._status.file}; end it with MEMORY CAPTURE STOP"}
            )
        try:
            self._collection = _Collection(self._worker, plan)
        except FileExistsError:
            return _packed({"error": f"ERR {plan.path} exists already; captures overwrite nothing"})
        except OSError as error:
            return _packed({"error": f"ERR {plan.path} cannot be written: {error.strerror}"})
        await self._collection.begun.wait()
        return _packed({})

    async def _stop(self, _payload: bytes) -> bytes:
        if self._collection is None or not self._collection.status.running:
            return _packed({"error": "ERR there is no capture under way"})
        return _packed(asdict(await self._collection.stop()))


class _Collection:
    """What the collector does from the beginning of a capture to its end."""

    def __init__(self, worker: Worker, plan: Plan) -> None:
        """OSError when the file cannot be made, or is there already."""
        self._worker = worker
        self._plan = plan
        self._writer = CaptureWriter(plan.shift, worker.shards)
        self._file = os.open(plan.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        self._stopping = asyncio.Event()
        self.begun = asyncio.Event()
        """All workers record."""
        self.status = Status(True, plan.path, 1 << plan.shift)
        # Kept: the loop itself would not keep a task from being collected.
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> Status:
        """Ends it; the file is whole then."""
        self._stopping.set()
        await self._task
        return self.status

    async def _run(self) -> None:
        status, start = self.status, time.monotonic()
        try:
            await self._collect()
            self.begun.set()
            while not status.ended:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), _PERIOD_S)
                status.seconds = round(time.monotonic() - start, 3)
                status.ended = self._why_ended()
                await self._collect()
        except OSError as error:
            status.ended = f"{status.file} cannot be written: {error.strerror}"
            # What was written of the last piece may end in the middle of a record.
            os.ftruncate(self._file, status.bytes)
        finally:
            os.close(self._file)
            status.running = False
            self.begun.set()

    def _why_ended(self) -> str:
        if self._stopping.is_set():
            return "stopped"
        if self.status.seconds >= self._plan.seconds:
            return "it has taken as long as it should"
        if self.status.requests >= self._plan.requests:
            return "it has as many requests as it should"
        return ""

    async def _collect(self) -> None:
        """Writes what all workers have recorded before the first of them was asked."""
        goes_on = b"" if self.status.ended else b"%d" % self._plan.shift
        calls = [self._worker.call(shard, _TAKE, goes_on) for shard in range(self._worker.shards)]
        asked_at = []
        for shard, answer in enumerate(await asyncio.gather(*calls, return_exceptions=True)):
            # A worker that dies meanwhile takes its part with it; its successor records when it is asked.
            if isinstance(answer, bytes) and answer:
                requests, dropped, until_us = _ANSWER.unpack_from(answer)
                self.status.requests += requests
                self.status.dropped += dropped
                self._writer.add(shard, answer[_ANSWER.size :])
                asked_at.append(until_us)
        until_us = _FOR_EVER if self.status.ended else min(asked_at, default=0)
        self.status.bytes += await asyncio.get_running_loop().run_in_executor(None, self._write, until_us)

    def _write(self, until_us: int) -> int:
        records = self._writer.take(until_us)
        left = memoryview(records)
        while left:
            left = left[os.write(self._file, left) :]
        return len(records)


def _packed(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode()
