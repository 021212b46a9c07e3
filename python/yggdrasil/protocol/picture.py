"""A tree, drawn anew every time."""

import random

_WIDTH = 60
_HEIGHT = 14
_ROOTS = 3
_LEAVES = "^*o.'"


def picture() -> str:
    """Lines of text."""
    chance = random.Random()  # noqa: S311 - nothing depends on it
    rows = [[" "] * _WIDTH for _ in range(_HEIGHT + _ROOTS)]
    middle = _WIDTH // 2
    _grow(rows, chance, _HEIGHT - 1, middle, 0, 5)
    for depth in range(_ROOTS):
        for side in (-1, 1):
            rows[_HEIGHT + depth][middle + side * (1 + 3 * depth + chance.randrange(2))] = "\\" if side > 0 else "/"
    rows[_HEIGHT - 1] = [mark if mark != " " else "_" for mark in rows[_HEIGHT - 1]]
    return "\n".join("".join(row).rstrip() for row in rows) + "\n"


def _grow(rows: list[list[str]], chance: random.Random, row: int, column: int, lean: int, vigour: int) -> None:
    """A branch upwards from a place; what is left of its vigour goes to the branches at its end."""
    for _ in range(chance.randint(1, max(vigour, 1))):
        column += lean
        if row < 0 or not 0 <= column < _WIDTH:
            return
        rows[row][column] = "/" if lean > 0 else "\\" if lean < 0 else "|"
        row -= 1
    if vigour <= 0 or row < 0:
        if row >= 0 and 0 <= column + lean < _WIDTH:
            rows[row][column + lean] = chance.choice(_LEAVES)
        return
    for next_lean in {-1, 0 if vigour > 3 else chance.choice((-1, 1)), 1}:
        _grow(rows, chance, row, column, next_lean, vigour - 1)
