"""One compiled training step of a small GPT on the CPU; prints what its first call took, as JSON."""

import argparse
import json
import resource
import time

START = time.perf_counter()

import torch  # noqa: E402 (the import is part of what is measured)

IMPORTED = time.perf_counter()


class Block(torch.nn.Module):  # type: ignore[misc]
    """A transformer's block."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.first = torch.nn.LayerNorm(width)
        self.qkv = torch.nn.Linear(width, 3 * width)
        self.out = torch.nn.Linear(width, width)
        self.second = torch.nn.LayerNorm(width)
        self.up = torch.nn.Linear(width, 4 * width)
        self.down = torch.nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The block's output."""
        batch, length, width = x.shape
        parts = self.qkv(self.first(x)).view(batch, length, 3, self.heads, width // self.heads)
        q, k, v = (parts[:, :, part].transpose(1, 2) for part in range(3))
        scores = (q @ k.transpose(-1, -2)) * (width // self.heads) ** -0.5
        mask = torch.ones(length, length, dtype=torch.bool).tril()
        mixed = scores.masked_fill(~mask, float("-inf")).softmax(-1) @ v
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(torch.nn.functional.gelu(self.up(self.second(x))))


def main() -> None:
    """Runs the step once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=2)
    parser.add_argument("--width", type=int, default=64)
    options = parser.parse_args()
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Embedding(256, options.width),
        *(Block(options.width, 4) for _ in range(options.blocks)),
        torch.nn.Linear(options.width, 256),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    tokens = torch.randint(0, 256, (4, 33))

    def loss_of(batch: torch.Tensor) -> torch.Tensor:
        logits = model(batch[:, :-1])
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())

    compiled_loss = torch.compile(loss_of)
    compiled_update = torch.compile(optimizer.step)
    begin = time.perf_counter()
    loss = compiled_loss(tokens)
    loss.backward()
    compiled_update()
    first = time.perf_counter() - begin
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        json.dumps(
            {
                "import_s": IMPORTED - START,
                "first_call_s": first,
                "cpu_s": own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime,
                "loss": loss.item().hex(),
                "weights": sum(p.double().sum().item() for p in model.parameters()).hex(),
            }
        )
    )


if __name__ == "__main__":
    main()
