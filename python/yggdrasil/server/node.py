"""A node from start to end: what `yggdrasil serve` runs."""

import asyncio
import contextlib
import ipaddress
import os
import secrets
import shlex
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing

import structlog

from yggdrasil import __version__
from yggdrasil._core import Control, NodeShape
from yggdrasil.server import log as logs
from yggdrasil.server.admin import AdminServer
from yggdrasil.server.config import Config
from yggdrasil.server.config_rewrite import LiveConfig
from yggdrasil.server.config_sources import Loaded
from yggdrasil.server.directory import lock_directory
from yggdrasil.server.errors import StartError
from yggdrasil.server.guests import Guests
from yggdrasil.server.identity import Identity, load_identity
from yggdrasil.server.limits import arena_bytes, check_system
from yggdrasil.server.listeners import Listeners, open_listeners
from yggdrasil.server.log_place import place_logs
from yggdrasil.server.messages import NodeInfo, ShapeInfo
from yggdrasil.server.namespaces import kept_namespaces
from yggdrasil.server.near import NearServer
from yggdrasil.server.notify import Notifier, watchdog_interval_s
from yggdrasil.server.process_title import name_process
from yggdrasil.server.segments import Segments
from yggdrasil.server.snapshots.start import Beginning, find_beginning
from yggdrasil.server.supervisor import Supervisor, install_signals
from yggdrasil.server.tls import check_tls
from yggdrasil.server.users import NodeUsers

log = structlog.stdlib.get_logger(__name__)


def serve(loaded: Loaded) -> int:
    """Runs a node until it is told to stop; returns the exit status."""
    log_format = logs.resolve_form(loaded.config.log.log_format)
    logs.configure(loaded.config.log.loglevel, log_format, "supervisor")
    try:
        with ExitStack() as stack:
            stack.callback(os.close, lock_directory(loaded.config.directory))
            identity = load_identity(loaded.config.directory, loaded.config.node.shards)
            live = LiveConfig(loaded)
            live.config = check_system(_with_kept_namespaces(live.config))
            check_tls(live.config)
            listeners = stack.enter_context(closing(open_listeners(live.config)))
            live.config = _with_chosen_ports(live.config, listeners)
            lock = place_logs(live.config, identity.replication_id)
            if lock is not None:
                stack.callback(os.close, lock)
            beginning = find_beginning(live.config, identity.replication_id)
            shape = _shape(live.config, identity)
            native_shape = NodeShape(**shape.model_dump())
            segments = stack.enter_context(closing(Segments.create(native_shape)))
            users = NodeUsers.of(live.config)
            node, guests = _node_info(live, listeners, identity, beginning), Guests(native_shape)
            name_process("supervisor", node)
            supervisor = Supervisor(
                live=live,
                node=node,
                shape=shape,
                control=Control(native_shape, segments.control, segments.events),
                segments=segments,
                listeners=listeners,
                guests=guests,
                users=users,
                log_format=log_format,
                layout=beginning.layout,
                snapshots=beginning.snapshots,
            )
            near = NearServer(live, node, shape, segments.arenas, guests, users)
            _warn_of_open_access(live.config, users)
            return asyncio.run(_run(supervisor, near, listeners))
    except StartError as error:
        print(f"yggdrasil: {error}", file=sys.stderr)  # noqa: T201 (for whoever started it, whatever the log level)
        return 1


async def _run(supervisor: Supervisor, near: NearServer, listeners: Listeners) -> int:
    notifier = Notifier.from_environment()
    watchdog_s = watchdog_interval_s()
    admin = supervisor.admin = AdminServer(supervisor, supervisor.live.config)
    watchdog: asyncio.Task[None] | None = None
    status = 0
    try:
        install_signals(supervisor)
        if listeners.admin is not None:
            admin.start(listeners.admin)
        if await supervisor.start():
            if listeners.near is not None:
                near.start(listeners.near)
            _announce(supervisor.node)
            notifier.send("READY=1", f"STATUS=serving {_served(supervisor.ready_shards)}")
            if watchdog_s is not None:
                watchdog = asyncio.get_running_loop().create_task(_feed_watchdog(notifier, watchdog_s))
            await supervisor.wait()
        notifier.stopping("finishing requests under way")
        await near.stop()
        drained = await supervisor.drain()
        saved = await supervisor.save()
        status = 0 if drained and saved else 1
    finally:
        notifier.stopping("ending")
        if watchdog is not None:
            watchdog.cancel()
        await near.stop()
        await supervisor.stop()
        await admin.stop()
        notifier.close()
    log.info("stopped")
    return status


