"""Yggdrasil, a Redis-compatible, AI-first cache and store."""

from typing import TYPE_CHECKING

from yggdrasil._core import YggdrasilError, __version__

if TYPE_CHECKING:
    from yggdrasil.node import Node, NodeError

__all__ = ["Node", "NodeError", "YggdrasilError", "__version__"]


def __getattr__(name: str) -> object:
    """Imports what not everybody needs when it is first asked for."""
    if name in ("Node", "NodeError"):
        from yggdrasil import node  # noqa: PLC0415 - see above

        return getattr(node, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
