"""The commands `yggdrasil import` and `yggdrasil export`: keys from and to files of Redis."""

import contextlib
import itertools
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from redis import Redis, RedisError

from yggdrasil import Node, YggdrasilError
from yggdrasil._core import RdbItem, RdbReader
from yggdrasil.server.identity import is_of_node
from yggdrasil.server.log_layout import shards_of_logs
from yggdrasil.server.option import GIB, readable_size
from yggdrasil.server.snapshots.places import folder_of, open_place

URL_DEFAULT = "redis://127.0.0.1:6379"
_EXIT_INCOMPLETE = 1
_BATCH, _BATCH_BYTES = 500, 4 << 20
_TOLD_MAX = 100
_PIECE_BYTES = 1 << 20
_PROGRESS_S = 1.0
_TIMEOUT_S = 600.0

_URL = click.option(
    "--url", metavar="URL", help=f"A running node: redis://, rediss:// or unix://. [default: {URL_DEFAULT}]"
)
_DIRECTORY = click.option(
    "--dir", "directory", type=click.Path(path_type=Path), help="The directory of a node that does not run."
)


def connected(url: str) -> Redis:
    """A client of a running node, whose requests may take long."""
    try:
        return Redis.from_url(url, single_connection_client=True, socket_timeout=_TIMEOUT_S)
    except ValueError as error:
        raise click.ClickException(f"{url} is no node: {error}") from None


@contextlib.contextmanager
def _node(url: str | None, directory: Path | None, shards: int | None) -> Iterator[Redis]:
    """A connection to a node: to one that runs, or to one that runs for this alone."""
    if url is not None and directory is not None:
        raise click.UsageError("--url and --dir exclude one another")
    if directory is None:
        with connected(url or URL_DEFAULT) as client:
            yield client
        return
    directory = directory.absolute()
    directory.mkdir(exist_ok=True)
    log = directory / "node.log"
    has_log = log.exists()
    before = shards_of_logs(directory / "log")
    options: dict[str, Any] = {
        # Keys that no log has are in a snapshot; where there is neither, one is what is made.
        "ack": "none" if before is None else "fast",
        "proto_max_bulk_len": f"{64 * GIB}",
    }
    count = before or _shards_of_snapshot(directory) or shards or os.cpu_count() or 1
    with (
        Node(count, directory=directory, **options) as node,
        Redis(host=node.host, port=node.port, single_connection_client=True, socket_timeout=_TIMEOUT_S) as client,
    ):
        yield client
    if not has_log:
        log.unlink(missing_ok=True)


def _shards_of_snapshot(directory: Path) -> int:
    store = open_place(str(folder_of(directory)))
    manifests = sorted((folder_of(directory) / "manifests").glob("*.json"))
    return store.shards(manifests[-1].stem) if manifests else 0


@dataclass(slots=True)
class _Told:
    """What an import has done."""

    keys: int = 0
    libraries: int = 0
    expired: int = 0
    skipped: list[str] = field(default_factory=list)
    """What nobody here can use."""
    failed: list[str] = field(default_factory=list)
    """What the node has refused."""


class _Import:
    def __init__(self, client: Redis, path: Path, *, is_replacing: bool) -> None:
        self.told = _Told()
        self._client = client
        self._is_replacing = is_replacing
        longest = _option(client, "proto-max-bulk-len")
        self._reader = RdbReader(path, longest, _option(client, "databases"))
        self._size = path.stat().st_size
        self._db = 0
        self._progress_at = time.monotonic()

    def run(self) -> None:
        while items := self._reader.read(_BATCH, _BATCH_BYTES):
            for db, group in itertools.groupby(items, lambda item: item.db if item.kind == "entry" else self._db):
                self._restore(db, list(group))
            self._show_progress()

    def _restore(self, db: int, items: list[RdbItem]) -> None:
        self._db = db
        now_ms = time.time_ns() // 1_000_000
        requests = [(item, request) for item in items if (request := self._request(item, now_ms))]
        # A pipeline has a connection of its own.
        pipe = self._client.pipeline(transaction=False)
        pipe.execute_command("SELECT", db)
        for _, request in requests:
            pipe.execute_command(*request)
        selected, *replies = pipe.execute(raise_on_error=False)
        if isinstance(selected, Exception):
            raise selected
        for (item, _), reply in zip(requests, replies, strict=True):
            self._note(item, reply)

    def _request(self, item: RdbItem, now_ms: int) -> tuple[bytes | str | int, ...] | None:
        replace = ("REPLACE",) if self._is_replacing else ()
        match item.kind:
            case "library":
                return ("FUNCTION", "LOAD", *replace, item.value)
            case "skipped":
                place = f"key {_shown(item.key)} of database {item.db}" if item.key else "data of no key"
                self.told.skipped.append(f"{place}: of module type {item.value.decode()}")
                return None
            case "note":
                return None
        if item.expire_at is not None and item.expire_at <= now_ms:
            self.told.expired += 1
            return None
        uses = ("IDLETIME", item.idle) if item.idle is not None else ()
        if item.frequency is not None:
            uses = ("FREQ", item.frequency)
        return ("RESTORE", item.key, item.expire_at or 0, item.value, "ABSTTL", *replace, *uses)

    def _note(self, item: RdbItem, reply: object) -> None:
        what = f"key {_shown(item.key)} of database {item.db}" if item.kind == "entry" else "a library of functions"
        if isinstance(reply, Exception):
            self.told.failed.append(f"{what}: {reply}")
        elif item.kind == "entry":
            self.told.keys += 1
        else:
            self.told.libraries += 1

    def _show_progress(self) -> None:
        now = time.monotonic()
        if now - self._progress_at >= _PROGRESS_S:
            self._progress_at = now
            _, done = self._reader.progress()
            click.echo(f"{done / max(self._size, 1):.0%}: {self.told.keys:,} keys", err=True)


