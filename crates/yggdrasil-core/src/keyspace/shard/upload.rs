//! Uploads: values that come in parts, from producers that do not know their length.

use crate::hashing::SeededMap;
use crate::keyspace::events::KeyEvent;
use crate::keyspace::types::{Expiry, Key, KeyspaceError, Millis, hash_key};

use super::{Draft, Shard};

/// Names an upload. The highest byte is the shard that it belongs to.
pub type UploadId = u64;

/// Bits of an id below the shard.
pub const UPLOAD_SERIAL_BITS: u32 = 56;

/// A value under way, invisible until it is committed.
#[derive(Debug)]
struct Upload {
    db: u8,
    key: Box<[u8]>,
    draft: Draft,
    hasher: Box<blake3::Hasher>,
    /// How long the key will live from its commit on, in ms.
    lifetime: Option<Millis>,
    /// When something of it last came.
    active_at: Millis,
    /// Hash with what is being received straight into the pages.
    receiving: Option<Box<blake3::Hasher>>,
}

/// The uploads of a shard.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    by_id: SeededMap<UploadId, Upload>,
}

/// Why an upload does not go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UploadError {
    #[error("no upload has this id: it was committed or aborted, timed out, or never begun")]
    Unknown,
    #[error("another APPEND to this upload is being received")]
    Busy,
    #[error("the upload has BLAKE3 {found}, not {expected}: it was aborted")]
    Hash {
        expected: blake3::Hash,
        found: blake3::Hash,
    },
    #[error(transparent)]
    Keyspace(#[from] KeyspaceError),
}

impl Shard {
    /// Begins an upload under an id that is new. It is to have about `expected` bytes.
    ///
    /// # Errors
    /// As [`Shard::growing_draft`].
    pub fn begin_upload(
        &mut self,
        id: UploadId,
        key: &Key<'_>,
        expected: Option<u64>,
        lifetime: Option<Millis>,
        now: Millis,
    ) -> Result<(), KeyspaceError> {
        let mut draft = self.growing_draft(key.bytes.len(), expected)?;
        self.name_draft(&mut draft, key.bytes);
        let upload = Upload {
            db: key.db,
            key: key.bytes.into(),
            draft,
            hasher: Box::default(),
            lifetime,
            active_at: now,
            receiving: None,
        };
        let before = self.uploads.by_id.insert(id, upload);
        assert!(before.is_none(), "an upload id is given out once");
        Ok(())
    }

    /// True when there is an upload of that id.
    pub fn has_upload(&self, id: UploadId) -> bool {
        self.uploads.by_id.contains_key(&id)
    }

    /// Uploads under way, and the bytes that their values have or are being given.
    pub fn uploads(&self) -> (usize, u64) {
        let bytes = self.uploads.by_id.values();
        let bytes = bytes.map(|upload| upload.draft.filled() + upload.draft.missing());
        (self.uploads.by_id.len(), bytes.sum())
    }

    /// Adds to an upload. Returns its length then.
    ///
    /// # Errors
    /// There is no such upload, or no memory for more: it is as it was then.
    pub fn append_upload(
        &mut self,
        id: UploadId,
        bytes: &[u8],
        now: Millis,
    ) -> Result<u64, UploadError> {
        self.with_upload(id, |shard, upload| {
            if upload.receiving.is_some() {
                return Err(UploadError::Busy);
            }
            shard.extend_draft(&mut upload.draft, bytes.len() as u64)?;
            if let Err(error) = shard.write_draft(&mut upload.draft, 0, bytes) {
                upload.draft.give_up_missing();
                return Err(error.into());
            }
            shard.fill_draft(&mut upload.draft, bytes.len() as u64);
            upload.hasher.update(bytes);
            upload.active_at = now;
            let there = upload.draft.filled();
            shard.give_pieces(&mut upload.draft, there);
            Ok(there)
        })
    }

    /// Begins to receive `len` more bytes straight into the pages of an upload.
    ///
    /// # Errors
    /// As [`Shard::append_upload`]; [`UploadError::Busy`] while others are being received.
    pub fn receive_upload(&mut self, id: UploadId, len: u64) -> Result<(), UploadError> {
        self.with_upload(id, |shard, upload| {
            if upload.receiving.is_some() {
                return Err(UploadError::Busy);
            }
            shard.extend_draft(&mut upload.draft, len)?;
            upload.receiving = Some(upload.hasher.clone());
            Ok(())
        })
    }

