//! The reasons why a snapshot cannot be taken or read.

use std::io;

use crate::archive::ArchiveFault;
use crate::chunk::ChunkFault;
use crate::manifest::ManifestFault;

/// A reason why a snapshot cannot be taken or read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("{name} cannot be {action}: {source}")]
    Store {
        action: &'static str,
        name: String,
        source: io::Error,
    },
    #[error("{name} is damaged: {fault}")]
    Chunk { name: String, fault: ChunkFault },
    #[error("{name} is damaged: {fault}")]
    Manifest { name: String, fault: ManifestFault },
    #[error("{name} is damaged: {fault}")]
    Archive { name: String, fault: ArchiveFault },
    #[error("{0}")]
    Archived(String),
    #[error("there is no snapshot {0}")]
    Missing(String),
    #[error("shard {shard} kept changing, or was reserved, for {seconds} s")]
    Unsettled { shard: u32, seconds: u64 },
    #[error("shard {0} was emptied by a new worker in the middle of the snapshot")]
    Restarted(u32),
    #[error("the log of shard {shard} cannot be read: {reason}")]
    History { shard: u32, reason: String },
    #[error("the owner of shard {shard} does not give {entries} entries: {reason}")]
    Owner {
        shard: u32,
        entries: usize,
        reason: String,
    },
    #[error("the snapshot was cancelled")]
    Cancelled,
}

impl SnapshotError {
    /// Says which object of a store an error of the system is about.
    pub(crate) fn of_store(
        action: &'static str,
        name: impl Into<String>,
    ) -> impl FnOnce(io::Error) -> Self {
        let name = name.into();
        move |source| Self::Store {
            action,
            name,
            source,
        }
    }
}
