"""Trace files, packed or not."""

import gzip
import lzma
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from yggdrasil._core import YggdrasilError


class TraceFileError(YggdrasilError):
    """A trace cannot be read."""


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a trace; `.gz`, `.xz` and `.zst` are unpacked."""
    try:
        if path.suffix == ".zst":
            with _zstd(path) as stream:
                yield stream
            return
        opener = {".gz": gzip.open, ".xz": lzma.open}.get(path.suffix, open)
        stream = cast("BinaryIO", opener(path, "rb"))
    except OSError as error:
        raise TraceFileError(f"{path}: {error.strerror or error}") from None
    with stream:
        yield stream


@contextmanager
def _zstd(path: Path) -> Iterator[BinaryIO]:
    """By the program zstd: Python unpacks it by itself only from 3.14 on."""
    program = shutil.which("zstd")
    if program is None:
        raise TraceFileError(f"{path}: the program zstd is needed to unpack it, and is not on the path")
    with path.open("rb"):
        pass
    with subprocess.Popen([program, "-dcq", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout
        assert child.stderr
        whole = False
        try:
            yield child.stdout
            whole = not child.stdout.read(1)
        finally:
            if not whole:
                child.kill()
        problem = child.stderr.read().decode(errors="replace").strip()
        if child.wait() != 0 and whole:
            raise TraceFileError(f"{path}: cannot be unpacked: {problem}")
