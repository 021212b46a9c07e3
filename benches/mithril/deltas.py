"""Deltas between the steps of a real training, beside zstd on the grouped XOR.

    python -m benches.mithril.deltas [--width 256] [--layers 6]

Trains a byte-level transformer on the source of the standard library with AdamW and a cosine schedule, keeps the
states of a few steps, and codes later ones against earlier ones, on one thread. The default has 5M parameters.
"""

import argparse
import math
import sysconfig
from pathlib import Path

import torch
from torch import nn

from benches.mithril.codecs import measure, mithril, raw, zipnn, zstd

STEPS = 400
PAIRS = ((150, 151), (390, 391), (391, 400))
CONTEXT = 128
BATCH = 8
PEAK_RATE = 6e-4


class Transformer(nn.Module):  # type: ignore[misc, unused-ignore]
    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(256, width)
        self.places = nn.Embedding(CONTEXT, width)
        layer = nn.TransformerEncoderLayer(width, 8, width * 4, dropout=0.0, batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, 256)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        places = torch.arange(tokens.shape[1])
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1])
        hidden = self.body(self.tokens(tokens) + self.places(places), mask=mask, is_causal=True)
        logits: torch.Tensor = self.head(hidden)
        return logits


def corpus() -> torch.Tensor:
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    text = b"".join(file.read_bytes() for file in files)
    return torch.frombuffer(bytearray(text), dtype=torch.uint8).long()


def train(width: int, layers: int, wanted: set[int]) -> dict[int, dict[str, torch.Tensor]]:
    torch.manual_seed(1)
    model = Transformer(width, layers)
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f}M parameters, {STEPS} steps", flush=True)
    optimizer = torch.optim.AdamW(model.parameters(), PEAK_RATE)
    data = corpus()
    kept = {}
    for step in range(1, STEPS + 1):
        rate = min(step / 20, 0.5 + 0.5 * math.cos(math.pi * step / STEPS)) * PEAK_RATE + 1e-6
        for group in optimizer.param_groups:
            group["lr"] = rate
        starts = torch.randint(0, len(data) - CONTEXT - 1, (BATCH,))
        batch = torch.stack([data[start : start + CONTEXT + 1] for start in starts.tolist()])
        loss = nn.functional.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step in wanted:
            print(f"step {step}: loss {loss.item():.3f}, rate {rate:.1e}", flush=True)
            state = optimizer.state.values()
            kept[step] = {
                "weights": flat(list(model.parameters())),
                "m": flat([entry["exp_avg"] for entry in state]),
                "v": flat([entry["exp_avg_sq"] for entry in state]),
            }
    return kept


def flat(tensors: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors]).clone()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    kept = train(options.width, options.layers, {step for pair in PAIRS for step in pair})
    for before, after in PAIRS:
        for name, element, dtype in (
            ("weights", "bf16", torch.bfloat16),
            ("weights", "f32", torch.float32),
            ("m", "f32", torch.float32),
            ("v", "f32", torch.float32),
        ):
            old, new = (raw(kept[step][name].to(dtype)) for step in (before, after))
            width = 2 if element == "bf16" else 4
            print(f"\n{name} {element}, step {before} -> {after}{'':>4} ratio   encode   decode  GB/s")
            for codec in (mithril(element), zstd(width, 1, grouped=True), zstd(width, 3, grouped=True)):
                print(measure(codec, new, old, options.rounds), flush=True)
            plain = [mithril(element), zipnn(element)]
            for codec in (codec for codec in plain if codec is not None):
                print(f"no base: {measure(codec, new, None, 1)}", flush=True)


if __name__ == "__main__":
    main()
