"""Training data without duplicates.

from mithril.dedup import deduplicate
report = deduplicate("s3://bucket/raw", "s3://bucket/clean", column="text", threshold=0.8)
"""

import importlib
from typing import TYPE_CHECKING, Any

from mithril.core.errors import MissingExtraError

if TYPE_CHECKING:
    from mithril.dedup.data import deduplicate_table
    from mithril.dedup.index import DocumentIndex, open_index
    from mithril.dedup.index_run import add_files, query_files
    from mithril.dedup.process import own_process
    from mithril.dedup.ray_data import deduplicate_ray
    from mithril.dedup.report import ClusterReport, FileReport, Report, Sample
    from mithril.dedup.running import deduplicate, rethreshold

# Where each name is.
_RUNNING, _DATA = "mithril.dedup.running", "mithril.dedup.data"
_FUNCTIONS = {"deduplicate": _RUNNING, "rethreshold": _RUNNING, "deduplicate_table": _DATA}
_FUNCTIONS |= dict.fromkeys(("DocumentIndex", "open_index"), "mithril.dedup.index")
_FUNCTIONS["deduplicate_ray"] = "mithril.dedup.ray_data"
_FUNCTIONS["own_process"] = "mithril.dedup.process"
_FUNCTIONS |= dict.fromkeys(("add_files", "query_files"), "mithril.dedup.index_run")

__all__ = [
    "ClusterReport",
    "DocumentIndex",
    "FileReport",
    "Report",
    "Sample",
    "add_files",
    "deduplicate",
    "deduplicate_ray",
    "deduplicate_table",
    "open_index",
    "own_process",
    "query_files",
    "rethreshold",
]


def __getattr__(name: str) -> Any:
    # pyarrow is an extra: without it the settings and the command line can be imported all the same.
    if name in _FUNCTIONS:
        try:
            module = importlib.import_module(_FUNCTIONS[name])
        except ModuleNotFoundError as error:
            if error.name and error.name.startswith("pyarrow"):
                raise MissingExtraError("deduplication", "pyarrow", "dedup") from None
            raise
    elif name in __all__:
        module = importlib.import_module("mithril.dedup.report")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(module, name)
