//! Where things stand in a segment. All of it follows from the shape, nothing from what is in the memory.
//!
//! ```text
//! page 0      header: epoch, txn_seq, number of changes, logical -> physical map, state and key count of each physical
//!             database
//! pages 1..   directories: for each physical database a page number (u32) per 1,024 buckets
//! then        data pages: entries, buckets, runs
//! ```
//! Positions are word indices (8 bytes each); a ref of an entry is one too.

use crate::shm::Mapping;

use super::types::{KeyspaceError, ShardShape};

pub(super) const PAGE_BYTES: u64 = 64 * 1024;
pub(super) const PAGE_WORDS: u64 = PAGE_BYTES / 8;
/// The unit in which the kernel gives memory and takes it back.
pub(super) const BLOCK_BYTES: u64 = Mapping::HOLE_BYTES;
const BLOCK_WORDS: u64 = BLOCK_BYTES / 8;

pub(super) const BUCKET_WORDS: u64 = 8;
pub(super) const PAGE_BUCKETS: u64 = PAGE_WORDS / BUCKET_WORDS;

/// Words of the header. Odd epoch: the arena is being reset. Odd txn_seq: the shard is reserved.
pub(super) const EPOCH: u64 = 8;
pub(super) const TXN_SEQ: u64 = 9;
/// The number of the change that is being made, or was made last: all changes with lower ones are visible.
pub(super) const NUMBER: u64 = 10;
/// Map and state words alternate, so that one line serves both for the first databases.
const MAP: u64 = 16;
const KEYS: u64 = 1024;
/// Words that the header touches.
pub(super) const HEADER_WORDS: u64 = 3 * BLOCK_WORDS;

/// Bits of a ref.
pub(super) const REF_BITS: u32 = 40;
pub(super) const REF_MASK: u64 = (1 << REF_BITS) - 1;
/// Marks the ref in the tenth place of a bucket as a link to an overflow bucket.
pub(super) const LINK: u64 = 1 << (REF_BITS - 1);
/// Bytes of an arena at most, entries and address space for more.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 42;
const _: () = assert!(
    SEGMENT_BYTES_MAX / 8 == LINK,
    "a ref that is no link has its highest bit free"
);

/// Logical databases at most.
pub const DATABASES_MAX: u16 = 256;
const _: () = assert!(MAP + 2 * (DATABASES_MAX as u64) <= KEYS);
const _: () = assert!(KEYS + (DATABASES_MAX as u64) <= HEADER_WORDS);

/// The positions that a shape gives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) databases: u16,
    /// Pages of the segment.
    pub(super) pages: u64,
    /// Words of one directory.
    directory_words: u64,
    pub(super) first_data_page: u64,
}

impl Layout {
    pub(super) fn of(shape: &ShardShape) -> Result<Self, KeyspaceError> {
        if shape.databases == 0 || shape.databases > DATABASES_MAX {
            return Err(KeyspaceError::Shape("1 to 256 databases are possible"));
        }
        if !shape.segment_bytes.is_multiple_of(PAGE_BYTES)
            || shape.segment_bytes > SEGMENT_BYTES_MAX
        {
            return Err(KeyspaceError::Shape(
                "a segment is a multiple of 65536 bytes, at most 4 TiB",
            ));
        }
        let pages = shape.segment_bytes / PAGE_BYTES;
        let directory_words = pages.div_ceil(2).next_multiple_of(BLOCK_WORDS);
        let first_data_page =
            1 + (directory_words * u64::from(shape.databases)).div_ceil(PAGE_WORDS);
        if first_data_page + 1 >= pages {
            return Err(KeyspaceError::Shape(
                "the segment is too small for its databases",
            ));
        }
        Ok(Self {
            databases: shape.databases,
            pages,
            directory_words,
            first_data_page,
        })
    }

    #[inline(always)]
    pub(super) fn map(&self, logical: u8) -> u64 {
        MAP + 2 * u64::from(logical)
    }

    #[inline(always)]
    pub(super) fn state(&self, physical: u8) -> u64 {
        MAP + 2 * u64::from(physical) + 1
    }

    #[inline(always)]
    pub(super) fn keys(&self, physical: u8) -> u64 {
        KEYS + u64::from(physical)
    }

