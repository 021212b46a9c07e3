"""The command line: artifacts are listed, shown, checked, bounded, carried, and misses explained."""

import base64
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click import Context
from click.testing import CliRunner

from mithril.cache.artifact import Artifact
from mithril.cache.keys import CacheKey, DeviceClass
from mithril.cache.layers import ArtifactCache
from mithril.cache.runs import Recorder
from mithril.cache.settings import CacheSettings
from mithril.cli import mithril
from mithril.core.errors import MithrilError

Command = Callable[..., str]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the machine."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "root"


@pytest.fixture
def command(root: Path) -> Command:
    """Runs `mithril cache ...` on the folder, and gives what it prints."""

    def run(name: str, *arguments: str, status: int = 0) -> str:
        done = CliRunner().invoke(mithril, ["cache", name, "--root", str(root), *arguments])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == status, done.output
        return done.output

    return run


def graph(
    subject: str, shape: str, device: str = "avx512", host: str = "one", kind: str = "fx-graph-v1", cost: float = 12.0
) -> Artifact:
    """An artifact whose pickle holds the components of its key, as torch writes them."""
    hashed = base64.b32encode(shape.encode().ljust(15, b"=")).decode().lower().rstrip("=")
    lines = [f"[{hashed}] example_inputs[0]: shape={shape}", "[aaaaaaaaaaaaaaaaaaaaaaaa] inductor_config[x]: True"]
    key = CacheKey("torch", kind, subject, device=DeviceClass.cpu("x86_64", (device,)))
    return Artifact(key, {"data": pickle.dumps({"lines": lines})}, cost, host=host)


def recorded(root: Path, *artifacts: Artifact) -> None:
    """A run that misses and makes these artifacts."""
    settings = CacheSettings(root=root)
    with ArtifactCache(settings, Recorder(root, "train.py")) as cache:
        for artifact in artifacts:
            assert cache.get(artifact.key) is None
            cache.put(artifact)


def forget_runs(root: Path) -> None:
    """Makes the next run's record the only one; those of one process have one name."""
    for file in (root / "runs").iterdir():
        file.unlink()


def test_explain_names_what_differs_from_the_nearest(root: Path, command: Command) -> None:
    recorded(root, graph("fone", "(8, 4)", host="builder"))
    assert "compiled for the first time" in command("explain")
    forget_runs(root)
    recorded(root, graph("ftwo", "(16, 4)"))
    text = command("explain")
    assert "compiled in 12.0 s" in text
    assert "the nearest is fone, made on builder; what differs:" in text
    assert "example_inputs[0]: shape=(16, 4) here, shape=(8, 4) there" in text
    assert "inductor_config" not in text


def test_explain_tells_of_traces_by_their_graphs(root: Path, command: Command) -> None:
    trace: Any = {"kind": "autograd-experimental", "cost": 0.0}
    recorded(root, graph("aone", "(8, 4)", host="builder", **trace))
    forget_runs(root)
    recorded(root, graph("atwo", "(16, 4)", **trace), graph("probes", "", kind="isa-probes", cost=0.0))
    assert command("explain").splitlines()[1:] == [
        "torch autograd-experimental atwo: traced again; its graphs tell what they cost",
        "  the nearest is aone, made on builder; what differs:",
        "    example_inputs[0]: shape=(16, 4) here, shape=(8, 4) there",
    ]
    forget_runs(root)
    recorded(root, graph("athree", "(8, 4)", **trace))
    assert "made on builder, has the same forward graph" in command("explain")


def test_explain_names_another_processor(root: Path, command: Command) -> None:
    recorded(root, graph("fone", "(8, 4)", device="avx512"))
    forget_runs(root)
    recorded(root, graph("fone", "(8, 4)", device="avx2"))
    assert "device: avx2 here, avx512 there" in command("explain")


def test_explain_without_a_run_says_so(command: Command) -> None:
    with pytest.raises(MithrilError, match="there is no run yet"):
        command("explain")


def test_figures_are_by_framework_and_host(root: Path, command: Command) -> None:
    assert "no run is recorded" in command("stats")
    recorded(root, graph("fone", "a"), graph("ftwo", "b"))
    with ArtifactCache(CacheSettings(root=root), Recorder(root, "train.py")) as cache:
        assert cache.get(graph("fone", "a").key) is not None
    fields = command("stats").splitlines()[1].split()
    assert (fields[0], fields[2:]) == ("torch", ["1", "2", "33%", "12.0", "s", "24.0", "s"])


