//! What can go wrong.

/// Why a read has no answer. A key that is not there is no error.
#[derive(Debug, thiserror::Error)]
pub enum NearError {
    /// The node cannot be read now: it restarts, it is stopped, or it has cut this process off. The next read connects
    /// anew.
    #[error("the node cannot be read through shared memory now: {0}")]
    Unavailable(String),
    /// The shard of the key is in a transaction, or its worker is being replaced, for longer than a read waits.
    #[error(
        "shard {shard} is closed to readers: it is in a transaction, or its worker is being replaced"
    )]
    Busy { shard: usize },
    /// The node does not let this process read, or not this key.
    #[error("the node refuses: {0}")]
    Refused(String),
    /// The key has a value that is no string, or a string that is not in memory: ask a worker for it.
    #[error(
        "the value of this key is no string in memory; only those can be read through shared memory"
    )]
    OtherKind,
    /// As many values are looked at in place as the node allows.
    #[error(
        "{limit} values are looked at in place already; let go of one (option near-leases-max of the node)"
    )]
    TooManyViews { limit: usize },
    /// The value is longer than the buffer it was to be copied to.
    #[error("the value has {needed} bytes and the buffer {given}")]
    BufferTooSmall { needed: u64, given: u64 },
}
