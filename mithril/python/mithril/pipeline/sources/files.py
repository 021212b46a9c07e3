"""Files by path or URL: one, all of a folder, or those that a pattern names."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mithril.core.errors import NotFoundError
from mithril.core.store import Reader, Store
from mithril.pipeline.errors import SourceError
from mithril.pipeline.stages import IndexedSource


@dataclass(frozen=True, slots=True)
class File:
    """A file in a store."""

    store: Store
    key: str
    size: int

    @property
    def url(self) -> str:
        """The name for messages."""
        return self.store.url_of(self.key)

    def open(self) -> Reader:
        """A seekable reader."""
        return self.store.open_reader(self.key)

    def range(self, start: int, length: int) -> bytes:
        """A part of it."""
        return self.store.get_range(self.key, start, length) if length > 0 else b""


def find(urls: str | Path | Iterable[str | Path], suffixes: Sequence[str]) -> list[File]:
    """The files at paths or URLs, in the order given, those of a folder by name. At least one."""
    given = [urls] if isinstance(urls, str | Path) else list(urls)
    found = [file for url in given for file in _find_one(str(url), tuple(suffixes))]
    if not found:
        raise SourceError(f"{', '.join(map(str, given)) or 'no path'}: no file here; expected {' or '.join(suffixes)}")
    return found


def _find_one(url: str, suffixes: tuple[str, ...]) -> list[File]:
    base, _, name = (url if "://" in url else str(Path(url).absolute())).rstrip("/").rpartition("/")
    if not ("://" not in url and Path(url).is_dir()) and not base.endswith(":/"):
        store = Store.open(base or "/")
        try:
            return [File(store, name, store.head(name).size)]
        except NotFoundError:
            matching = store.matching(name)
            if matching:
                return [File(store, info.key, info.size) for info in matching]
            store.close()
    if "://" not in url and not Path(url).is_dir():
        raise SourceError(f"{url}: no such file or folder")
    store = Store.open(url)
    infos = [info for info in store.list() if info.key.lower().endswith(suffixes)]
    return [File(store, info.key, info.size) for info in sorted(infos, key=lambda info: info.key)]


class FileSource(IndexedSource):
    """A source of whole files: dictionaries of `url`, `label` (the folder that it is in) and `data`."""

    def __init__(
        self, urls: str | Path | Iterable[str | Path], suffixes: Sequence[str] = ("",), *, chunk: int = 8
    ) -> None:
        if chunk < 1:
            raise SourceError(f"chunk is at least 1, not {chunk}")
        self._files = find(urls, suffixes)
        self._chunk = chunk

    def __len__(self) -> int:
        """The number of chunks."""
        return (len(self._files) + self._chunk - 1) // self._chunk

    def read(self, index: int) -> list[dict[str, Any]]:
        """Some files."""
        samples = []
        for file in self._part(index):
            folder = file.key.rpartition("/")[0].rpartition("/")[2]
            samples.append({"url": file.url, "label": folder, "data": file.store.get(file.key)})
        return samples

    def place(self, index: int) -> str:
        """Names the first file."""
        return self._part(index)[0].url

    def bytes_hint(self, index: int) -> int:
        """The sizes of the files."""
        return sum(file.size for file in self._part(index))

    def size_hint(self) -> int:
        """The number of files."""
        return len(self._files)

    def _part(self, index: int) -> list[File]:
        return self._files[index * self._chunk : (index + 1) * self._chunk]
