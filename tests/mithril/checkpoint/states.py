"""States that the tests save, and their comparison."""

from typing import Any

import numpy as np
import torch


def assert_same(found: Any, expected: Any) -> None:
    """Equal bit for bit, types included."""
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key, value in expected.items():
            assert_same(found[key], value)
    elif isinstance(expected, list | tuple):
        assert type(found) is type(expected)
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, torch.Tensor):
        assert isinstance(found, torch.Tensor)
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        assert bits(found) == bits(expected)
    elif isinstance(expected, np.ndarray):
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        assert found.tobytes() == expected.tobytes()
    else:
        assert type(found) is type(expected)
        assert found == expected


def bits(tensor: torch.Tensor) -> bytes:
    flat = tensor.detach().contiguous().reshape(-1)
    if flat.is_complex():
        flat = torch.view_as_real(flat).reshape(-1)
    raw: bytes = flat.view(torch.uint8).numpy().tobytes()
    return raw


def training_state(seed: int = 0, width: int = 300) -> dict[str, Any]:
    """The state of a small training: a model, Adam, and what stands beside them."""
    generator = torch.Generator().manual_seed(seed)
    weights = {f"layer{i}.weight": torch.randn(width, width, generator=generator) * 0.02 for i in range(3)}
    model = {name: tensor.to(torch.bfloat16) for name, tensor in weights.items()}
    moments = {
        i: {"step": torch.tensor(7.0), "exp_avg": tensor * 0.1, "exp_avg_sq": tensor.square()}
        for i, tensor in enumerate(weights.values())
    }
    group = {"lr": 1e-3, "betas": (0.9, 0.999), "params": [0, 1, 2], "amsgrad": False, "foreach": None}
    return {
        "model": model,
        "optimizer": {"state": moments, "param_groups": [group]},
        "rng": torch.arange(5056, dtype=torch.int64).to(torch.uint8),
        "numpy": np.arange(1000, dtype=np.int32).reshape(10, 100),
        "name": "run",
        "bytes": b"short",
        "long": bytes(range(256)) * 64,
    }


def trained(state: dict[str, Any], seed: int = 1) -> dict[str, Any]:
    """The state a step later: most weights move a little."""
    generator = torch.Generator().manual_seed(seed)
    model = {
        name: (tensor.float() + torch.randn(tensor.shape, generator=generator) * 1e-5).to(torch.bfloat16)
        for name, tensor in state["model"].items()
    }
    return {**state, "model": model}
