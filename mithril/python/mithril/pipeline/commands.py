"""The command line: `mithril pipeline ...`."""

import sys
from pathlib import Path

import click

from mithril.pipeline import definition


@click.group()
def pipeline() -> None:
    """Data within a memory budget, exactly resumable."""


@pipeline.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--live", is_flag=True, help="Draw the table of the stages while they run, where there is a terminal.")
def run(file: Path, live: bool) -> None:
    """Run the pipeline that FILE defines, and print a table of its stages."""
    made, sink = definition.read(file)
    if live and sys.stdout.isatty():
        made.run(sink(), live=sys.stdout)
        return
    click.echo(made.run(sink()).table())
