"""Descriptors of a node's shared memory, by what they are."""

import os
import socket
from dataclasses import dataclass
from typing import Self

from yggdrasil._core import NodeShape, create_segments
from yggdrasil.server.snapshots.door import open_door


@dataclass(frozen=True, slots=True)
class Segments:
    """The control segment, and for each shard an arena, an eventfd that wakes its worker, and a door to it."""

    control: int
    arenas: list[int]
    events: list[int]
    doors: list[socket.socket]
    """Where the worker listens for the steward. They stay open, so that a successor listens at the same place."""

    @classmethod
    def create(cls, shape: NodeShape) -> Self:
        """Makes the shared memory of a new node."""
        return cls(*create_segments(shape), [open_door() for _ in range(shape.shards)])

    def close(self) -> None:
        """Closes the descriptors; who has mapped the memory keeps it."""
        for descriptor in (self.control, *self.arenas, *self.events):
            os.close(descriptor)
        for door in self.doors:
            door.close()
