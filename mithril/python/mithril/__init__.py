"""Products that save machine time in training and serving, on folders, object stores and Yggdrasil."""

__all__ = ["__version__"]


def __getattr__(name: str) -> str:
    # torch imports this package at the end of `import torch`; the kernels wait until they are needed.
    if name == "__version__":
        from mithril._kernels import __version__  # noqa: PLC0415

        return __version__
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
