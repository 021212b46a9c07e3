"""Documents in files of JSON lines, plain or compressed."""

import json
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.json

from mithril.core.errors import InputError
from mithril.dedup.chunks import Chunk, ChunkWriter, Marks
from mithril.dedup.records import NEWLINE, Records, RecordsSource, RecordsWriter, cut
from mithril.dedup.sink import SinkFile
from mithril.dedup.table import scores_of

Scores = npt.NDArray[np.float64]

_SHOWN = 80


class JsonLinesSource(RecordsSource):
    """A file of JSON lines."""

    _doubt = "is this JSON lines?"

    def open_writer(self, target: SinkFile, column: str, marked: bool, repeats: bool) -> ChunkWriter:
        """A writer of the same form."""
        return _JsonLinesWriter(target, self._compression, self.name, column)

    def _complete(self, data: bytes) -> int:
        return data.rfind(b"\n") + 1

    def _read(self, block: bytes, first: int, column: str, score: str, whole: bool) -> Chunk:
        lines = cut(block, np.flatnonzero(np.frombuffer(block, np.uint8) == NEWLINE))
        texts, scores = _parsed(block, column, score) if len(lines) else (pa.array([], pa.string()), np.zeros(0))
        if texts is None or len(texts) != len(lines):
            texts, scores, lines = self._parsed_slowly(block, first, column, score)
        content, size = lines if whole else None, len(block)
        return Chunk([texts], content, size + texts.nbytes, scores=scores if score else None, part=size)

    def _parsed_slowly(self, block: bytes, first: int, column: str, score: str) -> tuple[Any, Scores, Records]:
        """The texts and scores line by line, which tells what is wrong with which line."""
        texts, scores, starts, ends, at = [], [], [], [], 0
        for number, line in enumerate(_lines(block), first):
            if line.strip():
                text, value = self._text(line, number, column, score)
                texts.append(text)
                scores.append(value)
                starts.append(at)
                ends.append(at + len(line.rstrip(b"\n")))
            at += len(line)
        lines = Records(block, np.array(starts, np.int64), np.array(ends, np.int64))
        return pa.array(texts, pa.large_binary()), np.array(scores, np.float64), lines

    def _text(self, line: bytes, number: int, column: str, score: str) -> tuple[bytes | None, float]:
        shown = line[:_SHOWN].decode("utf-8", "replace").rstrip()
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{self.name}: line {number} is not JSON ({error}): {shown}") from None
        if not isinstance(value, dict):
            raise InputError(f"{self.name}: line {number} is no JSON object: {shown}")
        text = value.get(column)
        if text is not None and not isinstance(text, str):
            raise InputError(f"{self.name}: line {number}: the field {column!r} is no string: {shown}")
        chosen = value.get(score) if score else None
        if chosen is not None and (isinstance(chosen, bool) or not isinstance(chosen, int | float)):
            raise InputError(f"{self.name}: line {number}: the field {score!r} is no number: {shown}")
        return None if text is None else text.encode("utf-8", "replace"), math.nan if chosen is None else float(chosen)


class _JsonLinesWriter(RecordsWriter):
    def _marked(self, record: bytes, marks: Marks, index: int) -> bytes:
        values = marks.row(index)
        taken = [name for name in values if name in json.loads(record)] if b"dedup_" in record else []
        if taken:
            raise InputError(f"{self._name}: there is a field {taken[0]} already; remove it, or do without marks")
        head = record.rstrip()[:-1].rstrip()
        comma = b"" if head.endswith(b"{") and len(head.lstrip()) == 1 else b", "
        return head + comma + json.dumps(values)[1:].encode() + b"\n"

    def _replaced(self, record: bytes, text: str) -> bytes:
        value = json.loads(record)
        value[self._column] = text
        return json.dumps(value, ensure_ascii=record.isascii()).encode("utf-8", "replace")


def _lines(block: bytes) -> list[bytes]:
    lines = block.split(b"\n")
    return [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


def _parsed(block: bytes, column: str, score: str) -> tuple[Any, Scores]:
    """The texts and scores of a block of lines; no texts where the quick way does not understand it."""
    fields = [(score, pa.float64())] if score else []
    try:
        table = pyarrow.json.read_json(
            pa.BufferReader(block),
            read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=len(block) + 1),
            parse_options=pyarrow.json.ParseOptions(
                explicit_schema=pa.schema([(column, pa.string()), *fields]), unexpected_field_behavior="ignore"
            ),
        )
    except pa.ArrowException:
        return None, np.zeros(0)
    found = table.column(column)
    scores = scores_of(table.column(score), score) if score else np.zeros(0)
    return found.chunk(0) if found.num_chunks == 1 else pa.concat_arrays(found.chunks), scores
