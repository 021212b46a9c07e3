"""INFO: the node in numbers, over all shards, under Redis's names where they mean the same."""

import platform
import time
from collections.abc import Callable, Iterable, Iterator

from yggdrasil._core import COMPATIBLE_VERSION, LOG_PERSISTS, Verbatim
from yggdrasil.protocol.command import command
from yggdrasil.protocol.histogram import histograms
from yggdrasil.protocol.node import CommandContext
from yggdrasil.protocol.node_report import NodeReport, Wanted
from yggdrasil.protocol.processes import machine_memory_bytes
from yggdrasil.protocol.reply import Reply, human_bytes, text

Fields = Iterator[tuple[str, object]]

_DAY_S = 86400
_LRU_CLOCK_MASK = (1 << 24) - 1

# What Redis tells about what a node has not: replicas, forks of the process, rewriting of a log, defragmentation.
# Monitoring reads it.
_NONE_OF_MEMORY = (
    "mem_not_counted_for_evict",
    "mem_replication_backlog",
    "mem_total_replication_buffers",
    "mem_replica_full_sync_buffer",
    "mem_clients_slaves",
    "mem_cluster_links",
    "mem_aof_buffer",
    "mem_overhead_db_hashtable_rehashing",
    "active_defrag_running",
    "lazyfree_pending_objects",
)
_NONE_OF_PERSISTENCE = (
    "current_cow_peak",
    "current_cow_size",
    "current_cow_size_age",
    "rdb_last_cow_size",
    "rdb_last_load_keys_expired",
    "rdb_last_load_keys_loaded",
    "aof_rewrite_scheduled",
    "aof_rewrites_consecutive_failures",
    "aof_last_cow_size",
    "module_fork_in_progress",
    "module_fork_last_cow_size",
)
_NONE_OF_STATS = (
    "total_net_repl_input_bytes",
    "total_net_repl_output_bytes",
    "expired_time_cap_reached_count",
    "evicted_clients",
    "total_eviction_exceeded_time",
    "current_eviction_exceeded_time",
    "sync_full",
    "sync_partial_ok",
    "sync_partial_err",
    "latest_fork_usec",
    "total_forks",
    "migrate_cached_sockets",
    "slave_expires_tracked_keys",
    "active_defrag_hits",
    "active_defrag_misses",
    "active_defrag_key_hits",
    "active_defrag_key_misses",
    "total_active_defrag_time",
    "current_active_defrag_time",
    "io_threaded_reads_processed",
    "io_threaded_writes_processed",
)


def _zeros(names: Iterable[str]) -> Fields:
    return ((name, 0) for name in names)


