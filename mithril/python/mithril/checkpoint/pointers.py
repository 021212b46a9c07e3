"""Small files that stand where a framework expects its own, and say where the tensors are."""

import json
from pathlib import Path

from mithril.core.errors import DamagedError

_VERSION = 1
_BYTES_MAX = 65_536


def write(file: Path, framework: str, url: str, step: int) -> None:
    """Writes a pointer, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.tmp")
    content = {"format": f"mithril.{framework}", "version": _VERSION, "url": url, "step": step}
    temporary.write_text(json.dumps(content))
    temporary.replace(file)


def read(file: Path, framework: str) -> tuple[str, int]:
    """The URL and the step of a pointer."""
    try:
        with file.open("rb") as opened:
            value = json.loads(opened.read(_BYTES_MAX))
        if (value["format"], value["version"]) != (f"mithril.{framework}", _VERSION):
            raise ValueError(f"{value['format']} version {value['version']}")
        return str(value["url"]), int(value["step"])
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedError(f"{file}: this is no file that Mithril wrote for {framework}: {error!r}") from None
