"""Places where snapshots lie, by URL."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from yggdrasil._core import ConfigError, SnapshotStore
from yggdrasil.server.config import Config

_FOLDER = "snapshots"
_BUCKETS = ("s3", "gs", "az")


def open_store(config: Config) -> SnapshotStore:
    """The store of a node; ConfigError where the URL is none."""
    return open_place(config.snapshot.url or str(config.directory / _FOLDER), config.directory)


def folder_of(directory: Path) -> Path:
    """The folder of the snapshots of a node that says nothing else."""
    return directory / _FOLDER


def open_place(url: str, directory: Path | None = None) -> SnapshotStore:
    """The store at a URL, or in a folder, relative to `directory`."""
    parts = urlsplit(url)
    if parts.scheme in _BUCKETS:
        # Only for who has it: the package is large, and most nodes keep their snapshots in a folder.
        from yggdrasil.server.snapshots.objects import open_objects  # noqa: PLC0415

        return SnapshotStore(open_objects(url))
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise ConfigError(f"{url} names a folder of another machine; write file:///PATH")
        return SnapshotStore(Path(unquote(parts.path)))
    if "://" in url:
        raise ConfigError(f"{url} is no place for snapshots: there are folders, file, {', '.join(_BUCKETS)}")
    return SnapshotStore((directory or Path.cwd()) / url)
