"""The entry point in torch turns the cache on where the configuration says so, and never breaks the import."""

import importlib
import os
import sys
from pathlib import Path

import pytest

from mithril.cache import activation, session, torch_hook


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The things turned on, which are noted instead."""
    found: list[str] = []
    monkeypatch.setattr(torch_hook, "install", lambda: found.append("hook"))
    monkeypatch.setattr(activation, "enable", lambda options: found.append("file"))
    monkeypatch.chdir(tmp_path)
    return found


@pytest.mark.parametrize(("value", "expected"), [("1", ["hook"]), ("True", ["hook"]), ("0", []), ("", [])])
def test_the_variable_decides(
    installed: list[str], monkeypatch: pytest.MonkeyPatch, value: str, expected: list[str]
) -> None:
    Path("mithril.toml").write_text("[cache]\nenabled = true\n")
    monkeypatch.setenv("MITHRIL_CACHE_ENABLED", value)
    torch_hook.autoload()
    assert installed == expected


@pytest.mark.parametrize(("content", "expected"), [("enabled = true", ["file"]), ("namespace = 'x'", [])])
def test_without_the_variable_the_file_decides(installed: list[str], content: str, expected: list[str]) -> None:
    Path("mithril.toml").write_text(f"[cache]\n{content}\n")
    torch_hook.autoload()
    assert installed == expected


def test_a_wrong_file_is_a_warning(installed: list[str]) -> None:
    Path("mithril.toml").write_text("[cache")
    with pytest.warns(RuntimeWarning, match=r"off in this process: mithril\.toml"):
        torch_hook.autoload()
    assert installed == []


def test_without_either_nothing_happens(installed: list[str]) -> None:
    torch_hook.autoload()
    assert installed == []


def test_variables_of_the_user_stay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MITHRIL_CACHE_ENABLED", "0")
    for name in activation.environment({}):
        if name != "MITHRIL_CACHE_ENABLED":
            monkeypatch.setenv(name, "mine")
    monkeypatch.setattr(torch_hook, "install", lambda: None)
    monkeypatch.setattr(session, "configure", lambda **_: None)
    activation.enable({"root": tmp_path})
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "mine"
    assert os.environ["MITHRIL_CACHE_ROOT"] == str(tmp_path)
    assert os.environ["MITHRIL_CACHE_ENABLED"] == "1"


def test_the_module_is_configured_when_it_is_loaded_and_the_finder_goes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "stand_in.py").write_text("value = 1")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(torch_hook, "_TARGET", "stand_in")
    monkeypatch.setenv("TRITON_CACHE_MANAGER", "mine")
    configured: list[str] = []
    monkeypatch.setattr(torch_hook, "_configure", lambda module: configured.append(module.__name__))
    torch_hook.install()
    torch_hook.install()
    assert sum(isinstance(finder, torch_hook._Finder) for finder in sys.meta_path) == 1
    assert importlib.import_module("stand_in").value == 1
    assert configured == ["stand_in"]
    assert not any(isinstance(finder, torch_hook._Finder) for finder in sys.meta_path)
    sys.modules.pop("stand_in")
