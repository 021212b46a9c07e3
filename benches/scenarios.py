"""What is measured: one function for each row of the table of figures, in the order in which they run.

A scenario gets the servers that exist here and the sizes, and gives its findings: figures (numbers with a
target), details (everything that was measured), notes (what has no target). Servers are compared in the same
round, in alternating order, so that what disturbs the machine disturbs both.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from benches import beside, full, get_into, hit_ratio, load, long, near, of_large, of_log, of_types, processes
from benches.load import Sample, Shape
from benches.results import Figure, detail, ratio, ratios
from benches.servers import SERVER_CPU, Kind, Server, running

Kinds = dict[str, Kind]
Findings = dict[str, Any]

KEY_BYTES = 16
_SETTLE_S = 1.0
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    rounds: int = 7
    seconds: float = 2.0
    warm_up_s: float = 0.5
    keys: int = 100_000
    keys_many: int = 10_000_000
    keys_memory: int = 2_000_000
    keys_evicting: int = 2_000_000
    stall_rounds: int = 3
    stall_idle_s: float = 10.0
    idle_connections: int = 10_000
    idle_s: float = 30.0
    long_bytes: int = 4 * 1024**3
    long_bytes_max: int = 1024**3
    large_bytes: int = 32 * 1024 * 1024
    generated_requests: int = 2_000_000


QUICK = Sizes(
    rounds=1,
    seconds=0.1,
    warm_up_s=0.02,
    keys=500,
    keys_many=3_000,
    keys_memory=2_000,
    keys_evicting=200_000,
    stall_rounds=1,
    stall_idle_s=0.1,
    idle_connections=40,
    idle_s=0.3,
    long_bytes=1024**2,
    long_bytes_max=1024**2,
    large_bytes=100_000,
    generated_requests=3_000,
)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A row or several of the table, measured together."""

    name: str
    title: str
    run: Callable[[Kinds, Sizes], Findings]
    only_ours: bool = False


@dataclass(frozen=True, slots=True)
class Contender:
    """A filled server and the name it has in the findings."""

    name: str
    server: Server
    shape: Shape


def get_and_set(kinds: Kinds, sizes: Sizes) -> Findings:
    """GET and SET at several depths, one worker."""
    targets = {1: 1.0, 16: 0.60, 64: 0.42}
    figures, details, notes = [], [], []
    with ExitStack() as stack:
        servers = {name: stack.enter_context(running(kind)) for name, kind in kinds.items()}
        for server in servers.values():
            _fill_and_verify(server, sizes.keys)
        for depth, target in targets.items():
            for operation, get_share in (("GET", 100), ("SET", 0)):
                shape = Shape(depth=depth, get_share=get_share, keys=sizes.keys)
                what = f"{operation}, depth {depth}"
                samples = _rounds([Contender(name, servers[name], shape) for name in servers], sizes)
                details += [detail(name, what, samples[name]) for name in servers]
                figures += _against(samples, "yggdrasil", "redis", what, target)
                notes += _note(samples, "yggdrasil", "valkey", what)
        for server in servers.values():
            load.verify(server, sizes.keys)
    return {"figures": [figure.to_json() for figure in figures], "details": details, "notes": notes}


def many_keys(kinds: Kinds, sizes: Sizes) -> Findings:
    """GET at depth 16 over many keys, against redis on the same and against our own at few."""
    few = Shape(depth=16, get_share=100, keys=sizes.keys)
    many = Shape(depth=16, get_share=100, keys=sizes.keys_many)
    with ExitStack() as stack:
        contenders = [
            Contender(name, stack.enter_context(running(kinds[name])), many)
            for name in ("yggdrasil", "redis")
            if name in kinds
        ]
        contenders += [
            Contender(f"{contender.name}, few keys", stack.enter_context(running(contender.server.kind)), few)
            for contender in contenders
        ]
        for contender in contenders:
            _fill_and_verify(contender.server, contender.shape.keys)
        samples = _rounds(contenders, sizes)
    what = {many: f"GET, depth 16, {many.keys:,} keys", few: f"GET, depth 16, {few.keys:,} keys"}
    figures = _against(samples, "yggdrasil", "redis", what[many], 0.60)
    figures += _against(samples, "yggdrasil", "yggdrasil, few keys", what[many], 1.5)
    return {
        "figures": [figure.to_json() for figure in figures],
        "details": [detail(one.name, what[one.shape], samples[one.name]) for one in contenders],
        "notes": _note(samples, "redis", "redis, few keys", what[many]),
    }


