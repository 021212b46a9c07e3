"""The cache of this process: opened at first use, flushed at its end, and never inherited by a fork."""

import atexit
import contextlib
import os
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from mithril.cache.artifact import Artifact
from mithril.cache.environment import device_class, versions
from mithril.cache.keys import CacheKey
from mithril.cache.layers import ArtifactCache
from mithril.cache.leases import Leases
from mithril.cache.runs import Recorder
from mithril.cache.settings import CacheSettings
from mithril.core.config import load
from mithril.core.errors import MithrilError
from mithril.core.telemetry import logger

_log = logger("cache")
_ASKED_MAX = 5000


class Session:
    """A cache, what the program asked for, and the graphs that this process compiles."""

    def __init__(self, settings: CacheSettings) -> None:
        root = settings.root.expanduser()
        self.program = settings.program or _program()
        self.cache = ArtifactCache(settings, Recorder(root, self.program))
        self._leases = Leases(root / "locks", self.cache.shared, settings.wait_s)
        self._begun = threading.Event()
        self._begin_lock = threading.Lock()
        self._begin_started = False
        self._asked_before: list[str] = []

    # What the program asked for last time.

    def _asked_key(self) -> CacheKey:
        return CacheKey("mithril", "asked", self.program, device=device_class(), versions=versions())

    def begin(self, also: Callable[[], list[str]]) -> None:
        """Fetches ahead what the program asked for last time, and what is named besides."""
        with self._begin_lock:
            if self._begin_started:
                return
            self._begin_started = True

        def paths() -> list[str]:
            artifact = self.cache.peek(self._asked_key())
            if artifact is not None:
                self._asked_before = artifact.parts["paths"].decode().split("\n")
            return list(dict.fromkeys([*self._asked_before, *also()]))

        self.cache.prefetch(paths)
        self._begun.set()

    def await_begin(self) -> None:
        """Waits until fetching ahead is under way, where it has been started."""
        if self._begin_started:
            self._begun.wait(self.cache.settings.timeout_s)

    def _put_asked(self) -> None:
        asked = self.cache.asked()[:_ASKED_MAX]
        if asked and sorted(asked) != sorted(self._asked_before):
            self.cache.put(Artifact(self._asked_key(), {"paths": "\n".join(asked).encode()}))

    # One process compiles, the others of this machine wait.

    def wait_for_other(self, key: CacheKey) -> Artifact | None:
        """The artifact that another process is compiling, or None where it falls to this one to compile it."""
        # A graph whose compilation failed or was not kept is no longer under way when the next is asked for.
        for held in self._leases.held():
            self.cache.after_writes(partial(self.finished, held))
        found = self._leases.take(key, lambda: self.cache.peek(key) is not None)
        return self.cache.get(key) if found else None

    def finished(self, key: CacheKey) -> None:
        """Lets the others go on: the artifact is there."""
        self._leases.end(key)

    def close(self) -> None:
        """Flushes, and remembers what was asked for."""
        self._put_asked()
        self.cache.flush()
        self._leases.close()
        self.cache.close()


def _program() -> str:
    """A name for what runs: the script's, or the module's of `python -m`."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.name).removesuffix(".__main__")
    return Path(sys.argv[0] or "interactive").name


_lock = threading.Lock()
_session: Session | None = None
_failed = False
_arguments: dict[str, Any] = {}


def configure(**arguments: Any) -> None:
    """Sets options of [cache] for this process, before its first use of the cache."""
    _arguments.update(arguments)


def settings() -> CacheSettings:
    """The options in force."""
    return load(CacheSettings, _arguments).settings


def current() -> Session | None:
    """The session of this process, or None where the configuration cannot be used, which is said once."""
    global _session, _failed  # noqa: PLW0603 (one session a process, made at first use)
    with _lock:
        if _session is None and not _failed:
            try:
                _session = Session(settings())
            except MithrilError as error:
                _failed = True
                _log.warning(f"the cache is off in this process: {error}")
        return _session


def close() -> None:
    """Ends the session; the next use opens another."""
    global _session
    with _lock:
        ended, _session = _session, None
    if ended is not None:
        with contextlib.suppress(MithrilError):
            ended.close()


def _forget() -> None:
    # Threads and connections do not survive a fork.
    global _session, _lock  # noqa: PLW0603
    _lock = threading.Lock()
    _session = None


os.register_at_fork(after_in_child=_forget)
atexit.register(close)
