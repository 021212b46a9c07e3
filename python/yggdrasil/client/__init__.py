"""Clients: everything of redis-py, and what only Yggdrasil can do.

```python
from yggdrasil.client import Client

client = Client(port=6379)  # the arguments of redis.Redis
client.set("weights", b"...")
client.get_into("weights", array)
```
"""

from yggdrasil.client.aio import AsyncClient
from yggdrasil.client.errors import BufferTooSmallError, ChecksumError, MissingKeyError, StaleValueError
from yggdrasil.client.near import (
    NearBufferError,
    NearError,
    NearKindError,
    NearReader,
    NearRefusedError,
    NearUnavailableError,
    NearView,
)
from yggdrasil.client.requests import StreamInfo
from yggdrasil.client.sync import Client

__all__ = [
    "AsyncClient",
    "BufferTooSmallError",
    "ChecksumError",
    "Client",
    "MissingKeyError",
    "NearBufferError",
    "NearError",
    "NearKindError",
    "NearReader",
    "NearRefusedError",
    "NearUnavailableError",
    "NearView",
    "StaleValueError",
    "StreamInfo",
]
