"""The command line: `mithril checkpoint ...`."""

import time
from pathlib import Path

import click

from mithril.checkpoint import reports, safetensors_file, steps, tier
from mithril.core.errors import MithrilError

_UNITS = ("B", "kB", "MB", "GB", "TB")
_STEP = click.option("--step", type=int, help="The step; the newest one by default.")


@click.group()
def checkpoint() -> None:
    """Checkpoints that are smaller and faster."""


@checkpoint.command(name="list")
@click.argument("url")
def list_command(url: str) -> None:
    """List the checkpoints at URL."""
    found = steps.list_steps(url)
    if not found:
        click.echo(f"there is no checkpoint at {url}", err=True)
    for info in found:
        written = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(info.created))
        click.echo(f"{info.step:>12}  {written}")


@checkpoint.command()
@click.argument("url")
@_STEP
@click.option("--tensors", is_flag=True, help="Show each tensor.")
def inspect(url: str, step: int | None, tensors: bool) -> None:
    """Show sizes and ratios, by part and by tensor."""
    found = reports.inspect(url, step)
    base = "" if found.base_step is None else f", based on step {found.base_step}"
    click.echo(f"step {found.step}{base}: {_size(found.raw_bytes)} stored in {_size(found.stored_bytes)}")
    for key, value in sorted(found.metadata.items()):
        click.echo(f"  {key}: {value}")
    for name, (raw, stored) in found.parts().items():
        click.echo(f"{_size(raw):>10} {_size(stored):>10} {raw / max(stored, 1):8.2f}  {name}")
    for tensor in found.tensors if tensors else ():
        notes = [f"delta {tensor.delta_depth}"] if tensor.delta_depth else []
        if tensor.quantized_bits is not None:
            notes.append(f"{tensor.quantized_bits} bits, error at most {tensor.error_max:.3g}")
        kind = f"{tensor.dtype}{list(tensor.shape)}"
        sizes = f"{_size(tensor.raw_bytes):>10} {_size(tensor.stored_bytes):>10} {tensor.ratio:8.2f}"
        click.echo(f"{sizes}  {tensor.name}  {kind}  {', '.join(notes)}".rstrip())


@checkpoint.command()
@click.argument("url")
@click.argument("before", type=int)
@click.argument("after", type=int)
def diff(url: str, before: int, after: int) -> None:
    """Show which tensors differ between two steps. Exits with 1 where some do."""
    found = reports.diff(url, before, after)
    for item in found:
        share = f"{item.changed_share:.0%} of the chunks" if item.change == "values" else ""
        click.echo(f"{item.change:>14}  {item.name}  {share}".rstrip())
    click.get_current_context().exit(1 if found else 0)


@checkpoint.command()
@click.argument("url")
@_STEP
def verify(url: str, step: int | None) -> None:
    """Read everything and check every hash. Exits with 1 where something is damaged."""
    found = reports.verify(url, step)
    for problem in found.problems:
        click.echo(problem, err=True)
    click.echo(f"{len(found.steps)} checkpoints, {found.chunks} chunks, {len(found.problems)} problems")
    click.get_current_context().exit(1 if found.problems else 0)


@checkpoint.command()
@click.argument("url")
@click.option("--last", type=int, help="Keep so many of the newest.")
@click.option("--every", type=int, help="Keep each step that is a multiple of this.")
@click.option("--grace", type=float, help="Age in seconds from which unused objects are deleted.")
def retain(url: str, last: int | None, every: int | None, grace: float | None) -> None:
    """Keep some checkpoints, remove the others.

    What none of them needs is deleted.
    """
    found = steps.retain(url, last=last, every=every, grace_s=grace)
    click.echo(f"kept {len(found.kept)}, removed {len(found.removed)}, freed {_size(found.bytes)}")


@checkpoint.command()
@click.argument("fast")
@click.argument("durable")
def drain(fast: str, durable: str) -> None:
    """Copy what only FAST has to DURABLE.

    A program that was killed leaves such checkpoints.
    """
    found = tier.drain(fast, durable)
    click.echo(f"{len(found.steps)} checkpoints, {found.objects} objects, {_size(found.bytes)}")


@checkpoint.command()
@click.argument("source", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("target", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--to", "form", type=click.Choice(["compressed", "plain"]), help="By default the other form of SOURCE.")
def convert(source: Path, target: Path, form: str | None) -> None:
    """Compress a safetensors file, or make it plain."""
    if target.exists() and target.samefile(source):
        raise MithrilError(f"{target}: source and target are the same file; choose another target")
    before, after = safetensors_file.convert(source, target, form)
    click.echo(f"{source} ({_size(before)}) -> {target} ({_size(after)}), ratio {before / max(after, 1):.3f}")


def _size(size: float) -> str:
    for unit in _UNITS:
        if size < 1000 or unit == _UNITS[-1]:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError("the last unit takes every size")
