//! A value looked at where it is.

use std::ops::Deref;
use std::sync::Arc;

use yggdrasil_core::keyspace::LeasedValue;

use crate::error::NearError;
use crate::session::Session;

/// The bytes of a value, which stay as they are for as long as this lives. A large value is not copied: its lease keeps
/// the node from using the memory for something else, also when the key is changed or deleted. A small one is a copy.
///
/// The node takes the memory back from a process that keeps it for too long after the value is gone
/// (`near-lease-age`): then [`View::is_valid`] is false and the bytes may be anything.
pub struct View {
    session: Arc<Session>,
    bytes: Bytes,
    version: u64,
}

enum Bytes {
    Held {
        shard: usize,
        /// Taken when the view ends.
        value: Option<LeasedValue>,
    },
    Copied(Vec<u8>),
}

impl View {
    pub(crate) fn held(session: Arc<Session>, shard: usize, value: LeasedValue) -> Self {
        Self {
            version: value.version,
            bytes: Bytes::Held {
                shard,
                value: Some(value),
            },
            session,
        }
    }

    pub(crate) fn copied(session: Arc<Session>, bytes: Vec<u8>, version: u64) -> Self {
        Self {
            version,
            bytes: Bytes::Copied(bytes),
            session,
        }
    }

    /// The version of the value: another one, and the key was written since.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether the bytes are those of the value for sure.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        match &self.bytes {
            Bytes::Held { .. } => self.session.keeps_leases(),
            Bytes::Copied(_) => true,
        }
    }

    /// To be asked after the bytes were copied: whether they were those of the value.
    ///
    /// # Errors
    /// [`NearError::Unavailable`] when the node has taken the memory back meanwhile.
    pub fn check(&self) -> Result<(), NearError> {
        match self.bytes {
            Bytes::Held { .. } => self.session.check_leases(),
            Bytes::Copied(_) => Ok(()),
        }
    }
}

impl Deref for View {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Held {
                shard,
                value: Some(value),
            } => self.session.reader(*shard).leased_bytes(value),
            Bytes::Held { .. } => &[],
            Bytes::Copied(bytes) => bytes,
        }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        if let Bytes::Held { value, .. } = &mut self.bytes
            && let Some(value) = value.take()
        {
            self.session.release(value);
        }
    }
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "View of {} bytes, version {}", self.len(), self.version)
    }
}
