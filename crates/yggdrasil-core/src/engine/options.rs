//! Options of the engine, under Redis's names. Values and defaults come from the node's configuration.

use std::sync::Arc;

use crate::commands::KeyLimits;
use crate::keyspace::collection::ListNode;
use crate::keyspace::{EventClasses, EvictionOptions, Packing, PinLimits, Policy};
use crate::namespaces::{Ack, Namespaces};

/// Limits of one class of client on unsent replies; 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputLimit {
    /// Closed at once beyond.
    pub hard_bytes: usize,
    /// Closed when over it for `soft_seconds` on end.
    pub soft_bytes: usize,
    pub soft_seconds: u64,
}

/// Clients that may use commands which are protected, such as DEBUG.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    Nobody,
    /// Clients on this machine.
    Local,
    Everyone,
}

impl Allowed {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "no" => Some(Self::Nobody),
            "local" => Some(Self::Local),
            "yes" => Some(Self::Everyone),
            _ => None,
        }
    }
}

/// A number of bytes, or so many percent of maxmemory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    Bytes(u64),
    Percent(u64),
}

impl Share {
    fn parse(text: &str) -> Option<Self> {
        match text.strip_suffix('%') {
            Some(percent) => percent
                .parse()
                .ok()
                .filter(|percent| *percent <= 100)
                .map(Self::Percent),
            None => text.parse().ok().map(Self::Bytes),
        }
    }

    /// In bytes, of a maxmemory that may be unlimited.
    #[must_use]
    pub fn of(self, maxmemory: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(_) if maxmemory == u64::MAX => u64::MAX,
            Self::Percent(percent) => maxmemory / 100 * percent + maxmemory % 100 * percent / 100,
        }
    }
}

/// Limits of pins as they are configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinOptions {
    pub total: Share,
    pub prefixes: Vec<(Vec<u8>, Share)>,
}

/// Everything that can be set.
#[derive(Clone, Debug)]
pub struct Options {
    pub max_clients: u64,
    /// Seconds after which an idle client is closed; 0 never.
    pub timeout_seconds: u64,
    /// New users may use all channels.
    pub all_channels: bool,
    /// Entries that ACL LOG keeps.
    pub denials_max: usize,
    /// Who may use DEBUG.
    pub debug_allowed: Allowed,
    pub bulk_bytes_max: usize,
    pub query_buffer_bytes_max: usize,
    pub output_normal: OutputLimit,
    pub output_pubsub: OutputLimit,
    /// Microseconds; negative logs nothing, 0 everything.
    pub slowlog_slower_than_us: i64,
    pub slowlog_len_max: usize,
    /// Milliseconds; 0 records nothing.
    pub latency_threshold_ms: u64,
    pub latency_tracking: bool,
    /// Which events of keys are published, and how.
    pub event_classes: EventClasses,
    /// Keys of the node of which is remembered who has read them; 0 for no limit.
    pub tracking_keys_max: usize,
    /// The shard's part of maxmemory in bytes; set by 0 it is unlimited.
    pub memory_limit: u64,
    pub eviction: EvictionOptions,
    /// Up to which size collections are packed.
    pub packing: Packing,
    /// Pinned bytes of the node.
    pub pins: PinOptions,
    /// How long a reader of the shared memory may hold a value that is gone, in milliseconds.
    pub lease_age_max_ms: u64,
    pub huge_pages: bool,
    pub limits: KeyLimits,
    /// Milliseconds after which an upload of which nothing comes is forgotten; 0 never.
    pub upload_timeout_ms: u64,
    /// Milliseconds that a script may hold shards before who waits for them is told; 0 never.
    pub busy_reply_threshold_ms: u64,
    /// Bytes that all scripts of a worker may take together; 0 for no limit.
    pub script_bytes_max: usize,
    /// What is kept of keys without a namespace.
    pub ack: Ack,
    /// What is kept of which keys.
    pub namespaces: Arc<Namespaces>,
}

/// Why a value is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    #[error("'{0}' is not an option of the engine")]
    Unknown(String),
    #[error("{name}: '{value}' is not {expected}")]
    Value {
        name: String,
        value: String,
        expected: &'static str,
    },
}

/// Prefixes of keys with a share each, one after the other.
fn shares(
    text: &str,
    share: impl Fn(&str) -> Result<Share, OptionError>,
) -> Result<Vec<(Vec<u8>, Share)>, OptionError> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let pairs = words.chunks(2).map(|pair| {
        let share = share(pair.get(1).copied().unwrap_or_default())?;
        Ok((pair[0].as_bytes().to_vec(), share))
    });
    pairs.collect()
}

