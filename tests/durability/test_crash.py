"""A few rounds of `crash`."""

import secrets
from pathlib import Path

from tests.durability.crash.rounds import Rounds

ROUNDS = 10


def test_nothing_acknowledged_is_lost_and_nothing_is_half(tmp_path: Path) -> None:
    seed = secrets.randbits(32)
    print(f"seed {seed}")  # noqa: T201 - shown where it fails
    rounds = Rounds(tmp_path, seed)
    try:
        assert rounds.run(ROUNDS) > 0
    finally:
        rounds.close()
