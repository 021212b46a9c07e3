"""Sources of WebDataset archives: tar files in which the members of a sample share a name and stand together."""

import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mithril.pipeline.errors import SourceError
from mithril.pipeline.sources.files import File, find
from mithril.pipeline.stages import IndexedSource


@dataclass(slots=True)
class _Sample:
    key: str
    members: dict[str, tuple[int, int]] = field(default_factory=dict)
    """The offset and size of each member, by what follows the name."""


class TarSource(IndexedSource):
    """A source of samples as dictionaries: `__key__`, `__url__`, and the bytes of each member by its extension.

    The headers are read when the source is made; members are then read by their offsets.
    """

    def __init__(self, urls: str | Path | Iterable[str | Path], *, chunk: int = 16) -> None:
        if chunk < 1:
            raise SourceError(f"chunk is at least 1, not {chunk}")
        self._files = find(urls, (".tar",))
        self._chunks: list[tuple[File, list[_Sample]]] = []
        self._count = 0
        for file in self._files:
            samples = _index(file)
            self._count += len(samples)
            self._chunks.extend((file, samples[at : at + chunk]) for at in range(0, len(samples), chunk))

    def __len__(self) -> int:
        """The number of chunks."""
        return len(self._chunks)

    def read(self, index: int) -> list[dict[str, Any]]:
        """Some samples."""
        file, samples = self._chunks[index]
        members = [place for sample in samples for place in sample.members.values()]
        parts = iter(file.store.get_ranges(file.key, members))
        read = []
        for sample in samples:
            values: dict[str, Any] = {"__key__": sample.key, "__url__": file.url}
            for name, (_, size) in sample.members.items():
                values[name] = next(parts)
                if len(values[name]) != size:
                    raise SourceError(f"{file.url}: {sample.key}.{name} ends early; the archive is damaged")
            read.append(values)
        return read

    def place(self, index: int) -> str:
        """Names the archive and the first sample."""
        file, samples = self._chunks[index]
        return f"{file.url} from {samples[0].key}"

    def bytes_hint(self, index: int) -> int:
        """The sizes of the members."""
        return sum(size for sample in self._chunks[index][1] for _, size in sample.members.values())

    def size_hint(self) -> int:
        """The number of samples."""
        return self._count


def _index(file: File) -> list[_Sample]:
    samples: list[_Sample] = []
    try:
        with file.open() as reader, tarfile.open(fileobj=reader, mode="r:") as archive:
            for member in archive:
                if not member.isfile():
                    continue
                folder, slash, name = member.name.rpartition("/")
                base, dot, extension = name.partition(".")
                if not dot or not base:
                    continue
                key = folder + slash + base
                if not samples or samples[-1].key != key:
                    samples.append(_Sample(key))
                if member.offset_data + member.size > file.size:
                    raise SourceError(f"{file.url}: {member.name} ends early; the archive is damaged")
                if extension.lower() in samples[-1].members:
                    raise SourceError(f"{file.url}: {key} has more than one member {extension}")
                samples[-1].members[extension.lower()] = (member.offset_data, member.size)
            _check_end(file, archive.offset)
    except tarfile.TarError as error:
        raise SourceError(f"{file.url}: cannot be read as a tar archive: {error}") from None
    return samples


def _check_end(file: File, offset: int) -> None:
    """Refuses an archive that goes on where tarfile stopped: it takes a damaged header for the end."""
    left = file.range(offset, min(tarfile.BLOCKSIZE, file.size - offset))
    if left.strip(b"\0"):
        raise SourceError(f"{file.url}: the header at byte {offset} cannot be read; the archive is damaged")
