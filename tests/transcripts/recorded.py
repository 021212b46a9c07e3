"""The transcripts that the peer Redis has confirmed, by their hashes."""

import hashlib
from pathlib import Path

from tests.peer import Peer
from tests.transcripts.replay import FOLDER, name, transcripts

_FILE = FOLDER / "recorded.sha256"


def started() -> Peer:
    """A peer to ask."""
    return Peer("--enable-debug-command", "yes")


def remember() -> None:
    """Writes down that the peer has confirmed all transcripts as they are."""
    _FILE.write_text("".join(f"{_hash(path)}  {name(path)}\n" for path in transcripts()))


def unconfirmed() -> list[Path]:
    """The transcripts that have changed since the peer confirmed them."""
    confirmed = set(_FILE.read_text().splitlines())
    return [path for path in transcripts() if f"{_hash(path)}  {name(path)}" not in confirmed]


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
