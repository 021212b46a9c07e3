"""Trace files, packed or not."""

import gzip
import lzma
import shutil
import subprocess
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, cast

from yggdrasil._core import YggdrasilError


class TraceFileError(YggdrasilError):
    """A trace cannot be read."""


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a trace; `.gz`, `.xz` and `.zst` are unpacked.

    Raises `TraceFileError` where it cannot be opened or unpacked, also while it is read.
    """
    try:
        with _OPENERS.get(path.suffix, _plain)(path) as stream:
            yield stream
    except FileNotFoundError as error:
        raise TraceFileError(f"{path}: {error.strerror}") from None
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise TraceFileError(f"{path}: cannot be read: {error}") from None


def _plain(path: Path) -> AbstractContextManager[IO[bytes]]:
    return path.open("rb")


def _gzip(path: Path) -> AbstractContextManager[IO[bytes]]:
    return cast("IO[bytes]", gzip.open(path, "rb"))


def _xz(path: Path) -> AbstractContextManager[IO[bytes]]:
    return cast("IO[bytes]", lzma.open(path, "rb"))


@contextmanager
def _zstd(path: Path) -> Iterator[IO[bytes]]:
    """By the program zstd: Python unpacks it by itself only from 3.14 on."""
    program = shutil.which("zstd")
    if program is None:
        raise TraceFileError(f"{path}: the program zstd is needed to unpack it, and is not on the path")
    with (
        path.open("rb") as packed,
        subprocess.Popen([program, "-dcq"], stdin=packed, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child,
    ):
        assert child.stdout
        assert child.stderr
        try:
            yield child.stdout
            whole = not child.stdout.read(1)
        except BaseException:
            child.kill()
            raise
        if not whole:
            child.kill()
        problem = child.stderr.read().decode(errors="replace").strip()
        if child.wait() != 0 and whole:
            raise TraceFileError(f"{path}: cannot be read: {problem}")


_OPENERS: dict[str, Callable[[Path], AbstractContextManager[IO[bytes]]]] = {
    ".gz": _gzip,
    ".xz": _xz,
    ".zst": _zstd,
}
