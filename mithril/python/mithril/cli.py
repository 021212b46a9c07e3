"""The command line: `mithril cache | checkpoint | dedup | pipeline ...`, and `mithril config`."""

import sys
from typing import NoReturn

import click

from mithril import __version__
from mithril.cache.commands import cache
from mithril.cache.settings import CacheSettings
from mithril.checkpoint.commands import checkpoint
from mithril.checkpoint.settings import CheckpointSettings
from mithril.core.config import CoreSettings, Settings, load, variable
from mithril.core.errors import MithrilError
from mithril.dedup.commands import dedup
from mithril.dedup.settings import DedupSettings
from mithril.pipeline.commands import pipeline
from mithril.pipeline.settings import PipelineSettings

_EXIT_USAGE = 2
_SECTIONS: tuple[type[Settings], ...] = (
    CoreSettings,
    CacheSettings,
    CheckpointSettings,
    DedupSettings,
    PipelineSettings,
)


@click.group(context_settings={"max_content_width": 110})
@click.version_option(__version__, message="mithril %(version)s")
def mithril() -> None:
    """Products that save machine time in training and serving."""


@mithril.command(name="config")
def show_config() -> None:
    """Print the configuration in force, and where each value came from."""
    for model in _SECTIONS:
        loaded = load(model)
        click.echo(f"[{model.section}]")
        for name, field in model.model_fields.items():
            value = getattr(loaded.settings, name)
            click.echo(f"# {field.description} Variable: {variable(model, name)}")
            click.echo(f"{name} = {_toml(value)}  # {loaded.origins[name]}")


mithril.add_command(cache)
mithril.add_command(checkpoint)
mithril.add_command(dedup)
mithril.add_command(pipeline)


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
    except click.Abort:
        sys.exit(1)
    sys.exit(status if isinstance(status, int) else 0)


def _fail(line: str) -> NoReturn:
    click.echo(f"mithril: {line}", err=True)
    sys.exit(_EXIT_USAGE)