def _served(ready: Sequence[bool]) -> str:
    return f"{len(ready)} shards" if all(ready) else f"{sum(ready)} of {len(ready)} shards"


def _announce(node: NodeInfo) -> None:
    """The one line on standard output: whoever started us may wait for it."""
    ports = _joined(node.worker_ports)
    tls = f" tls_port={node.tls_port} tls_worker_ports={_joined(node.tls_worker_ports)}" if node.tls_port else ""
    unix = shlex.quote(node.unixsocket) if node.unixsocket else ""
    line = f"ready port={node.port} worker_ports={ports} admin_port={node.admin_port} unixsocket={unix}{tls}"
    # Not by print: a reader that has gone would spoil our exit status through what is left in its buffer.
    with contextlib.suppress(OSError):
        os.write(sys.stdout.fileno(), f"{line}\n".encode())
    log.info("node is ready", port=node.port, worker_ports=ports, admin_port=node.admin_port, run_id=node.run_id)


def _joined(ports: Sequence[int]) -> str:
    return ",".join(map(str, ports))


async def _feed_watchdog(notifier: Notifier, interval_s: float) -> None:
    while True:
        notifier.send("WATCHDOG=1")
        await asyncio.sleep(interval_s)


def _shape(config: Config, identity: Identity) -> ShapeInfo:
    return ShapeInfo(
        shards=config.node.shards,
        arena_bytes=arena_bytes(config),
        ring_bytes=config.node.ring_size,
        databases=config.node.databases,
        hash_seed=identity.hash_seed,
    )


def _with_kept_namespaces(config: Config) -> Config:
    """What was set at run time holds before what is configured."""
    try:
        kept = kept_namespaces(config.directory)
    except (OSError, ValueError) as error:
        raise StartError(f"namespaces.txt in {config.directory} cannot be used: {error}; mend or remove it") from None
    if kept is None:
        return config
    if config.durability.namespaces not in ("", kept):
        log.warning(
            "namespaces that were set at run time hold instead of those configured; remove namespaces.txt to use these",
            kept=kept,
            configured=config.durability.namespaces,
            directory=str(config.directory),
        )
    return config.with_values({"namespaces": kept})


def _with_chosen_ports(config: Config, listeners: Listeners) -> Config:
    """The configuration as CONFIG GET shall show it: with the ports that were taken, and what auto stands for."""
    chosen: dict[str, int | str] = {"admin-port": listeners.admin_port, "ack": config.ack}
    if listeners.own and tuple(listeners.own_ports) != config.worker_ports:
        chosen["worker-port-base"] = 0
    return config.with_values(chosen)


def _node_info(live: LiveConfig, listeners: Listeners, identity: Identity, beginning: Beginning) -> NodeInfo:
    config, layout = live.config, beginning.layout
    return NodeInfo(
        version=__version__,
        run_id=secrets.token_hex(20),
        replication_id=identity.replication_id,
        shard_ids=tuple(identity.shard_ids[: config.node.shards]),
        supervisor_pid=os.getpid(),
        started_at_ms=time.time_ns() // 1_000_000,
        executable=sys.executable,
        config_file=str(live.file or ""),
        directory=str(config.directory),
        log_directory="" if layout is None else str(layout.directory),
        log_is_begun=layout is not None and layout.is_begun,
        log_directory_before="" if layout is None else layout.directory_before,
        log_shards_before=0 if layout is None else layout.shards_before,
        snapshot_before=beginning.snapshot_before,
        hosts=tuple(listeners.hosts),
        port=config.network.port,
        worker_ports=tuple(listeners.own_ports),
        tls_port=config.tls.port,
        tls_worker_ports=tuple(listeners.tls.own_ports),
        unixsocket=str(config.directory / config.network.unixsocket) if config.network.unixsocket else "",
        admin_port=config.admin.port,
    )


def _warn_of_open_access(config: Config, users: NodeUsers) -> None:
    if not users.is_open or not (config.network.port or config.tls.port):
        return
    addresses = [address.removeprefix("-") for address in config.network.bind_addresses]
    open_to = [one for one in addresses if one in ("*", "::*") or not ipaddress.ip_address(one).is_loopback]
    if open_to:
        log.warning("anyone who reaches this machine may use the node: set requirepass or bind 127.0.0.1", bind=open_to)
