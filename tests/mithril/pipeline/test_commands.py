"""The command line: a pipeline that a file defines."""

import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from prometheus_client import REGISTRY
from tests.wire import eventually

from mithril.cli import mithril
from mithril.core.errors import ConfigError, MithrilError
from mithril.pipeline import JsonlSource, Pipeline


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with data and a module of functions."""
    (tmp_path / "in.jsonl").write_text("".join(f'{{"x": {number}}}\n' for number in range(20)))
    (tmp_path / "my_functions.py").write_text(
        "def double(row):\n    return {'x': row['x'] * 2}\n\n\ndef large(row):\n    return row['x'] >= 30\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(content: str) -> str:
    """The output of the command for a definition."""
    Path("it.toml").write_text(content)
    result = CliRunner().invoke(mithril, ["pipeline", "run", "it.toml"])
    if result.exception is not None:
        raise result.exception
    return result.output


GOOD = """
[options]
seed = 1
memory_bytes = 10_000_000

[source]
type = "jsonl"
urls = "in.jsonl"

[[stage]]
type = "map"
function = "my_functions:double"
workers = 2

[[stage]]
type = "filter"
function = "my_functions:large"

[sink]
type = "jsonl"
url = "out.jsonl"
"""


def test_a_file_defines_a_pipeline(folder: Path) -> None:
    before = REGISTRY.get_sample_value("mithril_pipeline_samples_total", {"stage": "double > large"}) or 0
    output = run(GOOD)
    assert [row["x"] for row in Pipeline(JsonlSource(folder / "out.jsonl"))] == [30, 32, 34, 36, 38]
    assert "double > large" in output
    assert "5 elements" in output
    assert REGISTRY.get_sample_value("mithril_pipeline_samples_total", {"stage": "double > large"}) == before + 5


def written(folder: Path, stages: str, sink: str = "jsonl", source: str = "") -> Path:
    """The output of a file with these stages and one source."""
    source = source or 'type = "jsonl"\nurls = "in.jsonl"'
    run(f'[source]\n{source}\n{stages}\n[sink]\ntype = "{sink}"\nurl = "written"\n')
    return folder / "written"


def test_transforms_are_named_by_a_word(folder: Path) -> None:
    stages = """
        [[stage]]
        type = "filter"
        function = "my_functions:large"
        on_error = "skip"

        [[stage]]
        type = "one-hot"
        classes = 60
        name = "x"
        workers = 2

        [[stage]]
        type = "window"
        length = 20
        name = "x"

        [[stage]]
        type = "batch"
        size = 3
        collate = "builtins:list"
    """
    (folder / "in.jsonl").write_text('{"x": 30}\n{"y": 1}\n{"x": 59}\n')
    lines = [json.loads(line) for line in written(folder, stages).read_text().splitlines()]
    assert [[sum(row["x"]) for row in batch] for batch in lines] == [[0, 1, 0], [0, 0, 1]]


def test_a_database_is_read_by_a_file(folder: Path) -> None:
    (folder / "my_database.py").write_text(
        "import sqlite3\n\n\ndef connect():\n    return sqlite3.connect('some.db', check_same_thread=False)\n"
    )
    with contextlib.closing(sqlite3.connect("some.db")) as connection:
        connection.executescript("create table t(x); insert into t values (1), (2)")
    source = 'type = "sql"\nconnect = "my_database:connect"\nquery = "select x from t order by x"'
    assert written(folder, "", source=source).read_text() == '{"x": 1}\n{"x": 2}\n'


def test_an_arrow_file_is_written_and_read(folder: Path) -> None:
    written(folder, "", "arrow").rename("first.arrow")
    source = 'type = "arrow"\nurls = "first.arrow"\nform = "rows"'
    assert written(folder, "", source=source).read_text() == Path("in.jsonl").read_text()


@pytest.mark.usefixtures("folder")
def test_a_function_that_is_no_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="stage 0: function is a function: function = "):
        run(GOOD.replace('function = "my_functions:double"', "function = 3"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('type = "map"', 'type = "mop"', "stage 0: no type mop; there are augment, batch"),
        ("my_functions:double", "my_functions:tripel", "my_functions:tripel cannot be imported"),
        ('function = "my_functions:double"', "", "map needs function"),
        (
            'type = "jsonl"\nurls',
            'type = "xml"\nurls',
            "source: no type xml; there are arrow, arrow-stream, channels",
        ),
        ("seed = 1", "seeds = 1", "options: .*seeds"),
        ("[sink]", "[sank]", "sink: Field required"),
        ("workers = 2", 'workers = "2"', "it.toml: stage 0: workers is a whole number"),
        ("10_000_000", "10", "it.toml: options: pipeline.memory_bytes"),
        ("[options]", "[options", "it.toml: "),
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_wrong_file_is_refused(old: str, new: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run(GOOD.replace(old, new))
    assert not Path("out.jsonl").exists()


@pytest.mark.usefixtures("folder")
def test_a_run_that_fails_leaves_no_output() -> None:
    Path("in.jsonl").write_text('{"y": 1}\n')
    with pytest.raises(MithrilError, match=r"in\.jsonl from byte 0, sample 0: double raised KeyError: 'x'"):
        run(GOOD)
    assert not Path("out.jsonl").exists()


@pytest.mark.parametrize("processes", ["true", "false"])
@pytest.mark.usefixtures("folder")
def test_the_trace_of_a_function_that_raises_begins_with_it(processes: str) -> None:
    Path("in.jsonl").write_text('{"y": 1}\n')
    Path("it.toml").write_text(GOOD.replace("workers = 2", f"processes = {processes}"))
    result = CliRunner().invoke(mithril, ["pipeline", "run", "it.toml"])
    assert isinstance(result.exception, MithrilError)
    assert "in double\n    return {'x': row['x'] * 2}" in result.stderr
    assert ("functions.py" in result.stderr.replace("my_functions.py", "")) == (processes == "true")
    assert "KeyError: 'x'" in result.stderr


@pytest.mark.usefixtures("folder")
def test_ctrl_c_ends_the_command_with_its_status() -> None:
    Path("my_functions.py").write_text(
        "import pathlib, time\n\n\ndef double(row):\n    pathlib.Path('began').touch()\n    time.sleep(600)\n"
    )
    Path("it.toml").write_text(GOOD.replace('[[stage]]\ntype = "filter"\nfunction = "my_functions:large"\n', ""))
    program = "import sys; from mithril.cli import main; main()"
    command = [sys.executable, "-c", program, "pipeline", "run", "it.toml"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        eventually(lambda: Path("began").exists())
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors.strip()) == (130, "mithril: interrupted")
    assert not Path("out.jsonl").exists()


def test_the_options_are_in_the_configuration() -> None:
    output = CliRunner().invoke(mithril, ["config"]).output
    assert "[pipeline]" in output
    assert "MITHRIL_PIPELINE_MEMORY_BYTES" in output
