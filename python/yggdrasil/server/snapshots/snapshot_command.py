"""The command `yggdrasil snapshot`: it has a node take one, and works on those of nodes that do not run."""

import contextlib
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from yggdrasil import YggdrasilError
from yggdrasil._core import ARENA_BYTES_MAX, SnapshotStore
from yggdrasil.server.identity import adopt_history, new_id
from yggdrasil.server.log_layout import write_layout
from yggdrasil.server.option import readable_size
from yggdrasil.server.rdb_command import URL_DEFAULT, connected, errors_in_a_line
from yggdrasil.server.snapshots.check_command import alone, store_of
from yggdrasil.server.snapshots.places import folder_of, open_place

_EXIT_DAMAGE = 1
_LATEST = -1
_SECONDS_MAX = 253402300799
"""The end of the year 9999."""
_MOMENTS_MS = 5_000
"""Moments are archived more often than this while a node runs."""


class _Time(click.ParamType[int]):
    """A point in time, as Unix time in milliseconds; -1 for `latest`."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Click's: what is wrong is its error."""
        if value == "latest":
            return _LATEST
        try:
            seconds = _seconds(str(value))
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no time; write Unix seconds, 2026-11-28T18:30:00 or latest", param, ctx)
        if not 0 <= seconds <= _SECONDS_MAX:
            self.fail(f"{value!r} is no time between the years 1970 and 9999", param, ctx)
        return int(seconds * 1000)


def _seconds(text: str) -> float:
    """The Unix time that is written in one of its ways; ValueError where it is none."""
    with contextlib.suppress(ValueError):
        return float(text)
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


class _Change(click.ParamType[tuple[int, int]]):
    """The change of a shard."""

    name = "change"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Click's: what is wrong is its error."""
        shard, _, number = str(value).partition(":")
        if not (shard.isdecimal() and number.isdecimal()):
            self.fail(f"{value!r} is no change; write SHARD:NUMBER", param, ctx)
        return int(shard), int(number)


_URL = click.option("--url", metavar="URL", help="Where snapshots lie. [default: snapshots in DIRECTORY]")
_DIRECTORY = click.argument("directory", type=click.Path(path_type=Path))


@click.group()
def snapshot() -> None:
    """Create, list, verify, prune and restore snapshots. A running node has the command SNAPSHOT."""


@snapshot.command()
@click.option("--full", is_flag=True, help="Write all keys, not only what has changed since the last one.")
@click.argument("url", default=URL_DEFAULT)
def create(url: str, *, full: bool) -> None:
    """Have the running node at URL take a snapshot (redis://, rediss:// or unix://, by default on port 6379).

    Where it lies, and how many are kept, is what the node is configured for.
    """
    with errors_in_a_line(), connected(url) as client:
        reply = client.execute_command("SNAPSHOT", "CREATE", *(["FULL"] if full else []))
    row = reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))
    click.echo(
        f"snapshot {row[b'id'].decode()}: {row[b'keys']:,} keys, {readable_size(row[b'bytes'])}, "
        f"new {readable_size(row[b'new-bytes'])}"
    )


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
@click.option(
    "--until",
    metavar="TIME",
    type=_Time(),
    help="Go on from the snapshot with archived logs up to a time: Unix seconds, a date and time as in ISO 8601 (UTC "
    "unless it says otherwise), or `latest` for all that is archived.",
)
@click.option(
    "--until-change",
    "changes",
    metavar="SHARD:NUMBER",
    multiple=True,
    type=_Change(),
    help="The same up to the change of a shard with this number, for as many shards as are named.",
)
@click.option("--node", metavar="NAME", help="The node, where URL has more than one: its replication id.")
def restore(
    source: str,
    directory: Path,
    wanted: str | None,
    until: int | None,
    changes: tuple[tuple[int, int], ...],
    node: str | None,
) -> None:
    """Copy a snapshot from URL to DIRECTORY, where a new node begins with it. All is checked on the way.

    With --until or --until-change archived logs go along; what the node does then is another history, under a new name.
    The node may have any number of shards.
    """
    if wanted is not None and (until is not None or changes):
        raise click.UsageError("--id is for a snapshot alone; --until chooses one by itself")
    if until is not None and changes:
        raise click.UsageError("--until and --until-change exclude one another")
    directory = directory.absolute()
    directory.mkdir(exist_ok=True)
    with alone(directory):
        if any((folder_of(directory) / "manifests").glob("*")) or any(directory.glob("**/*.log")):
            raise click.ClickException(f"{directory} belongs to a node that has data already")
        try:
            store = open_place(source)
            if until is not None or changes:
                time_ms = None if until == _LATEST else until
                told = _restore_until(store, directory, _only_node(store, node), time_ms, changes)
            else:
                told = _restore_snapshot(store, directory, wanted)
        except YggdrasilError as error:
            raise click.ClickException(str(error)) from None
    click.echo(told)


def _date(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S.%f} UTC"


def _restore_snapshot(store: SnapshotStore, directory: Path, wanted: str | None) -> str:
    copied = json.loads(store.copy_to(open_place(str(folder_of(directory))), wanted))
    adopt_history(directory, copied["node"])
    write_layout(directory / "log", max(copied["generation"], 1), len(copied["shards"]))
    return (
        f"restored snapshot {copied['id']}: {copied['keys']:,} keys of {len(copied['shards'])} shards, "
        f"{readable_size(copied['bytes'])}"
    )


def _only_node(store: SnapshotStore, wanted: str | None) -> str:
    nodes = store.nodes()
    if wanted is not None:
        if wanted not in nodes:
            raise click.ClickException(f"nothing there is of node {wanted}")
        return wanted
    if len(nodes) != 1:
        raise click.ClickException(f"{len(nodes)} nodes have something there; choose one by --node: {', '.join(nodes)}")
    return nodes[0]


def _restore_until(
    store: SnapshotStore, directory: Path, node: str, time_ms: int | None, changes: Sequence[tuple[int, int]]
) -> str:
    logs, name = directory / "log", new_id()
    draft = logs / "restoring"
    logs.mkdir(exist_ok=True)
    target = open_place(str(folder_of(directory)))
    restored = json.loads(store.restore_until(node, time_ms, list(changes), target, draft, name))
    adopt_history(directory, name)
    generation, numbers = restored["generation"], restored["numbers"]
    place = write_layout(logs, generation, len(numbers))
    if draft.exists():
        place.rmdir()
        draft.rename(place)
    row = restored["snapshot"]
    begin = f"snapshot {row['id']}" if row else "the first change"
    moment = restored["moment"]
    when = "" if moment is None else f", as of {_date(moment)}"
    if moment is not None and time_ms is not None and time_ms - moment > _MOMENTS_MS:
        click.echo(f"yggdrasil: no later moment is archived before {_date(time_ms)} than {_date(moment)}", err=True)
    for shard, (number, wanted) in enumerate(zip(numbers, restored["missing"], strict=True)):
        if wanted is not None:
            click.echo(
                f"yggdrasil: the archived log of shard {shard} ends with change {number}, before {wanted}; changes of "
                "keys that no log keeps have numbers, too",
                err=True,
            )
    ends = ", ".join(f"{shard}:{number}" for shard, number in enumerate(numbers))
    return f"restored from {begin} up to changes {ends}{when}; {readable_size(restored['log_bytes'])} of logs"
