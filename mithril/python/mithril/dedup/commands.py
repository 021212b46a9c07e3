"""The command line: `mithril dedup ...`."""

from collections.abc import Callable
from typing import Any

import click

import mithril.dedup
from mithril.dedup.settings import DedupSettings


def _option(name: str, kind: Any = None) -> Callable[[Any], Any]:
    """An option of the command that is one of the section."""
    flag = "--" + name.replace("_", "-")
    return click.option(flag, name, type=kind, help=DedupSettings.model_fields[name].description)


@click.group()
def dedup() -> None:
    """Training data without duplicates."""


@dedup.command()
@click.argument("inputs", nargs=-1, required=True)
@click.option("--output", help="URL or folder that takes the files, each under its name, and the report.")
@_option("column")
@_option("threshold", float)
@_option("method")
@_option("normalization", click.Choice(["folded", "none"]))
@_option("shingle_unit", click.Choice(["words", "characters", "bytes"]))
@_option("shingle_size", int)
@_option("permutations", int)
@_option("bands", int)
@_option("rows", int)
@_option("keep", click.Choice(["first", "longest"]))
@_option("threads", int)
@_option("memory_bytes", int)
@click.option(
    "--no-verify", is_flag=True, help="Take pairs that agree on a band for duplicates without comparing them."
)
@click.option("--mark", is_flag=True, help="Write all documents, with columns that say which are duplicates of which.")
@click.option("--dry-run", is_flag=True, help="Write nothing; print the report.")
@click.option("--overwrite", is_flag=True, help="Replace files of the output that exist.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole report as JSON.")
def run(
    inputs: tuple[str, ...],
    output: str | None,
    no_verify: bool,
    mark: bool,
    dry_run: bool,
    overwrite: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Write INPUTS without their duplicates. INPUTS are URLs of files and folders of Parquet or JSON lines."""
    if no_verify:
        options["verify"] = False
    report = mithril.dedup.deduplicate(list(inputs), output, mark=mark, dry_run=dry_run, overwrite=overwrite, **options)
    if as_json:
        click.echo(report.to_json())
        return
    for line in report.summary():
        click.echo(line)
    click.echo(f"{report.seconds:.1f} s" + ("" if dry_run else f"; the report is _dedup.html in {output}"))
