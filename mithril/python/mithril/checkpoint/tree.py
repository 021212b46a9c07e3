"""Nested states as a tree of JSON and a list of tensors.

A tensor's name is the path to it: keys and indices joined by slashes, with `~1` for a slash and `~0` for a tilde in a
key (RFC 6901). So the names of a flat state are its keys.
"""

import base64
from collections.abc import Callable, Mapping
from typing import Any

from mithril.checkpoint.arrays import Array, array_of
from mithril.core.errors import DamagedError, MithrilError

Node = dict[str, Any]
# Bytes up to this many stand in the tree itself.
_INLINE_BYTES_MAX = 4096
_DEPTH_MAX = 100
Key = str | int | bool | None


def name_of(path: tuple[Key, ...]) -> str:
    """The name of the tensor at a path."""
    return "/".join(str(key).replace("~", "~0").replace("/", "~1") for key in path)


def flatten(state: Any) -> tuple[Node, dict[str, Array]]:
    """The tree of a state, and its tensors by name."""
    tensors: dict[str, Array] = {}
    return _flatten(state, (), tensors), tensors


def _flatten(value: Any, path: tuple[Key, ...], tensors: dict[str, Array]) -> Node:
    where = name_of(path) or "the state"
    if len(path) > _DEPTH_MAX:
        raise MithrilError(f"{where[:200]}: nested deeper than {_DEPTH_MAX}; does the state contain itself?")
    if value is None or isinstance(value, bool | str):
        return {"value": value}
    # Subclasses, such as those of enumerations, would come back as plain numbers.
    if type(value) is int:
        return {"value": value}
    if type(value) is float:
        return {"float": value.hex()}
    if isinstance(value, bytes | bytearray) and len(value) <= _INLINE_BYTES_MAX:
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, Mapping):
        return {"dict": [[_key(key, where), _flatten(item, (*path, key), tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        items = [_flatten(item, (*path, index), tensors) for index, item in enumerate(value)]
        return {"list" if isinstance(value, list) else "tuple": items}
    array = array_of(value, where)
    if array is None:
        raise MithrilError(
            f"{where}: a value of type {type(value).__name__} cannot be stored; tensors, numbers, strings, bytes, "
            "None, and dicts, lists and tuples of them can"
        )
    name = name_of(path)
    if name in tensors:
        raise MithrilError(f"{where}: two tensors have this name; keys must differ as text")
    tensors[name] = array
    return {"tensor": name}


def _key(key: Any, where: str) -> Key:
    if key is None or isinstance(key, str | bool) or type(key) is int:
        return key
    raise MithrilError(f"{where}: the key {key!r} is a {type(key).__name__}; keys are strings or integers")


def unflatten(node: Node, tensor: Callable[[str], Any]) -> Any:
    """The state of a tree, with what `tensor` gives for each name."""
    try:
        ((kind, value),) = node.items()
        if kind == "value":
            return value
        if kind == "float":
            return float.fromhex(value)
        if kind == "bytes":
            return base64.b64decode(value, validate=True)
        if kind == "dict":
            return {key: unflatten(item, tensor) for key, item in value}
        if kind in ("list", "tuple"):
            items = [unflatten(item, tensor) for item in value]
            return items if kind == "list" else tuple(items)
        if kind == "tensor":
            return tensor(value)
    except (AttributeError, TypeError, ValueError, RecursionError) as error:
        raise DamagedError(f"the tree of the checkpoint is not valid: {error}") from None
    raise DamagedError(
        f"the tree of the checkpoint has a node of the unknown kind {kind!r}; a newer version may know it"
    )


def targets(state: Any) -> dict[str, Any]:
    """The tensors of a state by name, as they are: what `load` fills in."""
    found: dict[str, Any] = {}
    _collect(state, (), found)
    return found


def _collect(value: Any, path: tuple[Key, ...], found: dict[str, Any]) -> None:
    if isinstance(value, Mapping):
        for key, item in value.items():
            _collect(item, (*path, key), found)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _collect(item, (*path, index), found)
    elif not isinstance(value, bytes | bytearray) and array_of(value, name_of(path)) is not None:
        found[name_of(path)] = value
