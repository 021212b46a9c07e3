"""Functions that join the samples of a batch: numpy arrays, dictionaries of them, torch tensors, or lists."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mithril.pipeline.errors import PipelineError
from mithril.pipeline.extras import torch

_NUMBERS = (bool, int, float, complex, np.generic)


def collate(samples: Sequence[Any]) -> Any:
    """Stacks arrays of one shape and numbers, goes into dictionaries and tuples, and leaves the rest a list."""
    first = samples[0]
    if isinstance(first, np.ndarray):
        if all(isinstance(sample, np.ndarray) and sample.shape == first.shape for sample in samples):
            return np.stack(samples)
        return list(samples)
    if isinstance(first, _NUMBERS):
        return np.asarray(samples) if all(isinstance(sample, _NUMBERS) for sample in samples) else list(samples)
    if isinstance(first, Mapping):
        return _joined(samples)
    if isinstance(first, tuple):
        if any(not isinstance(sample, tuple) or len(sample) != len(first) for sample in samples):
            raise PipelineError("tuples of a batch must have the same length")
        return tuple(collate(part) for part in zip(*samples, strict=True))
    if type(first).__module__.partition(".")[0] == "torch":
        return torch().stack(list(samples))
    if hasattr(first, "__dlpack__"):
        return collate([np.from_dlpack(sample) for sample in samples])
    return list(samples)


def _joined(samples: Sequence[Any]) -> dict[Any, Any]:
    names = samples[0].keys()
    for sample in samples:
        if not isinstance(sample, Mapping) or sample.keys() != names:
            found = ", ".join(map(str, sample)) if isinstance(sample, Mapping) else type(sample).__name__
            raise PipelineError(
                f"dictionaries of a batch must have the same names: {found} follows {', '.join(map(str, names))}"
            )
    return {name: collate([sample[name] for sample in samples]) for name in names}


def concatenate(parts: Sequence[Any]) -> Any:
    """One array of the parts of a packed row."""
    return np.concatenate(parts)


def as_tokens(value: Any) -> Any:
    """A one-dimensional array of whole numbers."""
    if isinstance(value, Mapping):
        raise PipelineError("pack takes arrays of whole numbers, not dictionaries; map each to its tokens before")
    array = np.asarray(value)
    if not array.size:
        return array.astype(np.int32).reshape(-1)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise PipelineError(
            f"pack takes one-dimensional arrays of whole numbers, not {array.dtype} of {array.ndim} dimensions"
        )
    return array


def to_torch(value: Any) -> Any:
    """The same with torch tensors in the place of numpy arrays, which share their memory.

    What has a method `to_torch`, as ragged and sparse rows have, is asked for its tensor.
    """
    if callable(own := getattr(value, "to_torch", None)):
        return own()
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        writable = value if value.flags.writeable else value.copy()
        return torch().from_numpy(writable)
    if isinstance(value, np.generic) and value.dtype.kind in "biufc":
        return torch().tensor(value.item())
    if isinstance(value, Mapping):
        return {key: to_torch(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return tuple(to_torch(part) for part in value)
    return [to_torch(part) for part in value] if isinstance(value, list) else value
