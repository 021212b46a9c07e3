"""The reading of chunks by parts."""

from typing import TYPE_CHECKING, Any

from mithril.pipeline.chunk import Item
from mithril.pipeline.holds import measure
from mithril.pipeline.stages import IndexedSource

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def has_parts(source: IndexedSource) -> bool:
    """True for a source whose chunks may have more than one part."""
    return type(source).parts is not IndexedSource.parts


class PartReader:
    """A reader of one chunk. Parts that are read in their order are read once; any other row starts anew."""

    def __init__(self, source: IndexedSource, index: int, size: int) -> None:
        self._source = source
        self._index = index
        self._size = size
        self._place = source.place(index)
        self._parts: Iterator[Sequence[Any]] = iter(())
        self._row: int | None = None
        """The row behind the last part that was read."""

    def __call__(self, row: int) -> list[Item]:
        """The samples of the part that begins at a row, measured; none behind the last one."""
        if row != self._row:
            self._row, self._parts = None, self._source.parts(self._index, row, self._size)
        values = next((part for part in self._parts if len(part)), ())
        items = [Item(value, self._place, row + at, measure(value)) for at, value in enumerate(values)]
        self._row = row + len(items)
        return items
