"""Outputs: objects in stores that sinks write."""

from pathlib import Path

from mithril.core.store import Store, Writer


def writer_at(url: str | Path) -> Writer:
    """A writer of the object at a path or URL."""
    absolute = str(url) if "://" in str(url) else str(Path(url).absolute())
    base, _, name = absolute.rpartition("/")
    return Store.open(base or "/").open_writer(name)
