"""Objects in S3, Google Cloud Storage and Azure, by obstore."""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from yggdrasil._core import ConfigError

_TIMEOUT = timedelta(seconds=60)
_RETRIES = 5


class Objects:
    """A store as the engine calls it, from any thread."""

    def __init__(self, obstore: Any, store: Any) -> None:
        self._obstore = obstore
        self._store = store

    @contextlib.contextmanager
    def _errors_in_a_line(self) -> Iterator[None]:
        """Errors of obstore, without the pages that describe their insides; FileNotFoundError stays."""
        try:
            yield
        except FileNotFoundError:
            raise
        except self._obstore.exceptions.BaseError as error:
            raise OSError(_line_of(error)) from None

    def get(self, name: str, limit: int) -> bytes | None:
        """A whole object; None for one that is longer than `limit`, FileNotFoundError where there is none."""
        with self._errors_in_a_line():
            result = self._obstore.get(self._store, name)
            if result.meta["size"] > limit:
                return None
            return bytes(result.bytes())

    def put(self, name: str, data: bytes) -> None:
        """Writes an object: it is there whole or not at all."""
        with self._errors_in_a_line():
            self._obstore.put(self._store, name, data, use_multipart=False)

    def list(self, part: str) -> list[tuple[str, int, float]]:
        """Name, bytes and age in seconds of each object below a part, in the order of the names."""
        now = datetime.now(UTC)
        with self._errors_in_a_line():
            return sorted(
                (meta["path"], meta["size"], max((now - meta["last_modified"]).total_seconds(), 0.0))
                for batch in self._obstore.list(self._store, prefix=part)
                for meta in batch
            )

    def remove(self, name: str) -> None:
        """Removes an object if it is there."""
        with contextlib.suppress(FileNotFoundError), self._errors_in_a_line():
            self._obstore.delete(self._store, name)


def _line_of(error: Exception) -> str:
    """What an error of obstore says, in one line."""
    return " ".join(str(error).partition("\n\nDebug source:")[0].split())


def open_objects(url: str) -> Objects:
    """The bucket of a URL; ConfigError where that cannot be."""
    try:
        import obstore  # noqa: PLC0415 (an extra of the package)
        from obstore.store import from_url  # noqa: PLC0415
    except ImportError:
        raise ConfigError(
            f"{url} needs the package obstore; install yggdrasil[objects], or keep snapshots in a folder"
        ) from None
    try:
        store = from_url(
            url,
            client_options={"timeout": _TIMEOUT, "allow_http": True},
            retry_config={"max_retries": _RETRIES, "retry_timeout": _TIMEOUT},
        )
    except (obstore.exceptions.BaseError, ValueError) as error:
        raise ConfigError(f"{url} cannot be opened: {_line_of(error)}") from None
    return Objects(obstore, store)
