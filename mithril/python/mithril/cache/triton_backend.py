"""Triton on the cache, as the class that TRITON_CACHE_MANAGER names.

Triton keeps eight files for a kernel; here they are one artifact, whole or absent. Files that are on this machine
already are used as Triton would, without asking anybody.
"""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from triton.runtime.cache import FileCacheManager

from mithril.cache import session
from mithril.cache.artifact import Artifact
from mithril.cache.environment import device_class, versions
from mithril.cache.keys import CacheKey
from mithril.core.telemetry import logger

_log = logger("cache")
# Files that are no part of a kernel's group: launchers and drivers' stubs, and the choices of the autotuner.
_SINGLE_ENDS = (".so", ".autotune.json")
_started: dict[str, float] = {}


class MithrilCacheManager(FileCacheManager):  # type: ignore[misc]
    """Triton's files of one key. Nothing raises because of the cache: an exception would end a kernel's launch."""

    def __init__(self, key: str, override: bool = False, dump: bool = False) -> None:
        super().__init__(key, override=override, dump=dump)
        self._own = override or dump

    def get_file(self, filename: str) -> str | None:
        """The path of a file, or None."""
        path: str | None = super().get_file(filename)
        if path is not None or self._own or not filename.endswith(_SINGLE_ENDS):
            return path
        found = self._fetch("file", filename)
        return found.get(filename) if found else None

    def put(self, data: Any, filename: str, binary: bool = True) -> str:
        """Keeps a file."""
        path: str = super().put(data, filename, binary=binary)
        if not self._own and filename.endswith(_SINGLE_ENDS):
            self._keep("file", filename, {filename: path})
        return path

    def get_group(self, filename: str) -> dict[str, str] | None:
        """The paths of a kernel's files, or None unless all are there."""
        group: dict[str, str] | None = super().get_group(filename)
        if group is not None or self._own:
            return group
        group = self._fetch("kernel", filename)
        if group is None:
            _started[self.key] = time.monotonic()
            return None
        super().put_group(filename, group)
        return group

    def put_group(self, filename: str, group: dict[str, str]) -> str:
        """Keeps a kernel's files, which are there already, as one."""
        path: str = super().put_group(filename, group)
        if not self._own:
            self._keep("kernel", filename, group)
        return path

    def _key_of(self, kind: str, filename: str) -> CacheKey:
        # A launcher is compiled C and loaded here; a kernel is for the device that is part of Triton's own key.
        of_host = kind == "file"
        return CacheKey(
            "triton",
            kind,
            f"{self.key}/{filename}",
            device=device_class() if of_host else None,
            versions=versions() if of_host else (),
        )

    def _fetch(self, kind: str, filename: str) -> dict[str, str] | None:
        try:
            current = session.current()
            if current is None:
                return None
            artifact = current.cache.get(self._key_of(kind, filename))
            if artifact is None or not all(_plain(name) for name in artifact.parts):
                return None
            return {name: FileCacheManager.put(self, content, name) for name, content in artifact.parts.items()}
        except Exception:  # noqa: BLE001 (see the class)
            _log.warning("a lookup of a Triton kernel in the cache failed", exc_info=True)
            return None

    def _keep(self, kind: str, filename: str, group: Mapping[str, str]) -> None:
        try:
            current = session.current()
            if current is None:
                return
            key = self._key_of(kind, filename)
            seconds = time.monotonic() - _started.pop(self.key, time.monotonic())
            files = dict(group)

            def artifact() -> Artifact | None:
                try:
                    return Artifact(key, {name: Path(path).read_bytes() for name, path in files.items()}, seconds)
                except OSError:
                    # Removed in the meantime: a group that is not whole is not kept.
                    return None

            current.cache.put(artifact)
        except Exception:  # noqa: BLE001 (see the class)
            _log.warning("a write of a Triton kernel to the cache failed", exc_info=True)


def _plain(name: str) -> bool:
    """True for a file's name that names no other folder."""
    return name == os.path.basename(name) and name not in ("", ".", "..")  # noqa: PTH119
