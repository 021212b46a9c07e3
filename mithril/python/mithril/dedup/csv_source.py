"""Documents in CSV files with a header, plain or compressed."""

import csv
import io
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv

from mithril.core.errors import InputError
from mithril.core.store import ObjectInfo, Store
from mithril.dedup.chunks import Chunk, ChunkWriter, Integers, Marks, Verdicts, mark_names
from mithril.dedup.records import NEWLINE, RecordsSource, RecordsWriter, cut
from mithril.dedup.sink import SinkFile
from mithril.dedup.table import check_columns, scores_of

_QUOTE = ord('"')
_BOM = b"\xef\xbb\xbf"


@dataclass(slots=True)
class _Header:
    raw: bytes = b""
    names: list[str] = field(default_factory=list)


class CsvSource(RecordsSource):
    """A CSV file, its values quoted as in RFC 4180."""

    _doubt = "is there a quote without its partner?"

    def __init__(
        self, store: Store, info: ObjectInfo, compression: str | None, block_bytes: int, delimiter: str
    ) -> None:
        super().__init__(store, info, compression, block_bytes)
        self._delimiter = delimiter
        self._header = _Header()

    def open_writer(self, target: SinkFile, column: str, marked: bool, repeats: bool) -> ChunkWriter:
        """A writer of the same form."""
        return _CsvWriter(target, self._compression, self.name, column, self, marked, repeats)

    @property
    def header(self) -> tuple[bytes, list[str]]:
        """The header as it stands in the file, and its names. Known as soon as a chunk has been read."""
        return self._header.raw, self._header.names

    @property
    def delimiter(self) -> str:
        """The byte between two values."""
        return self._delimiter

    def _complete(self, data: bytes) -> int:
        ends = _ends(data)
        return int(ends[-1]) + 1 if len(ends) else 0

    def _without_header(self, block: bytes, column: str, score: str) -> bytes:
        ends = _ends(block)
        end = int(ends[0]) + 1 if len(ends) else len(block)
        raw = block[:end]
        text = raw.removeprefix(_BOM).decode("utf-8", "replace")
        names = next(csv.reader(io.StringIO(text, newline=""), delimiter=self._delimiter), [])
        check_columns(names, self.name, column, score)
        self._header = _Header(raw.rstrip(b"\r\n"), names)
        return block[end:]

    def _read(self, block: bytes, first: int, column: str, score: str, whole: bool) -> Chunk:
        if block.count(b'"') % 2:
            raise InputError(f"{self.name}: the records from line {first} on have a quote without its partner")
        records = cut(block, _ends(block))
        if not len(records):
            return Chunk(
                [pa.array([], pa.string())], records if whole else None, len(block), scores=np.zeros(0), part=len(block)
            )
        place = self._header.names.index(column)
        chosen = [self._header.names.index(score)] if score else []
        names = [f"c{index}" for index in range(len(self._header.names))]
        try:
            table = pyarrow.csv.read_csv(
                pa.BufferReader(block),
                read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=len(block) + 1, column_names=names),
                parse_options=pyarrow.csv.ParseOptions(delimiter=self._delimiter, newlines_in_values=True),
                convert_options=pyarrow.csv.ConvertOptions(
                    include_columns=[names[place], *(names[index] for index in chosen)],
                    column_types={**{names[index]: pa.float64() for index in chosen}, names[place]: pa.string()},
                    strings_can_be_null=False,
                ),
            )
        except pa.ArrowException as error:
            raise InputError(f"{self.name}: the records from line {first} on cannot be read: {error}") from error
        texts = table.column(0).combine_chunks()
        texts = texts.chunk(0) if isinstance(texts, pa.ChunkedArray) else texts
        if len(texts) != len(records):
            raise InputError(f"{self.name}: the records from line {first} on are not quoted as RFC 4180 says")
        scores = scores_of(table.column(1), f"{self.name}: column {score!r}") if score else None
        return Chunk([texts], records if whole else None, len(block) + texts.nbytes, scores=scores, part=len(block))


class _CsvWriter(RecordsWriter):
    def __init__(
        self,
        target: SinkFile,
        compression: str | None,
        name: str,
        column: str,
        source: CsvSource,
        marked: bool,
        repeats: bool,
    ) -> None:
        super().__init__(target, compression, name, column)
        self._source = source
        self._marks = mark_names(repeats) if marked else ()
        self._begun = False

    def write(self, chunk: Chunk, verdicts: Verdicts) -> None:
        self._begin()
        super().write(chunk, verdicts)

    def close(self) -> None:
        self._begin()
        super().close()

    def _begin(self) -> None:
        if self._begun:
            return
        self._begun = True
        raw, names = self._source.header
        taken = [name for name in self._marks if name in names]
        if taken:
            raise InputError(f"{self._name}: there is a column {taken[0]} already; remove it, or do without marks")
        if raw:
            self._file.write(
                self._source.delimiter.join([raw.decode("utf-8", "replace"), *self._marks]).encode() + b"\n"
            )

    def _marked(self, record: bytes, marks: Marks, index: int) -> bytes:
        values = ["" if value is None else str(value).lower() for value in marks.row(index).values()]
        return record.rstrip(b"\r") + self._source.delimiter.encode() + self._line(values)

    def _replaced(self, record: bytes, text: str) -> bytes:
        place = self._source.header[1].index(self._column)
        data = np.frombuffer(record, np.uint8)
        borders = _outside(data, np.flatnonzero(data == ord(self._source.delimiter)))
        starts, ends = [0, *(borders + 1)], [*borders, len(record.rstrip(b"\r"))]
        value = b'"' + text.encode("utf-8", "replace").replace(b'"', b'""') + b'"'
        return record[: starts[place]] + value + record[ends[place] :]

    def _line(self, values: list[str]) -> bytes:
        target = io.StringIO()
        csv.writer(target, delimiter=self._source.delimiter, lineterminator="\n").writerow(values)
        return target.getvalue().encode("utf-8", "replace")


def _ends(block: bytes) -> Integers:
    """The line feeds that end a record."""
    data = np.frombuffer(block, np.uint8)
    return _outside(data, np.flatnonzero(data == NEWLINE))


def _outside(data: npt.NDArray[np.uint8], places: Integers) -> Integers:
    """The places that are outside quotes."""
    quotes = np.flatnonzero(data == _QUOTE)
    return places[np.searchsorted(quotes, places) % 2 == 0] if len(quotes) else places
