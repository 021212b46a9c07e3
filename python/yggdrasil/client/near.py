"""Reading a node on the same machine through its shared memory: no message, no system call.

```python
from yggdrasil.client.near import NearReader

reader = NearReader("unix:///var/lib/yggdrasil/near.sock")
value = reader.get("greeting")
with reader.view("weights") as view:
    weights = numpy.frombuffer(view, dtype=numpy.float32)
```
"""

from yggdrasil._core import (
    NearBufferError,
    NearError,
    NearKindError,
    NearReader,
    NearRefusedError,
    NearUnavailableError,
    NearView,
)

__all__ = [
    "NearBufferError",
    "NearError",
    "NearKindError",
    "NearReader",
    "NearRefusedError",
    "NearUnavailableError",
    "NearView",
]
