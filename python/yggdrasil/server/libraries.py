"""Libraries of functions (FUNCTION LOAD), kept in the node's directory from one start to the next."""

import contextlib
import os
from pathlib import Path

import structlog

from yggdrasil._core import YggdrasilError
from yggdrasil.server.errors import StartError

FILE_NAME = "functions.rdb"
_FILE_BYTES_MAX = 1 << 30

log = structlog.stdlib.get_logger(__name__)


def read_libraries(directory: Path) -> bytes | None:
    """What was kept, in the form of FUNCTION DUMP; None where there is nothing."""
    file = directory / FILE_NAME
    try:
        with file.open("rb") as opened:
            return opened.read(_FILE_BYTES_MAX)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StartError(f"{file} cannot be read: {error.strerror}; see option dir") from None


def refused(directory: Path, error: YggdrasilError) -> StartError:
    """The libraries that were kept cannot be loaded."""
    file = directory / FILE_NAME
    return StartError(f"{file}: {error}; put the right file back, or remove it to start without functions")


def keep_libraries(directory: Path, payload: bytes) -> None:
    """Makes all libraries durable; what was kept before stays where that fails."""
    file = directory / FILE_NAME
    draft = file.with_name(f"{file.name}.new")
    try:
        with draft.open("wb") as opened:
            opened.write(payload)
            opened.flush()
            os.fsync(opened.fileno())
        draft.replace(file)
        _sync_directory(directory)
    except OSError as error:
        log.error("the libraries of functions are not kept", file=str(file), reason=error.strerror)
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise YggdrasilError(f"{file}: {error.strerror}") from None


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_LEVELS = ("debug", "info", "info", "warning")


def log_line(payload: bytes) -> bytes:
    """Logs what a script has said; its level stands before it."""
    text = payload[1:].decode(errors="replace")
    getattr(log, _LEVELS[payload[0]])("a script says", text=text)
    return b""
