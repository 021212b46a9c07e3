//! Long values in pieces: put together again when a log is read.

use std::collections::HashMap;

use crate::format::{Content, FormatError};

/// The pieces of values whose changes have not come yet.
#[derive(Default, Debug)]
pub struct Pieces {
    open: HashMap<u64, Vec<u8>>,
    whole: Vec<u8>,
}

impl Pieces {
    /// Takes the contents of the next record. A change that stands in pieces is there as a whole afterwards.
    ///
    /// # Errors
    /// Pieces of a change are missing.
    pub fn take(&mut self, content: &Content<'_>) -> Result<(), FormatError> {
        match *content {
            Content::Piece {
                draft,
                offset,
                bytes,
            } => {
                self.add(draft, offset, bytes);
                Ok(())
            }
            Content::Pieced {
                draft,
                len,
                head,
                tail,
            } => {
                let mut value = self.open.remove(&draft).unwrap_or_default();
                if (value.len() as u64) < len {
                    return Err(FormatError::Pieces);
                }
                // What stands behind was forgotten by its client.
                value.truncate(len as usize);
                value.reserve_exact(head.len() + tail.len());
                value.splice(0..0, head.iter().copied());
                value.extend_from_slice(tail);
                self.whole = value;
                Ok(())
            }
            Content::Abandoned { draft } => {
                self.open.remove(&draft);
                Ok(())
            }
            // What a process left unfinished does not reach beyond its end.
            Content::Settled => {
                self.open.clear();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn add(&mut self, draft: u64, offset: u64, bytes: &[u8]) {
        let value = self.open.entry(draft).or_default();
        match usize::try_from(offset) {
            Ok(at) if at <= value.len() => {
                // What stands behind the offset was forgotten by its client.
                value.truncate(at);
                value.extend_from_slice(bytes);
            }
            // It began before the log does. Its change says so, if that is needed.
            _ => drop(self.open.remove(&draft)),
        }
    }

    /// The last change that was put together.
    #[must_use]
    pub fn whole(&self) -> &[u8] {
        &self.whole
    }

    /// The same, which is not needed here any more.
    #[must_use]
    pub fn take_whole(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.whole)
    }

    /// Gives back the memory of a change that is not needed any more.
    pub fn release(&mut self) {
        self.whole = Vec::new();
    }
}
