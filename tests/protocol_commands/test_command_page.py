"""docs/commands.md is what the command table says."""

from pathlib import Path

from tests.targets import Target

from yggdrasil.server.command_page import page

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == page(), "run `make docs`"


def test_the_page_has_every_command(node3: Target) -> None:
    c = node3.connect()
    names = {name for entry in c("COMMAND") for name in [entry[0], *(sub[0] for sub in entry[9])]}
    containers = {name.partition(b"|")[0] for name in names if b"|" in name}
    shown = {line.removeprefix("### ") for line in page().splitlines() if line.startswith("### ")}
    wanted = {name.decode().replace("|", " ").upper() for name in names - containers}
    assert wanted <= shown
    assert shown - wanted <= {"COMMAND"}
