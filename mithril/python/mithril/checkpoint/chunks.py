"""Chunks: encoded and decoded by several threads, each of which holds one chunk at a time."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

from mithril import _kernels
from mithril.checkpoint.manifest import ChunkRef
from mithril.checkpoint.objects import Objects
from mithril.checkpoint.settings import CheckpointSettings
from mithril.core.errors import DamagedError, MithrilError

# Headers that a reader of slices keeps.
_HEADERS_MAX = 4096
# Chunks from this size on are objects of their own, so that they are found again wherever they occur.
_OWN_OBJECT_BYTES_MIN = 256 << 10


class Pool:
    """Threads with a bounded number of tasks waiting: what makes the tasks waits, not what they hold."""

    def __init__(self, threads: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="mithril-checkpoint")
        self._slots = threading.Semaphore(threads * 2)
        self._failure: BaseException | None = None
        self._pending: set[Future[None]] = set()
        self._lock = threading.Lock()

    def submit(self, task: Callable[..., None], *arguments: Any) -> None:
        """Runs a task. Raises what an earlier one has raised."""
        self._slots.acquire()
        self._raise()
        future = self._executor.submit(task, *arguments)
        with self._lock:
            self._pending.add(future)
        future.add_done_callback(self._done)

    def _done(self, future: Future[None]) -> None:
        error = None if future.cancelled() else future.exception()
        with self._lock:
            self._pending.discard(future)
            self._failure = self._failure or error
        self._slots.release()

    def _raise(self) -> None:
        if self._failure is not None:
            self._slots.release()
            raise self._failure

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown(wait=True, cancel_futures=kind is not None)
        if kind is None and self._failure is not None:
            raise self._failure


class ChunkWriter:
    """Encodes chunks and stores them: equal ones once, small ones together.

    All is stored, and the references are whole, when its `with` block has ended.
    """

    def __init__(self, objects: Objects, settings: CheckpointSettings, reader: "ChunkReader") -> None:
        self._objects = objects
        self._settings = settings
        self._reader = reader
        self._lock = threading.Lock()
        self._by_root: dict[tuple[bytes, str], Future[ChunkRef]] = {}
        self._pack: list[tuple[ChunkRef, bytes]] = []
        self._pack_bytes = 0

    def write(self, element: str, data: memoryview | bytes, base: ChunkRef | None) -> ChunkRef:
        """Stores one chunk, as a delta to `base` where that is smaller."""
        block_bytes = self._settings.block_bytes
        root, hashes = _kernels.fingerprint(element, block_bytes, data)
        if base is not None and base.root == root.hex():
            return base
        with self._lock:
            known = self._by_root.get((root, element))
            if known is None:
                mine = self._by_root[root, element] = Future[ChunkRef]()
        if known is not None:
            # Another thread may be encoding the same bytes: it is at work, so this ends.
            return known.result()
        try:
            ref = self._store(element, data, root, hashes, base)
        except BaseException as error:
            mine.set_exception(error)
            raise
        mine.set_result(ref)
        return ref

    def _store(
        self, element: str, data: memoryview | bytes, root: bytes, hashes: bytes, base: ChunkRef | None
    ) -> ChunkRef:
        frame, base = self._encoded(element, data, root, hashes, base)
        ref = ChunkRef("", 0, len(frame), memoryview(data).nbytes, root.hex(), base)
        if len(frame) >= min(_OWN_OBJECT_BYTES_MIN, self._settings.pack_bytes):
            ref.object = self._objects.put(frame)
            return ref
        with self._lock:
            self._pack.append((ref, frame))
            self._pack_bytes += len(frame)
            full = self._take_pack(self._settings.pack_bytes)
        self._put_pack(full)
        return ref

    def _encoded(
        self, element: str, data: memoryview | bytes, root: bytes, hashes: bytes, base: ChunkRef | None
    ) -> tuple[bytes, ChunkRef | None]:
        usable = (
            base is not None and base.raw_bytes == memoryview(data).nbytes and base.depth < self._settings.chain_max
        )
        if base is None or not usable:
            return _kernels.encode(element, self._settings.block_bytes, data, root, hashes), None
        old = self._reader.whole(base)
        frame = _kernels.encode(element, self._settings.block_bytes, data, root, hashes, old, bytes.fromhex(base.root))
        is_delta = _kernels.ChunkHeader(frame).base_root is not None
        return frame, base if is_delta else None

    def _take_pack(self, bytes_min: int) -> list[tuple[ChunkRef, bytes]]:
        if self._pack_bytes < bytes_min or not self._pack:
            return []
        full, self._pack, self._pack_bytes = self._pack, [], 0
        return full

    def _put_pack(self, pack: Iterable[tuple[ChunkRef, bytes]]) -> None:
        # In the order of their roots, so that the same chunks make the same object.
        pack = sorted(pack, key=lambda item: item[0].root)
        if not pack:
            return
        address = self._objects.put(b"".join(frame for _, frame in pack))
        offset = 0
        for ref, frame in pack:
            ref.object, ref.offset = address, offset
            offset += len(frame)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                with self._lock:
                    rest = self._take_pack(0)
                self._put_pack(rest)
                self._objects.flush()
        finally:
            self._objects.abort()


class ChunkReader:
    """Reads chunks, whole or by blocks, and checks them."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._headers: OrderedDict[tuple[str, int], _kernels.ChunkHeader] = OrderedDict()
        self._lock = threading.Lock()

    def whole(self, ref: ChunkRef) -> bytearray:
        """The bytes of a chunk."""
        return self._links(list(ref.chain()))

    def read_into(self, ref: ChunkRef, target: memoryview) -> None:
        """Decodes a whole chunk into `target`."""
        frame, header = self._frame(ref)
        base = self._links(list(ref.chain())[1:]) if header.base_root is not None and ref.base is not None else None
        self._decode(ref, header, (0, header.blocks), frame[header.header_bytes :], target, base)

    def _links(self, chain: list[ChunkRef]) -> bytearray:
        """The bytes of the first of a chain, from the full chunk at its end on; two chunks are held at a time."""
        base: bytearray | None = None
        spare: bytearray | None = None
        for ref in reversed(chain):
            frame, header = self._frame(ref)
            # Allocated when the header has confirmed the size: a manifest alone could ask for any.
            fits = spare is not None and len(spare) == header.raw_bytes
            target = spare if spare is not None and fits else bytearray(header.raw_bytes)
            self._decode(ref, header, (0, header.blocks), frame[header.header_bytes :], memoryview(target), base)
            base, spare = target, base
        assert base is not None
        return base

    def _frame(self, ref: ChunkRef) -> tuple[memoryview, _kernels.ChunkHeader]:
        frame = memoryview(self._objects.read(ref.object, ref.offset, ref.length))
        return frame, self._parsed(ref, frame)

    def read_blocks(self, ref: ChunkRef, block_bytes: int, first: int, end: int) -> bytearray:
        """The bytes of a run of blocks."""
        base: bytearray | None = None
        for link in reversed(list(ref.chain())):
            header = self._header(link, block_bytes)
            if header.block_bytes != block_bytes or end > header.blocks:
                raise self._damaged(link, "its blocks are not those of the manifest")
            start, stop = header.stored_range(first, end)
            stored = self._objects.read(link.object, link.offset + start, stop - start)
            target = bytearray(min(end * block_bytes, link.raw_bytes) - first * block_bytes)
            self._decode(link, header, (first, end), memoryview(stored), memoryview(target), base)
            base = target
        assert base is not None
        return base

    def _decode(
        self,
        ref: ChunkRef,
        header: _kernels.ChunkHeader,
        blocks: tuple[int, int],
        stored: memoryview,
        target: memoryview,
        base: bytearray | None,
    ) -> None:
        base_root: bytes | None = None
        if header.base_root is None:
            base = None
        elif ref.base is None:
            raise self._damaged(ref, "it is a delta, and the manifest does not say to what")
        else:
            base_root = bytes.fromhex(ref.base.root)
        try:
            _kernels.decode(header, *blocks, stored, target, base, base_root)
        except _kernels.KernelError as error:
            raise self._damaged(ref, str(error)) from None

    def _header(self, ref: ChunkRef, block_bytes: int) -> _kernels.ChunkHeader:
        key = (ref.object, ref.offset)
        with self._lock:
            header = self._headers.get(key)
        if header is None:
            length = min(_kernels.header_bytes(block_bytes, ref.raw_bytes), ref.length)
            header = self._parsed(ref, memoryview(self._objects.read(ref.object, ref.offset, length)))
            with self._lock:
                self._headers[key] = header
                if len(self._headers) > _HEADERS_MAX:
                    self._headers.popitem(last=False)
        return header

    def _parsed(self, ref: ChunkRef, start: memoryview) -> _kernels.ChunkHeader:
        try:
            header = _kernels.ChunkHeader(start)
        except _kernels.KernelError as error:
            raise self._damaged(ref, str(error)) from None
        if header.root.hex() != ref.root or header.raw_bytes != ref.raw_bytes or header.stored_bytes != ref.length:
            raise self._damaged(ref, "it is not the chunk that the manifest means")
        return header

    def _damaged(self, ref: ChunkRef, problem: str) -> MithrilError:
        url = self._objects.url_of(ref.object)
        return DamagedError(f"{url}: chunk at {ref.offset}: {problem}; restore it from a copy, or use another step")
