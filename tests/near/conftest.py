"""A node that near readers read, with one shard and with three."""

import re
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from tests.node import HOST, Node
from tests.wire import OK, Wire, eventually

from yggdrasil.client.near import NearReader

FREED_WITHIN_S = 1.0
"""Then a process that has ended holds nothing any more."""


def near_url(node: Node) -> str:
    return f"unix://{node.dir}/near.sock"


def patient(node: Node) -> NearReader:
    """A reader that waits for a closed shard for as long as a slow machine may take to open it again."""
    return NearReader(near_url(node), patience=20)


def metric(node: Node, name: str) -> float:
    """The sum of a metric over all shards."""
    with urllib.request.urlopen(f"http://{HOST}:{node.admin_port}/metrics", timeout=10) as page:
        text = page.read().decode()
    found = re.findall(rf"^yggdrasil_{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)
    assert found, name
    return sum(map(float, found))


@dataclass
class Near:
    """A node, a connection to it and a near reader of it."""

    node: Node
    c: Wire
    reader: NearReader

    @property
    def leased(self) -> float:
        """Bytes of values that are gone but held."""
        return metric(self.node, "memory_leased_bytes")

    def wait_until_leased(self, bytes_min: int) -> None:
        eventually(lambda: self.leased >= bytes_min)

    def wait_until_free(self) -> None:
        eventually(lambda: self.leased == 0)


@pytest.fixture(scope="module", params=[1, 3], ids=["node1", "node3"])
def shared_node(request: pytest.FixtureRequest) -> Iterator[Node]:
    with Node(shards=request.param) as node:
        yield node


@pytest.fixture
def near(shared_node: Node) -> Iterator[Near]:
    """The node without keys, and a reader of its own."""
    with Wire(HOST, shared_node.port) as c:
        assert c("FLUSHALL") == OK
        yield Near(shared_node, c, patient(shared_node))


@pytest.fixture
def start_near() -> Iterator[Callable[..., Near]]:
    """Starts nodes with options of their own."""
    opened: list[Near] = []

    def start(**options: object) -> Near:
        node = Node(**{"shards": 2, **options}).start()  # type: ignore[arg-type]
        opened.append(Near(node, Wire(HOST, node.port), patient(node)))
        return opened[-1]

    yield start
    for one in opened:
        one.c.close()
        with one.node:
            pass
