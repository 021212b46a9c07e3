"""Options of Redis that have one value here, and second names of options: what CONFIG knows beside our own options."""

from collections.abc import Callable, Mapping

from yggdrasil.server.config import Config

ALIASES: Mapping[str, str] = {
    "hash-max-ziplist-entries": "hash-max-listpack-entries",
    "hash-max-ziplist-value": "hash-max-listpack-value",
    "list-max-ziplist-size": "list-max-listpack-size",
    "zset-max-ziplist-entries": "zset-max-listpack-entries",
    "zset-max-ziplist-value": "zset-max-listpack-value",
    "lua-time-limit": "busy-reply-threshold",
}
"""Second names that Redis has kept for options."""

_VALUES: Mapping[str, str] = {
    # Snapshots and the log have options of their own.
    "save": "",
    "stop-writes-on-bgsave-error": "no",
    "no-appendfsync-on-rewrite": "no",
    "auto-aof-rewrite-percentage": "0",
    "auto-aof-rewrite-min-size": "0",
    # A node always speaks the cluster's protocol, and has no replicas.
    "cluster-enabled": "yes",
    "cluster-require-full-coverage": "no",
    "cluster-allow-reads-when-down": "yes",
    "cluster-preferred-endpoint-type": "ip",
    "replicaof": "",
    "slaveof": "",
    "masterauth": "",
    "masteruser": "",
    "replica-read-only": "yes",
    "slave-read-only": "yes",
    "replica-serve-stale-data": "yes",
    "slave-serve-stale-data": "yes",
    "min-replicas-to-write": "0",
    "min-slaves-to-write": "0",
    "repl-backlog-size": "0",
    # Values are freed in steps, whoever removes them.
    "lazyfree-lazy-eviction": "yes",
    "lazyfree-lazy-expire": "yes",
    "lazyfree-lazy-server-del": "yes",
    "lazyfree-lazy-user-del": "yes",
    "lazyfree-lazy-user-flush": "yes",
    "replica-lazy-flush": "yes",
    "slave-lazy-flush": "yes",
    # Pages are emptied and the index grows in steps, all the time.
    "activedefrag": "no",
    "activerehashing": "yes",
    "list-compress-depth": "0",
    "sanitize-dump-payload": "yes",
    "maxmemory-clients": "0",
    # The processes.
    "daemonize": "no",
    "supervised": "no",
    "io-threads": "1",
    "hz": "10",
    "dynamic-hz": "no",
    "set-proc-title": "yes",
    "pidfile": "",
    "logfile": "",
    "syslog-enabled": "no",
    "crash-log-enabled": "no",
    "always-show-logo": "no",
    "oom-score-adj": "no",
    "shutdown-on-sigterm": "default",
    "shutdown-on-sigint": "default",
    # Nobody is kept from connecting but by bind, passwords and certificates.
    "protected-mode": "no",
    "enable-protected-configs": "no",
    "enable-module-command": "no",
    "bind-source-addr": "",
}

_FSYNC = {"sync": "always", "fast": "everysec", "none": "no"}

_COMPUTED: Mapping[str, Callable[[Config], str]] = {
    "appendonly": lambda config: "yes" if config.has_log else "no",
    "appendfsync": lambda config: _FSYNC[config.ack],
}

_REASONS = {
    "save": "see option snapshot-interval",
    "appendonly": "a node keeps a log, or none, from its start on: see option ack",
    "appendfsync": "see option ack",
}


def names() -> list[str]:
    """The options that have one value while a node runs."""
    return [*_VALUES, *_COMPUTED]


def is_fixed(name: str) -> bool:
    """Whether it is one of these."""
    return name in _VALUES or name in _COMPUTED


def value(config: Config, name: str) -> str:
    """What CONFIG GET shows."""
    return _COMPUTED[name](config) if name in _COMPUTED else _VALUES[name]


def refusal(config: Config, name: str, text: str) -> str | None:
    """Why it cannot be set to this; None where it is that already."""
    known = value(config, name)
    if text.lower() == known.lower():
        return None
    if known in ("yes", "no") and text.lower() not in ("yes", "no"):
        return "argument must be 'yes' or 'no'"
    return _REASONS.get(name, f"it is always '{known}' here")
