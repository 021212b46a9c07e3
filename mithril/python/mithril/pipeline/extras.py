"""Packages that come with an extra, imported when they are used."""

import importlib
from typing import Any

from mithril.core.errors import MissingExtraError


def extra(module: str, purpose: str, package: str, name: str) -> Any:
    """A module of a package that the extra `name` brings."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise MissingExtraError(purpose, package, name) from None


def pyarrow(module: str = "pyarrow") -> Any:
    """A module of the package pyarrow."""
    return extra(module, "Parquet and Arrow", "pyarrow", "arrow")


def torch() -> Any:
    """The package torch."""
    return extra("torch", "tensors of torch", "torch", "torch")
