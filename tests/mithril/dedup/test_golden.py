"""Indexes of version 2 stay readable and are still written the same; damage to them is noticed."""

import contextlib
import json
import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mithril.core.errors import ConfigError, DamagedError, MithrilError
from mithril.dedup import open_index
from mithril.dedup.folder_index import _replace

GOLDEN = Path(__file__).parent / "golden" / "index"
TEXTS = [" ".join(f"word{(number * step) % 97}" for number in range(60)) for step in range(1, 7)]


def write(folder: Path) -> None:
    """Two segments: the second is too small to be merged with the first."""
    for texts in ([*TEXTS[:4], None, ""], TEXTS[4:]):
        with open_index(str(folder), threshold=0.7, bands=4, rows=3, capacity=1000) as index:
            index.add(pa.array(texts, pa.string()))


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_golden_index_is_read(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN, tmp_path / "copy")
    with open_index(str(tmp_path / "copy"), create=False) as index:
        assert index.statistics().documents == 8
        found = index.query(pa.array([*TEXTS, TEXTS[2] + " more", "other words"]))
    assert found.duplicate_of.tolist() == [0, 1, 2, 3, 6, 7, 2, -1]


def test_the_same_bytes_are_written(tmp_path: Path) -> None:
    write(tmp_path / "index")
    assert files_of(tmp_path / "index") == files_of(GOLDEN)


@st.composite
def damage(draw: st.DrawFn) -> tuple[str, bytes]:
    """A file of the index, and other contents for it."""
    files = files_of(GOLDEN)
    name = draw(st.sampled_from(sorted(files)))
    data = bytearray(files[name])
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["cut", "change", "insert"])) if data else "insert"
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        if kind == "cut":
            del data[at : at + draw(st.integers(1, 40))]
        elif kind == "change":
            data[at] = draw(st.integers(0, 255))
        else:
            data[at:at] = draw(st.binary(min_size=1, max_size=20))
    return name, bytes(data)


ASKED = [*TEXTS, "other words"]
ANSWERS = [0, 1, 2, 3, 6, 7, -1]


def ask(folder: Path) -> list[int]:
    """The answers of an index, all of whose files have been read when it is written as one segment."""
    with open_index(str(folder), create=False) as index:
        found: list[int] = index.query(pa.array(ASKED)).duplicate_of.tolist()
        index.add(pa.array([f"a new text of several words and the number {number}" for number in range(20)]))
    return found


def test_all_of_an_index_can_be_read(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN, tmp_path / "index")
    assert ask(tmp_path / "index") == ANSWERS
    assert len(json.loads((tmp_path / "index" / "segments.json").read_bytes())["segments"]) == 1


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damaged=damage())
def test_damage_is_noticed(damaged: tuple[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("damaged") / "index"
    shutil.copytree(GOLDEN, folder)
    name, data = damaged
    changed = data != (folder / name).read_bytes()
    (folder / name).write_bytes(data)
    with contextlib.suppress(DamagedError, ConfigError):
        ask(folder)
        assert not changed or name == "lock" or json.loads(data) == json.loads((GOLDEN / name).read_bytes())


def test_a_bit_that_changes_in_any_block_is_noticed(tmp_path: Path) -> None:
    texts = [" ".join(f"w{number}x{word}" for word in range(8)) for number in range(2000)]
    with open_index(str(tmp_path / "index"), threshold=0.7, bands=4, rows=3) as index:
        index.add(pa.array(texts))
    for name in ("0.keys", "0.documents", "2.keys", "2.documents"):
        path = tmp_path / "index" / "000000000000-2000" / name
        data = path.read_bytes()
        for at in range(100, len(data), 4096):
            path.write_bytes(data[:at] + bytes([data[at] ^ 16]) + data[at + 1 :])
            with open_index(str(tmp_path / "index")) as index, pytest.raises(DamagedError, match="what was written"):
                index.query(pa.array(texts))
        path.write_bytes(data)
    with open_index(str(tmp_path / "index")) as index:
        assert index.query(pa.array(texts)).duplicate_of.tolist() == list(range(2000))


def test_a_question_reads_only_the_blocks_that_it_needs(tmp_path: Path) -> None:
    texts = [" ".join(f"w{number}x{word}" for word in range(8)) for number in range(2000)]
    with open_index(str(tmp_path / "index"), threshold=0.7, bands=4, rows=3) as index:
        index.add(pa.array(texts))
    keys = tmp_path / "index" / "000000000000-2000" / "0.keys"
    data = keys.read_bytes()
    keys.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
    answers = []
    with open_index(str(tmp_path / "index")) as index:
        for number, text in enumerate(texts[:60]):
            with contextlib.suppress(DamagedError):
                answers.append((index.query(pa.array([text])).duplicate_of.tolist(), [number]))
    assert 0 < len(answers) < 60
    assert all(found == expected for found, expected in answers)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bands", "many"), ("bands", -1), ("bands", 1 << 40), ("rows", 0), ("rows", 1.5), ("shingle_unit", "lines"),
        ("shingle_size", 0), ("seed", None), ("seed", -1), ("threshold", "high"), ("capacity", []), ("format", 3),
    ],
)  # fmt: skip
def test_a_shape_that_cannot_be_is_an_error(name: str, value: object, tmp_path: Path) -> None:
    shutil.copytree(GOLDEN, tmp_path / "index")
    shape = json.loads((GOLDEN / "index.json").read_bytes())["shape"]
    _replace(tmp_path / "index" / "index.json", "shape", {**shape, name: value})
    with pytest.raises(MithrilError, match="index"):
        open_index(str(tmp_path / "index"), create=False)


@pytest.mark.parametrize("names", [3, {"a": 1}, ["../../etc"], ["000000000000-6", 7]])
def test_a_list_of_segments_that_cannot_be_is_an_error(names: object, tmp_path: Path) -> None:
    shutil.copytree(GOLDEN, tmp_path / "index")
    _replace(tmp_path / "index" / "segments.json", "segments", names)
    with pytest.raises(MithrilError, match="segment"):
        open_index(str(tmp_path / "index"), create=False)
