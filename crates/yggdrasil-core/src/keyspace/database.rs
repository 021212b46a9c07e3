//! A physical database: its buckets, found by linear hashing, and its counts.

use super::layout::{PAGE_BUCKETS, address_mask, bucket_word};

/// Buckets of a database that has any keys.
pub(super) const BUCKETS_MIN: u64 = 16;

/// Keys per bucket above which a bucket is split, in tenths.
const SPLIT_ABOVE_TENTHS: u64 = 65;
/// Keys per bucket below which two are merged, in tenths.
const MERGE_BELOW_TENTHS: u64 = 48;

#[derive(Debug, Default)]
pub(super) struct Database {
    buckets: u64,
    /// Low bits that tell all buckets apart, those included that are not there yet.
    mask: u64,
    /// Index pages, 1,024 buckets each: the owner's copy of the directory.
    pub(super) pages: Vec<u32>,
    pub(super) keys: u64,
    pub(super) expiring: u64,
    /// Keys by hash slot; made with the first buckets.
    pub(super) slot_counts: Option<Box<[u32]>>,
}

impl Database {
    /// The home bucket of a hash as the position of its first word. There are buckets.
    #[inline(always)]
    pub(super) fn home(&self, hash: u64) -> u64 {
        let bucket = hash & self.mask;
        self.bucket(if bucket < self.buckets {
            bucket
        } else {
            bucket & (self.mask >> 1)
        })
    }

    #[inline(always)]
    pub(super) fn buckets(&self) -> u64 {
        self.buckets
    }

    pub(super) fn set_buckets(&mut self, buckets: u64) {
        (self.buckets, self.mask) = (buckets, address_mask(buckets));
    }

    #[inline(always)]
    pub(super) fn bucket(&self, bucket: u64) -> u64 {
        bucket_word(
            u64::from(self.pages[(bucket / PAGE_BUCKETS) as usize]),
            bucket,
        )
    }

    pub(super) fn wants_split(&self) -> bool {
        self.would_split(self.keys)
    }

    /// True where so many keys want more buckets than there are.
    pub(super) fn would_split(&self, keys: u64) -> bool {
        keys.saturating_mul(10) > self.buckets * SPLIT_ABOVE_TENTHS
    }

    pub(super) fn wants_merge(&self) -> bool {
        self.buckets > BUCKETS_MIN && self.keys * 10 < self.buckets * MERGE_BELOW_TENTHS
    }

    /// Takes the contents of the database; an empty one stays.
    pub(super) fn take(&mut self) -> Self {
        let mut slot_counts = self.slot_counts.take();
        slot_counts.iter_mut().for_each(|counts| counts.fill(0));
        std::mem::replace(
            self,
            Self {
                slot_counts,
                ..Self::default()
            },
        )
    }
}
