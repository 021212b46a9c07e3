"""Modules of commands: where they come from, what they show, and what keeps a node from starting."""

import subprocess
from pathlib import Path

import pytest
from tests.node import HOST, Node, NodeError, command
from tests.wire import Wire

ROW = 'arity=2, group="mine", summary="A test.", since="1.0.0"'
MODULE = """
from yggdrasil.commands import CommandContext, Reply, command

@command({arguments})
async def own(ctx: CommandContext, args: list[bytes]) -> Reply:
    return 1
"""


def written(directory: Path, arguments: str) -> Path:
    file = directory / "own.py"
    file.write_text(MODULE.format(arguments=arguments))
    return file


def refusal(modules: object) -> str:
    """The line with which a node does not start."""
    with pytest.raises(NodeError) as raised:
        Node(shards=1, command_modules=str(modules)).start()
    return str(raised.value).splitlines()[-1]


def test_a_command_of_a_module_is_in_all_lists(tmp_path: Path) -> None:
    file = written(tmp_path, f'"own.command", {ROW}, syntax="word"')
    with Node(shards=2, command_modules=file) as node, Wire(HOST, node.port) as c:
        assert c("OWN.COMMAND", "x") == 1
        assert c("COMMAND", "INFO", "own.command")[0][:2] == [b"own.command", 2]
        assert b"mine" in c("COMMAND", "DOCS", "own.command")[1]
        assert c("COMMAND", "LIST", "FILTERBY", "MODULE", "own") == [b"own.command"]
        assert b"own.command" in c("COMMAND", "LIST")
        assert c("MODULE", "LIST") == [[b"name", b"own", b"ver", 0, b"path", str(file).encode(), b"args", []]]


def test_a_command_of_a_module_is_in_the_reference(tmp_path: Path) -> None:
    file = written(tmp_path, f'"own.command", {ROW}, syntax="word"')
    done = subprocess.run(command("commands", str(file)), capture_output=True, text=True, check=True)
    assert "\n## Mine\n\n### OWN.COMMAND\n\n`OWN.COMMAND word`\n\nA test.\n" in done.stdout
    assert "\n### GET\n" in done.stdout
    missing = subprocess.run(command("commands", "no.such"), capture_output=True, text=True, check=False)
    assert missing.returncode == 2
    assert missing.stderr.startswith("yggdrasil: command module 'no.such' ")


def test_a_module_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, f'"own.command", {ROW}')
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Node(shards=1, command_modules="own") as node, Wire(HOST, node.port) as c:
        assert c("OWN.COMMAND", "x") == 1


def test_a_module_of_an_installed_package_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, f'"own.command", {ROW}')
    information = tmp_path / "own_commands-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: own-commands\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[yggdrasil.commands]\nowned = own\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Node(shards=1) as node, Wire(HOST, node.port) as c:
        assert c("OWN.COMMAND", "x") == 1
        assert c("COMMAND", "LIST", "FILTERBY", "MODULE", "owned") == [b"own.command"]
    (information / "entry_points.txt").write_text("[yggdrasil.commands]\nowned = missing\n")
    assert "command module 'owned' (entry point of own-commands) cannot be loaded: ModuleNotFoundError" in refusal("")


def test_a_module_that_is_not_there_is_named() -> None:
    assert refusal("no.such.module").endswith(
        "command module 'no.such.module' (option command-modules) cannot be loaded: "
        "ModuleNotFoundError: No module named 'no'"
    )


def test_a_module_that_fails_is_named(tmp_path: Path) -> None:
    file = tmp_path / "broken.py"
    file.write_text("1 / 0\n")
    assert refusal(file).endswith(
        f"command module 'broken' (option command-modules, file {file}) cannot be loaded: "
        "ZeroDivisionError: division by zero"
    )


def test_a_module_without_commands_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "empty.py"
    file.write_text("")
    assert "has no commands; they are coroutines below yggdrasil.commands.command" in refusal(file)


def test_a_module_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path, f'"own.command", {ROW}')
    assert "is there twice; leave one of them out" in refusal(f"{file} {file}")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (f'"get", {ROW}', 'command "get" is registered already'),
        (f'"INFO|x", {ROW}', "1 to 64 lower-case letters"),
        (f'"own|sub", {ROW}', 'command "own|sub" has no container of that name'),
        (f'"own", {ROW}, flags=("quick",)', 'command own: unknown flag "quick"'),
        (f'"own", {ROW}, keys=(1, 1, 0)', 'command "own": keys begin behind its name'),
        (f'"own", {ROW}, atomic=True', 'command "own" cannot be atomic: it needs keys'),
        (f'"own", {ROW}, syntax="[key"', 'command "own": '),
        ('"own", arity=0, group="mine", summary="", since=""', "its arity counts the words of its name"),
        ('"own", arity=2, group="a:b", summary="", since=""', 'group "a:b"'),
        ('"own", arity="2", group="mine", summary="", since=""', 'has a wrong "arity": 2'),
    ],
)
def test_a_row_that_makes_no_sense_is_refused(tmp_path: Path, arguments: str, why: str) -> None:
    line = refusal(written(tmp_path, arguments))
    assert line.startswith("yggdrasil: shard-0 could not start: command module 'own': ")
    assert why in line