def _option(client: Redis, name: str) -> int:
    return int(client.config_get(name)[name] or 0)


def _shown(key: bytes) -> str:
    return repr(key)[1:]


@click.command(name="import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_URL
@_DIRECTORY
@click.option("--replace", "is_replacing", is_flag=True, help="Replace keys that are there; otherwise they stay.")
@click.option("--shards", type=click.IntRange(min=1), help="Shards of a new node in --dir. [default: one a core]")
def import_file(file: Path, url: str | None, directory: Path | None, shards: int | None, *, is_replacing: bool) -> None:
    """Import FILE, an RDB file of Redis or Valkey, into a node.

    What cannot be imported is listed: data of modules, and keys that are there already. The exit status is 0 where all
    is imported but what is of modules, 1 where something else is missing, 2 where nothing can be done.
    """
    if shards is not None and directory is None:
        raise click.UsageError("--shards is for a new node in --dir; one that runs has its own")
    with errors_in_a_line(), _node(url, directory, shards) as client:
        work = _Import(client, file, is_replacing=is_replacing)
        try:
            work.run()
        finally:
            _show(work.told)
        if directory is not None:
            client.execute_command("SAVE")
    sys.exit(_EXIT_INCOMPLETE if work.told.failed else 0)


def _show(told: _Told) -> None:
    click.echo(f"imported {told.keys:,} keys and {told.libraries} libraries of functions")
    if told.expired:
        click.echo(f"left out {told.expired:,} keys that have expired")
    for title, lines in (("skipped", told.skipped), ("failed", told.failed)):
        _show_lines(title, lines)


def _show_lines(title: str, lines: Sequence[str]) -> None:
    for line in lines[:_TOLD_MAX]:
        click.echo(f"{title}: {line}")
    if len(lines) > _TOLD_MAX:
        click.echo(f"{title}: {len(lines) - _TOLD_MAX:,} more")


@click.command(name="export")
@click.argument("file", type=click.Path(path_type=Path))
@_URL
@_DIRECTORY
def export_file(file: Path, url: str | None, directory: Path | None) -> None:
    """Export the keys and functions of a node to FILE, as an RDB file that Redis 8 loads.

    Each key is as it was at some moment of the export. Kinds of values that Redis has not are left out.
    """
    if directory is not None and not is_of_node(directory):
        raise click.ClickException(f"{directory} is of no node")
    with errors_in_a_line(), _node(url, directory, None) as client:
        size = _fetch(client, file)
    click.echo(f"exported {readable_size(size)}")


def _fetch(client: Redis, file: Path) -> int:
    """Takes what SYNC sends; the file is there whole or not at all."""
    connection = client.connection
    assert connection is not None, "the client has a connection of its own"
    connection.send_command("REPLCONF", "rdb-only", "1")
    connection.read_response()
    connection.send_command("SYNC")
    # The file is no reply, so nothing of redis-py reads it.
    opened: Any = connection
    reader = opened._sock.makefile("rb")  # noqa: SLF001
    head = reader.readline()
    if not head.startswith(b"$"):
        raise click.ClickException(head.decode(errors="replace").strip().removeprefix("-"))
    left = size = int(head[1:])
    draft = file.with_name(f"{file.name}.new")
    try:
        with draft.open("wb") as target:
            while left:
                piece = reader.read(min(left, _PIECE_BYTES))
                if not piece:
                    raise click.ClickException("the node has ended the connection")
                target.write(piece)
                left -= len(piece)
            target.flush()
            os.fsync(target.fileno())
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)
        connection.disconnect()
    return size


@contextlib.contextmanager
def errors_in_a_line() -> Iterator[None]:
    """What goes wrong is one line."""
    try:
        yield
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        raise click.ClickException(f"{place}{error.strerror or error}") from None
    except (RedisError, YggdrasilError) as error:
        raise click.ClickException(str(error)) from None