def two_workers(kinds: Kinds, sizes: Sizes) -> Findings:
    """Two workers against one, by clients that do not know where keys live and by clients that do."""
    plain = Shape(depth=16, get_share=80, keys=sizes.keys)
    aware = Shape(depth=16, get_share=80, keys=sizes.keys, cluster=True)
    figures, details = [], []
    with running(kinds["yggdrasil"], shards=1) as one, running(kinds["yggdrasil"], shards=2) as two:
        _fill_and_verify(one, sizes.keys)
        _fill_and_verify(two, sizes.keys)
        for words, shape, target in (("plain clients", plain, 1.4), ("cluster-aware clients", aware, 1.1)):
            what = f"80% GET, depth 16, {words}"
            pair = [Contender("2 workers", two, shape), Contender("1 worker", one, shape)]
            samples = _rounds(pair, sizes)
            figures += _against(samples, "2 workers", "1 worker", what, target)
            details += [detail(name, what, samples[name]) for name in samples]
        load.verify(two, sizes.keys)
    return {"figures": [figure.to_json() for figure in figures], "details": details, "notes": []}


def memory(kinds: Kinds, sizes: Sizes) -> Findings:
    """Resident memory per key beyond the key and its value."""
    value_bytes = 200
    payload = KEY_BYTES + value_bytes
    overhead: dict[str, float] = {}
    details = []
    for name, kind in kinds.items():
        with running(kind) as server:
            time.sleep(min(_SETTLE_S, sizes.idle_s))
            empty = server.memory()
            load.fill(server, sizes.keys_memory, value_bytes)
            time.sleep(min(_SETTLE_S, sizes.idle_s))
            full = server.memory()
            load.verify(server, sizes.keys_memory, value_bytes)
        overhead[name] = round((full.total - empty.total) / sizes.keys_memory - payload, 1)
        details.append(
            {
                "server": name,
                "what": f"{sizes.keys_memory:,} keys of {KEY_BYTES} B with {value_bytes} B values",
                "empty_mib": _mib(empty.total),
                "full_mib": _mib(full.total),
                "full_private_mib": _mib(full.private),
                "full_shared_mib": _mib(full.shared),
                "beyond_payload_bytes_per_key": overhead[name],
            }
        )
    figures = _own_figure("memory beyond key and value, per key", overhead, "B", 40)
    return {"figures": figures, "details": details, "notes": []}


def evicting(kinds: Kinds, sizes: Sizes) -> Findings:
    """SET into a full cache, and resident memory per key there, against redis allkeys-lfu."""
    what = "SET into a full cache, depth 16"
    limit = sizes.keys_evicting * 64
    shape = Shape(depth=16, get_share=0, keys=sizes.keys_evicting)
    with ExitStack() as stack:
        contenders = [
            Contender(name, stack.enter_context(running(kinds[name], maxmemory=limit, maxmemory_policy=policy)), shape)
            for name, policy in full.POLICIES.items()
            if name in kinds
        ]
        for contender in contenders:
            load.fill(contender.server, shape.keys)
        samples = _rounds(contenders, sizes)
    figures = [figure.to_json() for figure in _against(samples, "yggdrasil", "redis", what, 0.60)]
    overheads, measured = full.memory_per_key(kinds, sizes.keys_evicting, min(_SETTLE_S, sizes.idle_s))
    for state, overhead in overheads.items():
        figures += _own_figure(f"memory beyond key and value, per key, {state}", overhead, "B", 40)
    return {"figures": figures, "details": [detail(name, what, samples[name]) for name in samples], "notes": measured}


def stall(kinds: Kinds, sizes: Sizes) -> Findings:
    """The longest PING while many keys are loaded, less the longest of an idle run."""
    beyond: dict[str, list[float]] = {}
    details = []
    contenders = [kinds[name] for name in ("yggdrasil", "redis") if name in kinds]
    for round_number in range(sizes.stall_rounds):
        for kind in contenders if round_number % 2 == 0 else contenders[::-1]:
            with running(kind) as server:
                with _others(server) as idle_others:
                    idle = load.ask_for(server, sizes.stall_idle_s)
                with _others(server) as loaded_others, load.asking(server) as loaded:
                    fill = load.fill(server, sizes.keys_many, depth=64)
            longest = (loaded["latency_us"]["max"] - idle["latency_us"]["max"]) / 1_000
            beyond.setdefault(kind.name, []).append(round(longest, 3))
            details.append(
                {
                    "server": kind.name,
                    "what": f"PING while {sizes.keys_many:,} keys are loaded",
                    "idle_us": idle["latency_us"],
                    "loaded_us": loaded["latency_us"],
                    "worst": loaded["worst"],
                    "idle_others_busy": idle_others.share,
                    "loaded_others_busy": loaded_others.share,
                    "load_seconds": round(fill["seconds"], 2),
                }
            )
    medians = {name: statistics.median(values) for name, values in beyond.items()}
    rounds = tuple(beyond.get("yggdrasil", ()))
    figures = _own_figure("longest PING while loading, beyond an idle run's", medians, "ms", 2.0, rounds)
    return {"figures": figures, "details": details, "notes": []}


