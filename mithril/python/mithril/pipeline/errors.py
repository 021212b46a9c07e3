"""Errors of pipelines."""

from mithril.core.errors import MithrilError


class PipelineError(MithrilError):
    """A pipeline that is put together or used in a way that cannot work."""


class SourceError(MithrilError):
    """A file or a record of it that cannot be read; the message names it."""


class TransformError(MithrilError):
    """A function that raised; `place` and `row` name the sample, and `__cause__` is what the function raised."""

    def __init__(self, stage: str, place: str, row: int, cause: Exception) -> None:
        super().__init__(f"{place}, sample {row}: {stage} raised {type(cause).__name__}: {cause}")
        self.stage = stage
        self.place = place
        self.row = row


class MemoryBudgetError(MithrilError):
    """A sample that needs more memory than the whole budget."""
