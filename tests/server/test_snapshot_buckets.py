"""Snapshots in a bucket, on a server that speaks S3."""

import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from tests.node import NodeError
from tests.wire import Wire, pairs

import yggdrasil

pytestmark = pytest.mark.skipif(
    find_spec("obstore") is None or find_spec("moto") is None,
    reason="obstore and moto come with the tests of Mithril (make test-mithril)",
)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a prefix in a new bucket, whose server the environment names."""
    import boto3  # noqa: PLC0415 (takes a while)
    from moto.server import ThreadedMotoServer  # noqa: PLC0415

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    variables = {"endpoint_url": f"http://{host}:{port}", "access_key_id": "a", "secret_access_key": "b"}
    for name, value in (variables | {"region": "us-east-1", "default_region": "us-east-1"}).items():
        monkeypatch.setenv(f"AWS_{name.upper()}", value)
    boto3.client("s3").create_bucket(Bucket="snapshots")
    try:
        yield "s3://snapshots/of/node"
    finally:
        server.stop()


def test_a_node_keeps_its_snapshots_in_a_bucket(bucket: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"directory": tmp_path, "ack": "fast", "snapshot_url": bucket}
    with yggdrasil.Node(2, **options) as node, Wire(node.host, node.port) as client:
        for number in range(50):
            client("SET", f"key:{number}", "x" * 1000)
        assert client("SAVE") == "OK"
        client("SET", "later", "1")
        assert client("SAVE") == "OK"
        assert pairs(client("SNAPSHOT", "CHECK"))[b"damaged"] == []
        assert len(client("SNAPSHOT", "LIST")) == 2
        assert client("SNAPSHOT", "PRUNE", "1") == 1
    assert not (tmp_path / "snapshots").exists()
    with yggdrasil.Node(2, **options) as node, Wire(node.host, node.port) as client:
        assert client("DBSIZE") == 51


def test_a_bucket_that_is_not_there_stops_a_start(bucket: str, tmp_path: Path) -> None:
    absent = bucket.replace("snapshots", "absent")
    with (
        pytest.raises(NodeError, match="snapshots cannot be found"),
        yggdrasil.Node(1, directory=tmp_path, snapshot_url=absent),
    ):
        pass


def test_what_a_bucket_refuses_is_told_in_a_line(bucket: str, tmp_path: Path) -> None:
    absent = bucket.replace("snapshots", "absent")
    told = subprocess.run(
        [sys.executable, "-m", "yggdrasil", "snapshot", "list", tmp_path, "--url", absent],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert told.returncode == 2
    (line,) = told.stderr.splitlines()
    assert "NoSuchBucket" in line
    assert "Debug" not in line
