"""The memory of the node: arenas, buffers of clients, processes."""

from dataclasses import dataclass

from yggdrasil.protocol.node import CommandContext, Here, question
from yggdrasil.protocol.processes import Process
from yggdrasil.protocol.services import State

ShardUse = dict[str, int]


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """In bytes, over all shards."""

    shards: dict[int, ShardUse]
    processes: tuple[Process, ...]

    def _sum(self, name: str) -> int:
        return sum(use[name] for use in self.shards.values())

    @property
    def limit(self) -> int:
        """What entries and index may take; 0 without a limit."""
        return self._sum("limit")

    @property
    def used(self) -> int:
        """Arena pages in use."""
        return self._sum("used")

    @property
    def entries(self) -> int:
        """Pages that hold entries."""
        return self._sum("entries")

    @property
    def index(self) -> int:
        """Buckets and directories."""
        return self._sum("index")

    @property
    def dataset(self) -> int:
        """Entries that are there: headers, keys, values."""
        return self._sum("live")

    @property
    def sessions(self) -> int:
        """Buffers of clients."""
        return self._sum("sessions")

    @property
    def heap(self) -> int:
        """Memory of the workers' processes that counts against maxmemory beside keys."""
        return self._sum("heap")

    @property
    def heap_free(self) -> int:
        """What of that nobody uses, and goes back to the system soon."""
        return self._sum("heap_free")

    @property
    def keys(self) -> int:
        """In all databases."""
        return self._sum("keys")

    @property
    def total(self) -> int:
        """Arenas and buffers of clients."""
        return self.used + self.sessions

    @property
    def peak(self) -> int:
        """The most that the arenas had, and the buffers of clients now."""
        return max(self._sum("peak") + self.sessions, self.total)

    @property
    def startup(self) -> int:
        """What the arenas took when they were empty."""
        return self._sum("startup")

    @property
    def overhead(self) -> int:
        """All that is not an entry."""
        return self.total - self.dataset

    @property
    def dataset_percentage(self) -> float:
        """Part of the entries in what came after the start."""
        return 100 * self.dataset / max(self.total - self.startup, 1)

    @property
    def resident(self) -> int:
        """Memory of all processes; shared pages are counted once."""
        return self.used + sum(process.own_bytes for process in self.processes)

    def table(self) -> str:
        """One line a shard."""
        names = ["used", "peak", "entries", "index", "overhead", "live", "keys", "sessions", "heap", "limit"]
        lines = ["shard" + "".join(f"{name:>16}" for name in names)]
        for shard, use in self.shards.items():
            lines.append(f"{shard:>5}" + "".join(f"{use[name]:>16}" for name in names))
        return "\n".join(lines) + "\n"


def use_of(here: Here) -> ShardUse:
    """What the arena of this worker is used for, and the buffers of its clients."""
    return {**here.worker.memory(), "keys": here.keys, "startup": here.startup_bytes}


@question
def shard_memory(here: Here, _asked: None) -> ShardUse:
    """Of this worker."""
    return use_of(here)


async def memory_use(ctx: CommandContext) -> MemoryUse:
    """As it is now."""
    shards = await ctx.broadcast(shard_memory, None)
    return MemoryUse(shards, processes(ctx, await ctx.services.state()))


def processes(ctx: CommandContext, state: State) -> tuple[Process, ...]:
    """Those of the node that are alive: supervisor, steward, then the workers."""
    pids = (ctx.services.node.supervisor_pid, state.steward_pid, *state.pids)
    found = (Process.read(pid) for pid in pids if pid)
    return tuple(process for process in found if process is not None)
