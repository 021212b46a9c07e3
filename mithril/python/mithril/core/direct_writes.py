"""Writes past the page cache (O_DIRECT), from memory that is aligned for them.

What is written once and not read soon would only push other pages out. Besides, fresh pages cost a virtual machine more
than the writing. A file system without such writes takes plain ones.
"""

import errno
import fcntl
import mmap
import os

ALIGNMENT = 4096
_PIECE_BYTES = 4 << 20
_REFUSED = (errno.EINVAL, errno.EOPNOTSUPP)


class DirectWriter:
    """A piece of aligned memory, by way of which files are written. One thread uses it at a time."""

    def __init__(self) -> None:
        self._piece = memoryview(mmap.mmap(-1, _PIECE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))

    def write(self, file: int, data: memoryview) -> None:
        """Writes all of the data to a file whose position is aligned, as its start is."""
        done = 0
        if _set_direct(file, True):
            try:
                done = self._write_aligned(file, data[: len(data) // ALIGNMENT * ALIGNMENT])
            finally:
                _set_direct(file, False)
        write_all(file, data[done:])

    def _write_aligned(self, file: int, data: memoryview) -> int:
        """Writes whole pages, and gives how many bytes that were: fewer where the system wants no more of them."""
        done = 0
        while done < len(data) and done % ALIGNMENT == 0:
            piece = data[done : done + _PIECE_BYTES]
            self._piece[: len(piece)] = piece
            try:
                done += os.write(file, self._piece[: len(piece)])
            except OSError as error:
                if error.errno not in _REFUSED:
                    raise
                break
        return done


def write_all(file: int, data: memoryview) -> None:
    """Writes all of the data."""
    while data:
        data = data[os.write(file, data) :]


def _set_direct(file: int, on: bool) -> bool:
    flags = fcntl.fcntl(file, fcntl.F_GETFL)
    try:
        fcntl.fcntl(file, fcntl.F_SETFL, flags | os.O_DIRECT if on else flags & ~os.O_DIRECT)
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        return False
    return True
