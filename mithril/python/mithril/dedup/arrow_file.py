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
    if isinstance(store, FileStore):
        if store.head(info.key).version != info.version:
            raise _changed(store, info)
        return pa.OSFile(str(store.path_of(info.key)))
    reader = store.open_reader(info.key)
    if reader.info.version != info.version:
        raise _changed(store, info)
    return pa.PythonFile(io.BufferedReader(reader, _BUFFER_BYTES), mode="r")


def _changed(store: Store, info: ObjectInfo) -> ChangedError:
    return ChangedError("the file has changed since it was first read; start again", store.url_of(info.key))
