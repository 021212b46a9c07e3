"""The configuration of a running node as the supervisor has it, and how it gets back into the file."""

from collections.abc import Iterable

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT, Table

from yggdrasil.server.config import OPTIONS, SECTIONS, Config
from yggdrasil.server.config_sources import Loaded
from yggdrasil.server.errors import ConfigSetError
from yggdrasil.server.files import replace_file
from yggdrasil.server.namespaces import NAMESPACE_TABLES, to_tables
from yggdrasil.server.option import Kind, OptionRow


class LiveConfig:
    """The configuration in force, and which options were set since the start."""

    def __init__(self, loaded: Loaded) -> None:
        self.config = loaded.config
        self.file = loaded.file
        self._set: set[str] = set()
        self._users: list[str] | None = None

    def was_set(self, names: Iterable[str]) -> None:
        """Remembers what `rewrite` has to write."""
        self._set.update(names)

    @property
    def has_changed_users(self) -> bool:
        """True where `rewrite` has to write users."""
        return self._users is not None

    @property
    def has_users(self) -> bool:
        """Whether users stand in the file, or are to be written into it."""
        return self._users is not None or bool(self.config.users.user)

    def users_changed(self, lines: Iterable[bytes]) -> None:
        """Remembers the users, which `rewrite` has to write."""
        self._users = [line.removeprefix(b"user ").decode("utf-8", "surrogateescape") for line in lines]

    def rewrite(self) -> None:
        """Writes the options that were set since the start into the file; the rest of it stays as it is."""
        if self.file is None:
            raise ConfigSetError("ERR The server is running without a config file")
        try:
            document = (
                tomlkit.parse(self.file.read_text(encoding="utf-8")) if self.file.exists() else tomlkit.document()
            )
            for name in sorted(self._set):
                if name == "namespaces" and NAMESPACE_TABLES in document:
                    document[NAMESPACE_TABLES] = _namespace_tables(self.config)
                else:
                    _write(document, OPTIONS[name], _toml_value(OPTIONS[name], self.config))
            if self._users is not None:
                _write(document, OPTIONS["user"], self._users)
            replace_file(self.file, tomlkit.dumps(document).encode())
        except (OSError, UnicodeError, TOMLKitError) as error:
            raise ConfigSetError(f"ERR Rewriting config file: {error}") from None


def _write(document: tomlkit.TOMLDocument, row: OptionRow, value: str | int | list[str]) -> None:
    """Writes an option where it stands, and a new one into its section where the file has sections."""
    has_sections = any(isinstance(document.get(name), Table) for name in SECTIONS)
    if row.name in document or not has_sections:
        document[row.name] = value
        return
    if row.section not in document:
        document[row.section] = tomlkit.table()
    document[row.section][row.key] = value


def _namespace_tables(config: Config) -> AoT:
    """The namespaces in the form that a file with tables has; ConfigSetError where a prefix is no text."""
    tables = tomlkit.aot()
    try:
        for row in to_tables(config.durability.namespaces):
            tables.append(tomlkit.item(row))
    except UnicodeDecodeError:
        raise ConfigSetError(
            "ERR Rewriting config file: a namespace whose prefix is not UTF-8 cannot be a [[namespace]]; write them as "
            "option namespaces"
        ) from None
    return tables


def _toml_value(row: OptionRow, config: Config) -> str | int:
    text = config.text(row.name)
    return int(text) if row.kind in (Kind.WHOLE, Kind.SIZE) else text
