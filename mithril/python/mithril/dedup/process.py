"""Settings of a process that does nothing but deduplicate."""

import gc

import pyarrow as pa


def own_process() -> None:
    """Saves a fifth of the time of a run, where all of the process is ours.

    Arrow's allocator gives memory back at once, and the system clears it again for the next row group; that of the C
    library keeps it. What was imported is not looked at by the garbage collector any more.
    """
    gc.freeze()
    pa.set_memory_pool(pa.system_memory_pool())
