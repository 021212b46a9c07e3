"""Libraries of functions (FUNCTION LOAD), kept in the node's directory from one start to the next."""

import contextlib
import os
from pathlib import Path

import structlog

from yggdrasil._core import YggdrasilError
from yggdrasil.server.errors import StartError
from yggdrasil.server.files import sync_directory

FILE_NAME = "functions.rdb"
_FILE_BYTES_MAX = 1 << 30

log = structlog.stdlib.get_logger(__name__)


class LibraryFile:
    """The file of a node's libraries, in the form of FUNCTION DUMP; its workers change it one at a time."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / FILE_NAME

    def read(self) -> bytes | None:
        """Reads what was kept; None where there is nothing."""
        try:
            with self._file.open("rb") as opened:
                return opened.read(_FILE_BYTES_MAX)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failed(error) from None

    def replace(self, payload: bytes) -> None:
        """Puts other libraries in place of all; those of before stay where that fails."""
        draft = self._file.with_name(f"{FILE_NAME}.new")
        try:
            with draft.open("wb") as opened:
                opened.write(payload)
                opened.flush()
                os.fsync(opened.fileno())
            draft.replace(self._file)
        except OSError as error:
            log.error("the libraries of functions are not kept", file=str(self._file), reason=error.strerror)
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
            raise self._failed(error) from None

    def sync(self) -> None:
        """Makes the last change durable."""
        try:
            sync_directory(self._file.parent)
        except OSError as error:
            log.error("the libraries of functions are not durable", file=str(self._file), reason=error.strerror)
            raise self._failed(error) from None

    def _failed(self, error: OSError) -> YggdrasilError:
        return YggdrasilError(f"{self._file}: {error.strerror}")

    def refused(self, error: YggdrasilError) -> StartError:
        """The error of a start whose libraries cannot be loaded."""
        return StartError(f"{self._file}: {error}; put the right file back, or remove it to start without functions")


_LEVELS = ("debug", "info", "info", "warning")


def log_line(payload: bytes) -> bytes:
    """Logs what a script has said; its level stands before it."""
    text = payload[1:].decode(errors="replace")
    getattr(log, _LEVELS[payload[0]])("a script says", text=text)
    return b""