    /// The word that holds a directory entry, and the shift of the entry in it.
    #[inline(always)]
    pub(super) fn directory(&self, physical: u8, index: u64) -> (u64, u32) {
        let word = PAGE_WORDS + u64::from(physical) * self.directory_words + index / 2;
        (word, (index as u32 & 1) * 32)
    }
}

/// The first word of a bucket in its index page.
#[inline(always)]
pub(super) fn bucket_word(page: u64, bucket: u64) -> u64 {
    page * PAGE_WORDS + (bucket % PAGE_BUCKETS) * BUCKET_WORDS
}

/// Number of buckets of a database, and how often it has shrunk: one word, so that both change together.
///
/// Buckets are only ever given up by shrinking, so a reader that finds the same number of shrinks and the same home
/// bucket has read from a bucket that was its own throughout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct State(pub(super) u64);

impl State {
    const BUCKET_BITS: u32 = 36;
    pub(super) const BUCKETS_MAX: u64 = (1 << Self::BUCKET_BITS) - 1;

    pub(super) fn new(buckets: u64, shrinks: u64) -> Self {
        debug_assert!(buckets <= Self::BUCKETS_MAX);
        Self(shrinks << Self::BUCKET_BITS | buckets)
    }

    #[inline(always)]
    pub(super) fn buckets(self) -> u64 {
        self.0 & Self::BUCKETS_MAX
    }

    #[inline(always)]
    pub(super) fn shrinks(self) -> u64 {
        self.0 >> Self::BUCKET_BITS
    }
}

/// The hash bits by which `buckets` buckets (at least 1) are told apart.
#[inline(always)]
pub(super) fn address_mask(buckets: u64) -> u64 {
    u64::MAX >> (buckets | 1).leading_zeros()
}

/// Home bucket of a hash among `buckets` (at least 1), by linear hashing.
#[inline(always)]
pub(super) fn home_bucket(hash: u64, buckets: u64) -> u64 {
    let mask = address_mask(buckets);
    let bucket = hash & mask;
    if bucket < buckets {
        bucket
    } else {
        bucket & (mask >> 1)
    }
}

/// The low hash bits that all keys of a bucket share, as a mask.
#[inline(always)]
pub(super) fn bucket_mask(bucket: u64, buckets: u64) -> u64 {
    let mask = address_mask(buckets);
    let half = (mask >> 1) + 1;
    // A bucket below the split point, or one that a split has made, is told apart by one bit more.
    if bucket < buckets - half || bucket >= half {
        mask
    } else {
        mask >> 1
    }
}

/// The bucket that was split to make `bucket`.
#[inline(always)]
pub(super) fn parent_bucket(bucket: u64) -> u64 {
    bucket & !(1 << bucket.ilog2())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hash_has_one_home() {
        for buckets in 1..200 {
            for hash in 0..1024 {
                let home = home_bucket(hash, buckets);
                assert!(home < buckets);
                let mask = bucket_mask(home, buckets);
                assert_eq!(hash & mask, home & mask);
                let sharing = (0..buckets)
                    .filter(|bucket| hash & bucket_mask(*bucket, buckets) == *bucket)
                    .count();
                assert_eq!(sharing, 1);
            }
        }
    }

    #[test]
    fn growing_by_one_moves_keys_of_one_bucket_only() {
        for buckets in 1..200 {
            for hash in 0..1024 {
                let (before, after) = (home_bucket(hash, buckets), home_bucket(hash, buckets + 1));
                assert!(before == after || (after == buckets && before == parent_bucket(buckets)));
            }
        }
    }

    #[test]
    fn regions_do_not_overlap() {
        let shape = ShardShape {
            databases: 256,
            segment_bytes: SEGMENT_BYTES_MAX,
            memory_limit: 0,
            hash_seed: 0,
            value_bytes_max: 0,
        };
        let layout = Layout::of(&shape).unwrap();
        let (last, _) = layout.directory(255, layout.pages - 1);
        assert!(last < layout.first_data_page * PAGE_WORDS);
        assert!(layout.directory(0, layout.pages - 1).0 < layout.directory(1, 0).0);
        assert!(layout.first_data_page < layout.pages / 50);
        assert!(
            Layout::of(&ShardShape {
                databases: 0,
                ..shape.clone()
            })
            .is_err()
        );
        assert!(
            Layout::of(&ShardShape {
                segment_bytes: 3 * PAGE_BYTES,
                ..shape
            })
            .is_err()
        );
    }
}
