"""Yggdrasil, a Redis-compatible, AI-first cache and store."""

from yggdrasil._core import YggdrasilError, __version__

__all__ = ["YggdrasilError", "__version__"]
