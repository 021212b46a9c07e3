"""What makes a node itself from one start to the next, kept in its directory."""

import secrets
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from yggdrasil.server.errors import StartError
from yggdrasil.server.files import read_record, replace_file

FILE_NAME = "node.json"

Id = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]


class Identity(BaseModel):
    """Drawn once for a directory."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal[1] = 1
    hash_seed: Annotated[int, Field(ge=0, lt=1 << 64)]
    """Where keys stand in the indexes follows from it."""

    replication_id: Id
    """Names the history of the node's data."""

    shard_ids: list[Id]
    """Names of the shards in CLUSTER, in order; those of more shards than there are now are kept."""

    @classmethod
    def draw(cls) -> Self:
        """A node that has never been."""
        return cls(hash_seed=secrets.randbits(64), replication_id=new_id(), shard_ids=[])

    def with_shards(self, count: int) -> Self:
        """The same node with names for so many shards."""
        missing = max(count - len(self.shard_ids), 0)
        return self.model_copy(update={"shard_ids": [*self.shard_ids, *(new_id() for _ in range(missing))]})


def load_identity(directory: Path, shards: int) -> Identity:
    """The identity of the node of a locked directory, which is drawn and written where there is none."""
    file = directory / FILE_NAME
    try:
        known = _read(file)
        identity = (known or Identity.draw()).with_shards(shards)
        if identity != known:
            replace_file(file, f"{identity.model_dump_json(indent=2)}\n".encode())
    except OSError as error:
        raise StartError(f"{file} cannot be used: {error.strerror}; see option dir") from None
    return identity


def is_of_node(directory: Path) -> bool:
    """True for a directory in which a node has been, or something was restored for one."""
    return any((directory / name).exists() for name in (FILE_NAME, "log", "snapshots"))


def adopt_history(directory: Path, replication_id: str) -> None:
    """Lets the node of a locked directory go on with the data of another."""
    file = directory / FILE_NAME
    try:
        identity = _read(file) or Identity.draw()
        adopted = identity.model_copy(update={"replication_id": replication_id})
        replace_file(file, f"{adopted.model_dump_json(indent=2)}\n".encode())
    except OSError as error:
        raise StartError(f"{file} cannot be used: {error.strerror}") from None


def _read(file: Path) -> Identity | None:
    remedy = "; put the right file back, or remove it to start as another node"
    return read_record(file, Identity, "which node this directory belongs to", remedy)


def new_id() -> str:
    """A name that nothing else has."""
    return secrets.token_hex(20)
