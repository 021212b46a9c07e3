"""The command `yggdrasil snapshot`: snapshots of nodes that do not run."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from yggdrasil import YggdrasilError
from yggdrasil._core import ARENA_BYTES_MAX
from yggdrasil.server.identity import adopt_history
from yggdrasil.server.log_layout import write_layout
from yggdrasil.server.option import readable_size
from yggdrasil.server.snapshots.check_command import alone, store_of
from yggdrasil.server.snapshots.places import folder_of, open_place

_EXIT_DAMAGE = 1
_URL = click.option("--url", metavar="URL", help="Where snapshots lie. [default: snapshots in DIRECTORY]")
_DIRECTORY = click.argument("directory", type=click.Path(path_type=Path))


@click.group()
def snapshot() -> None:
    """List, verify, prune and restore snapshots. A running node has the command SNAPSHOT."""


@snapshot.command(name="list")
@_DIRECTORY
@_URL
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_snapshots(directory: Path, url: str | None, *, as_json: bool) -> None:
    """List the snapshots of the node in DIRECTORY, the oldest first."""
    try:
        rows = json.loads(store_of(directory.absolute(), url).list())
    except YggdrasilError as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    for row in rows:
        if "fault" in row:
            click.echo(f"{row['id']}  {row['fault']}")
            continue
        taken = datetime.fromtimestamp(row["ended_ms"] / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
        kind = f"on {row['base']}" if row["base"] else "full"
        click.echo(
            f"{row['id']}  {taken}  {row['keys']:>12,} keys  {readable_size(row['bytes']):>10}  "
            f"new {readable_size(row['new_bytes']):>10}  {kind}"
        )


@snapshot.command()
@_DIRECTORY
@_URL
def verify(directory: Path, url: str | None) -> None:
    """Read all snapshots of the node in DIRECTORY. Status 1 where one is damaged."""
    try:
        verdict = json.loads(store_of(directory.absolute(), url).verify(ARENA_BYTES_MAX, 0, None))
    except YggdrasilError as error:
        raise click.ClickException(str(error)) from None
    for damage in verdict["damage"]:
        click.echo(f"{damage['object']}: {damage['fault']}; snapshots {', '.join(damage['snapshots'])}")
    click.echo(f"{len(verdict['whole'])} whole, {len(verdict['damaged'])} damaged")
    sys.exit(_EXIT_DAMAGE if verdict["damage"] else 0)


@snapshot.command()
@_DIRECTORY
@_URL
@click.option("--keep", type=click.IntRange(min=1), required=True, help="How many of the newest are kept.")
def prune(directory: Path, url: str | None, keep: int) -> None:
    """Remove old snapshots of the node in DIRECTORY, which does not run."""
    directory = directory.absolute()
    with alone(directory):
        try:
            pruned = json.loads(store_of(directory, url).prune(keep, 0.0))
        except YggdrasilError as error:
            raise click.ClickException(str(error)) from None
    click.echo(
        f"removed {len(pruned['snapshots'])} snapshots and {pruned['chunks']} chunks, {readable_size(pruned['bytes'])}"
    )
    if pruned["unreadable"]:
        raise click.ClickException(
            f"no chunk was removed, because these cannot be read: {', '.join(pruned['unreadable'])}"
        )


@snapshot.command()
@click.argument("source", metavar="URL")
@_DIRECTORY
@click.option("--id", "wanted", metavar="ID", help="The snapshot. [default: the newest]")
def restore(source: str, directory: Path, wanted: str | None) -> None:
    """Copy a snapshot from URL to DIRECTORY, where a new node begins with it. All is checked on the way."""
    directory = directory.absolute()
    directory.mkdir(exist_ok=True)
    with alone(directory):
        if any((folder_of(directory) / "manifests").glob("*")) or any(directory.glob("**/*.log")):
            raise click.ClickException(f"{directory} belongs to a node that has data already")
        try:
            copied = json.loads(open_place(source).copy_to(open_place(str(folder_of(directory))), wanted))
            adopt_history(directory, copied["node"])
            write_layout(directory / "log", max(copied["generation"], 1), len(copied["shards"]))
        except YggdrasilError as error:
            raise click.ClickException(str(error)) from None
    click.echo(
        f"restored snapshot {copied['id']}: {copied['keys']:,} keys of {len(copied['shards'])} shards, "
        f"{readable_size(copied['bytes'])}"
    )
