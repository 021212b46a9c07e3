"""Fixtures of Mithril's tests: stores of each kind, real servers behind them."""

import contextlib
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer
from tests.node import Node
from tests.peer import Peer, PeerMissingError

from mithril.core.config import CoreSettings
from mithril.core.store import Store

BUCKET = "mithril"


@pytest.fixture(scope="session")
def nodes() -> Iterator[Callable[[int], Node]]:
    """Nodes by their number of shards, each started once."""
    started: dict[int, Node] = {}
    with contextlib.ExitStack() as stack:

        def get(shards: int) -> Node:
            if shards not in started:
                started[shards] = stack.enter_context(Node(shards=shards))
            return started[shards]

        yield get


@pytest.fixture(scope="session")
def peers() -> Iterator[Callable[[str], Peer]]:
    """Servers of others by the name of their program, each started once."""
    started: dict[str, Peer] = {}

    def get(program: str) -> Peer:
        if program not in started:
            try:
                started[program] = Peer(program=program)
            except PeerMissingError as error:
                pytest.skip(str(error))
        return started[program]

    yield get
    for peer in started.values():
        peer.close()


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """The URL of a server that speaks S3, with one bucket."""
    import boto3  # noqa: PLC0415 (takes a while, and few tests need it)

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    client = boto3.client(
        "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
    )
    client.create_bucket(Bucket=BUCKET)
    client.close()
    yield url
    server.stop()


@pytest.fixture
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store of the kind that the test asks for."""
    kind: str = request.param
    place = uuid.uuid4().hex
    if kind == "file":
        return f"file://{tmp_path}/store"
    if kind == "memory":
        return f"memory://{place}"
    if kind == "s3":
        return f"s3://{BUCKET}/{place}"
    if kind in ("redis-server", "valkey-server"):
        return f"redis://127.0.0.1:{request.getfixturevalue('peers')(kind).port}/{place}"
    shards = int(kind[-1])
    port = request.getfixturevalue("nodes")(shards).port
    return f"{kind.rstrip('13')}://127.0.0.1:{port}/{place}"


@pytest.fixture
def core_settings(request: pytest.FixtureRequest, store_url: str, monkeypatch: pytest.MonkeyPatch) -> CoreSettings:
    """Settings with which the store can be opened."""
    if not store_url.startswith("s3://"):
        return CoreSettings()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    endpoint = request.getfixturevalue("s3_endpoint")
    return CoreSettings(s3_endpoint=endpoint, s3_allow_http=True, retries=1)


@pytest.fixture
def store(store_url: str, core_settings: CoreSettings) -> Iterator[Store]:
    """An empty store."""
    with Store.open(store_url, core_settings) as opened:
        yield opened
