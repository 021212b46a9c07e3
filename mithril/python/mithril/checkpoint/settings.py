"""The section [checkpoint] of the configuration."""

import os

from pydantic import Field, field_validator

from mithril import _kernels
from mithril.core.config import Settings

# Blocks have whole groups of 64 elements of any type: 64 times 8 bytes.
_BLOCK_MULTIPLE = 512
# A thread holds a chunk, its base, and both as they are stored.
_CHUNKS_HELD = 4


class CheckpointSettings(Settings):
    """Sizes and bounds of what is written."""

    section = "checkpoint"

    block_bytes: int = Field(
        256 << 10, ge=_BLOCK_MULTIPLE, le=_kernels.BLOCK_BYTES_MAX, description="Bytes that are coded on their own."
    )
    chunk_bytes: int = Field(
        8 << 20, ge=_BLOCK_MULTIPLE, le=256 << 20, description="Bytes of a tensor that are written together."
    )
    pack_bytes: int = Field(
        8 << 20, ge=0, le=256 << 20, description="Size of an object that small chunks share; 0 for an object each."
    )
    threads: int = Field(0, ge=0, le=256, description="Threads that encode and decode; 0 for one for each core.")
    memory_bytes: int = Field(
        256 << 20, ge=1 << 20, description="Memory that encoding and decoding may take; fewer threads run where needed."
    )
    chain_max: int = Field(8, ge=0, le=64, description="Deltas that may follow each other before a full chunk.")
    host_memory_bytes: int = Field(8 << 30, ge=1 << 20, description="Memory that save_async may hold copies in.")
    grace_s: float = Field(
        86_400.0, ge=0, description="Age in seconds from which an object without a checkpoint is deleted."
    )

    @field_validator("block_bytes", "chunk_bytes")
    @classmethod
    def _aligned(cls, value: int) -> int:
        if value % _BLOCK_MULTIPLE:
            raise ValueError(f"must be a multiple of {_BLOCK_MULTIPLE}")
        return value

    @property
    def workers(self) -> int:
        """The number of threads in use."""
        wanted = self.threads or min(os.cpu_count() or 1, 16)
        return max(1, min(wanted, self.memory_bytes // (_CHUNKS_HELD * self.chunk_bytes)))