impl Options {
    /// Nothing set, everything zero or empty: to be filled by [`Options::set`] for each of [`Options::NAMES`].
    #[must_use]
    pub fn unset() -> Self {
        Self {
            max_clients: 0,
            timeout_seconds: 0,
            all_channels: false,
            denials_max: 0,
            debug_allowed: Allowed::Nobody,
            bulk_bytes_max: 0,
            query_buffer_bytes_max: 0,
            output_normal: OutputLimit::default(),
            output_pubsub: OutputLimit::default(),
            slowlog_slower_than_us: 0,
            slowlog_len_max: 0,
            latency_threshold_ms: 0,
            latency_tracking: false,
            event_classes: EventClasses::NONE,
            tracking_keys_max: 0,
            memory_limit: 0,
            eviction: EvictionOptions::default(),
            packing: Packing::default(),
            pins: PinOptions {
                total: Share::Bytes(0),
                prefixes: Vec::new(),
            },
            lease_age_max_ms: 0,
            huge_pages: false,
            limits: KeyLimits {
                string_bytes_max: 0,
                databases: 0,
                uploads_max: 0,
                upload_bytes_max: 0,
                pin_milliseconds: 0,
                ..KeyLimits::default()
            },
            upload_timeout_ms: 0,
            busy_reply_threshold_ms: 0,
            script_bytes_max: 0,
            ack: Ack::None,
            namespaces: Arc::default(),
        }
    }

    /// The options an engine wants to be given.
    pub const NAMES: &[&str] = &[
        "maxclients",
        "timeout",
        "acl-pubsub-default",
        "acllog-max-len",
        "enable-debug-command",
        "proto-max-bulk-len",
        "client-query-buffer-limit",
        "client-output-buffer-limit",
        "slowlog-log-slower-than",
        "slowlog-max-len",
        "latency-monitor-threshold",
        "latency-tracking",
        "notify-keyspace-events",
        "tracking-table-max-keys",
        "maxmemory",
        "huge-pages",
        "near-lease-age",
        "stream-upload-timeout",
        "stream-uploads-max",
        "stream-upload-bytes-max",
        "busy-reply-threshold",
        "script-memory-max",
        "maxmemory-policy",
        "maxmemory-samples",
        "lfu-log-factor",
        "lfu-decay-time",
        "maxpinned",
        "maxpinned-prefixes",
        "pin-default-ttl",
        "hash-max-listpack-entries",
        "hash-max-listpack-value",
        "set-max-intset-entries",
        "set-max-listpack-entries",
        "set-max-listpack-value",
        "zset-max-listpack-entries",
        "zset-max-listpack-value",
        "stream-node-max-bytes",
        "stream-node-max-entries",
        "list-max-listpack-size",
        "hll-sparse-max-bytes",
        "ack",
        "namespaces",
    ];