def idle(kinds: Kinds, sizes: Sizes) -> Findings:
    """What connections cost that say nothing; ours with two workers, as it starts on two cores."""
    per_connection: dict[str, float] = {}
    cpu_percent: dict[str, float] = {}
    details = []
    for name, kind in kinds.items():
        with running(kind, shards=2 if kind.ours else 1) as server:
            time.sleep(min(_SETTLE_S, sizes.idle_s))
            before = server.memory()
            with load.idle_connections(server, sizes.idle_connections):
                time.sleep(min(_SETTLE_S, sizes.idle_s))
                cpu, start = server.cpu_seconds(), time.monotonic()
                time.sleep(sizes.idle_s)
                busy = (server.cpu_seconds() - cpu) / (time.monotonic() - start)
                after = server.memory()
        per_connection[name] = round((after.total - before.total) / sizes.idle_connections)
        cpu_percent[name] = round(100 * busy, 2)
        details.append(
            {
                "server": name,
                "what": f"{sizes.idle_connections:,} idle connections over {sizes.idle_s:g} s",
                "empty_mib": _mib(before.total),
                "open_mib": _mib(after.total),
                "bytes_per_connection": per_connection[name],
                "cpu_percent": cpu_percent[name],
            }
        )
    figures = _own_figure("memory of an idle connection", per_connection, "B", 6 * 1024)
    figures += _own_figure("CPU with idle connections", cpu_percent, "%", 1.0)
    return {"figures": figures, "details": details, "notes": []}


def long_values(kinds: Kinds, sizes: Sizes) -> Findings:
    """SET and GET of long values."""
    return long.long_values(
        _and_redis(kinds), bytes_max=sizes.long_bytes_max, bytes_each=sizes.long_bytes, rounds=sizes.rounds
    )


def beside_long(kinds: Kinds, sizes: Sizes) -> Findings:
    """GETs of small values while another client writes or reads values of 64 MiB."""
    size = min(64 * _MIB, sizes.long_bytes_max)
    return beside.beside_long_values(_and_redis(kinds), value_bytes=size, seconds=sizes.stall_idle_s)


def beside_many(kinds: Kinds, sizes: Sizes) -> Findings:
    """GETs while another client reads 10,000 values of 4 KiB at once."""
    keys = min(10_000, sizes.keys_many)
    return beside.beside_many_values(_and_redis(kinds), keys=keys, seconds=sizes.stall_idle_s)


def _and_redis(kinds: Kinds) -> Kinds:
    return {name: kinds[name] for name in ("yggdrasil", "redis") if name in kinds}


def fill_memory(kinds: Kinds, sizes: Sizes) -> Findings:
    """Large values into memory of a Python program."""
    return get_into.get_into(kinds, value_bytes=sizes.large_bytes, rounds=sizes.rounds, seconds=sizes.seconds)


def near_readers(kinds: Kinds, sizes: Sizes) -> Findings:
    """Reads through shared memory."""
    chosen = _and_redis(kinds)
    keys = (sizes.keys, sizes.keys_many)
    views = [min(size, sizes.large_bytes) for size in (20_000, 1_000_000, sizes.large_bytes)]
    return near.near_reads(chosen, keys=keys, view_bytes=views, rounds=min(sizes.rounds, 3), seconds=sizes.seconds)


def commands_of_types(kinds: Kinds, sizes: Sizes) -> Findings:
    """Commands on lists, sets, sorted sets, hashes and streams, and a script."""
    rounds = min(sizes.rounds, 3)
    return of_types.measure(_and_redis(kinds), requests=2 * sizes.keys, keys=sizes.keys, rounds=rounds)


def keeping(kinds: Kinds, sizes: Sizes) -> Findings:
    """Changes that are kept in the log, and how they come back."""
    rounds, seconds = min(sizes.rounds, 5), min(sizes.seconds, 1.0)
    return of_log.measure(_and_redis(kinds), keys=sizes.keys, rounds=rounds, seconds=seconds)


