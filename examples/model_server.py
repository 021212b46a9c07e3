"""A model server on the node's machine: it pins its weights, and maps them instead of loading them.

    python examples/model_server.py --port 6379 --near unix:///var/lib/yggdrasil/near.sock

Puts a small model into the node first, so that it runs anywhere. However many servers run, its weights are in memory
once.
"""

import argparse
import sys
from contextlib import ExitStack

import numpy as np
import numpy.typing as npt

from yggdrasil.client import Client, NearReader

WIDTH = 512
LAYERS = 4
PIN_SECONDS = 3600

Matrix = npt.NDArray[np.float32]


def key_of(layer: int) -> str:
    """Where the weights of a layer are kept."""
    return f"model:demo:layer:{layer}"


def store(client: Client) -> None:
    """Puts a model into the node."""
    random = np.random.default_rng(7)
    for layer in range(LAYERS):
        weights = random.standard_normal((WIDTH, WIDTH), dtype=np.float32) / np.float32(np.sqrt(WIDTH))
        client.put_stream(key_of(layer), weights)


class Model:
    """The weights where the node has them. To be used as a context manager; they are let go at its end."""

    def __init__(self, client: Client, reader: NearReader) -> None:
        keys = [key_of(layer) for layer in range(LAYERS)]
        if client.pin(*keys, ex=PIN_SECONDS) < LAYERS:
            raise LookupError(f"the node has not all of {', '.join(keys)}")
        self._views = ExitStack()
        views = [self._views.enter_context(reader.view(key)) for key in keys]
        self.layers = [np.frombuffer(view.memory, dtype=np.float32).reshape(WIDTH, WIDTH) for view in views]
        self.versions = [view.version for view in views]

    def __enter__(self) -> "Model":
        return self

    def __exit__(self, *_error: object) -> None:
        self.layers.clear()
        self._views.close()

    def predict(self, inputs: Matrix) -> Matrix:
        """The answers to a batch, shape (n, WIDTH) as the inputs."""
        for weights in self.layers:
            inputs = np.maximum(inputs @ weights, 0)
        return inputs


def main() -> None:
    """Serves lines: each number on standard input is the seed of a batch, the answer is its mean."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="localhost")
    parser.add_argument("--port", type=int, default=6379)
    parser.add_argument("--near", default="unix:///var/lib/yggdrasil/near.sock")
    options = parser.parse_args()
    with Client(host=options.host, port=options.port) as client:
        store(client)
        with Model(client, NearReader(options.near)) as model:
            mapped = sum(weights.nbytes for weights in model.layers)
            print(f"serving {LAYERS} layers, {mapped:,} bytes mapped, none copied", flush=True)
            for line in sys.stdin:
                inputs = np.random.default_rng(int(line)).standard_normal((32, WIDTH), dtype=np.float32)
                print(f"{model.predict(inputs).mean():.6f}", flush=True)


if __name__ == "__main__":
    main()
