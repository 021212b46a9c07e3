"""The command line: `mithril cache | checkpoint | dedup | pipeline ...`, and `mithril config`."""

import importlib
import sys
from typing import NoReturn

import click

from mithril import __version__
from mithril.core.config import CoreSettings, Settings, load, variable
from mithril.core.errors import MithrilError

_EXIT_USAGE = 2
# As of a process that SIGINT ends.
_EXIT_INTERRUPTED = 130
# The products: each has the module `commands` with a group of its name, and `settings` with its section.
_PRODUCTS = {
    "cache": "CacheSettings",
    "checkpoint": "CheckpointSettings",
    "dedup": "DedupSettings",
    "pipeline": "PipelineSettings",
}


class _Products(click.Group):
    """A group that imports a product when its commands are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands."""
        return sorted({*super().list_commands(ctx), *_PRODUCTS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name."""
        if cmd_name in _PRODUCTS:
            command: click.Command = getattr(importlib.import_module(f"mithril.{cmd_name}.commands"), cmd_name)
            return command
        return super().get_command(ctx, cmd_name)


@click.group(cls=_Products, context_settings={"max_content_width": 110})
@click.version_option(__version__, message="mithril %(version)s")
def mithril() -> None:
    """Products that save machine time in training and serving."""


@mithril.command(name="config")
def show_config() -> None:
    """Print all options, and where each value came from."""
    sections: list[type[Settings]] = [CoreSettings]
    sections += [
        getattr(importlib.import_module(f"mithril.{product}.settings"), name) for product, name in _PRODUCTS.items()
    ]
    for model in sections:
        loaded = load(model)
        click.echo(f"[{model.section}]")
        for name, field in model.model_fields.items():
            value = getattr(loaded.settings, name)
            click.echo(f"# {field.description} Variable: {variable(model, name)}")
            click.echo(f"{name} = {_toml(value)}  # {loaded.origins[name]}")


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    escaped = str("" if value is None else value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def main() -> NoReturn:
    """Entry point of the `mithril` command. What is wrong with the call is said in one line."""
    try:
        status = mithril.main(prog_name="mithril", standalone_mode=False)
    except MithrilError as error:
        _fail(str(error))
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(_EXIT_USAGE)
    except click.ClickException as error:
        _fail(error.format_message())
    except click.Abort as abort:
        if isinstance(abort.__cause__, KeyboardInterrupt):
            click.echo("mithril: interrupted", err=True)
            sys.exit(_EXIT_INTERRUPTED)
        sys.exit(1)
    sys.exit(status if isinstance(status, int) else 0)


def _fail(line: str) -> NoReturn:
    click.echo(f"mithril: {line}", err=True)
    sys.exit(_EXIT_USAGE)
