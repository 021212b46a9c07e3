"""The command `yggdrasil check`."""

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from yggdrasil import YggdrasilError
from yggdrasil._core import ARENA_BYTES_MAX, SnapshotStore
from yggdrasil.server.directory import lock_directory
from yggdrasil.server.files import replace_file
from yggdrasil.server.identity import is_of_node
from yggdrasil.server.log_layout import FILE_NAME as LAYOUT_NAME
from yggdrasil.server.log_layout import give_up_lost, lost_logs
from yggdrasil.server.log_place import logs_of
from yggdrasil.server.snapshots.places import folder_of, open_place

_EXIT_DAMAGE = 1


@contextlib.contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Keeps nodes off a directory that exists. What is wrong with it is the command's error, with status 2."""
    if not directory.is_dir():
        raise click.ClickException(f"{directory} is no directory")
    try:
        descriptor = lock_directory(directory, option=None)
    except YggdrasilError as error:
        raise click.ClickException(str(error)) from None
    try:
        yield
    finally:
        os.close(descriptor)


def store_of(directory: Path, url: str | None) -> SnapshotStore:
    """The store that --url names, or the folder in a node's directory, which has to exist."""
    if url is None and not directory.is_dir():
        raise click.ClickException(f"{directory} is no directory")
    return open_place(url) if url else open_place(str(folder_of(directory)))


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--url", metavar="URL", help="Where snapshots lie. [default: snapshots in DIRECTORY]")
@click.option("--repair", is_flag=True, help="Mend what is damaged, after a copy of it was made in DIRECTORY.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(directory: Path, url: str | None, *, repair: bool, as_json: bool) -> None:
    """Check all that a node has in DIRECTORY while it does not run: logs and snapshots.

    The exit status is 0 where all is sound, 1 where something is damaged or was, 2 where it cannot be checked.
    """
    directory = directory.absolute()
    with alone(directory):
        try:
            store = store_of(directory, url)
            if repair:
                name = time.strftime("%Y%m%dT%H%M%S")
                answer = json.loads(store.repair(directory, ARENA_BYTES_MAX, name))
                report, repaired = answer["report"], answer["repaired"]
            else:
                report, repaired = json.loads(store.check(directory, ARENA_BYTES_MAX)), None
            lost = lost_logs(logs_of(directory))
            if lost and repaired is not None:
                _go_on_without(directory, lost, repaired)
        except (OSError, YggdrasilError) as error:
            raise click.ClickException(str(error)) from None
    report["lost_logs"] = [str(one) for one in lost]
    if not _has_anything(directory, report):
        raise click.ClickException(f"{directory} is of no node: there are no logs and no snapshots")
    damage = len(lost) + len(report["snapshots"]["damage"]) + sum(log["damage"] is not None for log in report["logs"])
    if as_json:
        click.echo(json.dumps({"sound": not damage, "report": report, "repaired": repaired}, indent=1))
    else:
        click.echo("\n".join((*_report_lines(report), *_repair_lines(repaired), _verdict(damage, repaired))))
    sys.exit(_EXIT_DAMAGE if damage else 0)


def _go_on_without(directory: Path, lost: list[Path], repaired: dict[str, Any]) -> None:
    """Lets the node start without these logs, and adds that to what was done."""
    layout = logs_of(directory) / LAYOUT_NAME
    copy = Path(repaired["backup"]) / layout.relative_to(directory)
    copy.parent.mkdir(parents=True, exist_ok=True)
    replace_file(copy, layout.read_bytes())
    give_up_lost(logs_of(directory))
    for one in lost:
        repaired["done"].append(f"the next start begins the log in {one} anew, with what a snapshot has of its shard")
        repaired["dropped"].append(f"all changes of the log in {one}, as far as no snapshot has them")


def _has_anything(directory: Path, report: dict[str, Any]) -> bool:
    snapshots = report["snapshots"]
    return bool(report["logs"] or report["lost_logs"] or snapshots["whole"] or snapshots["damaged"]) or is_of_node(
        directory
    )


def _report_lines(report: dict[str, Any]) -> Iterator[str]:
    snapshots = report["snapshots"]
    yield (
        f"snapshots: {len(snapshots['whole'])} whole, {len(snapshots['damaged'])} damaged; "
        f"{snapshots['chunks']} chunks, {snapshots['bytes']} bytes, {snapshots['records']} records"
    )
    for damage in snapshots["damage"]:
        yield f"  damaged: {damage['object']}: {damage['fault']}"
        if damage["shard"] is not None:
            numbers = f"numbers {damage['low']} to {damage['high']}"
            yield f"    {damage['records']} records of shard {damage['shard']}, {numbers}"
        yield f"    snapshots that need it: {', '.join(damage['snapshots'])}"
    for log in report["logs"]:
        yield (
            f"log {log['directory']}: {log['segments']} segments, {log['changes']} changes up to number {log['last']}, "
            f"{log['torn_bytes']} bytes of an unfinished end"
        )
        if log["torn_bytes"]:
            yield "  nothing says that this end was durable once: the next start cuts it off"
        if log["damage"]:
            yield from _log_damage_lines(log["damage"], log["last"], is_alone=len(report["logs"]) == 1)
    for one in report["lost_logs"]:
        yield f"log {one}: no segments"
        yield "  damaged: the log was begun, and is lost; put it back in its place, or go on without it by --repair"


def _log_damage_lines(damage: dict[str, Any], last: int, *, is_alone: bool) -> Iterator[str]:
    yield f"  damaged: {damage['file']} at offset {damage['offset']}: {damage['fault']}"
    if damage["is_cut_short"]:
        yield f"    the end of the file is not there: the changes that stood in it are lost, behind {last} or later"
        yield f"    {damage['changes_behind']} changes behind {last} are whole"
    elif damage["next"] is None:
        yield f"    no change behind number {last} is whole"
    else:
        yield f"    {_lost(last + 1, damage['next'] - 1)}; {damage['changes_behind']} behind are whole"
    if damage["is_covered"] and damage["is_cut_short"]:
        yield "    a whole snapshot has what is lost at the beginning: --repair keeps all that is whole"
    elif damage["is_covered"]:
        yield "    a whole snapshot has what is lost here: --repair costs nothing" + (
            "" if is_alone else " but, perhaps, parts of transactions over several shards that were decided here"
        )
    else:
        yield f"    no snapshot has what is lost here: --repair ends the log with number {last}"


def _lost(first: int, last: int) -> str:
    if first > last:
        return "no change is lost"
    return f"changes {first} to {last} are lost" if first < last else f"change {first} is lost"


def _repair_lines(repaired: dict[str, Any] | None) -> Iterator[str]:
    if repaired is None:
        return
    yield from (f"mended: {line}" for line in repaired["done"])
    yield from (f"dropped: {line}" for line in repaired["dropped"])
    if repaired["done"]:
        yield f"the originals are in {repaired['backup']}"


def _verdict(damage: int, repaired: dict[str, Any] | None) -> str:
    match damage:
        case 0:
            return "all is sound"
        case 1:
            return "1 thing was damaged" if repaired else "1 thing is damaged; --repair mends it"
        case _:
            return f"{damage} things were damaged" if repaired else f"{damage} things are damaged; --repair mends them"
