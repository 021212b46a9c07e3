//! Members that are going to be looked for: their memory is asked for in steps, between which others have their turns.

use super::bucket::Bucket;
use super::{Table, hash_of};
use crate::shm::prefetch_slice;

/// The bucket of a member that is going to be looked for.
#[derive(Clone, Copy, Debug)]
pub struct Ahead<'a> {
    bucket: &'a Bucket,
    hash: u32,
}

impl Table {
    /// First step: finds the bucket that has a member if any has it, and asks for it.
    #[inline]
    #[must_use]
    pub fn look_ahead(&self, member: &[u8]) -> Ahead<'_> {
        let hash = hash_of(self.seed, member);
        let bucket = self.tree.leaf_of(&hash);
        prefetch_slice(std::slice::from_ref(bucket));
        Ahead { bucket, hash }
    }
}

impl Ahead<'_> {
    /// Second step: the bucket is there; asks for the places of its rows.
    #[inline]
    pub fn ask_for_places(&self) {
        self.bucket.ask_for_places();
    }

    /// Third step: the places are there; asks for the row.
    #[inline]
    pub fn ask_for_row(&self) {
        self.bucket.ask_for_row(self.hash);
    }

    #[cfg(test)]
    pub(super) fn get(&self, member: &[u8]) -> Option<&[u8]> {
        self.bucket.get(self.hash, member)
    }
}
