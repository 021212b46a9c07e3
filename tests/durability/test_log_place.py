"""Logs outside of the directory of their node."""

import shutil
import signal
from pathlib import Path

from tests.durability.test_recovery import serving
from tests.server.test_start import start_fails
from tests.wire import OK


def test_logs_are_where_they_were_placed_whether_that_is_said_again_or_not(tmp_path: Path) -> None:
    directory, elsewhere = tmp_path / "node", tmp_path / "not" / "there yet"
    directory.mkdir()
    with serving(directory, shards=2, log_dir=str(elsewhere)) as (node, c):
        assert c("SET", "k", "1") == OK
        assert c("MSET", *[part for n in range(100) for part in (f"key:{n}", "several")]) == OK
        node.process.send_signal(signal.SIGKILL)
        node.process.wait()
    place = (directory / "log").readlink()
    assert place.parent == elsewhere
    assert list(place.glob("generation-1/shard-*/*.log"))
    with serving(directory, shards=2) as (_, c):
        assert c("DBSIZE") == 101
        assert c("INCR", "k") == 2
        assert c("SAVE") == OK
    with serving(directory, shards=3, log_dir=str(elsewhere)) as (_, c):
        assert c("DBSIZE") == 101
        assert c("GET", "k") == b"2"
    assert [path.name for path in place.glob("generation-*")] == ["generation-2"]


def test_nodes_may_share_a_place_for_logs_and_never_logs(tmp_path: Path) -> None:
    place = str(tmp_path / "logs")
    first, second, copied = (tmp_path / name for name in ("first", "second", "copied"))
    first.mkdir()
    second.mkdir()
    with serving(first, shards=1, log_dir=place) as (_, one), serving(second, shards=1, log_dir=place) as (_, other):
        assert one("SET", "k", "first") == OK
        assert other("SET", "k", "second") == OK
        shutil.copytree(first, copied, symlinks=True, ignore=shutil.ignore_patterns("*.sock"))
        refusal = start_fails(copied, ack="fast")
        assert refusal.startswith("yggdrasil: another node (pid ")
        assert refusal.endswith(
            f"runs on directory {(first / 'log').readlink()}; stop it or choose another with --log-dir"
        )
    with serving(first, shards=1) as (_, one):
        assert one("GET", "k") == b"first"


def test_a_node_does_not_start_without_the_logs_that_it_has(tmp_path: Path) -> None:
    directory, place = tmp_path / "node", tmp_path / "logs"
    directory.mkdir()
    with serving(directory, shards=1) as (_, c):
        assert c("SET", "k", "1") == OK
    options = {"ack": "fast", "log-dir": place}
    assert f"the logs of the node are in {directory / 'log'}, not below log-dir" in start_fails(directory, **options)
    place.mkdir()
    (directory / "log").rename(place / "moved")
    (directory / "log").symlink_to(place / "moved")
    with serving(directory, shards=1, log_dir=str(place)) as (_, c):
        assert c("GET", "k") == b"1"
    other = tmp_path / "other"
    assert f"in {place / 'moved'}, not below log-dir, {other}" in start_fails(directory, **options | {"log-dir": other})
    # A disk that is not there.
    place.rename(tmp_path / "unmounted")
    place.mkdir()
    for chosen in (options, {"ack": "fast"}):
        assert f"leads to {place / 'moved'}, which is not there; see option log-dir" in start_fails(directory, **chosen)
    assert not list(place.iterdir())
