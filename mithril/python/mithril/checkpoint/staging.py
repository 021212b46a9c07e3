"""Saving in the background: the state is copied to host memory, and the training goes on.

The copies live in buffers of one chunk each, which are kept from save to save. Their number is bounded: a state larger
than that is copied as fast as it is written, and `save_async` returns when the last part has been copied.
"""

import atexit
import importlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mithril.checkpoint.arrays import Array
from mithril.checkpoint.manifest import chunk_sizes
from mithril.checkpoint.objects import Location, opened
from mithril.checkpoint.saving import Base, Callback, Quantize, SaveReport, save_flat
from mithril.checkpoint.settings import CheckpointSettings
from mithril.checkpoint.tree import flatten
from mithril.core.config import load as load_config
from mithril.core.errors import MithrilError

Buffer = Any
"""An array of bytes of numpy, or a pinned tensor of torch."""


class _Buffers:
    """Buffers of one size, at most so many bytes of them at a time."""

    def __init__(self) -> None:
        self._free: dict[tuple[int, bool], list[Buffer]] = {}
        self._changed = threading.Condition()
        self._used = 0

    def take(self, size: int, pinned: bool, limit: int, failed: Callable[[], bool]) -> Buffer:
        """A buffer of at least `size` bytes; waits until there is room for it."""
        with self._changed:
            while self._used and self._used + size > limit:
                if failed():
                    raise MithrilError("the save that held the memory has failed")
                self._changed.wait(timeout=1.0)
            self._used += size
            free = self._free.get((size, pinned))
            if free:
                return free.pop()
            self._trim(limit)
        if pinned:
            torch = importlib.import_module("torch")
            return torch.empty(size, dtype=torch.uint8, pin_memory=True)
        return np.empty(size, np.uint8)

    def _trim(self, limit: int) -> None:
        """Drops idle buffers that would not fit beside a new one."""
        idle = sum(size * len(free) for (size, _), free in self._free.items())
        for (size, _), free in self._free.items():
            while free and self._used + idle > limit:
                free.pop()
                idle -= size

    def give_back(self, buffer: Buffer, size: int, pinned: bool) -> None:
        """Takes a buffer back."""
        with self._changed:
            self._free.setdefault((size, pinned), []).append(buffer)
            self._used -= size
            self._changed.notify_all()

    def wake(self) -> None:
        """Has everyone who waits look again."""
        with self._changed:
            self._changed.notify_all()


_buffers = _Buffers()


@dataclass(frozen=True, slots=True)
class _StagedArray(Array):
    """An array whose parts are copies, each waited for until it has been made."""

    staging: "_Staging"
    name: str

    def part(self, start: int, end: int) -> memoryview:
        if start == end:
            return memoryview(b"")
        return self.staging.wait_for(self.name, start)

    def release(self, start: int) -> None:
        self.staging.release(self.name, start)


@dataclass(slots=True)
class _Staging:
    """The copies of one state."""

    limit: int
    chunk_bytes: int
    changed: threading.Condition = field(default_factory=threading.Condition)
    parts: dict[tuple[str, int], tuple[Buffer, int, bool]] = field(default_factory=dict)
    failed: bool = False

    def copy(self, tensors: Mapping[str, Array]) -> None:
        """Copies all parts of all tensors, in the order in which they are saved."""
        streams = _Streams()
        for name, array in tensors.items():
            pinned = streams.is_cuda(array)
            start = 0
            for size in chunk_sizes(array.nbytes, self.chunk_bytes):
                buffer = _buffers.take(size, pinned, self.limit, lambda: self.failed)
                if pinned:
                    streams.copy(array, start, size, buffer)
                else:
                    np.copyto(buffer[:size], np.frombuffer(array.part(start, start + size), np.uint8))
                self._add((name, start), (buffer, size, pinned), streams if pinned else None)
                start += size
        streams.wait()

    def _add(self, key: tuple[str, int], part: tuple[Buffer, int, bool], streams: "_Streams | None") -> None:
        if streams is not None:
            streams.wait()
        with self.changed:
            self.parts[key] = part
            self.changed.notify_all()

    def wait_for(self, name: str, start: int) -> memoryview:
        with self.changed:
            self.changed.wait_for(lambda: self.failed or (name, start) in self.parts)
            if (name, start) not in self.parts:
                raise MithrilError("copying the state to host memory has failed")
            buffer, size, pinned = self.parts[name, start]
        return memoryview(buffer.numpy() if pinned else buffer)[:size]

    def release(self, name: str, start: int) -> None:
        with self.changed:
            part = self.parts.pop((name, start), None)
        if part is not None:
            _buffers.give_back(*part)

    def fail(self) -> None:
        """Has nobody wait for parts that will not come, and gives all buffers back."""
        with self.changed:
            self.failed = True
            self.changed.notify_all()
        _buffers.wake()

    def drop(self) -> None:
        with self.changed:
            left = list(self.parts.values())
            self.parts.clear()
        for part in left:
            _buffers.give_back(*part)


