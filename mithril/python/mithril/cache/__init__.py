"""Compiled kernels and graphs, never compiled twice in a fleet.

`enable(url=...)` turns the cache on in a program; `mithril cache run -- COMMAND` does it without a change to one.
"""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mithril.cache.artifact import Artifact
    from mithril.cache.keys import CacheKey, DeviceClass, InputSpec
    from mithril.cache.layers import ArtifactCache

# torch imports this package at the end of `import torch`: whatever takes time waits until it is asked for.
_LAZY = {
    "Artifact": "mithril.cache.artifact",
    "ArtifactCache": "mithril.cache.layers",
    "CacheKey": "mithril.cache.keys",
    "DeviceClass": "mithril.cache.keys",
    "InputSpec": "mithril.cache.keys",
}

__all__ = ["Artifact", "ArtifactCache", "CacheKey", "DeviceClass", "InputSpec", "enable"]


def enable(url: str | None = None, root: Path | str | None = None, **options: Any) -> None:
    """Turns the cache on in this process and those it starts, before or after torch is imported.

    `options` are those of [cache] in the configuration, such as `namespace` or `trusted_keys`.
    """
    from mithril.cache import activation  # noqa: PLC0415

    activation.enable({"url": url, "root": root, **options})


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
