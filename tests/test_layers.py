"""Imports point one way: server -> shards -> protocol -> _core; client -> _core."""

import ast
from pathlib import Path

import pytest

import yggdrasil

PACKAGE = Path(__file__).parents[1] / "python" / "yggdrasil"
LAYERS = ["server", "shards", "protocol", "simulate", "_core"]


def imported(file: Path) -> set[str]:
    """The parts of the package that a module imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return {name.split(".")[1] for name in names if name.startswith("yggdrasil.")}


@pytest.mark.parametrize("layer", LAYERS[:-1])
def test_a_part_imports_only_what_is_below_it(layer: str) -> None:
    below = {*LAYERS[LAYERS.index(layer) :], "__version__", "YggdrasilError"}
    for file in (PACKAGE / layer).rglob("*.py"):
        assert imported(file) <= below, file


def test_the_client_imports_nothing_of_the_node() -> None:
    for file in (PACKAGE / "client").rglob("*.py"):
        assert imported(file) <= {"client", "_core"}, file


def test_public_names_resolve() -> None:
    assert [name for name in yggdrasil.__all__ if not hasattr(yggdrasil, name)] == []