def large_collections(kinds: Kinds, sizes: Sizes) -> Findings:
    """PINGs while large collections are built, read, changed and freed."""
    return of_large.stalls(_and_redis(kinds), members=sizes.keys_many, idle_s=sizes.stall_idle_s)


def waiting_clients(kinds: Kinds, sizes: Sizes) -> Findings:
    """Elements that are handed over to clients that wait for them."""
    elements = min(sizes.keys, 2_000)
    return of_large.handovers(_and_redis(kinds), elements=elements, rounds=sizes.rounds)


def hit_ratios(_kinds: Kinds, sizes: Sizes) -> Findings:
    """The engine's policy in the simulator, against other policies."""
    figures, details = hit_ratio.measure(sizes.generated_requests)
    return {"figures": [figure.to_json() for figure in figures], "details": details, "notes": []}


SCENARIOS = (
    Scenario("get-set", "GET and SET, one worker", get_and_set),
    Scenario("many-keys", "GET over many keys", many_keys),
    Scenario("two-workers", "Two workers against one", two_workers, only_ours=True),
    Scenario("memory", "Memory beyond key and value", memory),
    Scenario("evicting", "SET into a full cache", evicting),
    Scenario("stall", "Longest stall while keys are loaded", stall),
    Scenario("idle", "Idle connections", idle),
    Scenario("long-values", "Long values", long_values),
    Scenario("beside-long-values", "GET beside long values", beside_long),
    Scenario("beside-many-values", "GET beside MGET of many values", beside_many),
    Scenario("get-into", "Large values into memory of a Python program", fill_memory),
    Scenario("near-readers", "Reads through shared memory", near_readers),
    Scenario("types", "Commands of the types, one worker", commands_of_types),
    Scenario("log", "Changes that are kept, one worker", keeping),
    Scenario("large-collections", "PING beside very large collections", large_collections),
    Scenario("waiting", "Elements for clients that wait", waiting_clients),
    Scenario("hit-ratio", "Hit ratio on traces", hit_ratios, only_ours=True),
)


@dataclass(slots=True)
class _Others:
    """What other processes took of the server's core, as a share of the time."""

    share: float = 0.0


@contextmanager
def _others(server: Server) -> Iterator[_Others]:
    others = _Others()
    cpu, core, start = server.cpu_seconds(), processes.core_busy_seconds(SERVER_CPU), time.monotonic()
    yield others
    cpu, core = server.cpu_seconds() - cpu, processes.core_busy_seconds(SERVER_CPU) - core
    others.share = round(max(0.0, core - cpu) / (time.monotonic() - start), 4)


def _fill_and_verify(server: Server, keys: int) -> None:
    load.fill(server, keys)
    load.verify(server, keys)


def _rounds(contenders: Sequence[Contender], sizes: Sizes) -> dict[str, list[Sample]]:
    """The samples of each contender, one a round; odd rounds go backwards."""
    samples: dict[str, list[Sample]] = {contender.name: [] for contender in contenders}
    for contender in contenders:
        load.measure(contender.server, contender.shape, sizes.warm_up_s, seed=1)
    for number in range(sizes.rounds):
        for contender in contenders if number % 2 == 0 else contenders[::-1]:
            sample = load.measure(contender.server, contender.shape, sizes.seconds, seed=number + 2)
            samples[contender.name].append(sample)
    return samples


def _against(samples: dict[str, list[Sample]], ours: str, other: str, what: str, target: float) -> list[Figure]:
    if ours not in samples or other not in samples:
        return []
    return [ratio(f"{what}: CPU per operation of {ours} by that of {other}", samples[ours], samples[other], target)]


def _note(samples: dict[str, list[Sample]], ours: str, other: str, what: str) -> list[str]:
    if ours not in samples or other not in samples:
        return []
    value = statistics.median(ratios(samples[ours], samples[other]))
    return [f"{what}: {ours} by {other}: {value:.2f}"]


def _own_figure(
    name: str, values: dict[str, float], unit: str, target: float, rounds: tuple[float, ...] = ()
) -> list[dict[str, Any]]:
    """Our value with those of the others beside it."""
    if "yggdrasil" not in values:
        return []
    beside = {other: value for other, value in values.items() if other != "yggdrasil"}
    return [Figure(name, values["yggdrasil"], unit, target, rounds, beside).to_json()]


def _mib(size: int) -> float:
    return round(size / 1024**2, 1)
