"""Every example runs as it is against a node, and is well typed."""

import re
import subprocess
import sys
from pathlib import Path

from tests.node import HOST, Node
from tests.targets import Target
from tests.wire import Wire

from yggdrasil.client import Client

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def run(example: str, *arguments: str | int, lines: str = "") -> str:
    command = [sys.executable, "-W", "error", str(ROOT / "examples" / example), *map(str, arguments)]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_training_loader_learns(node_target: Target) -> None:
    output = run("training_loader.py", "--port", node_target.port, "--epochs", 2)
    found = re.fullmatch(r"256 batches, loss ([\d.]+) -> ([\d.]+)\n", output)
    assert found is not None, output
    assert float(found[2]) < 0.001 < float(found[1])


def test_the_model_server_pins_and_maps_its_weights(node_target: Target) -> None:
    near = f"unix://{node_target.server.dir}/near.sock"
    output = run("model_server.py", "--port", node_target.port, "--near", near, lines="1\n2\n1\n").splitlines()
    assert output[0] == "serving 4 layers, 4,194,304 bytes mapped, none copied"
    assert output[1] == output[3] != output[2]
    assert all(float(answer) > 0 for answer in output[1:])
    with Client(port=node_target.port) as client:
        assert len(list(client.pinned_iter("model:demo:*"))) == 4


def test_the_rate_limit_counts_a_key_down_wherever_it_is() -> None:
    with Node(shards=2, command_modules=ROOT / "examples" / "rate_limit.py") as node, Wire(HOST, node.port) as c:
        for key in ("a", "b", "c", "d"):
            assert [c("RATE.LIMIT", key, 2, 100) for _ in range(3)] == [1, 0, -1]
            assert 0 < c("TTL", key) <= 100


def test_all_of_them_are_tested() -> None:
    text = Path(__file__).read_text()
    assert [example.name for example in EXAMPLES if f'"{example.name}"' not in text] == []
