"""The configuration of a running node as the supervisor has it, and how it gets back into the file."""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Table

from yggdrasil.server.config import OPTIONS, SECTIONS, Config
from yggdrasil.server.config_sources import Loaded
from yggdrasil.server.errors import ConfigSetError
from yggdrasil.server.option import Kind, OptionRow


class LiveConfig:
    """The configuration in force, and which options were set since the start."""

    def __init__(self, loaded: Loaded) -> None:
        self.config = loaded.config
        self.file = loaded.file
        self._set: set[str] = set()

    def was_set(self, names: Iterable[str]) -> None:
        """Remembers what `rewrite` has to write."""
        self._set.update(names)

    def rewrite(self) -> None:
        """Writes the options that were set since the start into the file; the rest of it stays as it is."""
        if self.file is None:
            raise ConfigSetError("ERR The server is running without a config file")
        try:
            document = (
                tomlkit.parse(self.file.read_text(encoding="utf-8")) if self.file.exists() else tomlkit.document()
            )
            for name in sorted(self._set):
                _write(document, OPTIONS[name], self.config)
            _replace(self.file, tomlkit.dumps(document))
        except (OSError, UnicodeDecodeError, TOMLKitError) as error:
            raise ConfigSetError(f"ERR Rewriting config file: {error}") from None


def _write(document: tomlkit.TOMLDocument, row: OptionRow, config: Config) -> None:
    """Writes an option where it stands, and a new one into its section where the file has sections."""
    value = _toml_value(row, config)
    has_sections = any(isinstance(document.get(name), Table) for name in SECTIONS)
    if row.name in document or not has_sections:
        document[row.name] = value
        return
    if row.section not in document:
        document[row.section] = tomlkit.table()
    document[row.section][row.key] = value


def _toml_value(row: OptionRow, config: Config) -> str | int:
    text = config.text(row.name)
    return int(text) if row.kind in (Kind.WHOLE, Kind.SIZE) else text


def _replace(file: Path, text: str) -> None:
    """Writes the whole file or leaves it as it was, also when the machine fails meanwhile."""
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=file.parent, prefix=f".{file.name}.", delete=False
    ) as new:
        try:
            if file.exists():
                os.fchmod(new.fileno(), file.stat().st_mode & 0o7777)
            new.write(text)
            new.flush()
            os.fsync(new.fileno())
            Path(new.name).replace(file)
        except BaseException:
            Path(new.name).unlink(missing_ok=True)
            raise
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
