"""Turning the cache on: the variables that frameworks read, for this process or for one that is started."""

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mithril.cache import jax_path, session, torch_hook
from mithril.cache.settings import CacheSettings
from mithril.core.config import load, variable
from mithril.core.store import scheme_of


def enable(options: Mapping[str, Any]) -> None:
    """Turns the cache on in this process; the options are checked first."""
    chosen = {name: value for name, value in options.items() if value is not None}
    variables = environment(chosen)
    session.configure(**chosen)
    for name, value in variables.items():
        os.environ.setdefault(name, value) if name in _YIELDING else os.environ.__setitem__(name, value)
    torch_hook.install()


# Variables of frameworks, where a value that is set already was somebody's decision.
_YIELDING = frozenset(("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "TRITON_CACHE_MANAGER", *jax_path.VARIABLES))


def environment(options: Mapping[str, Any]) -> dict[str, str]:
    """The variables that turn the cache on in a process that is started with them."""
    settings = load(CacheSettings, options).settings
    if settings.url:
        scheme_of(settings.url)
    root = settings.root.expanduser().absolute()
    chosen = {
        name: str(Path(value).expanduser().absolute()) if isinstance(value, Path) else str(value)
        for name, value in options.items()
    }
    variables = {variable(CacheSettings, name): value for name, value in chosen.items()}
    # JAX opens other paths than local ones by this package alone.
    jax = jax_path.VARIABLES if importlib.util.find_spec("etils") else {}
    return (
        variables
        | jax
        | {
            "MITHRIL_CACHE_ENABLED": "1",
            variable(CacheSettings, "root"): str(root),
            "TORCHINDUCTOR_CACHE_DIR": str(root / "inductor"),
            "TRITON_CACHE_DIR": str(root / "triton"),
            "TRITON_CACHE_MANAGER": torch_hook.TRITON_MANAGER,
        }
    )
