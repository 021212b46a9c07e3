"""What commands do with their keys, as COMMAND INFO tells it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from yggdrasil._core import _CommandRow

Uses = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeySpecification:
    """Keys among the arguments, and their use. `last` counts from `first`, or from the end where it is negative.

    With a `word`, they stand behind it, which is sought from `first` on; with a `limit` of 2, half of what is there is
    keys. Where they are `counted`, their number stands at `first`. Where it is `unknown`, nothing tells their places.
    """

    flags: Uses
    first: int
    last: int
    step: int
    word: str | None = None
    limit: int = 0
    counted: bool = False
    unknown: bool = False


def key_specifications(row: "_CommandRow") -> list[KeySpecification]:
    """Of a row of the command table; none for a command without keys."""
    first, last, step = row["first_key"], row["last_key"], row["step"]
    uses = [tuple(use) for use in row["key_uses"]]
    if row["migrated_keys"]:
        behind_word = KeySpecification((*uses[0], "incomplete"), -2, -1, 1, "KEYS")
        return [KeySpecification(uses[0], first, last - first, step), behind_word]
    if row["sorted_keys"]:
        return _sorted(first, uses)
    words_from, words = row["key_words"]
    if words:
        behind_words = [KeySpecification((*uses[-1], "incomplete"), words_from, 0, 1, word) for word in words]
        return [KeySpecification(uses[0], first, 0, step), *behind_words]
    if row["moving_keys"]:
        return _moving(row, uses, *row["moving_keys"])
    if len(uses) > 1:
        ends = [0] * (len(uses) - 1) + [min(0, last)]
        places = range(first, first + len(uses))
        return [KeySpecification(use, place, end, 1) for use, place, end in zip(uses, places, ends, strict=True)]
    return [KeySpecification(use, first, last if last < 0 else last - first, step) for use in uses]


def _moving(row: "_CommandRow", uses: list[Uses], at: int, word: str | None, counted: bool) -> list[KeySpecification]:
    """Keys whose places depend on the request; before them there may be a destination, whose use comes first."""
    moving = KeySpecification(uses[-1], at, -1, 1, word, 0 if counted else 2, counted)
    destination = row["first_key"]
    return [KeySpecification(uses[0], destination, 0, 1), moving] if destination else [moving]


def _sorted(first: int, uses: list[Uses]) -> list[KeySpecification]:
    """The key whose elements are sorted, keys that their content names (BY and GET), and a destination anywhere."""
    by_content = KeySpecification(uses[0], 0, 0, 0, unknown=True)
    destinations = [KeySpecification(use, 0, 0, 0, unknown=True) for use in uses[1:]]
    return [KeySpecification(uses[0], first, 0, 1), by_content, *destinations]
