"""The command line: `mithril cache ...`."""

import os
import shlex
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from mithril.cache import activation, runs
from mithril.cache.settings import CacheSettings
from mithril.core.config import load
from mithril.core.errors import ConfigError, MithrilError

_GIB = 1 << 30


def _place(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options that say where artifacts are."""
    command = click.option("--url", help="URL of the shared store. [default: that of the configuration]")(command)
    return click.option(
        "--root", type=click.Path(path_type=Path), help="Folder of this machine. [default: that of the configuration]"
    )(command)


def _settings(root: Path | None, url: str | None = None) -> CacheSettings:
    return load(CacheSettings, {"root": root, "url": url}).settings


def _local(root: Path | None) -> Any:
    from mithril.cache.local import LocalArtifacts  # noqa: PLC0415

    return LocalArtifacts(_settings(root).root.expanduser())


@click.group()
def cache() -> None:
    """Compile once in a fleet.

    Keep what compilers make, and never compile it twice.
    """


@cache.command()
@_place
def enable(root: Path | None, url: str | None) -> None:
    """Print the variables to set.

    In a shell: eval "$(mithril cache enable --url URL)".
    """
    for name, value in activation.environment(_given(root, url)).items():
        click.echo(f"export {name}={shlex.quote(value)}")


@cache.command(context_settings={"ignore_unknown_options": True})
@_place
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(root: Path | None, url: str | None, command: tuple[str, ...]) -> None:
    """Run a COMMAND with the cache.

    Nothing in a program changes: mithril cache run -- python train.py.
    """
    variables = activation.environment(_given(root, url))
    environment = {**variables, **os.environ} | {
        name: value for name, value in variables.items() if name.startswith("MITHRIL_")
    }
    if shutil.which(command[0]) is None:
        raise ConfigError(f"{command[0]}: there is no such command")
    os.execvpe(command[0], command, environment)  # noqa: S606 (the user's own command)


@cache.command()
@_place
@click.argument("program", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
def warm(context: click.Context, root: Path | None, url: str | None, program: tuple[str, ...]) -> None:
    """Run a Python PROGRAM once, to fill the cache.

    What it compiles is there for all others.
    """
    context.invoke(run, root=root, url=url, command=(sys.executable, *program))


@cache.command()
def env() -> None:
    """Print what artifacts depend on in this machine."""
    from mithril.cache.environment import device_class, versions  # noqa: PLC0415

    click.echo(f"device    {device_class()}")
    for name, value in versions():
        click.echo(f"{name:<9} {value}")


@cache.command()
@_place
def ls(root: Path | None, url: str | None) -> None:
    """List the artifacts of this machine.

    Each with its size, its last use, its path and what it is.
    """
    from mithril.cache.artifact import unseal  # noqa: PLC0415

    local = _local(root)
    for one in sorted(local.list(), key=lambda one: one.used):
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(one.used))
        try:
            key = unseal(local.get(one.path) or b"").key
            click.echo(f"{one.size:>12,}  {used}  {one.path}  {key.subject[:60]}")
        except MithrilError as error:
            click.echo(f"{one.size:>12,}  {used}  {one.path}  {error}")


@cache.command()
@_place
@click.argument("path")
def show(root: Path | None, url: str | None, path: str) -> None:
    """Show an artifact.

    PATH is what `ls` prints, or the beginning of the hash at its end.
    """
    from mithril.cache.artifact import unseal  # noqa: PLC0415

    local = _local(root)
    found = [one.path for one in local.list() if one.path == path or one.path.rpartition("/")[2].startswith(path)]
    if len(found) != 1:
        raise ConfigError(f"{path}: {len(found)} artifacts have this name; `mithril cache ls` prints their paths")
    sealed = unseal(local.get(found[0]) or b"")
    click.echo(f"key      {sealed.key.text()}")
    click.echo(f"made     {time.ctime(sealed.header['created'])} on {sealed.header['host']}")
    click.echo(f"cost     {sealed.header['cost_s']:.1f} s")
    click.echo(f"stored   {len(sealed.body):,} bytes")
    for name, size in sealed.header["parts"]:
        click.echo(f"part     {name} {size:,} bytes")


@cache.command()
@_place
@click.option("--size-max", type=float, help="GiB to keep. [default: size_max_bytes of the configuration]")
@click.option("--days", type=float, help="Remove what was not used for so many days.")
def gc(root: Path | None, url: str | None, size_max: float | None, days: float | None) -> None:
    """Remove artifacts that were not used lately.

    Those of this machine, the least recently used first; a shared store forgets them by their ttl.
    """
    settings = _settings(root)
    limit = int(size_max * _GIB) if size_max is not None else settings.size_max_bytes
    removed, size = _local(root).collect(limit, days * 86_400 if days is not None else None)
    click.echo(f"removed {removed} artifacts, {size:,} bytes")


@cache.command()
@_place
def verify(root: Path | None, url: str | None) -> None:
    """Check every artifact of this machine.

    Those that are damaged are set aside. Exits with 1 where there were some.
    """
    from mithril.cache.artifact import unseal  # noqa: PLC0415
    from mithril.cache.signing import Ed25519Verifier, UntrustedError  # noqa: PLC0415

    settings = _settings(root)
    verifier = Ed25519Verifier(settings.trusted_keys) if settings.trusted_keys else None
    local = _local(root)
    whole = bad = 0
    for one in list(local.list()):
        try:
            unseal(local.get(one.path) or b"", verifier).open(settings.artifact_max_bytes)
            whole += 1
        except UntrustedError as error:
            bad += 1
            click.echo(f"{one.path}: {error}")
        except MithrilError as error:
            bad += 1
            click.echo(f"{one.path}: {error}; it is now {local.set_aside(one.path)}")
    click.echo(f"{whole} whole, {bad} not")
    if bad:
        sys.exit(1)


@cache.command()
@_place
def stats(root: Path | None, url: str | None) -> None:
    """Print hits, misses and saved time.

    Over the recorded runs, by framework and host.
    """
    from mithril.cache.statistics import figures  # noqa: PLC0415

    found = figures(runs.read(_settings(root).root.expanduser()))
    if not found:
        click.echo("no run is recorded yet")
        return
    click.echo(f"{'framework':<10} {'host':<20} {'hits':>6} {'misses':>6} {'rate':>5} {'saved':>9} {'compiled':>9}")
    for (framework, host), one in sorted(found.items()):
        click.echo(
            f"{framework:<10} {host:<20} {one.hits:>6} {one.misses + one.unusable:>6} {one.rate:>5.0%}"
            f" {one.saved_s:>7.1f} s {one.spent_s:>7.1f} s"
        )


@cache.command()
@_place
@click.argument("run_name", metavar="[RUN]", required=False)
def explain(root: Path | None, url: str | None, run_name: str | None) -> None:
    """Say why graphs were compiled in a RUN.

    In the newest one, or in that of this name.
    """
    from mithril.cache.explain import explain as explained  # noqa: PLC0415

    folder = _settings(root).root.expanduser()
    recorded = [one for one in runs.read(folder) if run_name is None or one.name.startswith(run_name)]
    if not recorded:
        raise ConfigError(f"{folder}: there is no run {run_name or 'yet'}")
    chosen = recorded[-1]
    misses = explained(_local(root), chosen)
    click.echo(f"run {chosen.name}: {chosen.start.get('program', '')}")
    for miss in misses:
        for line in miss.text():
            click.echo(line)
    bypasses = list(chosen.of("bypass"))
    for event in bypasses:
        click.echo(f"torch does not cache a graph: {event['reason']}")
    if not misses and not bypasses:
        click.echo("everything that was asked for was there")


@cache.command(name="export")
@_place
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def export_file(root: Path | None, url: str | None, file: Path) -> None:
    """Write all artifacts into one FILE."""
    from mithril.cache.bundle import export  # noqa: PLC0415

    local = _local(root)
    click.echo(f"wrote {export(local, file, [one.path for one in local.list()])} artifacts")


@cache.command(name="import")
@_place
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def import_file(root: Path | None, url: str | None, file: Path) -> None:
    """Take the artifacts of a FILE of `export`."""
    from mithril.cache.bundle import bring  # noqa: PLC0415
    from mithril.cache.signing import Ed25519Verifier  # noqa: PLC0415

    settings = _settings(root)
    verifier = Ed25519Verifier(settings.trusted_keys) if settings.trusted_keys else None
    taken, refused = bring(_local(root), file, verifier, settings.artifact_max_bytes)
    click.echo(f"took {taken} artifacts, refused {refused}")
    if refused:
        sys.exit(1)


@cache.command()
@_place
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--name", help="Name of the folder in the store. [default: the folder's]")
@click.option("--once", is_flag=True, help="Exchange what there is, and end.")
@click.option("--interval", type=float, default=30.0, show_default=True, help="Seconds between looks at the store.")
def mirror(root: Path | None, url: str | None, folder: Path, name: str | None, once: bool, interval: float) -> None:
    """Keep a FOLDER and the shared store in step.

    For vLLM, SGLang, CUDA and others whose cache is a folder.
    """
    from mithril.cache.mirror import Mirror, Moved  # noqa: PLC0415

    kept = Mirror(folder, name or folder.resolve().name, _settings(root, url))

    def report(moved: Moved) -> None:
        if once or moved.sent or moved.received or moved.refused:
            click.echo(f"sent {moved.sent}, received {moved.received}, refused {moved.refused}")

    if once:
        report(kept.step(settled=0.0))
        return
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    kept.run(interval, stop, report)


@cache.command()
@click.argument("private_file", type=click.Path(path_type=Path))
@click.argument("public_file", type=click.Path(path_type=Path))
def keygen(private_file: Path, public_file: Path) -> None:
    """Make a pair of keys for signatures.

    PRIVATE_FILE signs (signing_key), PUBLIC_FILE is given to readers (trusted_keys).
    """
    from mithril.cache.signing import generate  # noqa: PLC0415

    generate(private_file, public_file)


def _given(root: Path | None, url: str | None) -> dict[str, Any]:
    return {name: value for name, value in (("root", root), ("url", url)) if value is not None}
