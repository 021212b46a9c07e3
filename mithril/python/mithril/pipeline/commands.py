"""The command line: `mithril pipeline ...`."""

import sys
import traceback
from pathlib import Path

import click

from mithril.pipeline import definition
from mithril.pipeline.errors import TransformError


@click.group()
def pipeline() -> None:
    """Data within a memory budget, exactly resumable."""


@pipeline.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--live", is_flag=True, help="Draw the table of the stages while they run, where there is a terminal.")
def run(file: Path, live: bool) -> None:
    """Run the pipeline that FILE defines, and print a table of its stages."""
    made, sink = definition.read(file)
    try:
        if live and sys.stdout.isatty():
            made.run(sink(), live=sys.stdout)
        else:
            click.echo(made.run(sink()).table())
    except TransformError as error:
        click.echo(_trace(error), err=True, nl=False)
        raise


def _trace(error: TransformError) -> str:
    """The trace of what a function of the user raised, from this function on; nothing where it is one of ours."""
    cause = error.__cause__
    if cause is None:
        return ""
    trace = cause.__traceback__
    while trace is not None and Path(trace.tb_frame.f_code.co_filename).parent == Path(__file__).parent:
        trace = trace.tb_next
    # A worker process sends its trace as a note.
    if trace is None and not getattr(cause, "__notes__", None):
        return ""
    return "".join(traceback.format_exception(type(cause), cause, trace))
