"""Files that are written whole or not at all, and records in them that a node starts with."""

import os
import tempfile
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from yggdrasil.server.errors import StartError

Record = TypeVar("Record", bound=BaseModel)

_RECORD_BYTES_MAX = 1 << 20


def read_record(file: Path, record: type[Record], says: str, remedy: str = "") -> Record | None:
    """The record in a file, None without the file; StartError where the file does not say what it should."""
    try:
        with file.open("rb") as opened:
            return record.model_validate_json(opened.read(_RECORD_BYTES_MAX))
    except FileNotFoundError:
        return None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise StartError(f"{file} does not say {says}: {place}: {first['msg']}{remedy}") from None


def replace_file(file: Path, content: bytes) -> None:
    """Writes the whole file or leaves it as it was, also when the machine fails meanwhile."""
    with tempfile.NamedTemporaryFile(dir=file.parent, prefix=f".{file.name}.", delete=False) as new:
        try:
            if file.exists():
                os.fchmod(new.fileno(), file.stat().st_mode & 0o7777)
            new.write(content)
            new.flush()
            os.fsync(new.fileno())
            Path(new.name).replace(file)
        except BaseException:
            Path(new.name).unlink(missing_ok=True)
            raise
    sync_directory(file.parent)


def sync_directory(directory: Path) -> None:
    """Makes durable which files a directory has."""
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
