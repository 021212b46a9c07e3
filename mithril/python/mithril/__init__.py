"""Products that save machine time in training and serving, on folders, object stores and Yggdrasil."""

from mithril._kernels import __version__

__all__ = ["__version__"]
