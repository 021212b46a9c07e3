"""What a server costs: CPU and memory of all of its processes, read from /proc."""

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_BLOCK_BYTES = 512


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident bytes of several processes, shared pages counted once."""

    anonymous: int
    file: int
    """Of programs and libraries, which others on the machine may share: it changes when those come and go."""
    shared: int

    @property
    def private(self) -> int:
        """What is not shared by these processes with each other."""
        return self.anonymous + self.file

    @property
    def kept(self) -> int:
        """What holds data: everything but programs and libraries."""
        return self.anonymous + self.shared

    @property
    def total(self) -> int:
        """Everything that would be free again without these processes."""
        return self.anonymous + self.file + self.shared


def tree(root: int) -> tuple[int, ...]:
    """`root` and everything below it, in ascending order."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, todo = set[int](), [root]
    while todo:
        pid = todo.pop()
        found.add(pid)
        todo.extend(children.get(pid, ()))
    return tuple(sorted(found))


def cpu_seconds(pids: tuple[int, ...]) -> float:
    """User and system time of the processes."""
    ticks = 0
    for pid in pids:
        fields = _stat(pid)
        if not fields:
            raise ProcessLookupError(f"process {pid} of the server ended while it was measured")
        ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS_PER_SECOND


def core_busy_seconds(core: int) -> float:
    """Time that a core did not idle, with what the hypervisor took from it."""
    lines = Path("/proc/stat").read_text().splitlines()
    fields = next(line.split() for line in lines if line.startswith(f"cpu{core} "))
    user, nice, system, _idle, _waiting, interrupt, soft_interrupt, stolen = map(int, fields[1:9])
    return (user + nice + system + interrupt + soft_interrupt + stolen) / _TICKS_PER_SECOND


def memory(pids: tuple[int, ...]) -> Memory:
    """Proportional share of what is mapped; of memfds all that is allocated, mapped or not.

    Where there are memfds, what is mapped of shared memory does not count: the kernel estimates the shares of a large
    page of which another process has mapped a part, and their sum then exceeds what there is.
    """
    anonymous = file = shared_mapped = 0
    blocks: dict[tuple[int, int], int] = {}
    for pid in pids:
        rollup = _rollup(pid)
        anonymous += rollup["Pss_Anon"]
        file += rollup["Pss_File"]
        shared_mapped += rollup["Pss_Shmem"]
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                if not str(descriptor.readlink()).startswith("/memfd:"):
                    continue
                status = descriptor.stat()
            except FileNotFoundError:
                continue
            blocks[status.st_dev, status.st_ino] = status.st_blocks * _BLOCK_BYTES
    return Memory(anonymous=anonymous, file=file, shared=sum(blocks.values()) or shared_mapped)


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on (the name before it may hold anything)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()


def _rollup(pid: int) -> dict[str, int]:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {name: int(value.split()[0]) * 1024 for name, _, value in (line.partition(":") for line in lines)}
