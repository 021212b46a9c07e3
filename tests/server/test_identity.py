"""A node that starts again on its directory is the node that it was."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.wire import Wire

import yggdrasil
from yggdrasil.server.errors import StartError
from yggdrasil.server.identity import FILE_NAME, load_identity


def asked(directory: Path, shards: int) -> tuple[list[Any], bytes, bytes]:
    """Names of the shards, of the data's history and of the run, as clients see them."""
    with yggdrasil.Node(shards, directory=directory) as node, Wire(node.host, node.port) as c:
        names = [shard[2][2] for shard in c("CLUSTER", "SLOTS")]
        info = dict(line.split(b":", 1) for line in c("INFO").splitlines() if b":" in line)
        return names, info[b"master_replid"], info[b"run_id"]


def test_names_outlive_the_run(tmp_path: Path) -> None:
    names, history, run = asked(tmp_path, 2)
    more_names, same_history, other_run = asked(tmp_path, 3)
    assert more_names[:2] == names
    assert same_history == history
    assert other_run != run


def test_keys_stand_in_the_same_places_of_the_index(tmp_path: Path) -> None:
    first = load_identity(tmp_path, 3)
    assert load_identity(tmp_path, 3) == first
    fewer = load_identity(tmp_path, 1)
    assert fewer == first, "names of shards that are not there now are kept"
    assert not list(tmp_path.glob("*.new"))


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"{",
        b"[]",
        b'{"format": 2, "hash_seed": 1, "replication_id": "a", "shard_ids": []}',
        b'{"format": 1, "hash_seed": -1, "replication_id": "' + b"a" * 40 + b'", "shard_ids": []}',
        b'{"format": 1, "hash_seed": 1, "replication_id": "' + b"a" * 40 + b'", "shard_ids": ["a b"]}',
        b"\xff" * 100,
    ],
)
def test_a_damaged_file_is_named_and_left_alone(tmp_path: Path, broken: bytes) -> None:
    file = tmp_path / FILE_NAME
    file.write_bytes(broken)
    with pytest.raises(StartError, match=r"node\.json does not say which node this directory belongs to"):
        load_identity(tmp_path, 1)
    assert file.read_bytes() == broken


def test_the_file_says_what_format_it_has(tmp_path: Path) -> None:
    load_identity(tmp_path, 1)
    assert json.loads((tmp_path / FILE_NAME).read_text())["format"] == 1