class _Streams:
    """Copies from a GPU on a stream of their own, behind what the training has queued before."""

    def __init__(self) -> None:
        self._streams: dict[Any, Any] = {}

    def is_cuda(self, array: Array) -> bool:
        return array.kind == "torch" and bool(array.value.is_cuda) and bool(array.value.is_contiguous())

    def copy(self, array: Array, start: int, size: int, buffer: Any) -> None:
        torch = importlib.import_module("torch")
        device = array.value.device
        stream = self._streams.get(device)
        if stream is None:
            stream = self._streams[device] = torch.cuda.Stream(device)
            stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            flat = array.value.view(-1).view(torch.uint8)
            buffer[:size].copy_(flat[start : start + size], non_blocking=True)

    def wait(self) -> None:
        for stream in self._streams.values():
            stream.synchronize()


class AsyncSave:
    """A save in the background."""

    def __init__(self, step: int) -> None:
        self.step = step
        self._finished = threading.Event()
        self._report: SaveReport | None = None
        self._error: BaseException | None = None
        self._told = False

    def done(self) -> bool:
        """True when it has ended, well or not."""
        return self._finished.is_set()

    def result(self, timeout: float | None = None) -> SaveReport:
        """Waits for the end. Raises what went wrong, or TimeoutError."""
        if not self._finished.wait(timeout):
            raise TimeoutError(f"the save of step {self.step} has not ended after {timeout} s")
        if self._error is not None:
            self._told = True
            raise self._error
        assert self._report is not None
        return self._report

    def settle(self) -> SaveReport | None:
        """Waits for the end. Raises what went wrong, unless `result` has raised it already."""
        self._finished.wait()
        return None if self._told else self.result()

    def exception(self) -> BaseException | None:
        """The error of a save that has failed, once it has ended."""
        return self._error


_running: AsyncSave | None = None
_running_lock = threading.Lock()


def save_async(
    state: Any,
    url: Location,
    *,
    step: int,
    base: Base = "auto",
    quantize: Quantize | None = None,
    metadata: Mapping[str, str] | None = None,
    progress: Callback | None = None,
    threads: int | None = None,
    host_memory_bytes: int | None = None,
    overwrite: bool = False,
) -> AsyncSave:
    """Copies a state to host memory, returns, and saves it in the background. Parameters as those of `save`.

    One save runs at a time: a second call waits for the first, and raises what went wrong in it, unless `result` has.
    The state may be changed as soon as this returns.
    """
    global _running  # noqa: PLW0603 (one save at a time in a process)
    arguments = {"threads": threads, "host_memory_bytes": host_memory_bytes}
    settings = load_config(CheckpointSettings, arguments).settings
    tree, tensors = flatten(state)
    with _running_lock:
        if _running is not None:
            previous, _running = _running, None
            previous.settle()
        staging = _Staging(max(settings.host_memory_bytes, settings.chunk_bytes), settings.chunk_bytes)
        staged = {
            name: _StagedArray(array.kind, array.dtype, array.shape, None, staging, name)
            for name, array in tensors.items()
        }
        handle = AsyncSave(step)

        def run() -> None:
            try:
                with opened(url) as store:
                    handle._report = save_flat(  # noqa: SLF001
                        store,
                        settings,
                        tree,
                        staged,
                        step,
                        base,
                        quantize,
                        metadata or {},
                        progress,
                        overwrite=overwrite,
                    )
            except BaseException as error:  # noqa: BLE001 (kept for whoever asks for the result)
                handle._error = error  # noqa: SLF001
                staging.fail()
            finally:
                staging.drop()
                handle._finished.set()  # noqa: SLF001

        thread = threading.Thread(target=run, name=f"mithril-save-{step}", daemon=False)
        needed = sum(array.nbytes for array in tensors.values())
        # A state that fits is copied undisturbed; a larger one needs the writer to make room.
        if needed > staging.limit:
            thread.start()
        try:
            staging.copy(tensors)
        except BaseException:
            staging.fail()
            staging.drop()
            if thread.ident is not None:
                thread.join()
                if handle.exception() is not None:
                    raise handle.exception() from None  # type: ignore[misc]
            raise
        if thread.ident is None:
            thread.start()
        _running = handle
    return handle


def wait() -> SaveReport | None:
    """Waits for the save in the background, if there is one, and raises what went wrong in it."""
    global _running
    with _running_lock:
        previous, _running = _running, None
    return None if previous is None else previous.settle()


@atexit.register
def _finish() -> None:
    if _running is not None:
        _running._finished.wait()  # noqa: SLF001
