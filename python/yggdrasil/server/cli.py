"""The command line: `yggdrasil serve`, `yggdrasil config`, whose options are those of the configuration, and others."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import click

from yggdrasil import __version__
from yggdrasil._core import ConfigError
from yggdrasil.server.config import OPTIONS
from yggdrasil.server.config_sources import FILE_DEFAULT, FILE_VARIABLE, Loaded, load
from yggdrasil.server.option import Kind
from yggdrasil.server.rdb_command import export_file, import_file
from yggdrasil.server.simulate_command import simulate
from yggdrasil.server.snapshots.check_command import check
from yggdrasil.server.snapshots.snapshot_command import snapshot

_EXIT_USAGE = 2


def _with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds --config and a flag for each option."""
    for row in reversed(OPTIONS.values()):
        unit = f" In {row.option.unit}." if row.option.unit and row.kind is not Kind.SIZE else ""
        default = f" [default: {row.default_text}]" if row.default_text else ""
        help_text = f"{row.option.help}{unit}{default}"
        command = click.option(row.flag, row.parameter, metavar=row.kind.value.upper(), help=help_text)(command)
    return click.option(
        "--config",
        "config_file",
        metavar="FILE",
        type=click.Path(path_type=Path),
        envvar=FILE_VARIABLE,
        help=f"TOML file with options. [default: {FILE_DEFAULT} where it exists]",
    )(command)


def _load(config_file: Path | None, flags: dict[str, str | None]) -> Loaded:
    given = {row.name: value for row in OPTIONS.values() if (value := flags[row.parameter]) is not None}
    return load(given, config_file)


@click.group(context_settings={"max_content_width": 110})
@click.version_option(__version__, message="yggdrasil %(version)s")
def _yggdrasil() -> None:
    """Yggdrasil, a Redis-compatible, AI-first cache and store."""


@_yggdrasil.command()
@_with_options
def serve(config_file: Path | None, **flags: str | None) -> None:
    """Run a node until it gets SIGTERM or SIGINT."""
    loaded = _load(config_file, flags)
    # Not needed by the other commands, and what it imports takes a while.
    from yggdrasil.server.node import serve as run  # noqa: PLC0415

    sys.exit(run(loaded))


@_yggdrasil.command(name="config")
@_with_options
def show_config(config_file: Path | None, **flags: str | None) -> None:
    """Print the configuration in force, as TOML, and where each value came from."""
    loaded = _load(config_file, flags)
    lines = [(_toml(loaded, name), loaded.sources[name]) for name in OPTIONS]
    width = max(len(line) for line, _ in lines)
    for line, source in lines:
        click.echo(f"{line:<{width}}  # {source}")


@_yggdrasil.command(name="commands")
@click.argument("modules", nargs=-1)
def show_commands(modules: tuple[str, ...]) -> None:
    """Print the command reference, with the commands of installed packages and of MODULES."""
    # Not needed by the other commands, and what they import takes a while.
    from yggdrasil.protocol.modules import ModuleError, load_modules  # noqa: PLC0415
    from yggdrasil.server.command_page import page  # noqa: PLC0415

    try:
        click.echo(page(load_modules(modules).values()), nl=False)
    except ModuleError as error:
        raise click.ClickException(str(error)) from None


_yggdrasil.add_command(check)
_yggdrasil.add_command(export_file)
_yggdrasil.add_command(import_file)
_yggdrasil.add_command(simulate)
_yggdrasil.add_command(snapshot)


def _toml(loaded: Loaded, name: str) -> str:
    """One line that may stand in a file; what has no value there is a comment."""
    row = OPTIONS[name]
    text = loaded.config.text(name)
    if row.option.secret and text:
        return f"# {name} is set"
    if row.kind is Kind.WHOLE and not text:
        return f"# {name} = {row.default_text}"
    if row.kind in (Kind.WHOLE, Kind.SIZE):
        return f"{name} = {text}"
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'{name} = "{escaped}"'


def main() -> NoReturn:
    """Entry point of the `yggdrasil` command. What is wrong with the call is said in one line."""
    try:
        status = _yggdrasil.main(prog_name="yggdrasil", standalone_mode=False)
    except ConfigError as error:
        _fail(str(error))
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(_EXIT_USAGE)
    except click.ClickException as error:
        _fail(error.format_message())
    except click.Abort:
        sys.exit(1)
    sys.exit(status if isinstance(status, int) else 0)


def _fail(line: str) -> NoReturn:
    click.echo(f"yggdrasil: {line}", err=True)
    sys.exit(_EXIT_USAGE)
