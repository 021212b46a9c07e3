"""A checkpoint engine for DeepSpeed.

    engine, *_ = deepspeed.initialize(...)
    engine.checkpoint_engine = MithrilCheckpointEngine()

DeepSpeed has no registry for engines, so it is assigned after `initialize`. It writes one file for each rank and part;
each is a pointer to the tensors in the folder `mithril` beside it, which all files and tags of one run share.
"""

import hashlib
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from deepspeed.runtime.checkpoint_engine.checkpoint_engine import CheckpointEngine

from mithril.checkpoint import pointers
from mithril.checkpoint.loading import load
from mithril.checkpoint.saving import save
from mithril.checkpoint.steps import STEP_MAX

_FRAMEWORK = "deepspeed"


class _Place:
    """The place of a tensor in a state."""

    def __init__(self, index: int) -> None:
        self.index = index


def _without_tensors(value: Any, tensors: list[torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor) and value.layout == torch.strided:
        tensors.append(value)
        return _Place(len(tensors) - 1)
    if type(value) in (dict, list, tuple):
        return _rebuilt(value, lambda item: _without_tensors(item, tensors))
    return value


def _with_tensors(value: Any, tensors: list[torch.Tensor], map_location: Any) -> Any:
    if isinstance(value, _Place):
        tensor = tensors[value.index]
        return tensor if map_location is None or callable(map_location) else tensor.to(map_location)
    if type(value) in (dict, list, tuple):
        return _rebuilt(value, lambda item: _with_tensors(item, tensors, map_location))
    return value


def _rebuilt(value: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, dict):
        return {key: change(item) for key, item in value.items()}
    return type(value)(change(item) for item in value)


def _step_of(file: Path) -> int:
    """The step in the name of the tag, such as `global_step100`, or a number from its hash."""
    digits = re.search(r"(\d{1,12})$", file.parent.name)
    if digits:
        return int(digits[1])
    return int.from_bytes(hashlib.sha256(file.parent.name.encode()).digest()[:8]) % STEP_MAX


class MithrilCheckpointEngine(CheckpointEngine):  # type: ignore[misc, unused-ignore]
    """Stores what DeepSpeed saves."""

    def __init__(self, config_params: Any = None) -> None:
        super().__init__(config_params)

    def create(self, info: Any) -> None:
        """Nothing to prepare."""

    def save(self, state_dict: Any, path: Any) -> None:
        """Saves one of DeepSpeed's files."""
        file = Path(path)
        tensors: list[torch.Tensor] = []
        rest = io.BytesIO()
        torch.save(_without_tensors(state_dict, tensors), rest)
        # A step for each file: the same file of an earlier tag has the same name, and is what it is coded against.
        url, step = str(file.parent.parent / "mithril" / file.stem), _step_of(file)
        save({"tensors": tensors, "rest": rest.getvalue()}, url, step=step, overwrite=True)
        pointers.write(file, _FRAMEWORK, url, step)

    def load(self, path: Any, map_location: Any = None) -> Any:
        """Loads one of DeepSpeed's files."""
        url, step = pointers.read(Path(path), _FRAMEWORK)
        content = load(url, step=step, framework="torch")
        # As DeepSpeed's own engine does: its states hold objects of its own.
        rest = torch.load(io.BytesIO(content["rest"]), map_location=map_location, weights_only=False)
        return _with_tensors(rest, content["tensors"], map_location)

    def commit(self, tag: Any) -> bool:
        """Nothing to do: a file is there when its tensors are."""
        return True
