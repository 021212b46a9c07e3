"""Descriptors of a node's shared memory, by what they are."""

import os
from dataclasses import dataclass
from typing import Self

from yggdrasil._core import NodeShape, create_segments


@dataclass(frozen=True, slots=True)
class Segments:
    """The control segment, and for each shard an arena and an eventfd that wakes its worker."""

    control: int
    arenas: list[int]
    events: list[int]

    @classmethod
    def create(cls, shape: NodeShape) -> Self:
        """Makes the shared memory of a new node."""
        return cls(*create_segments(shape))

    def close(self) -> None:
        """Closes the descriptors; who has mapped the memory keeps it."""
        for descriptor in (self.control, *self.arenas, *self.events):
            os.close(descriptor)
