"""The command line: `mithril pipeline ...`."""

from pathlib import Path

import click

from mithril.pipeline import definition


@click.group()
def pipeline() -> None:
    """Data within a memory budget, exactly resumable."""


@pipeline.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def run(file: Path) -> None:
    """Run the pipeline that FILE defines, and print a table of its stages."""
    made, sink = definition.read(file)
    click.echo(made.run(sink()).table())
