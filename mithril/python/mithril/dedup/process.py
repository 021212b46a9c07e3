"""Settings of a process that does nothing but deduplicate."""

import contextlib
import ctypes
import gc
import importlib
import os
import platform

from mithril.core.errors import ConfigError

# Names that glibc's mallopt has: of the number of arenas, and of the sizes from which memory goes to the system and
# comes from it at once.
_M_ARENA_MAX, _M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -8, -1, -3
_KEPT_BYTES = 32 << 20
# Parts of the memory of a run that allocators may keep free.
_KEPT_SHARE = 64
# What decoders, encoders and tables take for any input.
MEMORY_MIN = 32 << 20


def give_back() -> None:
    """Gives memory that is free back to the system."""
    import pyarrow as pa  # noqa: PLC0415, not before `own_process`

    pa.default_memory_pool().release_unused()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def own_process(memory_bytes: int) -> None:
    """Saves memory and a tenth of the time of a run of so much memory, where all of the process is ours.

    Of Arrow's allocators jemalloc keeps pages for the next row group, and gives back what is not used soon. The C
    library gets one arena, as memory that is free in one does not help a thread of another; it keeps some megabytes,
    which come again with each chunk, unless memory is short. What was imported is not looked at by the garbage
    collector any more. Raises ConfigError where there is less memory than any run takes.
    """
    if memory_bytes < MEMORY_MIN:
        raise ConfigError(f"a run takes at least {MEMORY_MIN} bytes of memory; memory_bytes is {memory_bytes}")
    # Encoders take the pool that is set before Arrow is loaded, whatever is set later.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "jemalloc")
    gc.disable()
    import pyarrow as pa  # noqa: PLC0415

    # What a run imports, too, before the collector passes over it.
    importlib.import_module("mithril.dedup.running")
    gc.freeze()
    gc.enable()
    kept = min(memory_bytes // _KEPT_SHARE, _KEPT_BYTES)
    with contextlib.suppress(NotImplementedError):
        pa.set_memory_pool(pa.jemalloc_memory_pool())
        if kept < _KEPT_BYTES:
            pa.jemalloc_set_decay_ms(0)
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(_M_ARENA_MAX, 1)
        library.mallopt(_M_MMAP_THRESHOLD, kept)
        library.mallopt(_M_TRIM_THRESHOLD, kept)
