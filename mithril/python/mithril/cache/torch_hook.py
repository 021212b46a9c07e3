"""The entry point that torch calls at the end of `import torch`, so it imports next to nothing.

All else waits until torch imports its compiler.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType

_TARGET = "torch._inductor.remote_cache"
_ON = ("1", "true", "yes", "on")
TRITON_MANAGER = "mithril.cache.triton_backend:MithrilCacheManager"


def autoload() -> None:
    """Turns the cache on where the configuration says so. Never raises: torch could not be imported."""
    try:
        switch = os.environ.get("MITHRIL_CACHE_ENABLED")
        if switch is not None:
            if switch.lower() in _ON:
                install()
        elif os.environ.get("MITHRIL_CONFIG") or os.path.exists("mithril.toml"):  # noqa: PTH110 (pathlib takes a while)
            _enable_by_file()
    except Exception as error:  # noqa: BLE001 (see above)
        warnings.warn(f"Mithril's cache is off in this process: {error}", RuntimeWarning, stacklevel=2)


def _enable_by_file() -> None:
    from mithril.cache import activation, session  # noqa: PLC0415

    if session.settings().enabled:
        activation.enable({})


def install() -> None:
    """Waits for torch's compiler, or connects it at once where it is there already."""
    os.environ.setdefault("TRITON_CACHE_MANAGER", TRITON_MANAGER)
    loaded = sys.modules.get(_TARGET)
    if loaded is not None:
        _configure(loaded)
    elif not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def _configure(module: ModuleType) -> None:
    from mithril.cache import inductor  # noqa: PLC0415

    inductor.configure(module)


class _Finder(importlib.abc.MetaPathFinder):
    """A finder that finds nothing itself, and has one module configured as soon as it has been loaded."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != _TARGET:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(importlib.abc.Loader):
    def __init__(self, loader: importlib.abc.Loader) -> None:
        self._loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        try:
            _configure(module)
        except Exception as error:  # noqa: BLE001 (torch's compiler works without the cache)
            warnings.warn(f"Mithril's cache is off in this process: {error}", RuntimeWarning, stacklevel=2)
