"""Objects by the hash of their content, in any store: each content is kept once, and checked when it is read.

Objects are `objects/ab/<BLAKE3>`, references `refs/<name>` (lines of hashes), and damaged objects go to `damaged/`.
A reference is written after its objects, so what a reference names is there.
"""

import contextlib
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

from blake3 import blake3

from mithril.core.errors import ExistsError, KeyNameError, NotFoundError
from mithril.core.store import Batch, Data, Store
from mithril.core.telemetry import logger

_log = logger("core")
_DIGEST = re.compile(r"^[0-9a-f]{64}$")
OBJECTS = "objects"
REFERENCES = "refs"
DAMAGED = "damaged"
# An object younger than this may belong to a writer that has yet to write its reference.
GRACE_S = 3600.0


@dataclass(frozen=True, slots=True)
class Collected:
    """The result of a garbage collection."""

    kept: int
    removed: int
    removed_bytes: int


@dataclass(frozen=True, slots=True)
class Scanned:
    """The result of a scan."""

    objects: int
    size: int
    damaged: tuple[str, ...]
    missing: tuple[str, ...]
    """Hashes that a reference names and that are not there."""


class ContentStore:
    """Objects by their hash. Several processes and hosts may use one store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def put(self, data: Data) -> str:
        """Keeps the content, and gives its hash; what is there already is not written again."""
        return self.put_fresh(data)[0]

    def put_fresh(
        self, data: Data, *, age_max: float | None = None, ttl: float | None = None, batch: Batch | None = None
    ) -> tuple[str, bool]:
        """Keeps the content, and gives its hash, and whether it was written.

        What is there and older than `age_max` seconds is written again: so a collection of garbage sees a young object,
        which it leaves alone until the writer has named it. With a batch it is there when that is committed.
        """
        digest = blake3(data).hexdigest()
        key = _key(digest)
        if self._is_there(key, age_max):
            return digest, False
        if batch is not None:
            batch.put(key, data, ttl=ttl)
            return digest, True
        # Another writer may be faster, with the same content.
        with contextlib.suppress(ExistsError):
            self.store.put(key, data, if_absent=age_max is None, ttl=ttl)
        return digest, True

    def _is_there(self, key: str, age_max: float | None) -> bool:
        try:
            info = self.store.head(key)
        except NotFoundError:
            return False
        return age_max is None or time.time() - info.modified < age_max

    def has(self, digest: str) -> bool:
        """True where there is such an object."""
        return self.store.exists(_key(digest))

    def get(self, digest: str) -> bytes | None:
        """The content, or None: absent, or damaged, which is reported and set aside."""
        try:
            data = self.store.get(_key(digest))
        except NotFoundError:
            return None
        return data if self._checked(digest, data) else None

    def get_range(self, digest: str, start: int, length: int) -> bytes:
        """A part of the content, which the caller checks. Raises NotFoundError."""
        return self.store.get_range(_key(digest), start, length)

    def pin(self, digests: Iterable[str], seconds: float) -> int:
        """Keeps objects from eviction for a time, where the store evicts at all."""
        return self.store.pin(map(_key, digests), seconds)

    def url_of(self, digest: str) -> str:
        """The URL of an object."""
        return self.store.url_of(_key(digest))

    def get_many(self, digests: Iterable[str]) -> dict[str, bytes]:
        """The contents that are there and whole."""
        keys = {_key(digest): digest for digest in digests}
        found = ((keys[key], data) for key, data in self.store.get_many(keys).items())
        return {digest: data for digest, data in found if self._checked(digest, data)}

    def delete(self, digest: str) -> None:
        """Removes an object, whatever refers to it."""
        self.store.delete(_key(digest))

    # References.

    def refer(self, name: str, digests: Iterable[str]) -> None:
        """Names objects, which are kept as long as the name is."""
        lines = [_checked_digest(digest) for digest in digests]
        self.store.put(f"{REFERENCES}/{name}", "".join(f"{line}\n" for line in lines).encode())

    def referred(self, name: str) -> list[str]:
        """The hashes behind a name. Raises NotFoundError."""
        text = self.store.get(f"{REFERENCES}/{name}").decode("ascii", errors="replace")
        return [line for line in text.splitlines() if _DIGEST.match(line)]

    def forget(self, name: str) -> None:
        """Removes a name; `collect` removes its objects."""
        self.store.delete(f"{REFERENCES}/{name}")

    def names(self) -> Iterator[str]:
        """All names."""
        for info in self.store.list(REFERENCES):
            yield info.key.removeprefix(f"{REFERENCES}/")

    # Keeping house.

    def collect(self, grace: float = GRACE_S, live: Callable[[], Collection[str]] | None = None) -> Collected:
        """Removes objects that no name refers to and that are older than `grace` seconds.

        A product that keeps its references elsewhere gives `live`, which reads them.
        """
        # Objects first: one that gets its reference meanwhile is in the references, which are read later.
        found = [info for info in self.store.list(OBJECTS) if time.time() - info.modified >= grace]
        named = (live or self._live)()
        garbage = [info for info in found if info.key.rpartition("/")[2] not in named]
        for info in garbage:
            self.store.delete(info.key)
        self.store.sweep()
        return Collected(len(found) - len(garbage), len(garbage), sum(info.size for info in garbage))

    def shrink(self, size_max: int) -> Collected:
        """Removes the objects that were written longest ago, without a reference, until `size_max` bytes are left."""
        live = self._live()
        found = sorted(self.store.list(OBJECTS), key=lambda info: info.modified)
        excess = sum(info.size for info in found) - size_max
        removed = removed_bytes = 0
        for info in found:
            if excess <= removed_bytes:
                break
            if info.key.rpartition("/")[2] not in live:
                self.store.delete(info.key)
                removed, removed_bytes = removed + 1, removed_bytes + info.size
        return Collected(len(found) - removed, removed, removed_bytes)

    def scan(self) -> Scanned:
        """Reads and checks everything; what is damaged is set aside."""
        objects, size, damaged = 0, 0, []
        whole: set[str] = set()
        for info in list(self.store.list(OBJECTS)):
            digest = info.key.rpartition("/")[2]
            if self.get(digest) is None:
                damaged.append(digest)
                continue
            whole.add(digest)
            objects, size = objects + 1, size + info.size
        return Scanned(objects, size, tuple(damaged), tuple(sorted(self._live() - whole)))

    def _live(self) -> set[str]:
        return {digest for name in list(self.names()) for digest in self.referred(name)}

    def _checked(self, digest: str, data: bytes) -> bool:
        if blake3(data).hexdigest() == digest:
            return True
        aside = f"{DAMAGED}/{digest}"
        self.store.put(aside, data)
        self.store.delete(_key(digest))
        _log.warning(f"{self.store.url_of(_key(digest))} is damaged; it is now {self.store.url_of(aside)}")
        return False


def _key(digest: str) -> str:
    return f"{OBJECTS}/{_checked_digest(digest)[:2]}/{digest}"


def _checked_digest(digest: str) -> str:
    if not _DIGEST.match(digest):
        raise KeyNameError(f"{digest!r} is not a hash: 64 hexadecimal digits", OBJECTS)
    return digest
