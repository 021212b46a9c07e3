"""Objects as files of a folder, which several processes and hosts may use at once."""

import contextlib
import errno
import fcntl
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mithril.core.config import CoreSettings
from mithril.core.direct_writes import DirectWriter, write_all
from mithril.core.errors import (
    AccessError,
    ChangedError,
    ConfigError,
    ExistsError,
    FullError,
    KeyNameError,
    NotFoundError,
    StoreError,
    UnavailableError,
)
from mithril.core.store import RESERVED_PREFIX, Batch, Condition, Data, ObjectInfo, Reader, Store, Writer

_TEMPORARY = f"{RESERVED_PREFIX}tmp-"
_LOCK = f"{RESERVED_PREFIX}lock"
# A temporary file older than this belongs to no living writer.
TEMPORARY_SECONDS_MAX = 86_400.0
# A batch writes in threads of its own while the caller makes more, and holds about so much that is not written yet.
_BATCH_THREADS = 2
_BATCH_BYTES_MAX = 16 << 20
# Syncs that run at once share what the file system does for each.
_SYNCS_AT_ONCE = 8
# Smaller files are about to be read again as likely as not, and gain little.
_DIRECT_BYTES_MIN = 1 << 20
_KINDS: dict[int, tuple[type[StoreError], str]] = {
    errno.ENOENT: (NotFoundError, "there is no such object"),
    errno.ENOTDIR: (NotFoundError, "there is no such object"),
    errno.EISDIR: (NotFoundError, "this is a folder, not an object"),
    errno.EACCES: (AccessError, "permission denied; check the owner and mode of the folder"),
    errno.EPERM: (AccessError, "permission denied; check the owner and mode of the folder"),
    errno.EROFS: (AccessError, "the file system is read-only"),
    errno.ENOSPC: (FullError, "the file system is full; free space or choose another folder"),
    errno.EDQUOT: (FullError, "the quota is used up; free space or choose another folder"),
    errno.EFBIG: (FullError, "the file system does not take files of this size"),
    errno.ENAMETOOLONG: (KeyNameError, "the name is too long for the file system"),
    errno.EEXIST: (KeyNameError, "a part of the key is an object, so it cannot be a folder"),
}


class FileStore(Store):
    """A folder. A file is written under a temporary name of its own, and renamed when it is complete."""

    schemes = ("file",)

    def __init__(self, url: str, settings: CoreSettings) -> None:
        self.root = _folder(url)
        super().__init__(url if "://" in url else f"file://{self.root}", settings)

    def path_of(self, key: str) -> Path:
        """The file of an object."""
        return self.root / key

    def sweep(self, age: float = TEMPORARY_SECONDS_MAX) -> int:
        """Removes what killed writers have left, and gives how many files that were."""
        removed = 0
        for path in self.root.rglob(f"{_TEMPORARY}*"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime >= age:
                    path.unlink()
                    removed += 1
        return removed

    def _get(self, key: str) -> bytes:
        with self._errors(key):
            return self.path_of(key).read_bytes()

    def _get_ranges(self, key: str, ranges: Sequence[tuple[int, int]], version: str | None) -> list[bytes]:
        with self._errors(key), self.path_of(key).open("rb", buffering=0) as file:
            if version is not None and _version(os.fstat(file.fileno())) != version:
                raise ChangedError("the object has changed since it was opened; open it again", self.url_of(key))
            return [_read(file.fileno(), start, length) for start, length in ranges]

    def _put(self, key: str, data: Data, condition: Condition, ttl: float | None) -> ObjectInfo:
        with self._open_writer(key, condition, ttl) as writer:
            writer.write(data)
        assert writer.info is not None
        return writer.info

    def _head(self, key: str) -> ObjectInfo:
        with self._errors(key):
            status = self.path_of(key).stat()
            if not os.path.isfile(self.path_of(key)):  # noqa: PTH113 (Path.is_file hides errors)
                raise NotFoundError("there is no such object", self.url_of(key))
            return _info(key, status)

    def _list(self, folder: str) -> Iterator[ObjectInfo]:
        pending = [self.root / folder]
        while pending:
            try:
                with self._errors(folder or "."):
                    entries = list(os.scandir(pending.pop()))
            except NotFoundError:
                continue
            for entry in entries:
                if entry.name.startswith(RESERVED_PREFIX):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    pending.append(Path(entry.path))
                    continue
                # A file may go between the listing and this.
                with contextlib.suppress(FileNotFoundError):
                    yield _info(os.path.relpath(entry.path, self.root), entry.stat())

    def _delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            with contextlib.suppress(NotFoundError), self._errors(key):
                self.path_of(key).unlink()

    def open_batch(self) -> Batch:
        """A batch of puts that wait for the disk together."""
        return _FileBatch(self) if self.settings.fsync else Batch(self)

    def _open_reader(self, key: str) -> Reader:
        with self._errors(key):
            return _FileReader(self.path_of(key), key)

    def _open_writer(self, key: str, condition: Condition, ttl: float | None) -> Writer:
        return _FileWriter(self, key, condition)

    @contextlib.contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise _mapped(error, self.url_of(key)) from error


class _FileReader(Reader):
    """The open file keeps its version, whatever becomes of the name."""

    def __init__(self, path: Path, key: str) -> None:
        self._file = path.open("rb", buffering=0)
        self.info = _info(key, os.fstat(self._file.fileno()))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: object) -> int:
        return self._file.readinto(buffer)  # type: ignore[arg-type]

    def read(self, size: int = -1, /) -> bytes:
        """Up to so many bytes. The way by `readinto` would copy them."""
        return self._file.read(self._at_most(size))

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


