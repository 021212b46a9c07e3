"""The client is installed without the packages of the server."""

import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, metadata, packages_distributions, requires

import pytest

# Refuses to import what the first argument names, as if it was not installed.
REFUSING = """
import sys
from importlib.abc import MetaPathFinder

refused = sys.argv.pop(1).split(",")

class Refusing(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in refused:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refusing())
"""


def needed(distribution: str, extra: str) -> set[str]:
    """Distributions that an installation brings, itself included; those of the extra alone where one is named."""
    found: set[str] = set()
    try:
        lines = requires(distribution) or []
    except PackageNotFoundError:
        # Needed by other versions of Python.
        return found
    for line in lines:
        name = re.split(r"[^\w.-]", line, maxsplit=1)[0].lower()
        of_extra = re.search(r"extra\s*==\s*['\"](\w+)", line)
        if (of_extra[1] if of_extra else "") == extra and name not in found:
            found |= {name} | needed(name, "")
    return found


def server_packages() -> set[str]:
    """Import names of what only the server needs."""
    server = needed("yggdrasil", "server") - needed("yggdrasil", "") - {"yggdrasil"}
    assert {"click", "pydantic", "uvicorn", "uvloop"} <= server
    of_server = {
        module
        for module, distributions in packages_distributions().items()
        if {name.lower() for name in distributions} & server
    }
    return {module for module in of_server if not module.startswith("__")}


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-c", REFUSING + code, ",".join(sorted(server_packages())), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("module", ["yggdrasil", "yggdrasil.client", "yggdrasil.client.near", "yggdrasil.node"])
def test_the_client_imports_nothing_of_the_server(module: str) -> None:
    done = run(f"import {module}")
    assert done.returncode == 0, done.stderr


def test_the_package_alone_imports_neither_client_nor_node() -> None:
    done = run("import yggdrasil; print(sorted(n for n in sys.modules if n.startswith(('redis', 'yggdrasil.'))))")
    assert done.stdout == "['yggdrasil._core']\n", done.stderr


def test_the_command_without_the_server_says_what_it_needs() -> None:
    done = run("from yggdrasil.__main__ import main; main()", "serve")
    assert done.returncode == 1
    assert re.fullmatch(
        r"yggdrasil: \w+ is not installed; the command needs `pip install 'yggdrasil\[server\]'`\n", done.stderr
    )


def test_the_client_brings_redis_alone() -> None:
    lines = [line for line in metadata("yggdrasil").get_all("Requires-Dist", []) if "extra" not in line]
    assert [re.split(r"[^\w-]", line, maxsplit=1)[0] for line in lines] == ["redis"]
