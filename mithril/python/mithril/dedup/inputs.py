"""Input files: URLs of files and folders, in a fixed order."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mithril.core.config import CoreSettings
from mithril.core.errors import InputError, NotFoundError
from mithril.core.store import ObjectInfo, Store
from mithril.dedup.arrow_source import ArrowFileSource
from mithril.dedup.chunks import FileSource
from mithril.dedup.csv_source import CsvSource
from mithril.dedup.jsonl_source import JsonLinesSource
from mithril.dedup.parquet_source import ParquetSource

Urls = str | Path | Sequence[str | Path]
"""URLs or paths of files and folders."""

Opener = Callable[[Store, ObjectInfo, int], FileSource]


def _lines(compression: str | None) -> Opener:
    return lambda store, info, block_bytes: JsonLinesSource(store, info, compression, block_bytes)


def _csv(delimiter: str, compression: str | None) -> Opener:
    return lambda store, info, block_bytes: CsvSource(store, info, compression, block_bytes, delimiter)


def _arrow(compression: str | None) -> Opener:
    return lambda store, info, _: ArrowFileSource(store, info, compression)


# The kinds of files by the ends of their names.
_KINDS: dict[str, Opener] = {
    ".parquet": ParquetSource,
    ".arrow": _arrow(None),
    ".arrows": _arrow(None),
    ".feather": _arrow("lz4"),
    **{
        f".{form}{suffix}": opener(compression)
        for suffix, compression in (("", None), (".gz", "gzip"), (".zst", "zstd"))
        for form, opener in (
            ("jsonl", _lines),
            ("ndjson", _lines),
            ("csv", partial(_csv, ",")),
            ("tsv", partial(_csv, "\t")),
        )
    },
}


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file to read, and the name that it has below the output."""

    url: str
    name: str
    size: int
    source: FileSource


def find(urls: Urls, settings: CoreSettings, block_bytes: int, *, named: bool = True) -> list[InputFile]:
    """The files at the URLs or paths, in the order given; those of a folder in the order of their names.

    If `named`, each must have a name of its own below the output.
    """
    found: list[InputFile] = []
    for url in map(str, [urls] if isinstance(urls, str | Path) else urls):
        files = _one(url, settings, block_bytes) if _opener(url) else _folder(url, settings, block_bytes)
        if not files:
            raise InputError(f"{url}: this is no file that ends in {', '.join(_KINDS)}, and no folder that has one")
        found.extend(files)
    if not found:
        raise InputError("there is no input; name files or folders")
    names: dict[str, str] = {}
    for file in found:
        if named and names.get(file.name) == file.url:
            raise InputError(f"{file.url} is given twice; name it, or the folder that it is in, once")
        if named and file.name in names:
            raise InputError(f"{names[file.name]} and {file.url} would have one name; give the folder of both")
        names[file.name] = file.url
    return found


def _one(url: str, settings: CoreSettings, block_bytes: int) -> list[InputFile]:
    folder, _, name = url.rpartition("/")
    store = Store.open(folder or ("/" if url.startswith("/") else "."), settings)
    try:
        return [_file(store, store.head(name), block_bytes)]
    except NotFoundError:
        # Some writers make a folder NAME.parquet of many files.
        files = _folder(url, settings, block_bytes)
        files = files or [_file(store, info, block_bytes) for info in store.matching(name) if _opener(info.key)]
        if not files:
            raise
        return files


def _folder(url: str, settings: CoreSettings, block_bytes: int) -> list[InputFile]:
    store = Store.open(url, settings)
    infos = [info for info in store.list() if _opener(info.key)]
    return [_file(store, info, block_bytes) for info in sorted(infos, key=lambda info: info.key)]


def _file(store: Store, info: ObjectInfo, block_bytes: int) -> InputFile:
    opener = _opener(info.key)
    assert opener is not None
    return InputFile(store.url_of(info.key), info.key, info.size, opener(store, info, block_bytes))


def _opener(name: str) -> Opener | None:
    return next((opener for suffix, opener in _KINDS.items() if name.lower().endswith(suffix)), None)
