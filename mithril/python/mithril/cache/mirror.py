"""A folder and the shared store in step: for frameworks whose cache is a folder (vLLM, SGLang, CUDA).

Such files are written once under a name that says what they hold, so a file that is there is never replaced: of two
writers the first wins. Files appear under their name only when they are whole.
"""

import os
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from mithril.cache.artifact import Artifact, Signer, Verifier, unseal
from mithril.cache.keys import CacheKey
from mithril.cache.settings import CacheSettings
from mithril.cache.signing import Ed25519Signer, Ed25519Verifier, UntrustedError
from mithril.core.errors import ConfigError, DamagedError, ExistsError, KeyNameError, MissingExtraError, MithrilError
from mithril.core.store import Store
from mithril.core.telemetry import logger

_log = logger("cache")
_TEMPORARY = ".mithril-mirror-"
# What frameworks write while they work, or for themselves alone.
IGNORED = ("*.lock", "*.tmp", "*.tmp.*", "*-atime", "*.part", "tmp.*", f"{_TEMPORARY}*", ".lockfile", "*.swp")
# A file that has not changed for so long is taken for whole, where nothing said that it was closed.
_SETTLED_S = 2.0


@dataclass(slots=True)
class Moved:
    """Files that went either way."""

    sent: int = 0
    received: int = 0
    refused: int = 0


class Mirror:
    """One folder and its files in the store, under `mirror/<name>`."""

    def __init__(self, folder: Path, name: str, settings: CacheSettings, store: Store | None = None) -> None:
        if not settings.url and store is None:
            raise ConfigError("mirror needs a shared store; name one with --url or in [cache] of mithril.toml")
        self.folder = folder
        self._name = name
        self._settings = settings
        self._store = store or Store.open(settings.url)
        self._prefix = f"{settings.namespace}/mirror/{name}"
        self._signer: Signer | None = Ed25519Signer(settings.signing_key) if settings.signing_key else None
        self._verifier: Verifier | None = Ed25519Verifier(settings.trusted_keys) if settings.trusted_keys else None
        self._known: set[str] = set()

    def step(self, settled: float = _SETTLED_S, closed: frozenset[str] = frozenset()) -> Moved:
        """Receives what the folder lacks, and sends what the store lacks; `closed` files are whole for certain."""
        moved = Moved()
        remote = {info.key.removeprefix(f"{self._prefix}/") for info in self._store.list(self._prefix)}
        here = set(self._files())
        for path in sorted(remote - here - self._known):
            received = self._receive(path)
            moved.received += received
            moved.refused += not received
            if not received:
                # Asked for once: it would be refused again.
                self._known.add(path)
        for path in sorted(here - remote):
            if path in closed or self._is_settled(path, settled):
                moved.sent += self._send(path)
        return moved

    def run(self, interval: float, stop: threading.Event, report: Callable[[Moved], None]) -> None:
        """Steps until stopped: at once when a file was closed or renamed here, and every `interval` seconds."""
        changed = threading.Event()
        closed: set[str] = set()

        def finished(path: str) -> None:
            closed.add(self._relative(path))
            changed.set()

        observer = _observer(self.folder, finished)
        try:
            while not stop.is_set():
                try:
                    taken = frozenset(closed)
                    report(self.step(closed=taken))
                    closed.difference_update(taken)
                except MithrilError as error:
                    _log.warning(f"{self.folder}: tried again in {interval:.0f} s: {error}")
                changed.wait(interval)
                changed.clear()
        finally:
            observer.stop()
            observer.join()

    def _relative(self, path: str) -> str:
        return os.path.relpath(path, self.folder)

    def _files(self) -> list[str]:
        found = []
        for root, folders, files in os.walk(self.folder):
            folders[:] = [name for name in folders if not _ignored(name)]
            found += [os.path.relpath(Path(root) / name, self.folder) for name in files if not _ignored(name)]
        return found

    def _is_settled(self, path: str, settled: float) -> bool:
        try:
            return time.time() - (self.folder / path).stat().st_mtime >= settled
        except OSError:
            return False

    def _key(self, path: str) -> CacheKey:
        return CacheKey("mirror", self._name, path)

    def _send(self, path: str) -> bool:
        try:
            content = (self.folder / path).read_bytes()
        except OSError as error:
            _log.warning(f"{self.folder / path}: {error.strerror}")
            return False
        if len(content) > self._settings.artifact_max_bytes:
            return False
        mode = (self.folder / path).stat().st_mode & 0o777
        data = Artifact(self._key(path), {"data": content}, notes={"mode": mode}).encode(
            self._settings.level, self._signer
        )
        try:
            self._store.put(f"{self._prefix}/{path}", data, if_absent=True, ttl=self._settings.ttl_s)
        except ExistsError:
            return False
        return True

    def _receive(self, path: str) -> bool:
        target = self.folder / path
        try:
            data = self._store.get(f"{self._prefix}/{path}")
            artifact = unseal(data, self._verifier, self._key(path)).open(self._settings.artifact_max_bytes)
        except (DamagedError, UntrustedError, KeyNameError) as error:
            _log.warning(f"{self._store.url}: mirror/{self._name}/{path}: {error}")
            return False
        temporary = target.with_name(f"{_TEMPORARY}{secrets.token_hex(8)}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(artifact.parts["data"])
            temporary.chmod(int(artifact.notes.get("mode", 0o644)) & 0o777)
            # A link fails where the file has appeared meanwhile: it stays as it is.
            os.link(temporary, target)
        except FileExistsError:
            return False
        except OSError as error:
            raise ConfigError(f"{target}: {error.strerror}; the folder has to be writable") from None
        finally:
            temporary.unlink(missing_ok=True)
        return True


def _ignored(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in IGNORED)


def _observer(folder: Path, finished: Callable[[str], None]) -> Any:
    """A thread that tells of each file that was closed after writing, or renamed to its name."""
    try:
        from watchdog.events import FileSystemEventHandler  # noqa: PLC0415
        from watchdog.observers import Observer  # noqa: PLC0415
    except ImportError:
        raise MissingExtraError("mirror", "watchdog", "mirror") from None

    class Handler(FileSystemEventHandler):
        def on_closed(self, event: Any) -> None:
            finished(os.fsdecode(event.src_path))

        def on_moved(self, event: Any) -> None:
            finished(os.fsdecode(event.dest_path))

    observer = Observer()
    observer.schedule(Handler(), str(folder), recursive=True)
    observer.start()
    return observer
