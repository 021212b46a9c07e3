"""What INFO tells, gathered over all workers."""

import operator
from collections import Counter
from dataclasses import dataclass
from functools import cached_property

from yggdrasil.protocol.memory_use import MemoryUse, ShardUse, processes, use_of
from yggdrasil.protocol.node import CommandContext, Here, Raw, question
from yggdrasil.protocol.processes import Process
from yggdrasil.protocol.services import State


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """What only the worker itself knows."""

    memory: ShardUse
    databases: dict[int, tuple[int, int, int]]
    """Keys, keys with a time to live, and hashes with fields that have one."""
    errors: list[tuple[str, int]]
    waiting: int


@dataclass(frozen=True, slots=True)
class Listeners:
    """What the clients of a worker listen to."""

    channels: list[tuple[Raw, int]]
    sharded_channels: list[tuple[Raw, int]]
    patterns: list[Raw]


@question
def report(here: Here, _asked: None) -> WorkerReport:
    """Of this worker. None of it takes longer with more clients or keys."""
    worker = here.worker
    databases = {db: worker.database_len(db) for db in range(here.databases)}
    return WorkerReport(
        memory=use_of(here),
        databases={db: counts for db, counts in databases.items() if counts[0]},
        errors=worker.errors(),
        waiting=worker.stats()["blocked_clients"],
    )


@question
def listeners(here: Here, _asked: None) -> Listeners:
    """Of this worker."""
    worker = here.worker
    return Listeners(
        channels=worker.channels(None, sharded=False),
        sharded_channels=worker.channels(None, sharded=True),
        patterns=worker.patterns(),
    )


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be gathered for a report, beside what shared memory tells."""

    workers: bool = False
    listeners: bool = False
    state: bool = False
    """The processes."""
    processes: bool = False
    """Memory and time of the processes; needs `state`."""


@dataclass(frozen=True)
class NodeReport:
    """The node at one moment, as far as that was wanted."""

    ctx: CommandContext
    workers: dict[int, WorkerReport]
    listeners: dict[int, Listeners]
    processes: tuple[Process, ...]
    found_state: State | None

    @classmethod
    async def gather(cls, ctx: CommandContext, wanted: Wanted) -> "NodeReport":
        """Asks everyone who is needed."""
        workers = await ctx.broadcast(report, None) if wanted.workers else {}
        listening = await ctx.broadcast(listeners, None) if wanted.listeners else {}
        state = await ctx.services.state() if wanted.state else None
        found = processes(ctx, state) if wanted.processes and state is not None else ()
        return cls(ctx, workers, listening, found, state)

    @property
    def state(self) -> State:
        """Processes and restarts, for a report that wants them."""
        assert self.found_state is not None, "a section that shows processes has to want the state"
        return self.found_state

    @cached_property
    def counters(self) -> dict[int, dict[str, int]]:
        """Counters of each worker."""
        return {shard: self.ctx.worker.counters(shard) for shard in range(self.ctx.worker.shards)}

    def count(self, name: str) -> int:
        """A counter over all workers."""
        return sum(counters[name] for counters in self.counters.values())

    def most(self, name: str) -> int:
        """A gauge of the worker that has the most."""
        return max(counters[name] for counters in self.counters.values())

    def option(self, name: str) -> str:
        """An option, as CONFIG GET prints it."""
        return self.ctx.services.config_get([name]).get(name, "")

    @cached_property
    def memory(self) -> MemoryUse:
        """Over all shards."""
        return MemoryUse({shard: worker.memory for shard, worker in self.workers.items()}, self.processes)

    @cached_property
    def databases(self) -> dict[int, tuple[int, ...]]:
        """Keys, expiring keys and hashes with expiring fields of each logical database that has any."""
        total: dict[int, tuple[int, ...]] = {}
        for worker in self.workers.values():
            for db, counts in worker.databases.items():
                total[db] = tuple(map(operator.add, total.get(db, (0, 0, 0)), counts))
        return dict(sorted(total.items()))

    @cached_property
    def errors(self) -> dict[str, int]:
        """Error replies by prefix."""
        total: Counter[str] = Counter()
        for worker in self.workers.values():
            total.update(dict(worker.errors))
        return dict(sorted(total.items()))

    @cached_property
    def commands(self) -> dict[str, dict[str, int]]:
        """What was counted for each command."""
        total: dict[str, dict[str, int]] = {}
        for shard in range(self.ctx.worker.shards):
            for name, row in self.ctx.worker.stats(shard)["commands"].items():
                counts = total.setdefault(name, dict.fromkeys(("calls", "nanoseconds", "rejected", "failed"), 0))
                for field in counts:
                    counts[field] += row[field]
        return total
