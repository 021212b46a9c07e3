//! Faults of files.

use std::io;

/// A fault of a file of Redis.
#[derive(Debug, thiserror::Error)]
#[error("offset {offset}: {fault}")]
pub struct RdbError {
    /// The place in the file, in bytes.
    pub offset: u64,
    pub fault: Fault,
}

/// What is wrong there.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("{0}")]
    Disk(io::Error),
    #[error("the file ends too early")]
    Short,
    #[error("no file of Redis begins like this")]
    Magic,
    #[error("it is of version {0}, and versions 1 to {max} are read", max = crate::opcode::VERSION_MAX)]
    Version(u32),
    #[error("the checksum of the file is wrong")]
    Checksum,
    #[error("no entry has the type {0}")]
    Type(u8),
    #[error("a value of a module in its old form has no end that others could find")]
    OldModule,
    #[error("functions of a form that was never released")]
    OldFunctions,
    #[error("a length makes no sense")]
    Length,
    #[error("a string of {bytes} bytes, and up to {max} are read")]
    TooLong { bytes: u64, max: u64 },
    #[error("{0} databases")]
    Database(u64),
    #[error("bytes follow behind the end")]
    Trailing,
}
