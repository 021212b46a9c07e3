"""Fixtures: one test, the servers (peer, node with 1 shard, node with 3) and protocols that it asks for."""

import os
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, settings
from tests.node import Node
from tests.targets import Servers, Target, emptied
from tests.wire import Wire

settings.register_profile("fast", max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
settings.register_profile("slow", max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


SERVER_FIXTURES = ("target", "node_target", "clustered", "servers_without_debug")
PEERS = {"peer", "peer-cluster"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declares the options."""
    parser.addoption("--peers", action="store_true", help="run what our node is asked against the peer Redis too")


def pytest_configure(config: pytest.Config) -> None:
    """Declares the markers."""
    config.addinivalue_line("markers", "peer: runs against the peer Redis")
    config.addinivalue_line("markers", "node: runs against our node")
    config.addinivalue_line("markers", "slow: takes more than a second or much memory")
    config.addinivalue_line("markers", "long: takes more than a few seconds; run by `make clients` only")
    config.addinivalue_line("markers", "all_servers: runs with one shard and with three, not only with three")
    config.addinivalue_line("markers", "both_protocols: runs on RESP2 and on RESP3, as replies differ")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks what runs where, and leaves out the combinations that a test does not ask for."""
    chosen: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        callspec = getattr(item, "callspec", None)
        params = dict(callspec.params) if callspec is not None else {}
        is_peer = not PEERS.isdisjoint(map(str, params.values()))
        item.add_marker(pytest.mark.peer if is_peer else pytest.mark.node)
        is_chosen = config.option.peers if is_peer else _is_asked_for(item, params)
        (chosen if is_chosen else left_out).append(item)
    config.hook.pytest_deselected(items=left_out)
    items[:] = chosen


def _is_asked_for(item: pytest.Item, params: dict[str, object]) -> bool:
    """True when a test asks for this combination: three shards on RESP3 unless it says that it needs more.

    With one shard it runs on RESP2, so that both markers together mean four combinations, each one alone two.
    """
    server = next((params[name] for name in SERVER_FIXTURES if name in params), "node3")
    is_small = server == "node1"
    if is_small and item.get_closest_marker("all_servers") is None:
        return False
    usual = 2 if is_small else 3
    return params.get("resp", usual) == usual or item.get_closest_marker("both_protocols") is not None


@pytest.fixture
def node() -> Iterator[Node]:
    """A node of three shards, for this test alone."""
    with Node(shards=3) as started:
        yield started


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """All servers of this run."""
    running = Servers()
    yield running
    running.stop()


@pytest.fixture(params=["peer", "node1", "node3"])
def target(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Target]:
    """The peer, a node with one shard and a node with three, each without keys."""
    yield from emptied(servers.get(request.param))


@pytest.fixture(params=["peer", "node1"])
def servers_without_debug(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Target]:
    """The same, started without DEBUG."""
    yield from emptied(servers.get(f"{request.param}-without-debug"))


@pytest.fixture(params=["node1", "node3"])
def node_target(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Target]:
    """Our node only, with one shard and with three: for what the peer does otherwise."""
    yield from emptied(servers.get(request.param))


@pytest.fixture(params=["peer-cluster", "node1", "node3"])
def clustered(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Target]:
    """A peer with cluster support, and our node, which always has it."""
    yield from emptied(servers.get(request.param))


@pytest.fixture
def node3(servers: Servers) -> Iterator[Target]:
    """Our node with three shards, without keys: for what the peer has not."""
    yield from emptied(servers.get("node3"))


@pytest.fixture
def peer(servers: Servers) -> Iterator[Target]:
    """The peer beside the target, for tests that need both."""
    yield from emptied(servers.get("peer"))


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def resp(request: pytest.FixtureRequest) -> int:
    """The protocol."""
    version: int = request.param
    return version


@pytest.fixture
def c(target: Target, resp: int) -> Wire:
    """A connection that speaks the protocol of the test."""
    return target.connect(resp)


@pytest.fixture
def connect(target: Target, resp: int) -> Callable[[], Wire]:
    """Opens further connections like `c`."""
    return lambda: target.connect(resp)
