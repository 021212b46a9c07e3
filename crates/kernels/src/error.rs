//! Errors of the kernels.

/// A reason why bytes cannot be encoded or decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    #[error("{0}")]
    Corrupt(&'static str),
    #[error("{what} has {found} bytes where {expected} are needed")]
    Length {
        what: &'static str,
        expected: u64,
        found: u64,
    },
    #[error("block {0} does not have the hash that its chunk states")]
    Hash(u32),
    #[error("the chunk is a delta, and its base was not given")]
    BaseNeeded,
    #[error("the base given is not the one that the delta was made from")]
    WrongBase,
    #[error("{0}")]
    Parameter(&'static str),
}

pub type Result<T> = std::result::Result<T, KernelError>;
