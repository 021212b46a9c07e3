"""Training data without duplicates.

from mithril.dedup import deduplicate
report = deduplicate("s3://bucket/raw", "s3://bucket/clean", column="text", threshold=0.8)
"""

from typing import TYPE_CHECKING, Any

from mithril.core.errors import MissingExtraError

if TYPE_CHECKING:
    from mithril.dedup.report import ClusterReport, FileReport, Report, Sample
    from mithril.dedup.running import deduplicate, deduplicate_table

__all__ = ["ClusterReport", "FileReport", "Report", "Sample", "deduplicate", "deduplicate_table"]


def __getattr__(name: str) -> Any:
    # pyarrow is an extra: without it the settings and the command line can be imported all the same.
    if name in ("deduplicate", "deduplicate_table"):
        try:
            from mithril.dedup import running as module  # noqa: PLC0415
        except ModuleNotFoundError as error:
            if error.name and error.name.startswith("pyarrow"):
                raise MissingExtraError("deduplication", "pyarrow", "dedup") from None
            raise
    elif name in __all__:
        from mithril.dedup import report as module  # type: ignore[no-redef]  # noqa: PLC0415
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(module, name)
