"""Imports point one way: product -> core -> _kernels; core imports yggdrasil only in the module that a URL asks for."""

import ast
from pathlib import Path

import mithril

PACKAGE = Path(mithril.__file__).parent
PRODUCTS = sorted(
    folder.name for folder in PACKAGE.iterdir() if (folder / "__init__.py").exists() and folder.name != "core"
)
YGGDRASIL_MODULES = {"core/redis_store.py"}


def imported(file: Path) -> set[str]:
    """The dotted names that a module imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def parts(file: Path) -> set[str]:
    """The parts of Mithril that a module imports."""
    return {name.split(".")[1] for name in imported(file) if name.startswith("mithril.")} - set(mithril.__all__)


def test_a_product_imports_the_core_and_no_other_product() -> None:
    for product in PRODUCTS:
        for file in (PACKAGE / product).rglob("*.py"):
            assert parts(file) <= {product, "core", "_kernels"}, file


def test_the_core_imports_no_product() -> None:
    for file in (PACKAGE / "core").rglob("*.py"):
        assert parts(file) <= {"core", "_kernels"}, file


def test_yggdrasil_is_imported_where_a_url_asks_for_it() -> None:
    found = {
        file.relative_to(PACKAGE).as_posix()
        for file in PACKAGE.rglob("*.py")
        if any(name.split(".")[0] == "yggdrasil" for name in imported(file))
    }
    assert found <= YGGDRASIL_MODULES
