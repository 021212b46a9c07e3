"""LATENCY: how long commands take, and events that took long, over all workers."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from yggdrasil._core import ReplyError, Verbatim
from yggdrasil.protocol.command import command, container
from yggdrasil.protocol.histogram import Histogram, histograms
from yggdrasil.protocol.node import CommandContext, Here, question
from yggdrasil.protocol.reply import Reply, raw, text

_FLAGS = ("admin", "noscript", "loading", "stale")
_GRAPH_WIDTH_MAX = 80
_GRAPH_LEVELS = " .:-=+*#"

latency = container(
    "latency", group="server", summary="Commands about how long things take.", since="2.8.13", help_since="2.8.13"
)

_EVENTS_MAX = 160
"""Events of a kind that are shown, as many as Redis keeps; each worker keeps so many of its own."""


@dataclass(slots=True)
class History:
    """The events of a kind, over all workers."""

    longest: int = 0
    """Milliseconds of the longest there was, though it may not be among the samples any more."""
    samples: dict[int, int] = field(default_factory=dict)
    """Unix time in s, oldest first, and the most milliseconds in that second."""


@question
def latency_events(here: Here, _asked: None) -> list[tuple[str, int, list[tuple[int, int]]]]:
    """Events of this worker by kind, oldest first, with the longest there was."""
    return here.worker.latency()


@question
def latency_reset_here(here: Here, kinds: list[str]) -> list[str]:
    """Forgets the events of some kinds, or of all; tells which kinds those were."""
    known = [kind for kind, _, _ in here.worker.latency()]
    gone = [kind for kind in known if not kinds or kind in kinds]
    for kind in gone:
        here.worker.latency_reset(kind)
    return gone


async def _histories(ctx: CommandContext) -> dict[str, History]:
    """All kinds in the order of their names."""
    found: dict[str, History] = {}
    for answer in (await ctx.broadcast(latency_events, None)).values():
        for kind, longest, samples in answer:
            history = found.setdefault(kind, History())
            history.longest = max(longest, history.longest)
            for at, milliseconds in samples:
                history.samples[at] = max(milliseconds, history.samples.get(at, 0))
    for history in found.values():
        history.samples = dict(sorted(history.samples.items())[-_EVENTS_MAX:])
    return dict(sorted(found.items()))


@command(
    "latency|latest",
    arity=2,
    flags=_FLAGS,
    group="server",
    summary="Shows the latest event of each kind: when, how long, and the longest.",
    since="2.8.13",
    tips=("nondeterministic_output", "request_policy:all_nodes", "response_policy:special"),
)
async def latency_latest(ctx: CommandContext, args: list[bytes]) -> Reply:
    """Kind, Unix time, milliseconds, longest."""
    found = await _histories(ctx)
    return [[raw(kind), *list(history.samples.items())[-1], history.longest] for kind, history in found.items()]


@command(
    "latency|history",
    arity=3,
    flags=_FLAGS,
    group="server",
    summary="Shows the events of a kind.",
    since="2.8.13",
    syntax="event",
    tips=("nondeterministic_output", "request_policy:all_nodes", "response_policy:special"),
)
async def latency_history(ctx: CommandContext, args: list[bytes]) -> Reply:
    """Unix time and milliseconds, oldest first."""
    return list((await _histories(ctx)).get(text(args[0]), History()).samples.items())


@command(
    "latency|reset",
    arity=-2,
    flags=_FLAGS,
    group="server",
    summary="Forgets the events of some kinds, or of all.",
    since="2.8.13",
    syntax="[event [event ...]]",
    tips=("request_policy:all_nodes", "response_policy:agg_sum"),
)
async def latency_reset(ctx: CommandContext, args: list[bytes]) -> Reply:
    """How many kinds there were."""
    answers = await ctx.broadcast(latency_reset_here, [text(kind) for kind in args])
    return len({kind for gone in answers.values() for kind in gone})


@command(
    "latency|graph",
    arity=3,
    flags=_FLAGS,
    group="server",
    summary="Draws the events of a kind.",
    since="2.8.13",
    syntax="event",
    tips=("nondeterministic_output", "request_policy:all_nodes", "response_policy:special"),
)
async def latency_graph(ctx: CommandContext, args: list[bytes]) -> Reply:
    """A column for each event, as high as it took long."""
    kind = text(args[0])
    history = (await _histories(ctx)).get(kind, History())
    samples = list(history.samples.values())
    if not samples:
        raise ReplyError(f"ERR No samples available for event '{kind}'")
    shown = samples[-_GRAPH_WIDTH_MAX:]
    head = f"{kind} - high {max(shown)} ms, low {min(shown)} ms (all time high {history.longest} ms)"
    return Verbatim("\n".join([head, "-" * _GRAPH_WIDTH_MAX, *_columns(shown)]) + "\n")


def _columns(samples: list[int], rows: int = 4) -> Iterator[str]:
    """Rows from the top; each character of a column has several levels."""
    levels = len(_GRAPH_LEVELS) - 1
    heights = [max(1, round(rows * levels * sample / max(samples))) if max(samples) else 1 for sample in samples]
    for row in range(rows - 1, -1, -1):
        yield "".join(_GRAPH_LEVELS[min(max(height - row * levels, 0), levels)] for height in heights).rstrip()


@command(
    "latency|doctor",
    arity=2,
    flags=_FLAGS,
    group="server",
    summary="Says in words what took long.",
    since="2.8.13",
    tips=("nondeterministic_output", "request_policy:all_nodes", "response_policy:special"),
)
async def latency_doctor(ctx: CommandContext, args: list[bytes]) -> Reply:
    """One paragraph for each kind."""
    threshold = int(ctx.services.config_get(["latency-monitor-threshold"])["latency-monitor-threshold"])
    if not threshold:
        return Verbatim(
            "Nothing is watched: latency-monitor-threshold is 0. CONFIG SET latency-monitor-threshold <milliseconds> "
            "keeps what takes longer than that.\n"
        )
    found = await _histories(ctx)
    if not found:
        return Verbatim(f"Nothing took {threshold} ms or longer.\n")
    return Verbatim("".join(_diagnosis(kind, history) for kind, history in found.items()))


def _diagnosis(kind: str, history: History) -> str:
    advice = {
        "command": "SLOWLOG GET shows which commands these were.",
        "fast-command": "Commands that should be fast were slow: the machine may be short of processors or memory.",
    }.get(kind, "")
    samples = history.samples.values()
    average = sum(samples) / len(samples)
    return f"{kind}: {len(samples)} events, {average:.0f} ms on average, {history.longest} ms at most. {advice}\n"


@command(
    "latency|histogram",
    arity=-2,
    flags=_FLAGS,
    group="server",
    summary="Shows how long commands take: calls up to each bound in microseconds.",
    since="7.0.0",
    complexity="O(N) for N commands.",
    syntax="[command [command ...]]",
    tips=("nondeterministic_output", "request_policy:all_nodes", "response_policy:special"),
)
async def latency_histogram(ctx: CommandContext, args: list[bytes]) -> Reply:
    """Of all commands that were called, or of those named with their subcommands."""
    if ctx.services.config_get(["latency-tracking"])["latency-tracking"] == "no":
        return dict[bytes, Reply]()
    found = histograms(ctx.worker)
    return {raw(name): _shown(found[name]) for name in _named(ctx, args, found)}


def _named(ctx: CommandContext, args: list[bytes], found: Iterable[str]) -> Iterator[str]:
    if not args:
        yield from found
        return
    for name in args:
        entry = ctx.here.table.find(text(name))
        if entry is not None:
            names = [entry.name, *(subcommand.name for subcommand in entry.subcommands.values())]
            yield from (name for name in names if name in found)


def _shown(histogram: Histogram) -> Reply:
    buckets: dict[int, Reply] = dict(histogram.cumulative())
    shown: dict[bytes, Reply] = {b"calls": histogram.calls, b"histogram_usec": buckets}
    return shown
