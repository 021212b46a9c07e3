"""Objects as bytes for another process, whose main program is another one."""

import importlib
import pickle
from typing import Any

_MAIN = b"__main__"


def pickled(value: Any) -> tuple[bytes, list[pickle.PickleBuffer]]:
    """The object, and the buffers of its arrays.

    Classes that the other process cannot import, those of the main program and of functions, go by value. They are the
    same classes again where they come back.
    """
    buffers: list[pickle.PickleBuffer] = []
    try:
        stream = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    except (pickle.PicklingError, AttributeError):
        stream = _MAIN
    if _MAIN not in stream:
        return stream, buffers
    buffers = []
    # What has worker processes has imported it, and it takes a while.
    dumps = importlib.import_module("cloudpickle").dumps
    return dumps(value, protocol=5, buffer_callback=buffers.append), buffers
