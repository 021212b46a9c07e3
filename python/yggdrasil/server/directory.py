"""The lock that keeps a second node off a directory.

The directory itself is locked: nothing is left behind by any kind of end.
"""

import contextlib
import fcntl
import os
from pathlib import Path

from yggdrasil.server.errors import StartError

_LOCKS = Path("/proc/locks")


def lock_directory(directory: Path, option: str | None = "dir") -> int:
    """Locks the directory until the returned descriptor is closed; makes it where its parent is there.

    `option` is the one that named it; without one, an argument did.
    """
    see = f"; see option {option}" if option else ""
    try:
        with contextlib.suppress(FileExistsError):
            directory.mkdir()
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise StartError(f"directory {directory} cannot be used: {error.strerror}{see}") from None
    if not os.access(directory, os.W_OK | os.X_OK):
        os.close(descriptor)
        raise StartError(f"directory {directory} cannot be written to{see}")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = _holder(descriptor)
        os.close(descriptor)
        otherwise = f" or choose another with --{option}" if option else " first"
        raise StartError(f"another node{holder} runs on directory {directory}; stop it{otherwise}") from None
    return descriptor


def _holder(descriptor: int) -> str:
    """The process that holds the lock, as far as the kernel shows it to us."""
    status = os.fstat(descriptor)
    wanted = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    try:
        lines = _LOCKS.read_text().splitlines()
    except OSError:
        return ""
    # "1: FLOCK  ADVISORY  WRITE 4711 fe:01:131077 0 EOF"
    for words in map(str.split, lines):
        if len(words) > 5 and words[1] == "FLOCK" and words[5] == wanted:
            return f" (pid {words[4]})"
    return ""
