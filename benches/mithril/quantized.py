"""The loss of a small model whose checkpoint was quantized: at once, and after it has trained on.

    python -m benches.mithril.quantized [--width 128] [--layers 2] [--steps 300]

Trains a byte-level transformer on the source of the standard library, saves it with fewer bits for what the name says,
loads it, and trains on from there. All go on with the same batches.
"""

import argparse
import copy
import tempfile
from typing import Any

import torch
from torch import nn

import mithril.checkpoint as mc
from benches.mithril.deltas import BATCH, CONTEXT, Transformer, corpus

RATE = 1e-3
GOES_ON = 50
TEST_BATCHES = 20

WAYS: dict[str, mc.Quantize | None] = {
    "exact": None,
    "Adam's m with 8 bits": mc.Quantize(names=("optimizer/*exp_avg",), bits=8, error_max=1.0),
    "Adam's m and v with 8 bits": mc.Quantize(names=("optimizer/*exp_avg*",), bits=8, error_max=1.0),
    "weights with 8 bits": mc.Quantize(names=("model/*",), bits=8, error_max=1.0),
    "weights with 4 bits": mc.Quantize(names=("model/*",), bits=4, error_max=1.0),
}


def batches(data: torch.Tensor, count: int, seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    starts = torch.randint(0, len(data) - CONTEXT - 1, (count, BATCH), generator=generator).tolist()
    return [torch.stack([data[start : start + CONTEXT + 1] for start in row]) for row in starts]


def loss_of(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())


def train(model: nn.Module, optimizer: torch.optim.Optimizer, work: list[torch.Tensor]) -> None:
    for batch in work:
        loss = loss_of(model, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def tested(model: nn.Module, work: list[torch.Tensor]) -> float:
    with torch.no_grad():
        return float(sum(loss_of(model, batch).item() for batch in work)) / len(work)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--steps", type=int, default=300)
    options = parser.parse_args()
    torch.manual_seed(1)
    model = Transformer(options.width, options.layers)
    optimizer = torch.optim.AdamW(model.parameters(), RATE)
    data = corpus()
    test = batches(data, TEST_BATCHES, 3)
    train(model, optimizer, batches(data, options.steps, 2))
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f}M parameters, {options.steps} steps")
    print(f"{'stored':<28} {'MB':>7} {'loss':>8} {f'after {GOES_ON} more':>14}")
    # A copy: the model trains on.
    state: dict[str, Any] = copy.deepcopy({"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    for name, quantize in WAYS.items():
        with tempfile.TemporaryDirectory() as folder:
            report = mc.save(state, folder, step=1, quantize=quantize)
            assert report.not_quantized == ()
            found = mc.load(folder)
        model.load_state_dict(found["model"])
        optimizer.load_state_dict(found["optimizer"])
        at_once = tested(model, test)
        train(model, optimizer, batches(data, GOES_ON, 4))
        size = report.written_bytes / 1e6
        print(f"{name:<28} {size:>7.2f} {at_once:>8.5f} {tested(model, test):>14.5f}", flush=True)


if __name__ == "__main__":
    main()
