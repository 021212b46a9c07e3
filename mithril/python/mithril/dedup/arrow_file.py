"""Objects of stores as files that pyarrow reads."""

import io
from typing import Any

import pyarrow as pa

from mithril.core.errors import ChangedError
from mithril.core.file_store import FileStore
from mithril.core.store import ObjectInfo, Store

_BUFFER_BYTES = 1 << 20


def open_version(store: Store, info: ObjectInfo) -> Any:
    """A pyarrow file of the version of an object. Raises ChangedError where there is another one."""
    reader = store.open_reader(info.key)
    if reader.info.version != info.version:
        raise ChangedError("the file has changed since it was first read; start again", store.url_of(info.key))
    # Arrow's own files read into memory of Arrow's allocator, which hardly comes back for the next read; Python's does.
    file = reader if isinstance(store, FileStore) else io.BufferedReader(reader, _BUFFER_BYTES)
    return pa.PythonFile(file, mode="r")