class _FileWriter(Writer):
    def __init__(self, store: FileStore, key: str, condition: Condition, direct: DirectWriter | None = None) -> None:
        self._store = store
        self._key = key
        self._direct = direct
        self._condition = condition
        self._target = store.path_of(key)
        name = f"{_TEMPORARY}{socket.gethostname()[:40]}-{os.getpid()}-{secrets.token_hex(8)}"
        self._temporary = self._target.with_name(name)
        self._made_folder = False
        with store._errors(key):  # noqa: SLF001
            self._file = self._create()

    def _create(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            return os.open(self._temporary, flags, 0o666)
        except FileNotFoundError:
            self._made_folder = True
            self._temporary.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self._temporary, flags, 0o666)
        except NotADirectoryError as error:
            # For a write this is a matter of names; for a read, of what is not there.
            raise OSError(errno.EEXIST, error.strerror) from error

    def write(self, data: Data) -> None:
        view = memoryview(data).cast("B")
        with self._store._errors(self._key):  # noqa: SLF001
            if self._direct is not None:
                self._direct.write(self._file, view)
            else:
                write_all(self._file, view)

    def commit(self) -> ObjectInfo:
        try:
            with self._store._errors(self._key):  # noqa: SLF001
                return self._publish()
        finally:
            self.abort()

    def _publish(self) -> ObjectInfo:
        if self._store.settings.fsync:
            os.fsync(self._file)
        if self._condition.absent:
            self._link()
        elif self._condition.version is not None:
            self._replace_version(self._condition.version)
        else:
            self._temporary.replace(self._target)
        if self._store.settings.fsync:
            _sync_folders(self._store.root if self._made_folder else self._target.parent, [self._target])
        return _info(self._key, os.fstat(self._file))

    def _link(self) -> None:
        # A link fails where the name exists; a rename would replace it.
        try:
            os.link(self._temporary, self._target)
        except FileExistsError:
            raise ExistsError("there is such an object already", self._store.url_of(self._key)) from None

    def _replace_version(self, version: str) -> None:
        with (self._target.parent / _LOCK).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                found = _version(self._target.stat())
            except FileNotFoundError:
                found = ""
            if found != version:
                raise ChangedError("the object is not of the expected version", self._store.url_of(self._key))
            self._temporary.replace(self._target)

    def abort(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            self._temporary.unlink(missing_ok=True)

    def park(self) -> tuple[Path, Path]:
        """Closes the file, which the system begins to write out; gives its name of now, and the one it is to get."""
        try:
            with self._store._errors(self._key):  # noqa: SLF001
                os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(self._file)
                self._file = -1
        except BaseException:
            self.abort()
            raise
        return self._temporary, self._target


class _FileBatch(Batch):
    """Files under temporary names, written in the background, which get their own when all are on the disk."""

    def __init__(self, store: FileStore) -> None:
        super().__init__(store)
        self._files = store
        self._parked: list[tuple[str, Path, Path]] = []
        self._threads = ThreadPoolExecutor(_BATCH_THREADS, thread_name_prefix="mithril-files")
        self._of_thread = threading.local()
        self._changed = threading.Condition()
        self._held_bytes = 0
        self._failure: BaseException | None = None

    def put(self, key: str, data: Data, *, ttl: float | None = None) -> None:
        key = self._files._checked(key)  # noqa: SLF001
        view = memoryview(data).cast("B")
        with self._changed:
            self._changed.wait_for(lambda: not self._held_bytes or self._held_bytes + len(view) <= _BATCH_BYTES_MAX)
            self._raise()
            self._held_bytes += len(view)
        self._threads.submit(self._write, key, view)

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _write(self, key: str, data: memoryview) -> None:
        try:
            parked = self._written(key, data)
        except BaseException as error:  # noqa: BLE001 (kept for whoever puts or commits)
            with self._changed:
                self._failure = self._failure or error
        else:
            with self._changed:
                self._parked.append((key, *parked))
        finally:
            with self._changed:
                self._held_bytes -= len(data)
                self._changed.notify_all()

    def _written(self, key: str, data: memoryview) -> tuple[Path, Path]:
        direct = self._direct() if len(data) >= _DIRECT_BYTES_MIN else None
        writer = _FileWriter(self._files, key, Condition(), direct)
        try:
            writer.write(data)
        except BaseException:
            writer.abort()
            raise
        return writer.park()

    def _direct(self) -> DirectWriter:
        found: DirectWriter | None = getattr(self._of_thread, "direct", None)
        if found is None:
            found = self._of_thread.direct = DirectWriter()
        return found

    def commit(self) -> None:
        self._threads.shutdown()
        self._raise()
        with ThreadPoolExecutor(_SYNCS_AT_ONCE, thread_name_prefix="mithril-sync") as threads:
            for _ in threads.map(self._sync, self._parked):
                pass
        for key, temporary, target in self._parked:
            with self._files._errors(key):  # noqa: SLF001
                temporary.replace(target)
        targets = [target for _, _, target in self._parked]
        self._parked = []
        with self._files._errors("."):  # noqa: SLF001
            _sync_folders(self._files.root, targets)

    def _sync(self, parked: tuple[str, Path, Path]) -> None:
        key, temporary, _ = parked
        with self._files._errors(key):  # noqa: SLF001
            _sync(temporary, os.O_RDONLY)

    def abort(self) -> None:
        self._threads.shutdown(cancel_futures=True)
        for _, temporary, _ in self._parked:
            temporary.unlink(missing_ok=True)
        self._parked = []


def _folder(url: str) -> Path:
    if "://" not in url:
        return Path(url).absolute()
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost") or not parts.path:
        raise ConfigError(f"{url}: a folder is written file:///absolute/path, or as a path without file://")
    return Path(unquote(parts.path))


def _version(status: os.stat_result) -> str:
    # A writer makes a new file each time; the time tells apart files that get the same inode one after another.
    return f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"


def _info(key: str, status: os.stat_result) -> ObjectInfo:
    return ObjectInfo(key, status.st_size, _version(status), status.st_mtime)


def _read(file: int, start: int, length: int) -> bytes:
    parts = []
    while length > 0 and (part := os.pread(file, min(length, 1 << 30), start)):
        parts.append(part)
        start += len(part)
        length -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folders(root: Path, targets: Iterable[Path]) -> None:
    """Has the names of files on the disk, and those of the folders above them up to `root`."""
    folders = {folder for target in targets for folder in target.parents if folder.is_relative_to(root)}
    for folder in sorted(folders, reverse=True):
        _sync(folder, os.O_RDONLY | os.O_DIRECTORY)


def _mapped(error: OSError, url: str) -> StoreError:
    kind, message = _KINDS.get(error.errno or 0, (UnavailableError, str(error.strerror or error)))
    return kind(message, url)
