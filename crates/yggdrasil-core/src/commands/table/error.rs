//! Errors of commands, in Redis's words. Whatever an error starts with, up to the first blank, is its prefix.

use crate::keyspace::KeyspaceError;
use crate::resp::Reply;

/// The error that a command answers instead of its reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    #[error("ERR syntax error")]
    Syntax,
    #[error("ERR value is not an integer or out of range")]
    NotAnInteger,
    #[error("ERR value is not a valid float")]
    NotAFloat,
    #[error("ERR increment or decrement would overflow")]
    WouldOverflow,
    #[error("ERR increment would produce NaN or Infinity")]
    WouldBeInfinite,
    #[error("ERR offset is out of range")]
    OffsetOutOfRange,
    #[error("ERR string exceeds maximum allowed size (proto-max-bulk-len)")]
    StringTooLong,
    #[error("ERR invalid expire time in '{0}' command")]
    InvalidExpireTime(&'static str),
    #[error("ERR wrong number of arguments for '{0}' command")]
    WrongArity(&'static str),
    #[error("WRONGTYPE Operation against a key holding the wrong kind of value")]
    WrongType,
    /// The engine fetches the value and runs the command again, where it can.
    #[error("ERR the value of the key is not in memory")]
    NotInMemory,
    #[error("ERR no such key")]
    NoSuchKey,
    #[error("ERR source and destination objects are the same")]
    SameObject,
    #[error("ERR DB index is out of range")]
    DatabaseOutOfRange,
    #[error("BUSYKEY Target key name already exists.")]
    BusyKey,
    #[error("OOM command not allowed when used memory > 'maxmemory'.")]
    OutOfMemory,
    #[error("LOADING Yggdrasil is loading the dataset in memory")]
    Loading,
    #[error("READONLY You can't write against a read only replica.")]
    ReadOnly,
    #[error("ERR {0}")]
    Plain(&'static str),
    /// A whole text that quotes what the client sent, which need not be UTF-8.
    #[error("{}", String::from_utf8_lossy(.0))]
    Text(Box<[u8]>),
}

impl CommandError {
    /// A whole text that was put together.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into().into_bytes().into())
    }

    /// The error of EXEC that executes nothing because of this one.
    #[must_use]
    pub fn of_exec(&self) -> Self {
        Self::text(format!(
            "EXECABORT Transaction discarded because of: {self}"
        ))
    }

    pub fn write(&self, reply: &mut Reply<'_>) {
        match self {
            Self::Text(text) => reply.error_bytes(text),
            error => reply.error(error),
        }
    }
}

impl From<KeyspaceError> for CommandError {
    fn from(error: KeyspaceError) -> Self {
        match error {
            KeyspaceError::OutOfMemory { .. } => Self::OutOfMemory,
            KeyspaceError::ValueTooLarge { .. } => Self::StringTooLong,
            KeyspaceError::WrongKind => Self::WrongType,
            error @ KeyspaceError::LogFull { .. } => Self::text(format!("LOGFULL {error}")),
            error @ KeyspaceError::LogFailed { .. } => Self::text(format!("MISCONF {error}")),
            error @ KeyspaceError::PinLimit { .. } => Self::text(format!("PINLIMIT {error}")),
            other => Self::text(format!("ERR {other}")),
        }
    }
}
