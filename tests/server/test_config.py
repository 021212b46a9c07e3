"""Where options come from, and what is said of those that cannot be used."""

import subprocess
import tomllib
from pathlib import Path

import pytest
from tests.node import command, environment

from yggdrasil._core import ConfigError
from yggdrasil.server.config import OPTIONS, Config
from yggdrasil.server.config_page import page
from yggdrasil.server.config_sources import Loaded, load
from yggdrasil.server.option import parse_size

GIB = 1024**3


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file or variable of whoever runs the tests."""
    monkeypatch.chdir(tmp_path)
    for name in {row.variable for row in OPTIONS.values()} | {"YGGDRASIL_CONFIG", "YGGDRASIL_TEST_KEEP"}:
        monkeypatch.delenv(name, raising=False)


def load_with(tmp_path: Path, text: str = "", flags: dict[str, str] | None = None) -> Loaded:
    file = tmp_path / "node.toml"
    file.write_text(text)
    return load(flags or {}, file)


def test_flags_win_over_environment_over_file_over_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "port = 1001\ntimeout = 1\ntcp-backlog = 1\n"
    monkeypatch.setenv("YGGDRASIL_PORT", "1002")
    monkeypatch.setenv("YGGDRASIL_TIMEOUT", "2")
    loaded = load_with(tmp_path, text, {"port": "1003"})
    network = loaded.config.network
    assert (network.port, loaded.config.clients.timeout, network.tcp_backlog) == (1003, 2, 1)
    assert loaded.config.node.databases == 16
    assert [loaded.sources[name] for name in ("port", "timeout", "tcp-backlog", "databases")] == [
        "flag --port",
        "variable YGGDRASIL_TIMEOUT",
        str(tmp_path / "node.toml"),
        "default",
    ]


def test_a_file_has_options_in_sections_and_under_their_flat_names(tmp_path: Path) -> None:
    text = 'timeout = 5\n[network]\nport = 1001\ntcp-backlog = 7\n[near]\nsocket = "n"\n[slowlog]\nmax-len = 3\n'
    config = load_with(tmp_path, text, {}).config
    assert (config.clients.timeout, config.network.port, config.network.tcp_backlog) == (5, 1001, 7)
    assert (config.near.socket, config.slowlog.max_len) == ("n", 3)
    assert [config.text(name) for name in ("near-socket", "slowlog-max-len")] == ["n", "3"]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[network]\nprot = 1", "prot in section network of {} is no option; is port meant?"),
        ("[network]\ntimeout = 1", "timeout in section network of {} is no option; "),
        ("[netwrok]\nport = 1", "netwrok in {} is no section; is network meant?"),
        ("port = 1\n[network]\nport = 2", "port is in {} twice: in section network, and outside of it"),
        ("[network]\nport = [2]", "port in section network in {} has to be a single value; "),
        ("near = 1", "near in {} is no option"),
        ("[near]\nreaders-max = 0", "near-readers-max = 0 ({}) cannot be used; allowed is a whole number from 1"),
    ],
)
def test_what_is_wrong_in_a_section_is_named(tmp_path: Path, text: str, error: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_with(tmp_path, text, {})
    assert str(raised.value).startswith(error.format(tmp_path / "node.toml"))


def test_the_file_of_the_current_directory_is_read(tmp_path: Path) -> None:
    (tmp_path / "yggdrasil.toml").write_text('maxmemory = "2gb"\n')
    assert load({}, None).config.memory.maxmemory == 2 * GIB


def test_a_configuration_reads_no_environment_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YGGDRASIL_PORT", "1002")
    assert Config().network.port == 6379


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("100", 100), ("1k", 1000), ("1kb", 1024), ("2MB", 2 * 1024**2), ("3m", 3_000_000), ("1gb", GIB)],
)
def test_sizes_are_read_as_redis_reads_them(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(("port", "base"), [("6379", 16379), ("55472", 65472), ("55473", 0), ("65535", 0)])
def test_the_ports_of_workers_are_in_their_usual_distance_where_that_is_possible(port: str, base: int) -> None:
    assert load({"port": port, "shards": "2"}, None).config.network.worker_port_base == base


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"port": "70000"}, "port = '70000' (flag --port) cannot be used; allowed is a whole number from 0 to 65535"),
        ({"maxmemory": "lots"}, "a size such as 100mb or 2gb from 0"),
        ({"maxmemory": "-1"}, "a size such as 100mb or 2gb from 0"),
        ({"maxmemory-policy": "lru"}, "one of tinylfu, noeviction, allkeys-lru"),
        ({"maxpinned": "110%"}, "a percentage of maxmemory such as 25%"),
        ({"maxpinned-prefixes": "model:"}, "groups of PREFIX and a size or percentage"),
        ({"loglevel": "loud"}, "one of debug, verbose, notice, warning, nothing"),
        ({"latency-tracking": "perhaps"}, "yes or no"),
        ({"unixsocketperm": "rwx"}, "octal permissions such as 700"),
        ({"client-output-buffer-limit": "normal 1 2"}, "groups of CLASS HARD SOFT SECONDS"),
        ({"client-output-buffer-limit": "other 1 2 3"}, "groups of CLASS HARD SOFT SECONDS"),
        ({"worker-port-base": "65535", "shards": "2"}, "at most 65534 for 2 shards"),
        ({"ring-size": "100kb"}, "a power of two"),
        ({"bind": "localhost.example"}, "addresses such as 127.0.0.1"),
        ({"bind": ""}, "addresses such as 127.0.0.1"),
        ({"port": "0"}, "0 only together with a tls-port or a unixsocket"),
        ({"proto-max-bulk-len": "1kb"}, "from 1mb"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_what_is_allowed(flags: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(flags, None)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prot = 1", "prot in {file} is no option; is port meant?"),
        ("port = 1.5", "port = 1.5 ({file}) cannot be used"),
        ("port = true", "port = True ({file}) cannot be used"),
        ("port = [1]", "port in {file} has to be a single value"),
        ("port = ", "{file} is not TOML"),
    ],
)
def test_errors_name_the_file(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_with(tmp_path, text)
    assert str(raised.value).startswith(message.format(file=tmp_path / "node.toml"))


def test_errors_name_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YGGDRASIL_MAX_MEMORY", "1")
    with pytest.raises(ConfigError, match=r"YGGDRASIL_MAX_MEMORY .* is YGGDRASIL_MAXMEMORY meant\?"):
        load({}, None)
    monkeypatch.delenv("YGGDRASIL_MAX_MEMORY")
    monkeypatch.setenv("YGGDRASIL_TIMEOUT", "soon")
    with pytest.raises(ConfigError, match="variable YGGDRASIL_TIMEOUT"):
        load({}, None)


def test_a_password_is_never_in_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YGGDRASIL_REQUIREPASS", "secret")
    with pytest.raises(ConfigError) as raised:
        load({"port": "0"}, None)
    assert "secret" not in str(raised.value)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.toml cannot be read"):
        load({}, tmp_path / "missing.toml")


def test_the_engine_gets_its_part_of_the_memory() -> None:
    options = Config.of({"maxmemory": 100, "shards": 3}).engine_options()
    assert options["maxmemory"] == 34
    assert options["latency-tracking"] == 1
    assert "port" not in options


def test_the_configuration_page_is_current() -> None:
    written = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
    assert written == page(), "run make docs"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, env=environment(), check=False)


def test_config_prints_a_file_that_gives_the_same_configuration(tmp_path: Path) -> None:
    printed = run("config", "--port", "7000", "--maxmemory", "1gb", "--latency-tracking", "no")
    assert printed.returncode == 0
    assert "# flag --port" in printed.stdout
    file = tmp_path / "printed.toml"
    file.write_text(printed.stdout)
    assert tomllib.loads(printed.stdout)["maxmemory"] == GIB
    again = load({}, file).config
    assert (again.network.port, again.memory.maxmemory, again.latency.tracking) == (7000, GIB, False)


def test_config_does_not_print_a_password() -> None:
    printed = run("config", "--requirepass", "hunter2")
    assert "hunter2" not in printed.stdout
    assert "# requirepass is set" in printed.stdout


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["serve", "--port", "x"], "yggdrasil: port = 'x' (flag --port) cannot be used"),
        (["serve", "--prot", "1"], "yggdrasil: No such option '--prot'"),
        (["fly"], "yggdrasil: No such command 'fly'"),
    ],
)
def test_a_wrong_call_gets_one_line_and_status_2(arguments: list[str], line: str) -> None:
    ended = run(*arguments)
    assert ended.returncode == 2
    assert ended.stderr.startswith(line)
    assert ended.stderr.count("\n") == 1


def test_the_version_is_the_one_of_the_engine() -> None:
    manifest = tomllib.loads((Path(__file__).parents[2] / "Cargo.toml").read_text())
    assert run("--version").stdout == f"yggdrasil {manifest['workspace']['package']['version']}\n"
