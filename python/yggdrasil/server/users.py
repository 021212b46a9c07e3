"""The users of the node as the supervisor has them: lines, as an ACL file has them.

The rules are read by the workers, which know all commands; they answer with the lines of what they have made of them.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from yggdrasil.server.config import Config
from yggdrasil.server.errors import StartError, UsersChangeError
from yggdrasil.server.files import replace_file
from yggdrasil.server.messages import UsersChange

_FILE_BYTES_MAX = 64 * 1024 * 1024


class NodeUsers:
    """All users, for workers that start, and for the file."""

    def __init__(self, lines: Iterable[bytes], origin: str, file: Path | None) -> None:
        self.lines = tuple(lines)
        self.origin = origin
        """Where the lines come from, for errors."""
        self.file = file
        self.version = 0
        """Rises with every change."""
        self._are_read = False
        self._number = 0
        """The number of the last change that a worker has told of."""

    def started_with(self, lines: tuple[bytes, ...]) -> None:
        """Takes the lines of the first worker that has read the users."""
        if lines and not self._are_read:
            self.lines, self._are_read = lines, True

    def became(self, number: int, lines: tuple[bytes, ...]) -> bool:
        """Takes the lines of all users after a change, unless those after a later one are known; true for news.

        All workers make the same changes in the same order, so the lines of any of them are those of all.
        """
        if number <= self._number:
            return False
        self._number = number
        has_changed = lines != self.lines
        self.lines, self._are_read = lines, True
        self.version += 1
        return has_changed

    @classmethod
    def of(cls, config: Config) -> "NodeUsers":
        """The users of a configuration; StartError when their file cannot be read."""
        if config.users.aclfile:
            file = config.directory / config.users.aclfile
            try:
                return cls([_read(file)], str(file), file)
            except OSError as error:
                raise StartError(f"aclfile {file} cannot be read: {error.strerror or error}") from None
        lines = [b"user " + line.encode("utf-8", "surrogateescape") for line in config.users.user.splitlines()]
        if not any(line.split()[1:2] == [b"default"] for line in lines):
            lines.append(_default(config.clients.requirepass))
        return cls(lines, "user", None)

    @property
    def is_open(self) -> bool:
        """Whether anyone is let in without a password."""
        defaults = [
            line.split() for text in self.lines for line in text.splitlines() if line.split()[1:2] == [b"default"]
        ]
        return not defaults or all(b"nopass" in words and b"on" in words for words in defaults)

    def load(self) -> UsersChange:
        """The change that makes the users of the file the only ones."""
        if self.file is None:
            raise UsersChangeError("ERR this node has no ACL file")
        try:
            text = _read(self.file)
        except OSError as error:
            reason = error.strerror or error
            raise UsersChangeError(f"ERR Error loading ACLs, opening file '{self.file}': {reason}") from None
        return UsersChange(name="load", arguments=(text, str(self.file).encode("utf-8", "surrogateescape")))

    def save(self) -> None:
        """Writes the users into the file."""
        if self.file is None:
            raise UsersChangeError("ERR this node has no ACL file")
        try:
            replace_file(self.file, b"".join(line + b"\n" for line in self.lines))
        except OSError as error:
            raise UsersChangeError(
                f"ERR There was an error trying to save the ACLs: {error.strerror or error}"
            ) from None


def password_rules(password: str) -> tuple[bytes, ...]:
    """Rules of the default user for a value of requirepass."""
    return (b"resetpass", b">" + password.encode("utf-8", "surrogateescape")) if password else (b"nopass",)


def _default(password: str) -> bytes:
    digits = hashlib.sha256(password.encode("utf-8", "surrogateescape")).hexdigest()
    rule = f"#{digits}" if password else "nopass"
    return f"user default on {rule} ~* &* +@all".encode()


def _read(file: Path) -> bytes:
    with file.open("rb") as opened:
        text = opened.read(_FILE_BYTES_MAX + 1)
    if len(text) > _FILE_BYTES_MAX:
        raise OSError("it is larger than 64 MB")
    return text
