"""Imports point one way: server -> shards -> protocol -> _core, server -> simulate -> _core, client -> _core."""

import ast
from pathlib import Path

import pytest

import yggdrasil

PACKAGE = Path(__file__).parents[1] / "python" / "yggdrasil"
BELOW = {
    "server": {"shards", "protocol", "simulate", "_core"},
    "shards": {"protocol", "_core"},
    "protocol": {"_core"},
    "simulate": {"_core"},
    "client": {"_core"},
}


def imported(file: Path) -> set[str]:
    """The parts of the package that a module imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return {name.split(".")[1] for name in names if name.startswith("yggdrasil.")} - set(yggdrasil.__all__)


@pytest.mark.parametrize("part", BELOW)
def test_a_part_imports_only_what_is_below_it(part: str) -> None:
    for file in (PACKAGE / part).rglob("*.py"):
        assert imported(file) <= {part} | BELOW[part], file


def test_every_part_has_its_place() -> None:
    assert {folder.name for folder in PACKAGE.iterdir() if (folder / "__init__.py").exists()} == set(BELOW)


def test_public_names_resolve() -> None:
    assert [name for name in yggdrasil.__all__ if not hasattr(yggdrasil, name)] == []
