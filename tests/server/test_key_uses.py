"""Where COMMAND says that keys are, for rows that the node does not have yet."""

from typing import TYPE_CHECKING, cast

from yggdrasil.protocol.key_uses import KeySpecification, key_specifications

if TYPE_CHECKING:
    from yggdrasil._core import _CommandRow


READ, CHANGE, OVERWRITE = ["RO", "access"], ["RW", "access", "update"], ["OW", "update"]


def specifications(uses: list[list[str]], first: int, moving: tuple[int, str | None, bool]) -> list[KeySpecification]:
    row = {"name": "x", "key_uses": uses, "first_key": first, "last_key": first, "step": 1, "moving_keys": moving}
    return key_specifications(
        cast("_CommandRow", row | {"migrated_keys": False, "sorted_keys": False, "key_words": (0, [])})
    )


def test_counted_keys() -> None:
    assert specifications([CHANGE], 0, (1, None, True)) == [
        KeySpecification(("RW", "access", "update"), 1, -1, 1, counted=True),
    ]


def test_a_destination_before_counted_keys() -> None:
    assert specifications([OVERWRITE, READ], 1, (2, None, True)) == [
        KeySpecification(("OW", "update"), 1, 0, 1),
        KeySpecification(("RO", "access"), 2, -1, 1, counted=True),
    ]


def test_keys_behind_a_word() -> None:
    assert specifications([READ], 0, (1, "STREAMS", False)) == [
        KeySpecification(("RO", "access"), 1, -1, 1, word="STREAMS", limit=2),
    ]
