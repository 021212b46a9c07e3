"""The command `yggdrasil simulate`."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from yggdrasil import YggdrasilError
from yggdrasil._core import simulated_policies, trace_formats
from yggdrasil.server.option import parse_size, readable_size
from yggdrasil.simulate import DEFAULT_POLICIES, Outcome, run
from yggdrasil.simulate.plot import svg
from yggdrasil.simulate.run import ENTRY_OVERHEAD_BYTES, OBJECT_BYTES

_ALL = "all"
_PROGRESS_EVERY = 1_000_000


def _sizes(_context: click.Context, _option: click.Parameter, value: str) -> tuple[int, ...]:
    """Reads `1gb,2gb`."""
    try:
        sizes = tuple(dict.fromkeys(parse_size(part) for part in value.split(",")))
    except ValueError:
        raise click.BadParameter(f"expected sizes such as 512mb,2gb, found {value}") from None
    if not all(sizes):
        raise click.BadParameter("a cache of 0 bytes keeps nothing")
    return sizes


def _size(_context: click.Context, _option: click.Parameter, value: str) -> int:
    """Reads `1kb`."""
    try:
        size = parse_size(value)
    except ValueError:
        raise click.BadParameter(f"expected a size such as 1kb, found {value}") from None
    if not size:
        raise click.BadParameter("an object has at least one byte")
    return size


def _policies(_context: click.Context, _option: click.Parameter, value: str) -> tuple[str, ...]:
    """Reads `tinylfu,lru`, or `all`."""
    known = simulated_policies()
    if value == _ALL:
        return tuple(known)
    names = tuple(dict.fromkeys(value.split(",")))
    for name in names:
        if name not in known:
            raise click.BadParameter(f"there is no policy {name}; there are {', '.join(known)}, and {_ALL}")
    return names


@click.command()
@click.option(
    "--trace",
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The trace; .gz, .xz and .zst are unpacked.",
)
@click.option("--memory", required=True, callback=_sizes, metavar="SIZES", help="Sizes of the cache, as 512mb,2gb.")
@click.option(
    "--policy",
    "policies",
    callback=_policies,
    metavar="NAMES",
    default=",".join(DEFAULT_POLICIES),
    show_default=True,
    help="Policies, or all.",
)
@click.option(
    "--format",
    "trace_format",
    type=click.Choice(trace_formats()),
    help="How the trace is written. [default: by its first line]",
)
@click.option(
    "--object-size",
    callback=_size,
    metavar="SIZE",
    default=str(OBJECT_BYTES),
    show_default=True,
    help="Bytes of an object whose size the trace does not give.",
)
@click.option(
    "--overhead",
    type=click.IntRange(0, 1 << 20),
    default=ENTRY_OVERHEAD_BYTES,
    show_default=True,
    help="Bytes that every object takes besides.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Write a plot there, as SVG.")
def simulate(
    trace: Path,
    memory: tuple[int, ...],
    policies: tuple[str, ...],
    trace_format: str | None,
    object_size: int,
    overhead: int,
    as_json: bool,
    plot: Path | None,
) -> None:
    """Show what caches of these sizes would have made of a trace."""
    try:
        outcomes = run(
            trace,
            memory=memory,
            policies=policies,
            format=trace_format,
            object_bytes=object_size,
            overhead=overhead,
            progress=_progress(),
        )
    except YggdrasilError as error:
        raise click.ClickException(str(error)) from None
    # First of all: where the plot cannot be written, a long run is not lost.
    click.echo(_as_json(outcomes) if as_json else _table(outcomes))
    if plot:
        try:
            plot.write_text(svg(outcomes, f"hit ratio, {trace.name}"))
        except OSError as error:
            raise click.ClickException(f"{plot}: {error.strerror}") from None


def _progress() -> Callable[[int], None] | None:
    """Says how far it is, where somebody watches."""
    if not sys.stderr.isatty():
        return None
    shown = 0

    def show(requests: int) -> None:
        nonlocal shown
        if requests - shown >= _PROGRESS_EVERY:
            shown = requests
            click.echo(f"\r{requests:,} requests", err=True, nl=False)

    return show


def _as_json(outcomes: Sequence[Outcome]) -> str:
    rows = [
        {
            "policy": row.policy,
            "memory_bytes": row.memory,
            "reads": row.reads,
            "hits": row.hits,
            "hit_ratio": round(row.hit_ratio, 6),
            "byte_hit_ratio": round(row.byte_hit_ratio, 6),
        }
        for row in outcomes
    ]
    return json.dumps(rows, indent=1)


def _table(outcomes: Sequence[Outcome]) -> str:
    """A line for each policy, sizes as columns: hit ratio and byte hit ratio in percent."""
    sizes = list(dict.fromkeys(row.memory for row in outcomes))
    by_policy: dict[str, list[Outcome]] = {}
    for row in outcomes:
        by_policy.setdefault(row.policy, []).append(row)
    heads = [f"{readable_size(size):>17}" for size in sizes]
    lines = [f"{'policy':<14}{''.join(heads)}", f"{'':<14}{'   hits    bytes' * len(sizes)}"]
    for policy, rows in by_policy.items():
        cells = [f"{100 * row.hit_ratio:>7.2f}% {100 * row.byte_hit_ratio:>7.2f}%" for row in rows]
        lines.append(f"{policy:<14}{''.join(cells)}")
    lines.append(f"{outcomes[0].reads:,} reads" if outcomes else "")
    return "\n".join(lines)
