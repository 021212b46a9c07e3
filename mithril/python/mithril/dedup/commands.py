"""The command line: `mithril dedup ...`."""

import json
import re
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import click

import mithril.dedup
from mithril.core.config import load
from mithril.dedup.settings import DedupSettings


def _option(name: str, kind: Any = None) -> Callable[[Any], Any]:
    """An option of the command that is one of the section."""
    flag = "--" + name.replace("_", "-")
    return click.option(flag, name, type=kind, help=DedupSettings.model_fields[name].description)


@click.group()
def dedup() -> None:
    """Training data without duplicates."""


def _bytes(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?b)?", value.strip().lower())
    if found is None:
        raise click.BadParameter(f"{value} is no number of bytes; say for example 500MB or 4GB")
    return int(float(found[1]) * 1000 ** " kmgt".index(found[2] or " "))


_CLUSTERING = (
    _option("threshold", float),
    _option("method"),
    _option("keep", click.Choice(["first", "longest", "highest", "lowest"])),
    _option("keep_column"),
    _option("threads", int),
    click.option(
        "--memory",
        "--memory-bytes",
        "memory_bytes",
        callback=_bytes,
        help="Memory of the run beyond the process itself (115 MB), such as 500MB or 4GB: facts on documents, inputs "
        "in work and held, comparisons. A run that would take more is refused.",
    ),
    _option("substring_bytes", int),
    _option("substring_tokens", int),
    _option("substring_border", click.Choice(["character", "word", "line"])),
    _option("ngram_matches", int),
    click.option(
        "--no-verify", is_flag=True, help="Take pairs that agree on a band for duplicates without comparing them."
    ),
    click.option(
        "--mark", is_flag=True, help="Write all documents, with columns that say which are duplicates of which."
    ),
    click.option("--dry-run", is_flag=True, help="Write nothing; print the report."),
    click.option("--overwrite", is_flag=True, help="Replace files of the output that exist."),
    click.option("--json", "as_json", is_flag=True, help="Print the whole report as JSON."),
)


def _clustering(command: Callable[..., None]) -> Callable[..., None]:
    """The options that may change without hashing again."""
    for option in reversed(_CLUSTERING):
        command = option(command)
    return command


def _print(report: Any, as_json: bool, output: str | None) -> None:
    if as_json:
        click.echo(report.to_json())
        return
    for line in report.summary():
        click.echo(line)
    click.echo(f"{report.seconds:.1f} s" + ("" if report.dry_run else f"; the report is _dedup.html in {output}"))


def _own_process(options: dict[str, Any]) -> None:
    settings = load(DedupSettings, {"memory_bytes": options["memory_bytes"]}).settings
    mithril.dedup.own_process(settings.memory_bytes)


@dedup.command()
@click.argument("inputs", nargs=-1, required=True)
@click.option("--output", help="URL or folder that takes the files, each under its name, and the report.")
@click.option("--work", help="Local folder in which a run that was killed goes on when it is started again.")
@click.option("--keep-work", is_flag=True, help="Keep the folder of work for `mithril dedup rethreshold`.")
@_option("column")
@_option("normalization", click.Choice(["folded", "none"]))
@_option("shingle_unit", click.Choice(["words", "characters", "bytes", "tokens"]))
@_option("shingle_size", int)
@_option("permutations", int)
@_option("bands", int)
@_option("rows", int)
@_option("against")
@_option("against_column")
@_option("ngram_size", int)
@_clustering
def run(
    inputs: tuple[str, ...], output: str | None, no_verify: bool, dry_run: bool, as_json: bool, **options: Any
) -> None:
    """Write INPUTS, URLs of files and folders of Parquet, JSON lines, CSV or Arrow, without their duplicates."""
    options["verify"] = False if no_verify else None
    _own_process(options)
    _print(mithril.dedup.deduplicate(list(inputs), output, dry_run=dry_run, **options), as_json, output)


@dedup.command()
@click.argument("work")
@click.option("--output", help="URL or folder that takes the files, each under its name, and the report.")
@_clustering
def rethreshold(work: str, output: str | None, no_verify: bool, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Run again with another threshold, from the folder WORK that `run --keep-work` left; nothing is hashed again."""
    options["verify"] = False if no_verify else None
    _own_process(options)
    _print(mithril.dedup.rethreshold(work, output, dry_run=dry_run, **options), as_json, output)


@dedup.group()
def index() -> None:
    """An index that is kept: new data is compared with old without reading the old again."""


_SHAPE = (
    _option("threshold", float),
    _option("normalization", click.Choice(["folded", "none"])),
    _option("shingle_unit", click.Choice(["words", "characters", "bytes", "tokens"])),
    _option("shingle_size", int),
)


def _shape(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_SHAPE):
        command = option(command)
    return command


@index.command()
@click.argument("url", metavar="INDEX")
@click.argument("inputs", nargs=-1, required=True)
@click.option("--output", help="URL or folder that takes the documents that are new, each file under its name.")
@click.option("--overwrite", is_flag=True, help="Replace files of the output that exist.")
@click.option(
    "--capacity", type=int, default=1_000_000, show_default=True, help="Documents that a new index is made for."
)
@_option("column")
@_option("threads", int)
@_shape
def add(
    url: str,
    inputs: tuple[str, ...],
    output: str | None,
    overwrite: bool,
    capacity: int,
    column: str | None,
    threads: int | None,
    **shape: Any,
) -> None:
    """Add documents of INPUTS to INDEX, a folder or ygg://HOST:PORT/NAME, which is made where there is none."""
    with mithril.dedup.open_index(url, capacity=capacity, **shape) as opened:
        report = mithril.dedup.add_files(
            opened, list(inputs), output, overwrite=overwrite, column=column, threads=threads
        )
    click.echo(f"{report.documents} documents, {report.duplicates} like earlier ones")


@index.command()
@click.argument("url", metavar="INDEX")
@click.argument("inputs", nargs=-1, required=True)
@_option("column")
@_option("threads", int)
def query(url: str, inputs: tuple[str, ...], column: str | None, threads: int | None) -> None:
    """Print the documents of INPUTS that are like documents of INDEX, as JSON lines."""
    with mithril.dedup.open_index(url, create=False) as opened:
        for match in mithril.dedup.query_files(opened, list(inputs), column=column, threads=threads):
            click.echo(json.dumps(asdict(match)))


@index.command()
@click.argument("url", metavar="INDEX")
def stats(url: str) -> None:
    """Print facts about INDEX as JSON."""
    with mithril.dedup.open_index(url, create=False) as opened:
        click.echo(json.dumps(asdict(opened.statistics()), indent=1))
