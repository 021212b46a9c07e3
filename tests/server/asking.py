"""Short ways to a node's listeners."""

from pathlib import Path
from typing import Any

from tests.node import HOST
from tests.wire import Argument, Wire


def connect(address: int | str | Path) -> Wire:
    """A connection to a port or to the path of a Unix socket."""
    return Wire(HOST, address) if isinstance(address, int) else Wire(HOST, 0, path=str(address))


def ask(address: int | str | Path, *arguments: Argument) -> Any:
    """One request on a connection of its own."""
    with connect(address) as wire:
        return wire(*arguments)