    /// Sets one option; `value` is a number, or for passwords and output limits a text as Redis writes it with sizes
    /// in bytes.
    ///
    /// # Errors
    /// An unknown name, or a value that it cannot have.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), OptionError> {
        let refused = |expected: &'static str| OptionError::Value {
            name: name.into(),
            value: value.into(),
            expected,
        };
        let number = || {
            let number = value.parse::<u64>();
            number.map_err(|_| refused("a number that is not negative"))
        };
        let share = |text: &str| {
            Share::parse(text).ok_or_else(|| refused("bytes or a percentage of maxmemory"))
        };
        match name {
            "maxclients" => self.max_clients = number()?,
            "timeout" => self.timeout_seconds = number()?,
            "acl-pubsub-default" => self.all_channels = value == "allchannels",
            "acllog-max-len" => self.denials_max = number()? as usize,
            "enable-debug-command" => {
                let allowed = Allowed::parse(value);
                self.debug_allowed = allowed.ok_or_else(|| refused("yes, no or local"))?;
            }
            "proto-max-bulk-len" => {
                self.bulk_bytes_max = number()? as usize;
                self.limits.string_bytes_max = number()?;
            }
            "client-query-buffer-limit" => self.query_buffer_bytes_max = number()? as usize,
            "client-output-buffer-limit" => self.set_output_limits(name, value)?,
            "slowlog-log-slower-than" => {
                let slower_than = value.parse();
                self.slowlog_slower_than_us = slower_than.map_err(|_| refused("a number"))?;
            }
            "slowlog-max-len" => self.slowlog_len_max = number()? as usize,
            "latency-monitor-threshold" => self.latency_threshold_ms = number()?,
            "latency-tracking" => self.latency_tracking = number()? != 0,
            "tracking-table-max-keys" => self.tracking_keys_max = number()? as usize,
            "notify-keyspace-events" => {
                let classes = EventClasses::from_letters(value);
                self.event_classes = classes.ok_or_else(|| refused("letters of classes"))?;
            }
            "stream-upload-timeout" => self.upload_timeout_ms = number()?.saturating_mul(1000),
            "stream-uploads-max" => self.limits.uploads_max = number()? as usize,
            "stream-upload-bytes-max" => self.limits.upload_bytes_max = number()?,
            "busy-reply-threshold" => self.busy_reply_threshold_ms = number()?,
            "script-memory-max" => self.script_bytes_max = number()? as usize,
            "maxmemory" => {
                self.memory_limit = Some(number()?)
                    .filter(|&limit| limit != 0)
                    .unwrap_or(u64::MAX)
            }
            "maxmemory-policy" => {
                let policy = Policy::named(value);
                self.eviction.policy = policy.ok_or_else(|| refused("the name of a policy"))?;
            }
            "maxmemory-samples" => self.eviction.samples = number()?.max(1) as usize,
            "lfu-log-factor" => self.eviction.lfu_log_factor = number()? as u32,
            "lfu-decay-time" => self.eviction.lfu_decay_minutes = number()? as u32,
            "maxpinned" => self.pins.total = share(value)?,
            "maxpinned-prefixes" => self.pins.prefixes = shares(value, share)?,
            "pin-default-ttl" => self.limits.pin_milliseconds = number()?.saturating_mul(1000),
            "hll-sparse-max-bytes" => self.limits.hll_sparse_bytes_max = number()? as usize,
            "ack" | "namespaces" => self
                .set_promises(name, value)
                .ok_or_else(|| refused("a promise, or ACK:LOWER:PREFIX of each"))?,
            "huge-pages" => self.huge_pages = number()? != 0,
            "near-lease-age" => self.lease_age_max_ms = number()?.saturating_mul(1000),
            _ => self.set_packing(name, value)?,
        }
        Ok(())
    }

    /// Sets one of the options that say up to which size collections are packed.
    fn set_packing(&mut self, name: &str, value: &str) -> Result<(), OptionError> {
        let packing = &mut self.packing;
        let number = match name {
            "hash-max-listpack-entries" => &mut packing.hash_entries_max,
            "hash-max-listpack-value" => &mut packing.hash_value_bytes_max,
            "set-max-intset-entries" => &mut packing.set_integers_max,
            "set-max-listpack-entries" => &mut packing.set_entries_max,
            "set-max-listpack-value" => &mut packing.set_value_bytes_max,
            "zset-max-listpack-entries" => &mut packing.sorted_set_entries_max,
            "zset-max-listpack-value" => &mut packing.sorted_set_value_bytes_max,
            "stream-node-max-bytes" => &mut packing.stream_node_bytes_max,
            "stream-node-max-entries" => &mut packing.stream_node_entries_max,
            "list-max-listpack-size" => {
                packing.list_node = ListNode::parse(value).ok_or_else(|| OptionError::Value {
                    name: name.into(),
                    value: value.into(),
                    expected: "a number of elements, or -1 to -5 for 4 to 64 KB",
                })?;
                return Ok(());
            }
            _ => return Err(OptionError::Unknown(name.into())),
        };
        *number = value.parse().map_err(|_| OptionError::Value {
            name: name.into(),
            value: value.into(),
            expected: "a number that is not negative",
        })?;
        Ok(())
    }

    /// The limits of pins, for a node of so many shards.
    #[must_use]
    pub fn pin_limits(&self, shards: u64) -> PinLimits {
        let maxmemory = self.memory_limit.saturating_mul(shards);
        let prefixes = self.pins.prefixes.iter();
        PinLimits {
            total: self.pins.total.of(maxmemory),
            prefixes: prefixes
                .map(|(prefix, share)| (prefix.clone(), share.of(maxmemory)))
                .collect(),
        }
    }

    /// Sets what is promised for which keys; `None` where that cannot be read.
    fn set_promises(&mut self, name: &str, value: &str) -> Option<()> {
        if name == "ack" {
            self.ack = Ack::named(value)?;
        } else {
            self.namespaces = Arc::new(Namespaces::parse(value, self.ack)?);
        }
        Some(())
    }

    fn set_output_limits(&mut self, name: &str, value: &str) -> Result<(), OptionError> {
        let refused = || OptionError::Value {
            name: name.into(),
            value: value.into(),
            expected: "groups of: normal|replica|pubsub, hard bytes, soft bytes, soft seconds",
        };
        let words: Vec<&str> = value.split_ascii_whitespace().collect();
        for group in words.chunks(4) {
            let [class, hard, soft, seconds] = group else {
                return Err(refused());
            };
            let limit = OutputLimit {
                hard_bytes: hard.parse().map_err(|_| refused())?,
                soft_bytes: soft.parse().map_err(|_| refused())?,
                soft_seconds: seconds.parse().map_err(|_| refused())?,
            };
            match *class {
                "normal" => self.output_normal = limit,
                "pubsub" => self.output_pubsub = limit,
                "replica" | "slave" => {}
                _ => return Err(refused()),
            }
        }
        Ok(())
    }
}
