"""The section [pipeline] of the configuration."""

import os
from typing import Literal

from pydantic import Field

from mithril.core.config import Settings


class PipelineSettings(Settings):
    """Bounds of what is in flight."""

    section = "pipeline"

    memory_bytes: int = Field(
        1 << 30, ge=1 << 16, description="Memory that all samples between source and consumer may take."
    )
    workers: int = Field(0, ge=0, le=256, description="Threads that run each group of functions; 0 for one per core.")
    prefetch: int = Field(4, ge=1, le=1024, description="Chunks that are ready before they are asked for.")
    pressure: bool = Field(True, description="Fewer samples are kept ready while the machine is short of memory.")
    oversize: Literal["run", "refuse"] = Field(
        "run", description="A sample above the whole budget runs alone, or is refused with an error."
    )

    @property
    def threads(self) -> int:
        """The number of threads in use."""
        return self.workers or min(os.cpu_count() or 1, 16)
