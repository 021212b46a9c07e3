"""A few rounds of `crash`."""

import secrets
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.durability.crash.progress import Progress
from tests.durability.crash.rounds import Rounds
from tests.durability.device import Device, NoDeviceError

ROUNDS = 10
POWERED_ROUNDS = 5


@pytest.fixture
def seed() -> int:
    seed = secrets.randbits(32)
    print(f"seed {seed}")  # noqa: T201 - shown where it fails
    return seed


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    try:
        device = Device(tmp_path)
    except NoDeviceError as error:
        pytest.skip(str(error))
    yield device
    device.close()


def test_nothing_acknowledged_is_lost_and_nothing_is_half(tmp_path: Path, seed: int) -> None:
    rounds = Rounds(tmp_path, seed)
    try:
        assert rounds.run(ROUNDS) > 0
    finally:
        rounds.close()


def test_nothing_that_was_synced_is_lost_when_a_block_device_forgets_the_rest(device: Device, seed: int) -> None:
    rounds = Rounds(device.directory, seed, device)
    try:
        assert rounds.run(POWERED_ROUNDS) > 0
    finally:
        rounds.close()


def test_a_campaign_goes_on_where_it_ended(tmp_path: Path) -> None:
    file = tmp_path / "new/progress.json"
    begun = Progress.kept(file, 10, seed=5)
    assert begun.seed_of_rest == 5
    begun.done, begun.acknowledged, begun.kinds = 4, 77, Counter(worker=4)
    begun.keep(file)
    continued = Progress.kept(file, 10, seed=None)
    assert continued == begun
    assert continued.seed_of_rest == "5/4"
    assert Progress.kept(file, 10, seed=6).done == 0
    assert Progress.kept(file, 4, seed=5).done == 0
