"""The place of a node's logs: its directory, or another one to which a link in its directory leads."""

import os
from pathlib import Path

from yggdrasil.server.config import Config
from yggdrasil.server.directory import lock_directory
from yggdrasil.server.errors import StartError

_NAME = "log"


def logs_of(directory: Path) -> Path:
    """Where the logs of a node are, or the link to them is."""
    return directory / _NAME


def place_logs(config: Config, node: str) -> int | None:
    """Gives the logs of a node their place below `log-dir`, and locks it.

    Returns the descriptor that holds the lock; None where the logs are in the directory of the node itself. The link
    counts, so whoever looks into the directory finds the logs: other programs, and a node that is started without the
    option. StartError where they are elsewhere than the option says, or where they should be and are not: a node that
    began without them would seem to have lost its keys.
    """
    logs, above = logs_of(config.directory), config.durability.log_dir
    try:
        if above and config.has_log:
            _link(logs, Path(above).absolute(), node)
        elif not logs.is_symlink():
            return None
        place = logs.readlink()
        if not place.is_dir():
            raise StartError(f"{logs} leads to {place}, which is not there; see option log-dir")
    except OSError as error:
        raise StartError(f"{logs} cannot be used: {error.strerror}; see option log-dir") from None
    return lock_directory(place, "log-dir")


def _link(logs: Path, above: Path, node: str) -> None:
    if logs.is_symlink():
        if logs.readlink().parent != above:
            raise StartError(
                f"the logs of {logs.parent} are in {logs.readlink()}, not below log-dir, {above}; to move them, move "
                f"that directory there and replace the link {logs} by one to it"
            )
        return
    if logs.exists():
        raise StartError(
            f"the logs of the node are in {logs}, not below log-dir, {above}; to move them, move that directory to "
            f"{above / node} and make {logs} a link to it"
        )
    # Nothing is left of a name that another node may have: each has drawn its own.
    place = above / node
    place.mkdir(parents=True, exist_ok=True)
    _sync(above)
    logs.symlink_to(place, target_is_directory=True)
    _sync(logs.parent)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
