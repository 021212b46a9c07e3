//! Places where snapshots lie.

mod folder;

use std::io;
use std::time::Duration;

pub use folder::Folder;

/// An object of a store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stored {
    pub name: String,
    pub bytes: u64,
    /// Time since it was written, where the store knows.
    pub age: Option<Duration>,
}

/// A store of objects: a folder, or a bucket of a cloud.
///
/// Names are paths of two parts: `chunks/...`, `manifests/...`, and those of archived logs.
pub trait Store: Send + Sync {
    /// Gives a whole object, of at most `limit` bytes.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] where there is none, [`io::ErrorKind::InvalidData`] for a longer one.
    fn get(&self, name: &str, limit: u64) -> io::Result<Vec<u8>>;

    /// The same in place of what `bytes` has.
    ///
    /// # Errors
    /// As above.
    fn get_into(&self, name: &str, limit: u64, bytes: &mut Vec<u8>) -> io::Result<()> {
        *bytes = self.get(name, limit)?;
        Ok(())
    }

    /// Writes an object, in place of one that is there: whole or not at all.
    ///
    /// # Errors
    /// It could not be written.
    fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Makes sure that all that was put survives a power cut.
    ///
    /// # Errors
    /// It may not survive.
    fn settle(&self) -> io::Result<()>;

    /// Lists the objects whose names begin with a part and its slash, in the order of their names.
    ///
    /// # Errors
    /// The store does not answer.
    fn list(&self, part: &str) -> io::Result<Vec<Stored>>;

    /// Removes an object, if it is there.
    ///
    /// # Errors
    /// It could not be removed.
    fn remove(&self, name: &str) -> io::Result<()>;
}

/// The refusal of an object that is longer than expected.
pub(crate) fn too_long(limit: u64) -> io::Error {
    let reason = format!("more than the {limit} bytes that it may have");
    io::Error::new(io::ErrorKind::InvalidData, reason)
}
