"""A training loader: shards of a data set stream into one preallocated buffer while the model learns.

    python examples/training_loader.py --port 6379

Puts a small data set into the node first, so that it runs anywhere. `torch.from_numpy(batch)` would share the buffer's
memory, too.
"""

import argparse
import threading
from collections.abc import Iterator
from queue import SimpleQueue

import numpy as np
import numpy.typing as npt

from yggdrasil.client import Client

SHARDS = 8
SHARD_SAMPLES = 4_096
FEATURES = 33  # the last one is the answer
BATCH_SAMPLES = 256

Samples = npt.NDArray[np.float32]


def key_of(shard: int) -> str:
    """Where a shard is kept."""
    return f"dataset:shard:{shard}"


def store(client: Client) -> None:
    """Puts the data set into the node, each shard in pieces as a producer would make them."""
    truth = np.linspace(-1, 1, FEATURES - 1, dtype=np.float32)

    def pieces(seed: int) -> Iterator[Samples]:
        random = np.random.default_rng(seed)
        for _ in range(SHARD_SAMPLES // BATCH_SAMPLES):
            inputs = random.standard_normal((BATCH_SAMPLES, FEATURES - 1), dtype=np.float32)
            yield np.column_stack([inputs, inputs @ truth])

    for shard in range(SHARDS):
        client.put_stream(key_of(shard), pieces(shard), ex=3600)


def batches(client: Client, epochs: int) -> Iterator[Samples]:
    """All samples of all epochs. The buffer has two halves: one is learnt from while the other is filled."""
    buffer = np.empty((2, SHARD_SAMPLES, FEATURES), dtype=np.float32)
    free: SimpleQueue[int] = SimpleQueue()
    filled: SimpleQueue[tuple[int, int] | Exception] = SimpleQueue()
    free.put(0)
    free.put(1)

    def fill() -> None:
        random = np.random.default_rng()
        try:
            for _ in range(epochs):
                for shard in random.permutation(SHARDS):
                    half = free.get()
                    received = client.get_into(key_of(shard), buffer[half])
                    if received is None:
                        raise LookupError(f"{key_of(shard)} is gone")
                    filled.put((half, received // buffer[half, 0].nbytes))
        except Exception as error:  # noqa: BLE001 - it is raised where the batches are taken
            filled.put(error)

    threading.Thread(target=fill, daemon=True).start()
    for _ in range(epochs * SHARDS):
        ready = filled.get()
        if isinstance(ready, Exception):
            raise ready
        half, samples = ready
        for start in range(0, samples, BATCH_SAMPLES):
            yield buffer[half, start : min(start + BATCH_SAMPLES, samples)]
        free.put(half)


def learn(batch: Samples, weights: Samples) -> float:
    """One step of linear regression; gives the loss before it."""
    inputs, answers = batch[:, :-1], batch[:, -1]
    error = inputs @ weights - answers
    weights -= 0.1 * (inputs.T @ error) / len(batch)
    return float(np.mean(error**2))


def main() -> None:
    """Learns and prints the loss."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="localhost")
    parser.add_argument("--port", type=int, default=6379)
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    with Client(host=options.host, port=options.port) as client:
        store(client)
        weights = np.zeros(FEATURES - 1, dtype=np.float32)
        losses = [learn(batch, weights) for batch in batches(client, options.epochs)]
    print(f"{len(losses)} batches, loss {losses[0]:.3f} -> {losses[-1]:.6f}")


if __name__ == "__main__":
    main()
