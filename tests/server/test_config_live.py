"""CONFIG GET, SET and REWRITE, below the commands."""

from pathlib import Path

import pytest

from yggdrasil.server.config import Config
from yggdrasil.server.config_live import changed, matching
from yggdrasil.server.config_rewrite import LiveConfig
from yggdrasil.server.config_sources import load
from yggdrasil.server.errors import ConfigSetError


def test_values_are_printed_as_redis_prints_them() -> None:
    config = Config.of({"maxmemory": "1kb", "latency-tracking": True, "unixsocketperm": "0700"})
    assert matching(config, ["maxmemory", "latency-trackin?", "unixsocketperm", "save"]) == {
        "maxmemory": "1024",
        "latency-tracking": "yes",
        "unixsocketperm": "700",
        "save": "",
    }
    assert matching(config, ["MaxMemory", "nothing"]) == {"MaxMemory": "1024"}


def test_a_limit_of_one_class_of_clients_leaves_the_others() -> None:
    config = changed(Config(), [("client-output-buffer-limit", "normal 1mb 512kb 10")])
    config = changed(config, [("client-output-buffer-limit", "replica 1 2 3")])
    assert (
        config.clients.client_output_buffer_limit == "normal 1048576 524288 10 slave 1 2 3 pubsub 33554432 8388608 60"
    )


def refused(option: str, reason: str) -> str:
    return f"ERR CONFIG SET failed (possibly related to argument '{option}') - {reason}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing 1", "ERR Unknown option or number of arguments for CONFIG SET - 'nothing'"),
        ("port 1", refused("port", "can't set immutable config")),
        ("timeout 1 TIMEOUT 2", refused("timeout", "duplicate parameter")),
        ("timeout 1 maxmemory x", refused("maxmemory", "argument must be a memory value")),
        ("maxmemory 100000000000gb", refused("maxmemory", "argument must be a memory value")),
        ("timeout x", refused("timeout", "argument couldn't be parsed into an integer")),
        ("timeout -1", refused("timeout", "argument must be between 0 and 2147483647 inclusive")),
        ("latency-tracking 1", refused("latency-tracking", "argument must be 'yes' or 'no'")),
        (
            "loglevel loud",
            refused("loglevel", "argument(s) must be one of the following: debug, verbose, notice, warning, nothing"),
        ),
        ("save 60", refused("save", "see option snapshot-interval")),
        ("appendonly maybe", refused("appendonly", "argument must be 'yes' or 'no'")),
        ("appendonly yes", refused("appendonly", "a node keeps a log, or none, from its start on: see option ack")),
        (
            "latency-tracking-info-percentiles 101",
            refused("latency-tracking-info-percentiles", "argument must be numbers from 0 to 100, separated by spaces"),
        ),
    ],
)
def test_what_cannot_be_set_is_refused(text: str, message: str) -> None:
    words = text.split()
    with pytest.raises(ConfigSetError) as raised:
        changed(Config(), zip(words[::2], words[1::2], strict=True))
    assert str(raised.value) == message


def test_what_is_so_anyway_may_be_set() -> None:
    assert changed(Config(), [("appendonly", "no"), ("save", ""), ("maxmemory-policy", "TinyLFU")]) == Config()


def test_rewrite_keeps_what_else_is_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text('# ours\nport = 7000 # the port\n\nmaxmemory = "1gb"\nrequirepass = "a"\n')
    file.chmod(0o600)
    live = LiveConfig(load({}, file))
    values = {"maxmemory": "2gb", "timeout": "5", "latency-tracking": "no"}
    live.config = changed(live.config, values.items())
    live.was_set(values)
    live.rewrite()
    assert file.read_text() == (
        '# ours\nport = 7000 # the port\n\nmaxmemory = 2147483648\nrequirepass = "a"\n'
        'latency-tracking = "no"\ntimeout = 5\n'
    )
    assert file.stat().st_mode & 0o777 == 0o600
    assert load({}, file).config == live.config
    assert [path.name for path in tmp_path.iterdir()] == ["node.toml"]


def test_rewrite_keeps_options_in_their_sections(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text("timeout = 1\n\n[latency] # all of it\ntracking = true\n")
    live = LiveConfig(load({}, file))
    changes = {"timeout": "5", "latency-tracking": "no", "slowlog-max-len": "7", "latency-monitor-threshold": "9"}
    live.config = changed(live.config, changes.items())
    live.was_set(changes)
    live.rewrite()
    assert file.read_text() == (
        'timeout = 5\n\n[latency] # all of it\ntracking = "no"\nmonitor-threshold = 9\n\n[slowlog]\nmax-len = 7\n'
    )
    assert load({}, file).config == live.config


def test_rewrite_keeps_tables_of_namespaces(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    before = '# ours\n[[namespace]]\nprefix = "a"\nack = "none"\n\n[latency]\ntracking = true\n'
    file.write_text(before)
    live = LiveConfig(load({}, file))
    values = {"namespaces": "a sync+ b%20c none", "timeout": "5"}
    live.config = changed(live.config, values.items())
    live.was_set(values)
    live.rewrite()
    assert load({}, file).config == live.config
    assert file.read_text().startswith("# ours\n")
    assert "[[namespace]]" in file.read_text()
    kept = file.read_text()
    live.config = changed(live.config, [("namespaces", "%ff sync")])
    with pytest.raises(ConfigSetError, match="not UTF-8"):
        live.rewrite()
    assert file.read_text() == kept
    live.config = changed(live.config, [("namespaces", "")])
    live.rewrite()
    assert load({}, file).config == live.config


def test_rewrite_without_a_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigSetError, match="ERR The server is running without a config file"):
        LiveConfig(load({}, None)).rewrite()
