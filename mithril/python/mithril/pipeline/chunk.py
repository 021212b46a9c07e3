"""Chunks: what stages hand on."""

from dataclasses import dataclass
from typing import Any

from mithril.pipeline.holds import Hold

Token = list[Any]
"""A position in the output of a stage, of numbers and lists alone, from which the stage can go on."""


@dataclass(slots=True)
class Item:
    """One element, where it came from, and the memory that it takes, once that is measured."""

    value: Any
    place: str
    row: int
    hold: Hold = 0


@dataclass(slots=True)
class Chunk:
    """Some elements in a row."""

    items: list[Item]
    token: Token
    """The position before the first element."""
    skipped: int = 0
    """Samples that were left out after an error."""
    after: Token | None = None
    """The position behind the last element, where that is known."""


class Wait:
    """The answer of a stage that has no chunk yet and must not block."""


WAIT = Wait()
Pulled = Chunk | Wait | None
"""A chunk, the request to ask again after something has happened, or the end."""
