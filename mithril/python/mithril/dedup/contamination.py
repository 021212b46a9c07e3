"""Evaluation data, which must not be trained on."""

from collections.abc import Callable
from functools import partial

from mithril import _kernels
from mithril.core.config import CoreSettings
from mithril.core.errors import InputError
from mithril.dedup.chunks import Chunk
from mithril.dedup.inputs import find
from mithril.dedup.ordered import in_order
from mithril.dedup.settings import DedupSettings
from mithril.dedup.table import check_kind
from mithril.dedup.texts import Place, joined, place_of


def ngrams_of_evaluation(settings: DedupSettings, core: CoreSettings) -> _kernels.NgramSet | None:
    """The n-grams of the evaluation data; None where there is none."""
    urls = [url.strip() for url in settings.against.split(",") if url.strip()]
    if not urls:
        return None
    column = settings.against_column or settings.column
    make = partial(_kernels.text_ngrams, settings.shingle_unit, settings.ngram_size, settings.folded)
    parts: list[bytes] = []
    for file in find(urls, core, settings.piece_bytes, named=False):
        checked = partial(check_kind, where=file.url, column=column, tokens=settings.tokens)
        tasks = (partial(_made, make, read, checked) for read in file.source.chunks(column, whole=False))
        found, present = [], False
        for grams, texts in in_order(tasks, settings.workers):
            found.append(grams)
            present |= texts > 0
        if found and not present:
            raise InputError(f"{file.url}: no document has a text in {column!r}; name it by against_column")
        parts.extend(found)
    return _kernels.NgramSet(settings.shingle_unit, settings.ngram_size, settings.folded, b"".join(parts))


def _made(
    make: Callable[[Place], bytes], read: Callable[[], Chunk], check: Callable[[Chunk], None]
) -> tuple[bytes, int]:
    chunk = read()
    check(chunk)
    texts = joined(chunk.pieces)
    return make(place_of(texts)), len(texts) - texts.null_count
