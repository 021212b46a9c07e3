"""Paths that begin with `mithril://`, registered with etils.epath by the import of this module."""

from collections.abc import Iterator

from etils.epath import abstract_path, register_path_cls

from mithril.cache import session
from mithril.cache.artifact import Artifact
from mithril.cache.environment import device_class, versions
from mithril.cache.keys import CacheKey

_ENTRY = "-cache"
_found: dict[str, Artifact] = {}


@register_path_cls("mithril://")
class MithrilPath(abstract_path.Path):  # type: ignore[misc]
    """A file of JAX's cache; the folder itself always exists."""

    def _key(self) -> CacheKey:
        return CacheKey("jax", "executable", self.name, device=device_class(), versions=versions())

    def _artifact(self) -> Artifact | None:
        current = session.current()
        return current.cache.get(self._key()) if current else None

    def exists(self) -> bool:
        """True where the executable is stored, which is fetched with this question."""
        if not self.name.endswith(_ENTRY):
            return True
        artifact = self._artifact()
        if artifact is not None:
            _found[self.name] = artifact
        return artifact is not None

    def read_bytes(self) -> bytes:
        """The executable."""
        artifact = _found.pop(self.name, None) or self._artifact()
        if artifact is None:
            raise FileNotFoundError(str(self))
        return artifact.parts["data"]

    def write_bytes(self, data: bytes) -> int:
        """Keeps the executable, in the background."""
        current = session.current()
        if current is not None:
            current.cache.put(Artifact(self._key(), {"data": bytes(data)}))
        return len(data)

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Does nothing: there are no folders."""

    def glob(self, pattern: str) -> Iterator["MithrilPath"]:
        """Nothing: bounds are the cache's, not JAX's."""
        return iter(())