def test_artifacts_are_listed_shown_and_removed(root: Path, command: Command) -> None:
    made = graph("fone", "a")
    recorded(root, made)
    assert made.key.path() in command("ls")
    shown = command("show", made.key.digest()[:8])
    assert '"subject":"fone"' in shown
    assert "cost     12.0 s" in shown
    assert "removed 1 artifacts" in command("gc", "--size-max", "0")
    assert command("ls") == ""
    with pytest.raises(MithrilError, match="0 artifacts have this name"):
        command("show", "beef")


def test_damaged_artifacts_are_found_and_set_aside(root: Path, command: Command) -> None:
    made = graph("fone", "a")
    recorded(root, made, graph("ftwo", "b"))
    assert command("verify") == "2 whole, 0 not\n"
    (root / "objects" / made.key.path()).write_bytes(b"garbage")
    assert "1 whole, 1 not" in command("verify", status=1)
    assert command("verify") == "1 whole, 0 not\n"


def test_one_file_carries_artifacts_to_another_machine(root: Path, command: Command, tmp_path: Path) -> None:
    recorded(root, graph("fone", "a"), graph("ftwo", "b"))
    file = str(tmp_path / "artifacts.tar")
    assert command("export", file) == "wrote 2 artifacts\n"
    other = ["cache", "import", "--root", str(tmp_path / "other"), file]
    assert CliRunner().invoke(mithril, other).output == "took 2 artifacts, refused 0\n"
    (tmp_path / "no.tar").write_bytes(b"no tar")
    with pytest.raises(MithrilError, match="not a file of mithril cache export"):
        command("import", str(tmp_path / "no.tar"))


def test_enable_prints_variables_for_the_shell(root: Path, command: Command) -> None:
    lines = command("enable", "--url", "ygg://store:6379/a b").splitlines()
    assert "export MITHRIL_CACHE_ENABLED=1" in lines
    assert "export MITHRIL_CACHE_URL='ygg://store:6379/a b'" in lines
    assert f"export TORCHINDUCTOR_CACHE_DIR={root}/inductor" in lines


@pytest.mark.parametrize("arguments", [("enable",), ("run", "--", "no-such-program")])
def test_a_url_that_no_store_has_is_refused_before_anything_runs(command: Command, arguments: tuple[str, ...]) -> None:
    with pytest.raises(MithrilError, match="the scheme foo:// is not known; use a path or one of"):
        command(arguments[0], "--url", "foo://store/team", *arguments[1:])


@pytest.mark.parametrize("product", ["cache", "checkpoint"])
def test_the_list_of_commands_fits_a_narrow_terminal(product: str) -> None:
    group: Any = mithril.get_command(Context(mithril), product)
    shown = CliRunner().invoke(mithril, [product, "--help"], terminal_width=80).output
    commands = shown.partition("Commands:\n")[2].splitlines()
    assert len(commands) == len(group.commands)
    assert [line for line in commands if "..." in line] == []


def test_a_command_that_does_not_exist_is_named(command: Command) -> None:
    with pytest.raises(MithrilError, match="no-such-program: there is no such command"):
        command("run", "--", "no-such-program")


def test_the_configuration_tells_where_each_value_came_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mithril.toml").write_text('[cache]\nnamespace = "team-a"\nttl_s = 60\n')
    monkeypatch.setenv("MITHRIL_CACHE_TTL_S", "120")
    lines = CliRunner().invoke(mithril, ["config"]).output.splitlines()
    assert 'namespace = "team-a"  # mithril.toml' in lines
    assert "ttl_s = 120.0  # MITHRIL_CACHE_TTL_S" in lines
    assert "enabled = false  # default" in lines


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("[cache]\nsise = 1\n", r"mithril.toml: \[cache\] has no option sise; it has .*url"),
        ("[cache]\nttl_s = -1\n", r"cache.ttl_s \(mithril.toml\): .*greater than 0, not -1"),
        ("cache = 3\n", "cache is a table"),
        ("[cache", "mithril.toml: "),
    ],
)
def test_a_wrong_configuration_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, problem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mithril.toml").write_text(content)
    done: Any = CliRunner().invoke(mithril, ["config"])
    assert isinstance(done.exception, MithrilError)
    with pytest.raises(MithrilError, match=problem):
        raise done.exception