    /// Where the next bytes of what is being received belong, `ahead` of them being there.
    ///
    /// # Errors
    /// The upload has gone, or there is no memory for them.
    pub fn upload_landing(
        &mut self,
        id: UploadId,
        ahead: u64,
        at_most: u64,
    ) -> Result<(*mut u8, usize), UploadError> {
        self.with_upload(id, |shard, upload| {
            Ok(shard.landing(&mut upload.draft, ahead, at_most)?)
        })
    }

    /// Takes bytes of what is being received: those at [`Shard::upload_landing`] when `bytes` is `None`.
    ///
    /// # Errors
    /// The upload has gone, or there is no memory for them.
    pub fn upload_received(
        &mut self,
        id: UploadId,
        ahead: u64,
        bytes: Result<&[u8], u64>,
        now: Millis,
    ) -> Result<(), UploadError> {
        self.with_upload(id, |shard, upload| {
            let len = match bytes {
                Ok(bytes) => {
                    shard.write_draft(&mut upload.draft, ahead, bytes)?;
                    bytes.len() as u64
                }
                Err(len) => len,
            };
            let start = upload.draft.filled() + ahead;
            if let Some(hasher) = &mut upload.receiving {
                hasher.update(shard.draft_slice(&upload.draft, start, len));
            }
            shard.give_pieces(&mut upload.draft, start + len);
            upload.active_at = now;
            Ok(())
        })
    }

    /// Ends what was being received: `len` bytes have come whole, or it is forgotten. Returns the length of the upload.
    ///
    /// # Errors
    /// The upload has gone.
    pub fn end_receiving(
        &mut self,
        id: UploadId,
        len: Option<u64>,
        now: Millis,
    ) -> Result<u64, UploadError> {
        self.with_upload(id, |shard, upload| {
            if let (Some(hasher), Some(len)) = (upload.receiving.take(), len) {
                upload.hasher = hasher;
                shard.fill_draft(&mut upload.draft, len);
                upload.active_at = now;
            }
            upload.draft.give_up_missing();
            Self::take_back_pieces(&mut upload.draft);
            Ok(upload.draft.filled())
        })
    }

    /// Makes an upload the value of its key, if it has the expected hash. Returns the version of the value.
    ///
    /// # Errors
    /// There is no such upload, it is still being received, it has another hash, or there is no memory for the index.
    /// In the last two cases it has gone.
    pub fn commit_upload(
        &mut self,
        id: UploadId,
        expected: Option<blake3::Hash>,
        now: Millis,
    ) -> Result<u64, UploadError> {
        let upload = self.uploads.by_id.get(&id).ok_or(UploadError::Unknown)?;
        if upload.receiving.is_some() {
            return Err(UploadError::Busy);
        }
        let upload = self.uploads.by_id.remove(&id).ok_or(UploadError::Unknown)?;
        if let Some(expected) = expected {
            let found = upload.hasher.finalize();
            if found != expected {
                self.abandon(upload.draft);
                return Err(UploadError::Hash { expected, found });
            }
        }
        let key = Key {
            db: upload.db,
            hash: hash_key(self.shape.hash_seed, &upload.key),
            bytes: &upload.key,
        };
        let expiry = upload.lifetime.map_or(Expiry::Clear, |lifetime| {
            Expiry::At(now.saturating_add(lifetime))
        });
        let published = self.publish(upload.draft, &key, expiry, now)?;
        self.notify(KeyEvent::Set, key.db, key.bytes);
        if upload.lifetime.is_some() {
            self.notify(KeyEvent::Expire, key.db, key.bytes);
        }
        Ok(published.version)
    }

    /// Forgets an upload. False when there is none.
    pub fn abort_upload(&mut self, id: UploadId) -> bool {
        match self.uploads.by_id.remove(&id) {
            Some(upload) => {
                self.abandon(upload.draft);
                true
            }
            None => false,
        }
    }

    /// Forgets uploads of which nothing has come since `before`.
    pub fn abort_idle_uploads(&mut self, before: Millis) {
        let uploads = self.uploads.by_id.iter();
        let idle: Vec<UploadId> = uploads
            .filter(|(_, upload)| upload.active_at < before)
            .map(|(id, _)| *id)
            .collect();
        for id in idle {
            self.abort_upload(id);
        }
    }

    fn with_upload<T>(
        &mut self,
        id: UploadId,
        change: impl FnOnce(&mut Self, &mut Upload) -> Result<T, UploadError>,
    ) -> Result<T, UploadError> {
        let mut upload = self.uploads.by_id.remove(&id).ok_or(UploadError::Unknown)?;
        let outcome = change(self, &mut upload);
        self.uploads.by_id.insert(id, upload);
        outcome
    }
}
