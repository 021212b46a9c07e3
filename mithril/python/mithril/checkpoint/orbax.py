"""Arrays of Orbax checkpoints stored by Mithril, by Orbax's public registry of types.

    register()   # once, before checkpoints are saved or restored

Orbax keeps its folders, its metadata and its way to commit. Each array of numpy or jax is a compressed safetensors file
of its own. Of checkpoints that were saved without this, and of arrays that are spread over hosts, Orbax's own handlers
take care: call `unregister`, or do not register.
"""

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from orbax.checkpoint import future, type_handlers
from orbax.checkpoint.metadata import value as value_metadata

from mithril.checkpoint import safetensors_file
from mithril.core.errors import MithrilError

_SUFFIX = ".mithril.safetensors"
_NAME = "array"


class MithrilArrayHandler(type_handlers.TypeHandler):  # type: ignore[misc, unused-ignore]
    """A handler of arrays."""

    def typestr(self) -> str:
        """The name under which Orbax remembers it."""
        return "mithril.array"

    async def metadata(self, infos: Sequence[Any]) -> Sequence[Any]:
        """Shapes and types, from the headers of the files."""
        return [await asyncio.to_thread(_metadata, info) for info in infos]

    async def serialize(self, values: Sequence[Any], infos: Sequence[Any], args: Any = None) -> Sequence[Any]:
        """Copies the arrays to the host, and writes them in the background."""
        args = args or [None] * len(values)
        written = []
        for value, info, options in zip(values, infos, args, strict=True):
            if isinstance(value, jax.Array) and not value.is_fully_addressable:
                raise MithrilError(f"{info.name}: an array that is spread over hosts; leave it to Orbax's own handler")
            dtype = getattr(options, "dtype", None)
            # A copy: what is given may change as soon as this returns.
            host = np.array(value, dtype=dtype)
            written.append(_write(host, info))
        return [future.CommitFutureAwaitingContractedSignals(coroutine, name="mithril") for coroutine in written]

    async def deserialize(self, infos: Sequence[Any], args: Any = None) -> Sequence[Any]:
        """Reads arrays; they come as jax arrays where a sharding or jax is asked for, else as those of numpy."""
        args = args or [type_handlers.RestoreArgs()] * len(infos)
        return [await asyncio.to_thread(_read, info, options) for info, options in zip(infos, args, strict=True)]


async def _write(host: Any, info: Any) -> None:
    await asyncio.to_thread(safetensors_file.save_file, {_NAME: host}, _file(info))


def _file(info: Any) -> Path:
    directory = str(info.parent_dir)
    if "://" in directory:
        raise MithrilError(f"{directory}: Orbax checkpoints are stored by Mithril in local folders only")
    # The names of Orbax have dots between the keys, and keys may have slashes.
    name = re.sub(r"[^\w.-]", lambda found: f"%{ord(found[0]):x}", info.name)
    return Path(directory) / f"{name}{_SUFFIX}"


def _metadata(info: Any) -> Any:
    with safetensors_file.open_file(_file(info), "np") as file:
        part = file.get_slice(_NAME)
        dtype = file.get_slice(_NAME)[tuple(slice(0, 0) for _ in part.get_shape())].dtype
        return value_metadata.ArrayMetadata(
            name=info.name, directory=info.parent_dir, shape=tuple(part.get_shape()), sharding=None, dtype=dtype
        )


def _read(info: Any, options: Any) -> Any:
    found = safetensors_file.load_file(_file(info), "np")[_NAME]
    if options.dtype is not None:
        found = found.astype(options.dtype)
    if options.restore_type is np.ndarray:
        return found
    sharding = getattr(options, "sharding", None)
    if sharding is not None:
        return jax.device_put(found, sharding)
    return jax.numpy.asarray(found)


def register() -> None:
    """Has Orbax store the arrays of numpy and jax by Mithril, in this process."""
    handler = MithrilArrayHandler()
    for kind in (jax.Array, np.ndarray):
        type_handlers.register_type_handler(kind, handler, override=True)


def unregister() -> None:
    """Gives the arrays back to Orbax's own handlers."""
    type_handlers.register_type_handler(jax.Array, type_handlers.ArrayHandler(), override=True)
    type_handlers.register_type_handler(np.ndarray, type_handlers.NumpyHandler(), override=True)
