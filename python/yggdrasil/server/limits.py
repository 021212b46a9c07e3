"""What the system allows, compared with what the configuration wants."""

import os
import resource
from pathlib import Path

import structlog

from yggdrasil._core import ARENA_BYTES_MAX
from yggdrasil.protocol.processes import machine_memory_bytes
from yggdrasil.server.config import Config
from yggdrasil.server.errors import StartError
from yggdrasil.server.option import GIB, readable_size

log = structlog.stdlib.get_logger(__name__)

_CGROUPS = Path("/sys/fs/cgroup")
_FILES_OF_PYTHON = 32
_ADDRESS_SPACE_BYTES = 32768 * GIB


def check_system(config: Config) -> Config:
    """Refuses what cannot work here; what can be adjusted is adjusted with a warning."""
    try:
        os.close(os.memfd_create("yggdrasil-probe", os.MFD_CLOEXEC))
        os.close(os.pidfd_open(os.getpid()))
    except OSError as error:
        raise StartError(
            f"this system lacks memfd_create or pidfd_open ({error.strerror}): Linux 5.3 or newer is needed, "
            "and a sandbox has to allow them"
        ) from None
    _check_memory(config)
    _check_address_space(config)
    return allow_clients(config)


def allow_clients(config: Config) -> Config:
    """Raises the limit on open files to what `maxclients` needs; where that fails, lowers `maxclients`."""
    reserved = files_reserved(config)
    allowed = raise_files_limit(0, config.clients.maxclients + reserved)
    if allowed >= config.clients.maxclients + reserved:
        return config
    if allowed <= reserved:
        raise StartError(
            f"only {allowed} open files are allowed, and a worker needs {reserved} before the first client; "
            "raise the limit (ulimit -n, LimitNOFILE=)"
        )
    log.warning(
        "maxclients is lowered: too few open files are allowed (ulimit -n, LimitNOFILE=)",
        maxclients=config.clients.maxclients,
        maxclients_lowered=allowed - reserved,
        open_files_needed=config.clients.maxclients + reserved,
        open_files_allowed=allowed,
    )
    return config.with_values({"maxclients": allowed - reserved})


def files_reserved(config: Config) -> int:
    """Files that a worker has open beside its clients."""
    listeners = 2 * max(1, len(config.network.bind_addresses)) * (3 if config.tls.port else 1) + 1
    return 2 * config.node.shards + listeners + _FILES_OF_PYTHON


def raise_files_limit(pid: int, wanted: int) -> int:
    """Raises the limit of a process (0: this one) as far as may be; returns the limit now in force."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    infinite = resource.RLIM_INFINITY
    if soft == infinite or soft >= wanted:
        return wanted if soft == infinite else soft
    for limits in ((wanted, max(wanted, hard) if hard != infinite else hard), (min(wanted, hard), hard)):
        try:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        except (ValueError, PermissionError):
            continue
        return limits[0]
    return soft


def arena_bytes(config: Config) -> int:
    """Address space for a shard: many times what it may hold, so that a long run of pages can always be found."""
    most = max(config.memory.maxmemory, machine_memory_bytes())
    wanted = min(8 * most, ARENA_BYTES_MAX, _ADDRESS_SPACE_BYTES // config.node.shards)
    return 1 << (wanted.bit_length() - 1)


def cgroup_memory_bytes(cgroups: Path = _CGROUPS, own: Path = Path("/proc/self/cgroup")) -> int | None:
    """The least memory limit of the control groups this process is in, if there is any."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return None
    limits: list[int] = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root = cgroups / "memory" if controllers else cgroups
        name = "memory.limit_in_bytes" if controllers else "memory.max"
        place = root / group.lstrip("/")
        for folder in (place, *place.parents):
            if folder == root.parent:
                break
            limits.extend(_read_limit(folder / name))
    return min(limits, default=None)


def _read_limit(file: Path) -> list[int]:
    try:
        text = file.read_text().strip()
    except OSError:
        return []
    # Version 1 says "no limit" by a number beyond any memory.
    return [int(text)] if text.isdecimal() and int(text) < 1 << 60 else []


def _check_memory(config: Config) -> None:
    limit = cgroup_memory_bytes()
    if limit is not None and config.memory.maxmemory > limit:
        raise StartError(
            f"maxmemory {readable_size(config.memory.maxmemory)} is more than the {readable_size(limit)} that the "
            "control group of this process may use; lower maxmemory or raise memory.max (MemoryMax=)"
        )
    if config.memory.maxmemory > machine_memory_bytes():
        log.warning(
            "maxmemory is more than the memory of this machine",
            maxmemory=config.memory.maxmemory,
            physical_memory=machine_memory_bytes(),
        )
    if limit is not None and config.memory.maxmemory == 0:
        log.warning("the control group limits memory and maxmemory is not set: set it below", memory_limit=limit)


def _check_address_space(config: Config) -> None:
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit not in (resource.RLIM_INFINITY, -1) and limit < config.node.shards * arena_bytes(config):
        raise StartError(
            f"the address space is limited to {readable_size(limit)} (ulimit -v); it costs no memory: remove the limit"
        )
