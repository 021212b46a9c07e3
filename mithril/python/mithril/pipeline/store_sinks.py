"""Sinks of stores and databases."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mithril.core.store import Store
from mithril.pipeline.errors import PipelineError
from mithril.pipeline.holds import Pending
from mithril.pipeline.sources.yggdrasil import connected
from mithril.pipeline.stages import Sink

_BATCH = 256


def _pair(value: Any, where: str) -> tuple[str, Any]:
    """The key and the value of an element: a dictionary of `key` and `value`, or a pair."""
    if isinstance(value, Mapping) and {"key", "value"} <= set(value):
        return str(value["key"]), value["value"]
    if isinstance(value, tuple) and len(value) == 2:
        return str(value[0]), value[1]
    raise PipelineError(f"{where}: an element is a pair, or a dictionary of key and value, not {type(value).__name__}")


class StoreSink(Sink):
    """A sink that puts each element into a store as an object, at once: what was put before an error stays."""

    def __init__(self, url: str) -> None:
        self._store = Store.open(url)

    def consume(self, value: Any) -> None:
        """Puts an object."""
        key, data = _pair(value, self._store.url)
        self._store.put(key, data.encode() if isinstance(data, str) else data)

    def flush(self) -> None:
        """Closes the store."""
        self._store.close()

    def abort(self) -> None:
        """Closes the store."""
        self._store.close()


class KeySink(Sink):
    """A sink that sets string keys of Yggdrasil or Redis, many in a round trip: what was set before an error stays."""

    def __init__(self, url: str, *, ttl_s: float | None = None) -> None:
        self._store = connected(url)
        self._ttl_ms = None if ttl_s is None else max(round(ttl_s * 1000), 1)
        self._waiting: list[tuple[str, Any]] = []
        self._pending = Pending()

    def consume(self, value: Any) -> None:
        """Sets a key, with others."""
        self._waiting.append(_pair(value, self._store.url))
        self._pending.add(value)
        if len(self._waiting) >= _BATCH:
            self._send()

    def flush(self) -> None:
        """Sets what is left."""
        self._send()
        self._store.close()

    def memory_usage(self) -> int:
        """The bytes of the values that are to be sent."""
        return self._pending.size

    def shrink(self) -> None:
        """Sends them."""
        self._send()

    def abort(self) -> None:
        """Closes the connection."""
        self._store.close()

    def _send(self) -> None:
        with self._store.errors(""), self._store.client.pipeline(transaction=False) as pipe:
            for key, value in self._waiting:
                pipe.set(f"{self._store.prefix}{key}", value, px=self._ttl_ms)
            pipe.execute()
        self._waiting.clear()
        self._pending.clear()


class SqlSink(Sink):
    """A sink that executes a statement for each element (a dictionary or a sequence of parameters), in one transaction.

    `connect` makes a connection of any module with the interface of PEP 249.
    """

    def __init__(self, connect: Callable[[], Any], statement: str, *, rows: int = _BATCH) -> None:
        self._statement = statement
        self._rows = rows
        self._connection = connect()
        self._waiting: list[Mapping[str, Any] | Sequence[Any]] = []
        self._pending = Pending()

    def consume(self, value: Any) -> None:
        """Executes the statement, with others."""
        self._waiting.append(value)
        self._pending.add(value)
        if len(self._waiting) >= self._rows:
            self._send()

    def flush(self) -> None:
        """Commits."""
        self._send()
        self._connection.commit()
        self._connection.close()

    def memory_usage(self) -> int:
        """The bytes of the parameters that are to be sent."""
        return self._pending.size

    def shrink(self) -> None:
        """Sends them."""
        self._send()

    def abort(self) -> None:
        """Rolls back."""
        self._connection.rollback()
        self._connection.close()

    def _send(self) -> None:
        if not self._waiting:
            return
        cursor = self._connection.cursor()
        try:
            cursor.executemany(self._statement, self._waiting)
        except Exception as error:
            # Each module has errors of its own.
            raise PipelineError(f"{self._statement[:60]!r}: {type(error).__name__}: {error}") from error
        finally:
            cursor.close()
        self._waiting = []
        self._pending.clear()
