"""redis-py's pipelines, with the commands it does not know."""

from typing import Any, Self

import redis.asyncio.client
import redis.client

from yggdrasil.client import requests
from yggdrasil.client.requests import Key

__all__ = ["AsyncPipeline", "Pipeline"]


class _Commands:
    """Commands of one request each. They give what redis-py's give: the pipeline, or after WATCH the reply itself."""

    def stream_info(self: Any, key: Key) -> Any:
        """As `Client.stream_info`."""
        return self.execute_command("STREAMINFO", key)

    def pin(self: Any, *keys: Key, ex: int | None = None, px: int | None = None) -> Any:
        """As `Client.pin`."""
        return self.execute_command(*requests.pin_request(keys, ex, px))

    def unpin(self: Any, *keys: Key) -> Any:
        """As `Client.unpin`."""
        return self.execute_command(*requests.unpin_request(keys))

    def pin_ttl(self: Any, key: Key) -> Any:
        """As `Client.pin_ttl`."""
        return self.execute_command("PINTTL", key)

    def pinned(self: Any, cursor: int = 0, match: Any = None, count: int | None = None) -> Any:
        """As `Client.pinned`."""
        return self.execute_command(*requests.pinned_request(cursor, match, count))


class Pipeline(_Commands, redis.client.Pipeline):
    """What `Client.pipeline` gives."""

    def __enter__(self) -> Self:
        """Itself; what was not executed is forgotten at the end of the block."""
        super().__enter__()
        return self


class AsyncPipeline(_Commands, redis.asyncio.client.Pipeline):  # type: ignore[misc]  # redis-py's own bases differ
    """What `AsyncClient.pipeline` gives."""
