"""Indexes of version 1 stay readable and are still written the same; damage to them is an error or harmless."""

import contextlib
import json
import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mithril.core.errors import MithrilError
from mithril.dedup import open_index

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


def ask(folder: Path) -> None:
    with contextlib.suppress(MithrilError), open_index(str(folder), create=False) as index:
        index.query(pa.array([*TEXTS, "other words"]))
        index.add(pa.array(["a new text of several words", TEXTS[0]]))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damaged=damage())
def test_damage_is_an_error_or_harmless(damaged: tuple[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("damaged") / "index"
    shutil.copytree(GOLDEN, folder)
    name, data = damaged
    (folder / name).write_bytes(data)
    ask(folder)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bands", "many"), ("bands", -1), ("bands", 1 << 40), ("rows", 0), ("rows", 1.5), ("shingle_unit", "lines"),
        ("shingle_size", 0), ("seed", None), ("seed", -1), ("threshold", "high"), ("capacity", []), ("format", 2),
    ],
)  # fmt: skip
def test_a_shape_that_cannot_be_is_an_error(name: str, value: object, tmp_path: Path) -> None:
    shutil.copytree(GOLDEN, tmp_path / "index")
    shape = json.loads((GOLDEN / "index.json").read_bytes())
    (tmp_path / "index" / "index.json").write_text(json.dumps({**shape, name: value}))
    with pytest.raises(MithrilError, match="index"):
        open_index(str(tmp_path / "index"), create=False)


@pytest.mark.parametrize("names", [3, {"a": 1}, ["../../etc"], ["000000000000-6", 7]])
def test_a_list_of_segments_that_cannot_be_is_an_error(names: object, tmp_path: Path) -> None:
    shutil.copytree(GOLDEN, tmp_path / "index")
    (tmp_path / "index" / "segments.json").write_text(json.dumps(names))
    with pytest.raises(MithrilError, match="segment"):
        open_index(str(tmp_path / "index"), create=False)
