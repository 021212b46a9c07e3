"""Imports point one way: server -> shards -> protocol -> _core, server -> simulate -> _core, client -> _core."""

import ast
from pathlib import Path

import pytest

import yggdrasil

PYTHON = Path(__file__).parents[1] / "python"
PACKAGE = PYTHON / "yggdrasil"
BELOW = {
    "server": {"replication", "wasm_hooks", "storage", "shards", "protocol", "simulate", "_core"},
    "replication": {"storage", "shards", "protocol", "_core"},
    "wasm_hooks": {"protocol", "_core"},
    "storage": {"_core"},
    "shards": {"protocol", "_core"},
    "protocol": {"_core"},
    "simulate": {"_core"},
    "client": {"_core"},
}
# Parts that are not there yet; their place is decided.
TO_COME = {"replication", "wasm_hooks", "storage"}
# Modules that stand beside the parts.
MODULES = {
    "__init__": {"_core", "node"},
    "__main__": {"server"},
    "commands": {"protocol", "_core"},
    "node": {"client", "_core"},
}
# Another distribution, which is a client like any other.
MITHRIL = {"client"}


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


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_is_below_it(module: str) -> None:
    assert imported(PACKAGE / f"{module}.py") <= MODULES[module]


def test_mithril_is_a_client() -> None:
    for file in (PYTHON.parent / "mithril").rglob("*.py"):
        assert imported(file) <= MITHRIL, file


def test_every_part_and_module_has_its_place() -> None:
    built = {folder.name for folder in PACKAGE.iterdir() if (folder / "__init__.py").exists()}
    assert built | TO_COME == set(BELOW)
    assert not built & TO_COME
    assert {file.stem for file in PACKAGE.glob("*.py")} == set(MODULES)


def test_what_is_below_is_below_everything_else() -> None:
    """No part is above itself."""
    above = {part: set(below) for part, below in BELOW.items()}
    while above:
        lowest = {part for part, below in above.items() if not below & set(above)}
        assert lowest, f"a circle among {sorted(above)}"
        above = {part: below for part, below in above.items() if part not in lowest}


def test_public_names_resolve() -> None:
    assert [name for name in yggdrasil.__all__ if not hasattr(yggdrasil, name)] == []
