"""Reads served from the memory of a node on the same machine; whatever cannot be is asked over RESP."""

import logging
import time
from collections.abc import Iterator
from typing import Any, Final

from yggdrasil.client import requests
from yggdrasil.client.errors import BufferTooSmallError, StaleValueError
from yggdrasil.client.near import (
    NearBufferError,
    NearError,
    NearReader,
    NearRefusedError,
    NearUnavailableError,
    NearView,
)
from yggdrasil.client.requests import Key

__all__ = ["NOT_SERVED", "Nearby", "chunks_of", "nearby_of"]

_log = logging.getLogger(__name__)

NOT_SERVED: Final = object()
"""The node is to be asked over RESP."""

_PATIENCE_S = 0.001
"""How long a read waits for a shard that is closed: most are open again sooner, and an event loop may be waiting."""

_PAUSE_S = 0.1
"""How long everything goes over RESP after the memory could not be read: connecting anew costs more than a request."""


class Nearby:
    """A near reader, opened when first needed and again when it was lost."""

    def __init__(self, near: str | NearReader, options: dict[str, Any], encoder: Any) -> None:
        """`near`: a reader, or the URL of the node's near socket; `options` and `encoder`: those of the connections.

        ValueError for a reader of another database than that of the connections.
        """
        self._db = int(options.get("db") or 0)
        if isinstance(near, NearReader) and near.db != self._db:
            raise ValueError(
                f"near reads database {near.db}, the client database {self._db}: make both for the same (db=)"
            )
        self._reader = None if isinstance(near, str) else near
        self._url = near if isinstance(near, str) else ""
        self._options = options
        self._encoder = encoder
        self._paused_until = 0.0
        self._last_reason = ""

    def answer(self, name: object, keys: tuple[Any, ...], target: memoryview | None = None) -> Any:
        """What GET (into `target`, where there is one), MGET or EXISTS give; NOT_SERVED for everything else."""
        if name not in ("GET", "MGET", "EXISTS") or not keys:
            return NOT_SERVED
        reader = self._ready()
        if reader is None:
            return NOT_SERVED
        try:
            return self._read(reader, name, [bytes(self._encoder.encode(key)) for key in keys], target)
        except NearUnavailableError as error:
            self._pause(error)
        except NearBufferError as error:
            raise BufferTooSmallError(keys[0], error.needed, error.given) from None
        except NearError:
            pass  # This key may not be read, or its value is no string: RESP says so better.
        return NOT_SERVED

    def view(self, key: Any) -> NearView | None:
        """A value where it is; None where the node is to be asked over RESP, or has no such key."""
        reader = self._ready()
        if reader is None:
            return None
        try:
            return reader.view(bytes(self._encoder.encode(key)))
        except NearUnavailableError as error:
            self._pause(error)
        except (KeyError, NearError):
            pass  # RESP says better what is wrong.
        return None

    def _read(self, reader: NearReader, name: object, keys: list[bytes], target: memoryview | None) -> Any:
        decode = self._encoder.decode
        if name == "MGET":
            return [None if value is None else decode(value) for value in reader.mget(keys)]
        if name == "EXISTS":
            return sum(map(reader.exists, keys))
        if len(keys) != 1:
            return NOT_SERVED
        if target is not None:
            return reader.get_into(keys[0], target)
        value = reader.get(keys[0])
        return None if value is None else decode(value)

    def _ready(self) -> NearReader | None:
        if time.monotonic() < self._paused_until:
            return None
        if self._reader is None:
            try:
                self._reader = NearReader(
                    self._url,
                    username=self._options.get("username"),
                    password=self._options.get("password"),
                    db=self._db,
                    patience=_PATIENCE_S,
                )
            except (NearUnavailableError, NearRefusedError) as error:
                self._pause(error)
        return self._reader

    def _pause(self, error: NearError) -> None:
        self._paused_until = time.monotonic() + _PAUSE_S
        if str(error) != self._last_reason:
            self._last_reason = str(error)
            _log.info("reads go over RESP for now: %s", error)


def nearby_of(client: Any, near: str | NearReader | None) -> Nearby | None:
    """What answers the reads of a client of redis-py, with the user and the database of its connections."""
    return None if near is None else Nearby(near, client.connection_pool.connection_kwargs, client.get_encoder())


def chunks_of(key: Key, view: NearView, chunk_size: int) -> Iterator[bytes]:
    """The value of a view in chunks; StaleValueError when the node takes the memory back meanwhile."""
    try:
        for offset, size in requests.spans(view.nbytes, chunk_size):
            chunk = bytes(view.memory[offset : offset + size])
            if not view.valid:
                raise StaleValueError(key, view.version, offset)
            yield chunk
    finally:
        view.release()
