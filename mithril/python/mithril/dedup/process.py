"""Settings of a process that does nothing but deduplicate."""

import contextlib
import ctypes
import gc
import platform

import pyarrow as pa

# The name that glibc's mallopt has for the number of arenas.
_M_ARENA_MAX = -8


def own_process() -> None:
    """Saves memory and a tenth of the time of a run, where all of the process is ours.

    Of Arrow's allocators jemalloc keeps pages for the next row group, and gives back what is not used soon. The C
    library gets one arena, as memory that is free in one does not help a thread of another. What was imported is not
    looked at by the garbage collector any more.
    """
    gc.freeze()
    with contextlib.suppress(NotImplementedError):
        pa.set_memory_pool(pa.jemalloc_memory_pool())
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
