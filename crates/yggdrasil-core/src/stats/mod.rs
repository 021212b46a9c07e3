//! Counters and latency histograms in the control segment.
//!
//! Each worker has one block and is its only writer, so an update is a relaxed load and a relaxed store. Anyone may
//! read at any time without disturbing the writer; a reader sees each number whole, but not all at one moment.

mod block;
mod histogram;

pub(crate) use block::BLOCK_BYTES;
pub use block::{CommandStats, StatsBlock, StatsReader};
pub use histogram::{HISTOGRAM_BUCKETS, bucket_of_ns, bucket_upper_bound_us};

/// Commands with statistics of their own; rows registered beyond it share the last place.
pub const COMMANDS_MAX: usize = 512;

/// What a number means to a reader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CounterKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// One declared number of a worker's block.
#[derive(Clone, Copy, Debug)]
pub struct CounterSpec {
    /// Snake case, with its unit last where it has one.
    pub name: &'static str,
    /// Counter or gauge.
    pub kind: CounterKind,
    /// One line for the metrics page.
    pub help: &'static str,
}

macro_rules! counters {
    ($($(#[$meta:meta])* $variant:ident, $name:literal, $kind:ident, $help:literal;)*) => {
        /// The numbers a worker keeps, one word each, in this order.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(usize)]
        pub enum Counter { $($(#[$meta])* #[doc = $help] $variant,)* }

        /// The declaration of every [`Counter`].
        pub const COUNTERS: &[CounterSpec] = &[
            $(CounterSpec { name: $name, kind: CounterKind::$kind, help: $help },)*
        ];
    };
}

counters! {
    CommandsProcessed, "commands_processed", Counter, "Commands executed";
    ErrorReplies, "error_replies", Counter, "Error replies sent";
    ConnectionsReceived, "connections_received", Counter, "Connections accepted";
    ConnectionsRejected, "connections_rejected", Counter, "Connections refused because of maxclients";
    ConnectedClients, "connected_clients", Gauge, "Open client connections";
    BlockedClients, "blocked_clients", Gauge, "Clients in commands that wait for others";
    TimedClients, "clients_with_timeout", Gauge, "Clients in commands that wait for others for a limited time";
    WaitedKeys, "waited_keys", Gauge, "Keys that clients wait for";
    WaitedRemovals, "waited_removals", Gauge, "Keys whose removal clients wait for, too";
    PubsubClients, "pubsub_clients", Gauge, "Clients that subscribe to something";
    TrackingClients, "tracking_clients", Gauge, "Clients that keep what they have read (CLIENT TRACKING)";
    TrackingBroadcasts, "tracking_broadcast_clients", Gauge, "Clients that hear of all keys with a prefix";
    TrackingPrefixes, "tracking_prefixes", Gauge, "Prefixes that these clients have";
    TrackedKeys, "tracked_keys", Gauge, "Keys of the shard that clients have read and keep";
    TrackedItems, "tracked_items", Gauge, "The same, each as often as there are such clients";
    WatchingClients, "watching_clients", Gauge, "Clients with watched keys";
    WatchedKeys, "watched_keys", Gauge, "Keys that clients watch, each as often as it is watched";
    RecentInputMax, "recent_input_buffer_max_bytes", Gauge, "Longest input that waited to be executed, in the last seconds";
    RecentOutputMax, "recent_output_buffer_max_bytes", Gauge, "Longest output that waited for a client, in the last seconds";
    MonitorClients, "monitor_clients", Gauge, "Clients in MONITOR";
    InputBytes, "net_input_bytes", Counter, "Bytes read from clients";
    OutputBytes, "net_output_bytes", Counter, "Bytes written to clients";
    KeyspaceHits, "keyspace_hits", Counter, "Reads that found their key";
    KeyspaceMisses, "keyspace_misses", Counter, "Reads that did not find their key";
    ExpiredKeys, "expired_keys", Counter, "Keys removed because their time was over";
    ExpiredFields, "expired_fields", Counter, "Fields of hashes removed because their time was over";
    EvictedKeys, "evicted_keys", Counter, "Keys removed to make room";
    Keys, "keys", Gauge, "Keys of the shard, all databases";
    Changes, "changes", Gauge, "Number of the last change of the shard";
    ExpiringKeys, "expiring_keys", Gauge, "Keys of the shard with a time to live";
    MemoryLimit, "memory_limit_bytes", Gauge, "The shard's part of maxmemory, 0 without a limit";
    MemoryHeap, "memory_heap_bytes", Gauge, "Memory of the worker's process that counts against maxmemory beside keys";
    MemoryHeapFree, "memory_heap_free_bytes", Gauge, "What of it nobody uses and the allocator has not given back yet";
    MemoryRoom, "memory_room_bytes", Gauge, "What keys may take of maxmemory, 0 without a limit";
    MemoryUsed, "memory_used_bytes", Gauge, "Arena bytes in use";
    MemoryEntries, "memory_entries_bytes", Gauge, "Bytes of entries";
    MemoryIndex, "memory_index_bytes", Gauge, "Bytes of the index";
    MemoryOverhead, "memory_overhead_bytes", Gauge, "Arena bytes that are neither entry nor index";
    MemoryLeased, "memory_leased_bytes", Gauge, "Bytes of large values that are gone but still looked at by somebody";
    MemoryHuge, "memory_huge_pages_bytes", Gauge, "Arena bytes that lie in huge pages";
    MemoryPeak, "memory_peak_bytes", Gauge, "Highest arena use since start";
    AdmittedKeys, "admitted_keys", Gauge, "New keys that tinylfu kept in place of others, since it is in force";
    RejectedKeys, "rejected_keys", Gauge, "New keys that tinylfu did not keep, since it is in force";
    WindowBytes, "admission_window_bytes", Gauge, "Bytes of entries in the window of tinylfu";
    WindowShare, "admission_window_share", Gauge, "What the window of tinylfu may have of the entries, in 1024ths";
    AdmissionBytes, "memory_admission_bytes", Gauge, "Bytes of the queues and the sketch of tinylfu";
    PinnedKeys, "pinned_keys", Gauge, "Keys that are pinned";
    PinnedBytes, "pinned_bytes", Gauge, "Bytes of entries that are pinned";
    SessionBytes, "memory_sessions_bytes", Gauge, "Buffers of client connections";
    CrossShardReads, "cross_shard_reads", Counter, "Reads of other shards served through shared memory";
    CrossShardRetries, "cross_shard_retries", Counter, "Shared-memory reads that did not settle and went to the owner";
    ShardServes, "shard_serves", Gauge, "1 while the shard has all of its keys and answers for them";
    LogBytes, "log_bytes", Gauge, "Bytes written to the shard's log, over all runs";
    LogUnflushed, "log_unflushed_bytes", Gauge, "Bytes of the log that are not durable yet";
    LogSyncs, "log_syncs", Counter, "Times that the log was made durable";
    LogWaits, "log_waits", Counter, "Requests that waited because too much of the log was not durable";
    LogPersist, "log_persist", Gauge, "How it is made durable: 1 dsync, 2 clwb, 3 clflushopt, 4 clflush, 5 dc cvap, 0 without a log";
    LogErrno, "log_error", Gauge, "The system's error for which the log takes nothing more, 0 for none";
    LogLost, "log_lost_changes", Gauge, "Changes without room in the log that nothing could refuse";
    RequestsSent, "ring_requests_sent", Counter, "Requests sent to other workers";
    RequestsReceived, "ring_requests_received", Counter, "Requests received from other workers";
    RingStalls, "ring_stalls", Counter, "Times a ring had no room";
    RingDepth, "ring_depth_bytes", Gauge, "Bytes waiting in the rings towards this worker";
    Transactions, "transactions", Counter, "Transactions over shards that this worker coordinated";
    Published, "published_messages", Counter, "Messages published through this worker";
    Subscriptions, "subscriptions", Gauge, "Channel and pattern subscriptions of this worker's clients";
    ShardSubscriptions, "shard_subscriptions", Gauge, "Sharded channel subscriptions of this worker's clients";
    LoopLagMicros, "loop_lag_us", Gauge, "How late the last timer of the event loop was";
    LoopLagMaxMicros, "loop_lag_max_us", Gauge, "The latest any timer was since statistics were reset";
    InputLimitDisconnects, "client_query_buffer_limit_disconnections", Counter, "Clients closed over client-query-buffer-limit";
    OutputLimitDisconnects, "client_output_buffer_limit_disconnections", Counter, "Clients closed over client-output-buffer-limit";
    CommandRate, "commands_per_second", Gauge, "Commands executed in the last second";
    InputRate, "net_input_bytes_per_second", Gauge, "Bytes read from clients in the last second";
    OutputRate, "net_output_bytes_per_second", Gauge, "Bytes written to clients in the last second";
    DeniedAuth, "acl_denied_auth", Counter, "Logins with a wrong user or password";
    DeniedCommands, "acl_denied_commands", Counter, "Requests refused because the user may not use the command";
    DeniedKeys, "acl_denied_keys", Counter, "Requests refused because the user may not use a key";
    DeniedChannels, "acl_denied_channels", Counter, "Requests refused because the user may not use a channel";
    CachedScripts, "cached_scripts", Gauge, "Scripts that are known by their hash";
    ScriptBytes, "memory_scripts_bytes", Gauge, "Bytes of the texts of these";
    EvictedScripts, "evicted_scripts", Gauge, "Scripts of EVAL that were forgotten for newer ones";
    InterpreterBytes, "memory_interpreter_bytes", Gauge, "Bytes that the interpreter of scripts has taken";
    Libraries, "libraries", Gauge, "Libraries of functions";
    Functions, "functions", Gauge, "Functions of these";
    FunctionBytes, "memory_libraries_bytes", Gauge, "Bytes of the texts of libraries";
    ProtocolErrors, "protocol_errors", Counter, "Connections closed for a protocol error";
}