def _server(node: NodeReport) -> Fields:
    info = node.ctx.services.node
    now_us = time.time_ns() // 1000
    up_s = max(now_us // 1000 - info.started_at_ms, 0) // 1000
    yield "redis_version", COMPATIBLE_VERSION
    yield "redis_git_sha1", "0" * 8
    yield "redis_git_dirty", 0
    yield "yggdrasil_version", info.version
    yield "redis_mode", "standalone"
    yield "os", f"{platform.system()} {platform.release()} {platform.machine()}"
    yield "arch_bits", 64
    yield "monotonic_clock", "POSIX clock_gettime"
    yield "multiplexing_api", "epoll"
    yield "process_id", info.supervisor_pid
    yield "process_supervised", "no"
    yield "steward_process_id", node.state.steward_pid
    yield "worker_process_ids", ",".join(map(str, node.state.pids))
    yield "run_id", info.run_id
    yield "tcp_port", info.port or info.tls_port
    yield "server_time_usec", now_us
    yield "uptime_in_seconds", up_s
    yield "uptime_in_days", up_s // _DAY_S
    yield "hz", 10
    yield "configured_hz", 10
    yield "lru_clock", now_us // 1_000_000 & _LRU_CLOCK_MASK
    yield "io_threads_active", 0
    yield "executable", info.executable
    yield "config_file", info.config_file
    yield "shards", node.ctx.worker.shards
    binds = ",".join(f"bind={host}" for host in info.hosts)
    listeners = [
        f"name={name},{binds},port={port}" for name, port in (("tcp", info.port), ("tls", info.tls_port)) if port
    ]
    if info.unixsocket:
        listeners.append(f"name=unix,bind={info.unixsocket}")
    for number, listener in enumerate(listeners):
        yield f"listener{number}", listener


def _clients(node: NodeReport) -> Fields:
    yield "connected_clients", node.count("connected_clients")
    yield "cluster_connections", 0
    yield "maxclients", node.option("maxclients")
    yield "client_recent_max_input_buffer", node.most("recent_input_buffer_max_bytes")
    yield "client_recent_max_output_buffer", node.most("recent_output_buffer_max_bytes")
    yield "blocked_clients", sum(worker.waiting for worker in node.workers.values())
    yield "tracking_clients", node.count("tracking_clients")
    yield "pubsub_clients", node.count("pubsub_clients")
    yield "watching_clients", node.count("watching_clients")
    yield "monitor_clients", node.count("monitor_clients")
    yield "total_watched_keys", node.count("watched_keys")
    yield "clients_in_timeout_table", node.count("clients_with_timeout")
    yield "total_blocking_keys", node.count("waited_keys")
    yield "total_blocking_keys_on_nokey", node.count("waited_removals")


def _script_memory(node: NodeReport) -> Fields:
    interpreters, scripts = node.count("memory_interpreter_bytes"), node.count("memory_scripts_bytes")
    libraries = node.count("memory_libraries_bytes")
    for name in ("used_memory_vm_eval", "used_memory_lua", "used_memory_vm_total"):
        yield name, interpreters
    yield "used_memory_lua_human", human_bytes(interpreters)
    yield "used_memory_vm_total_human", human_bytes(interpreters)
    yield "used_memory_scripts_eval", scripts
    yield "number_of_cached_scripts", node.most("cached_scripts")
    yield "number_of_functions", node.most("functions")
    yield "number_of_libraries", node.most("libraries")
    yield "used_memory_vm_functions", 0
    yield "used_memory_functions", libraries
    yield "used_memory_scripts", scripts + libraries
    yield "used_memory_scripts_human", human_bytes(scripts + libraries)


def _memory(node: NodeReport) -> Fields:
    use = node.memory
    limit = int(node.option("maxmemory") or 0)
    sizes = {
        "used_memory": use.total,
        "used_memory_rss": use.resident,
        "used_memory_peak": use.peak,
    }
    for name, size in sizes.items():
        yield name, size
        yield f"{name}_human", human_bytes(size)
    yield "used_memory_peak_perc", f"{100 * use.total / max(use.peak, 1):.2f}%"
    yield "used_memory_overhead", use.overhead
    yield "used_memory_startup", use.startup
    yield "used_memory_dataset", use.dataset
    yield "used_memory_dataset_perc", f"{min(use.dataset_percentage, 100):.2f}%"
    yield "allocator_allocated", use.dataset + use.index
    yield "allocator_active", use.entries + use.index
    yield "allocator_resident", use.used
    yield "allocator_muzzy", use.heap_free
    yield "total_system_memory", machine_memory_bytes()
    yield "total_system_memory_human", human_bytes(machine_memory_bytes())
    yield "maxmemory", limit
    yield "maxmemory_human", human_bytes(limit)
    yield "maxmemory_for_keys", use.limit
    yield "maxmemory_for_keys_human", human_bytes(use.limit)
    yield "maxmemory_policy", node.option("maxmemory-policy")
    yield "pinned_keys", node.count("pinned_keys")
    yield "pinned_memory", node.count("pinned_bytes")
    yield "maxpinned", node.option("maxpinned")
    yield from _script_memory(node)
    yield "used_memory_heap", use.heap
    yield "used_memory_heap_free", use.heap_free
    yield "used_memory_huge_pages", node.count("memory_huge_pages_bytes")
    yield "allocator_frag_ratio", f"{use.entries / max(use.dataset, 1):.2f}"
    yield "allocator_frag_bytes", use.entries - use.dataset
    yield "allocator_rss_ratio", f"{use.used / max(use.entries + use.index, 1):.2f}"
    yield "allocator_rss_bytes", use.used - use.entries - use.index
    yield "rss_overhead_ratio", f"{use.resident / max(use.used, 1):.2f}"
    yield "rss_overhead_bytes", use.resident - use.used
    yield "mem_fragmentation_ratio", f"{use.resident / max(use.total, 1):.2f}"
    yield "mem_fragmentation_bytes", use.resident - use.total
    yield "mem_clients_normal", use.sessions
    yield "mem_allocator", "yggdrasil-arena"
    yield from _zeros(_NONE_OF_MEMORY)


def _loading(node: NodeReport) -> Fields:
    """A shard loads while its worker is not ready: at the start of the node, and when it is replaced."""
    state = node.state
    is_loading = any(not ready and shard not in state.failures for shard, ready in enumerate(state.ready))
    yield "loading", int(is_loading)
    if not is_loading:
        return
    loaded, of = (sum(getattr(one, name) for one in state.loading) for name in ("bytes", "of_bytes"))
    began_ms = min((one.began_ms for one in state.loading), default=node.ctx.services.node.started_at_ms)
    yield "loading_start_time", began_ms // 1000
    yield "loading_total_bytes", of
    yield "loading_loaded_bytes", loaded
    yield "loading_loaded_perc", f"{100 * loaded / max(of, 1):.2f}"
    yield "loading_eta_seconds", round(max((one.seconds_left for one in state.loading), default=1))


def _persistence(node: NodeReport) -> Fields:
    yield from _loading(node)
    yield "async_loading", 0
    yield "shards_failed", len(node.state.failures)
    for shard, reason in node.state.failures.items():
        yield f"shard{shard}_failure", reason
    snapshots, node_started_ms = node.state.snapshots, node.ctx.services.node.started_at_ms
    changes = sum(node.counters[shard]["changes"] for shard in node.counters) - sum(snapshots.numbers)
    running_s = time.time() - snapshots.began_ms / 1000 if snapshots.began_ms else -1
    yield "rdb_changes_since_last_save", max(changes, 0)
    yield "rdb_bgsave_in_progress", int(snapshots.began_ms > 0)
    yield "rdb_last_save_time", (snapshots.ended_ms or node_started_ms) // 1000
    yield "rdb_last_bgsave_status", "err" if snapshots.error else "ok"
    yield "rdb_last_bgsave_time_sec", round(snapshots.seconds)
    yield "rdb_current_bgsave_time_sec", round(running_s)
    yield "rdb_saves", snapshots.taken
    written, of = (snapshots.records_written, snapshots.keys_to_write) if snapshots.began_ms else (0, 0)
    yield "current_fork_perc", f"{100 * written / max(of, 1):.2f}"
    yield "current_save_keys_processed", written
    yield "current_save_keys_total", of
    yield "snapshot_last_id", snapshots.id
    yield "snapshot_last_keys", snapshots.keys
    yield "snapshot_last_bytes", snapshots.bytes
    yield "snapshot_last_new_bytes", snapshots.new_bytes
    yield "log_archives", snapshots.archives
    yield "log_archived_bytes", snapshots.archived_bytes
    yield "log_archive_last_status", "err" if snapshots.archive_error else "ok"
    yield "snapshot_records_written", snapshots.records_written
    yield "snapshot_error", snapshots.error
    yield "snapshot_checked_time", snapshots.checked_ms // 1000
    yield "snapshot_damaged_objects", snapshots.damaged
    yield "log_damaged_segments", snapshots.damaged_segments
    # Each snapshot shortens the log, as a rewrite of an AOF does.
    has_log = node.option("appendonly") == "yes"
    yield "aof_enabled", int(has_log)
    yield "aof_rewrite_in_progress", int(has_log and snapshots.began_ms > 0)
    yield "aof_rewrites", snapshots.taken if has_log else 0
    yield "aof_last_rewrite_time_sec", round(snapshots.seconds) if has_log else -1
    yield "aof_current_rewrite_time_sec", round(running_s) if has_log else -1
    yield "aof_last_bgrewrite_status", "err" if has_log and snapshots.error else "ok"
    yield "aof_last_write_status", "err" if node.count("log_error") else "ok"
    yield "aof_current_size", node.count("log_bytes")
    yield "aof_pending_bio_fsync", int(node.count("log_unflushed_bytes") > 0)
    yield "log_ack", node.option("ack")
    yield "log_unflushed_bytes", node.count("log_unflushed_bytes")
    yield "log_syncs", node.count("log_syncs")
    yield "log_waits", node.count("log_waits")
    persists = {counters["log_persist"] for counters in node.counters.values()} - {0}
    yield "log_persist", ",".join(LOG_PERSISTS[number - 1] for number in sorted(persists))
    yield "log_lost_changes", node.count("log_lost_changes")
    yield from _zeros(_NONE_OF_PERSISTENCE)


def _stats(node: NodeReport) -> Fields:
    listeners = node.listeners.values()
    yield "total_connections_received", node.count("connections_received")
    yield "total_commands_processed", node.count("commands_processed")
    yield "instantaneous_ops_per_sec", node.count("commands_per_second")
    yield "total_net_input_bytes", node.count("net_input_bytes")
    yield "total_net_output_bytes", node.count("net_output_bytes")
    yield "instantaneous_input_kbps", f"{node.count('net_input_bytes_per_second') / 1024:.2f}"
    yield "instantaneous_output_kbps", f"{node.count('net_output_bytes_per_second') / 1024:.2f}"
    yield "rejected_connections", node.count("connections_rejected")
    yield "expired_keys", node.count("expired_keys")
    yield "expired_subkeys", node.count("expired_fields")
    yield "evicted_keys", node.count("evicted_keys")
    yield "evicted_scripts", node.count("evicted_scripts")
    yield "admitted_keys", node.count("admitted_keys")
    yield "rejected_keys", node.count("rejected_keys")
    yield "admission_window_bytes", node.count("admission_window_bytes")
    yield "keyspace_hits", node.count("keyspace_hits")
    yield "keyspace_misses", node.count("keyspace_misses")
    yield "pubsub_channels", len({name for worker in listeners for name, _ in worker.channels})
    yield "pubsub_patterns", len({name for worker in listeners for name in worker.patterns})
    yield "pubsubshard_channels", len({name for worker in listeners for name, _ in worker.sharded_channels})
    yield "tracking_total_keys", node.count("tracked_keys")
    yield "tracking_total_items", node.count("tracked_items")
    yield "tracking_total_prefixes", node.count("tracking_prefixes")
    yield "total_error_replies", node.count("error_replies")
    yield "client_query_buffer_limit_disconnections", node.count("client_query_buffer_limit_disconnections")
    yield "client_output_buffer_limit_disconnections", node.count("client_output_buffer_limit_disconnections")
    yield "protocol_errors", node.count("protocol_errors")
    yield "published_messages", node.count("published_messages")
    yield "acl_access_denied_auth", node.count("acl_denied_auth")
    yield "acl_access_denied_cmd", node.count("acl_denied_commands")
    yield "acl_access_denied_key", node.count("acl_denied_keys")
    yield "acl_access_denied_channel", node.count("acl_denied_channels")
    yield "cross_shard_reads", node.count("cross_shard_reads")
    yield "cross_shard_retries", node.count("cross_shard_retries")
    yield "cross_shard_transactions", node.count("transactions")
    yield "ring_requests_sent", node.count("ring_requests_sent")
    yield "ring_stalls", node.count("ring_stalls")
    yield "instantaneous_input_repl_kbps", "0.00"
    yield "instantaneous_output_repl_kbps", "0.00"
    yield "expired_stale_perc", "0.00"
    yield from _zeros(_NONE_OF_STATS)


def _replication(node: NodeReport) -> Fields:
    yield "role", "master"
    yield "connected_slaves", 0
    yield "master_failover_state", "no-failover"
    yield "master_replid", node.ctx.services.node.replication_id
    yield "master_replid2", "0" * 40
    yield "master_repl_offset", 0
    yield "second_repl_offset", -1
    yield "repl_backlog_active", 0
    yield "repl_backlog_size", 0
    yield "repl_backlog_first_byte_offset", 0
    yield "repl_backlog_histlen", 0


def _cpu(node: NodeReport) -> Fields:
    yield "used_cpu_sys", f"{sum(process.system_s for process in node.processes):.6f}"
    yield "used_cpu_user", f"{sum(process.user_s for process in node.processes):.6f}"
    yield "used_cpu_sys_children", "0.000000"
    yield "used_cpu_user_children", "0.000000"
    workers = [process for process in node.processes if process.pid in node.state.pids]
    yield "used_cpu_sys_main_thread", f"{sum(process.system_s for process in workers):.6f}"
    yield "used_cpu_user_main_thread", f"{sum(process.user_s for process in workers):.6f}"


def _modules(_node: NodeReport) -> Fields:
    yield from ()


def _commandstats(node: NodeReport) -> Fields:
    for name, counts in node.commands.items():
        calls, microseconds = counts["calls"], counts["nanoseconds"] // 1000
        yield (
            f"cmdstat_{name}",
            f"calls={calls},usec={microseconds},usec_per_call={counts['nanoseconds'] / 1000 / max(calls, 1):.2f},"
            f"rejected_calls={counts['rejected']},failed_calls={counts['failed']}",
        )


def _errorstats(node: NodeReport) -> Fields:
    for prefix, count in node.errors.items():
        yield f"errorstat_{prefix}", f"count={count}"


def _latencystats(node: NodeReport) -> Fields:
    if node.option("latency-tracking") == "no":
        return
    percents = node.option("latency-tracking-info-percentiles").split()
    for name, histogram in histograms(node.ctx.worker).items():
        shown = ",".join(f"p{percent}={histogram.percentile(float(percent)):.3f}" for percent in percents)
        yield f"latency_percentiles_usec_{name}", shown


def _cluster(_node: NodeReport) -> Fields:
    yield "cluster_enabled", 1


def _shards(node: NodeReport) -> Fields:
    ports = node.ctx.services.node.worker_ports
    for shard, stats in node.counters.items():
        first, last = node.ctx.worker.slots_of_shard(shard)
        yield (
            f"shard{shard}",
            f"pid={node.state.pids[shard]},port={ports[shard] if ports else 0},slots={first}-{last},"
            f"keys={stats['keys']},used_memory={stats['memory_used_bytes']},clients={stats['connected_clients']},"
            f"ops_per_sec={stats['commands_per_second']},loop_lag_us={stats['loop_lag_us']},"
            f"restarts={node.state.restarts[shard]}",
        )


def _keyspace(node: NodeReport) -> Fields:
    for db, (keys, expiring, hashes) in node.databases.items():
        yield f"db{db}", f"keys={keys},expires={expiring},avg_ttl=0,subexpiry={hashes}"


# In the order they are shown in; those that are only shown when asked for are marked.
_SECTIONS: dict[str, tuple[str, Callable[[NodeReport], Fields], bool]] = {
    "server": ("Server", _server, True),
    "clients": ("Clients", _clients, True),
    "memory": ("Memory", _memory, True),
    "persistence": ("Persistence", _persistence, True),
    "stats": ("Stats", _stats, True),
    "replication": ("Replication", _replication, True),
    "cpu": ("CPU", _cpu, True),
    "modules": ("Modules", _modules, True),
    "commandstats": ("Commandstats", _commandstats, False),
    "errorstats": ("Errorstats", _errorstats, True),
    "latencystats": ("Latencystats", _latencystats, False),
    "cluster": ("Cluster", _cluster, True),
    "shards": ("Shards", _shards, True),
    "keyspace": ("Keyspace", _keyspace, True),
}
# What sections need beside the counters in shared memory. Asking workers and the supervisor, and reading what the
# system knows of processes, is most of what INFO costs.
_WORKERS = {"clients", "memory", "errorstats", "keyspace"}
_LISTENERS = {"stats"}
_STATE = {"server", "memory", "persistence", "cpu", "shards"}
_PROCESSES = {"memory", "cpu"}
_GROUPS: dict[str, set[str]] = {
    "default": {name for name, (_, _, always) in _SECTIONS.items() if always},
    "all": set(_SECTIONS),
    "everything": set(_SECTIONS),
}


@command(
    "info",
    arity=-1,
    flags=("loading", "stale", "dangerous"),
    group="server",
    summary="Tells about the node in numbers.",
    since="1.0.0",
    syntax="[section [section ...]]",
    tips=("nondeterministic_output", "request_policy:all_shards", "response_policy:special"),
)
async def info(ctx: CommandContext, args: list[bytes]) -> Reply:
    """The sections asked for, in the order of the table."""
    asked = {text(name).lower() for name in args} or {"default"}
    wanted = {section for name in asked for section in _GROUPS.get(name, {name} & _SECTIONS.keys())}
    if not wanted:
        return Verbatim("")
    node = await NodeReport.gather(ctx, _needs(wanted))
    shown = []
    for name, (title, fields, _) in _SECTIONS.items():
        if name in wanted:
            lines = (f"{field}:{value}\r\n" for field, value in fields(node))
            shown.append(f"# {title}\r\n{''.join(lines)}")
    return Verbatim("\r\n".join(shown))


def _needs(sections: set[str]) -> Wanted:
    return Wanted(
        workers=not sections.isdisjoint(_WORKERS),
        listeners=not sections.isdisjoint(_LISTENERS),
        state=not sections.isdisjoint(_STATE),
        processes=not sections.isdisjoint(_PROCESSES),
    )
