"""JAX's persistent compilation cache on the cache, by the path interface that JAX uses (etils.epath).

JAX imports this module by its entry point in `jax_plugins`. JAX_COMPILATION_CACHE_DIR is then `mithril://jax`.
"""

import importlib
import os

URL = "mithril://jax"
VARIABLES = {
    "JAX_COMPILATION_CACHE_DIR": URL,
    # Otherwise the keys hold the folder's path, and XLA writes files into it that are of this machine alone.
    "JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES": "none",
}


def initialize() -> None:
    """Makes `mithril://` known to JAX, where it is the folder of its cache."""
    if os.environ.get("JAX_COMPILATION_CACHE_DIR", "").startswith("mithril://"):
        importlib.import_module("mithril.cache.jax_files")
