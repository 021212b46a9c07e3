"""What INFO tells, gathered over all workers."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from yggdrasil.protocol.memory_use import MemoryUse, ShardUse, processes, use_of
from yggdrasil.protocol.node import CommandContext, Here, Raw, question
from yggdrasil.protocol.processes import Process
from yggdrasil.protocol.services import State


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """What only the worker itself knows."""

    memory: ShardUse
    databases: dict[int, tuple[int, int]]
    """Keys, and keys with a time to live."""
    errors: list[tuple[str, int]]
    waiting: int
    watched_keys: int
    input_bytes_max: int
    output_bytes_max: int
    channels: list[tuple[Raw, int]]
    sharded_channels: list[tuple[Raw, int]]
    patterns: list[Raw]


@question
def report(here: Here, _asked: None) -> WorkerReport:
    """Of this worker."""
    worker = here.worker
    databases = {db: worker.database_len(db) for db in range(here.databases)}
    clients = worker.clients()
    return WorkerReport(
        memory=use_of(here),
        databases={db: counts for db, counts in databases.items() if counts[0]},
        errors=worker.errors(),
        waiting=len(here.waiting),
        watched_keys=sum(client["watch"] for client in clients),
        input_bytes_max=max((client["qbuf"] for client in clients), default=0),
        output_bytes_max=max((client["obl"] for client in clients), default=0),
        channels=worker.channels(None, sharded=False),
        sharded_channels=worker.channels(None, sharded=True),
        patterns=worker.patterns(),
    )


@dataclass(frozen=True)
class NodeReport:
    """The whole node at one moment."""

    ctx: CommandContext
    workers: dict[int, WorkerReport]
    processes: tuple[Process, ...]
    state: State

    @classmethod
    async def gather(cls, ctx: CommandContext) -> "NodeReport":
        """Asks everyone."""
        workers = await ctx.broadcast(report, None)
        state = await ctx.services.state()
        return cls(ctx, workers, processes(ctx, state), state)

    @cached_property
    def stats(self) -> dict[int, dict[str, Any]]:
        """Counters of each worker."""
        return {shard: self.ctx.worker.stats(shard) for shard in range(self.ctx.worker.shards)}

    def count(self, name: str) -> int:
        """A counter over all workers."""
        return sum(stats[name] for stats in self.stats.values())

    def option(self, name: str) -> str:
        """An option, as CONFIG GET prints it."""
        return self.ctx.services.config_get([name]).get(name, "")

    @cached_property
    def memory(self) -> MemoryUse:
        """Over all shards."""
        return MemoryUse({shard: worker.memory for shard, worker in self.workers.items()}, self.processes)

    @cached_property
    def databases(self) -> dict[int, tuple[int, int]]:
        """Keys and expiring keys of each logical database that has any."""
        keys: Counter[int] = Counter()
        expiring: Counter[int] = Counter()
        for worker in self.workers.values():
            for db, counts in worker.databases.items():
                keys[db] += counts[0]
                expiring[db] += counts[1]
        return {db: (keys[db], expiring[db]) for db in sorted(keys)}

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
        for stats in self.stats.values():
            for name, row in stats["commands"].items():
                counts = total.setdefault(name, dict.fromkeys(("calls", "nanoseconds", "rejected", "failed"), 0))
                for field in counts:
                    counts[field] += row[field]
        return total
