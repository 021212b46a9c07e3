"""What the system allows, compared with what is wanted."""

from pathlib import Path

import pytest

from yggdrasil.server import limits
from yggdrasil.server.config import Config
from yggdrasil.server.errors import StartError

MIB = 1024**2


def groups(tmp_path: Path, own: str, files: dict[str, str]) -> tuple[Path, Path]:
    for name, text in files.items():
        file = tmp_path / "cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (tmp_path / "self").write_text(own)
    return tmp_path / "cgroup", tmp_path / "self"


@pytest.mark.parametrize(
    ("own", "files", "limit"),
    [
        ("0::/a/b\n", {"memory.max": "max\n", "a/memory.max": "2048\n", "a/b/memory.max": "4096\n"}, 2048),
        ("0::/a\n", {"a/memory.max": "max\n"}, None),
        ("0::/\n", {"memory.max": "77\n"}, 77),
        ("4:memory:/x\n3:cpu:/y\n", {"memory/x/memory.limit_in_bytes": "512\n"}, 512),
        ("4:memory:/\n", {"memory/memory.limit_in_bytes": "9223372036854771712\n"}, None),
        ("", {}, None),
    ],
)
def test_the_least_limit_of_the_control_groups_counts(
    tmp_path: Path, own: str, files: dict[str, str], limit: int | None
) -> None:
    assert limits.cgroup_memory_bytes(*groups(tmp_path, own, files)) == limit


def test_more_memory_than_the_control_group_has_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "cgroup_memory_bytes", lambda: 64 * MIB)
    with pytest.raises(StartError, match="maxmemory 128mb is more than the 64mb"):
        limits.check_system(Config.of({"maxmemory": 128 * MIB}))
    limits.check_system(Config.of({"maxmemory": 64 * MIB}))


def test_maxclients_is_lowered_where_too_few_files_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "raise_files_limit", lambda _pid, _wanted: 1000)
    lowered = limits.allow_clients(Config.of({"maxclients": 10000, "shards": 2}))
    assert lowered.clients.maxclients == 1000 - limits.files_reserved(lowered)
    assert limits.allow_clients(Config.of({"maxclients": 100, "shards": 2})).clients.maxclients == 100


def test_a_limit_that_leaves_no_client_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "raise_files_limit", lambda _pid, _wanted: 20)
    with pytest.raises(StartError, match="only 20 open files are allowed"):
        limits.allow_clients(Config.of({"shards": 2}))


def test_a_system_without_memory_files_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_name: str, _flags: int) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("os.memfd_create", refuse)
    with pytest.raises(StartError, match=r"lacks memfd_create or pidfd_open \(Function not implemented\)"):
        limits.check_system(Config())


@pytest.mark.parametrize("shards", [1, 3, 64])
def test_arenas_fit_into_the_address_space(shards: int) -> None:
    one = limits.arena_bytes(Config.of({"shards": shards, "maxmemory": 10**15}))
    assert one & (one - 1) == 0
    assert one * shards <= 1 << 45
