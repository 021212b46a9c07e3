//! Reading another process's shard.
//!
//! The memory is written by someone else, and perhaps by someone mad: every offset and length is checked before use,
//! every loop is bounded, and nothing counts before the sequence check has passed.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crate::shm::ReadOnlyMapping;

use super::arena::Arena;
use super::bucket::{LAST, Line, fingerprint, line_reference, matches, sequence};
use super::entry::{Encoding, ExpiryWords, Header, VALUE_BYTES_MAX};
use super::layout::{
    EPOCH, LINK, Layout, PAGE_BUCKETS, PAGE_WORDS, State, TXN_SEQ, bucket_word, home_bucket,
};
use super::types::{EntryView, Key, KeyspaceError, Kind, Millis, ShardShape, Value};

/// Attempts before a read is left to the owner.
const ATTEMPTS: usize = 100;
/// Buckets of a chain that are followed.
const CHAIN_MAX: usize = 256;
/// Values from here on are checked before they are copied, not only afterwards.
const LARGE_VALUE: u64 = 1024;
/// Stands for the bucket of an empty database.
const NO_BUCKET: u64 = 0;

/// What a read saw, so that it can be asked later whether that still holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadStamp {
    hash: u64,
    epoch: u64,
    txn_seq: u64,
    map: u64,
    state: State,
    home: u64,
    /// First word of the home bucket, with its sequence number.
    home_word: u64,
    db: u8,
}

/// The result of a read from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Read<'s> {
    Hit(EntryView<'s>, ReadStamp),
    Miss(ReadStamp),
    /// The shard is reserved or being reset, or kept changing: ask its owner.
    Unsettled,
}

/// What was found of an entry; its value is in the scratch buffer.
struct Found {
    header: Header,
    encoding: Encoding,
    expire_at: Option<Millis>,
}

/// Why an attempt came to nothing.
enum Failure {
    /// Something changed, or made no sense.
    Again,
    /// The owner keeps readers away.
    Closed,
}

/// Reads a shard from outside. It trusts nothing that it finds.
#[derive(Debug)]
pub struct ShardReader {
    mapping: ReadOnlyMapping,
    layout: Layout,
    value_bytes_max: u64,
    retries: AtomicU64,
}

impl ShardReader {
    /// Fails when the shape is impossible or is not that of the segment.
    pub fn open(
        mapping: ReadOnlyMapping,
        shape: &ShardShape,
    ) -> Result<ShardReader, KeyspaceError> {
        let layout = Layout::of(shape)?;
        if mapping.bytes() != shape.segment_bytes {
            return Err(KeyspaceError::SegmentSize {
                expected: shape.segment_bytes,
                found: mapping.bytes(),
            });
        }
        let value_bytes_max = shape.value_bytes_max.min(VALUE_BYTES_MAX);
        Ok(ShardReader {
            mapping,
            layout,
            value_bytes_max,
            retries: AtomicU64::new(0),
        })
    }

    /// First stage of a batch: asks for the index line of a key.
    #[inline]
    pub fn prefetch_index(&self, key: &Key<'_>) -> u64 {
        let home = self.find_home(key).unwrap_or(NO_BUCKET);
        if home != NO_BUCKET {
            self.mapping.prefetch(home * 8);
        }
        home
    }

    /// Second stage: the index line that the first stage gave is there; asks for the entry that it names.
    #[inline]
    pub fn prefetch_entry(&self, home: u64, hash: u64) {
        if home == NO_BUCKET {
            return;
        }
        let Some(line): Option<Line> = self.mapping.load_line(home) else {
            return;
        };
        let found = matches(line[0], line[1], fingerprint(hash));
        let place = if found == 0 {
            LAST
        } else {
            found.trailing_zeros()
        };
        let at = line_reference(&line, place) & !LINK;
        self.mapping.prefetch(at * 8);
        self.mapping.prefetch(at * 8 + 64);
    }

    /// Looks a key up. The value is copied to `scratch`, whose former contents are lost.
    pub fn read<'s>(&self, key: &Key<'_>, now: Millis, scratch: &'s mut Vec<u8>) -> Read<'s> {
        match self.settle_on(key, now, scratch) {
            Some((Some(found), stamp)) => Read::Hit(view(&found, scratch), stamp),
            Some((None, stamp)) => Read::Miss(stamp),
            None => Read::Unsettled,
        }
    }

    /// As [`ShardReader::read`], for a reader that will not ask later whether it still holds. `None` where that is
    /// [`Read::Unsettled`].
    pub fn get<'s>(
        &self,
        key: &Key<'_>,
        now: Millis,
        scratch: &'s mut Vec<u8>,
    ) -> Option<Option<EntryView<'s>>> {
        let (found, _) = self.settle_on(key, now, scratch)?;
        Some(found.map(|found| view(&found, scratch)))
    }

    #[inline(always)]
    fn settle_on(
        &self,
        key: &Key<'_>,
        now: Millis,
        scratch: &mut Vec<u8>,
    ) -> Option<(Option<Found>, ReadStamp)> {
        for _ in 0..ATTEMPTS {
            match self.attempt(key, now, scratch) {
                Ok(settled) => return Some(settled),
                Err(Failure::Closed) => return None,
                Err(Failure::Again) => {
                    self.retries.fetch_add(1, Relaxed);
                    std::hint::spin_loop();
                }
            }
        }
        None
    }

    /// Whether what a read saw is still so.
    pub fn still_valid(&self, stamp: &ReadStamp) -> bool {
        self.confirm(stamp).is_some()
    }

    /// Keys in a logical database.
    pub fn len(&self, db: u8) -> u64 {
        let keys = || {
            let (_, physical) = self.physical(db)?;
            self.mapping.load(self.layout.keys(physical))
        };
        keys().unwrap_or(0)
    }

    /// How often an attempt had to be repeated, since the reader was opened.
    pub fn retries(&self) -> u64 {
        self.retries.load(Relaxed)
    }

    /// The map word of a logical database and the physical number in it.
    #[inline(always)]
    fn physical(&self, db: u8) -> Option<(u64, u8)> {
        if u16::from(db) >= self.layout.databases {
            return None;
        }
        let map = self.mapping.observe(self.layout.map(db))?;
        let physical = map & 0xffff;
        (physical < u64::from(self.layout.databases)).then_some((map, physical as u8))
    }

    /// The position of a key's home bucket.
    #[inline(always)]
    fn find_home(&self, key: &Key<'_>) -> Option<u64> {
        let (_, physical) = self.physical(key.db)?;
        let state = State(self.mapping.observe(self.layout.state(physical))?);
        self.home(physical, state, key.hash)
    }

    /// The position of the home bucket; [`NO_BUCKET`] in an empty database.
    #[inline(always)]
    fn home(&self, physical: u8, state: State, hash: u64) -> Option<u64> {
        if state.buckets() == 0 {
            return Some(NO_BUCKET);
        }
        let bucket = home_bucket(hash, state.buckets());
        let index = bucket / PAGE_BUCKETS;
        if index >= self.layout.pages {
            return None;
        }
        let (word, shift) = self.layout.directory(physical, index);
        let page = self.mapping.load(word)? >> shift & u64::from(u32::MAX);
        (page >= self.layout.first_data_page && page < self.layout.pages)
            .then(|| bucket_word(page, bucket))
    }

    #[inline(always)]
    fn attempt(
        &self,
        key: &Key<'_>,
        now: Millis,
        scratch: &mut Vec<u8>,
    ) -> Result<(Option<Found>, ReadStamp), Failure> {
        let epoch = self.mapping.observe(EPOCH).ok_or(Failure::Again)?;
        let txn_seq = self.mapping.observe(TXN_SEQ).ok_or(Failure::Again)?;
        if epoch == 0 || epoch & 1 == 1 || txn_seq & 1 == 1 {
            return Err(Failure::Closed);
        }
        let (map, physical) = self.physical(key.db).ok_or(Failure::Again)?;
        let state = State(
            self.mapping
                .observe(self.layout.state(physical))
                .ok_or(Failure::Again)?,
        );
        let home = self.home(physical, state, key.hash).ok_or(Failure::Again)?;
        let home_word = self.mapping.observe(home).ok_or(Failure::Again)?;
        let stamp = ReadStamp {
            hash: key.hash,
            epoch,
            txn_seq,
            map,
            state,
            home,
            home_word,
            db: key.db,
        };
        if home == NO_BUCKET {
            self.confirm(&stamp).ok_or(Failure::Again)?;
            return Ok((None, stamp));
        }
        if sequence(home_word) & 1 == 1 {
            return Err(Failure::Again);
        }
        let found = self.search(key, &stamp, scratch)?;
        self.confirm(&stamp).ok_or(Failure::Again)?;
        let live = found.filter(|found| found.expire_at.is_none_or(|expire_at| expire_at > now));
        Ok((live, stamp))
    }

    /// Follows the chain of a bucket to the key.
    #[inline(always)]
    fn search(
        &self,
        key: &Key<'_>,
        stamp: &ReadStamp,
        scratch: &mut Vec<u8>,
    ) -> Result<Option<Found>, Failure> {
        let mut at_line = stamp.home;
        for _ in 0..CHAIN_MAX {
            let line: Line = self.mapping.load_line(at_line).ok_or(Failure::Again)?;
            let mut places = matches(line[0], line[1], fingerprint(key.hash));
            while places != 0 {
                let at = line_reference(&line, places.trailing_zeros());
                places &= places - 1;
                if at == 0 || at & LINK != 0 {
                    continue;
                }
                if let Some(found) = self.entry(at, key, stamp, scratch)? {
                    return Ok(Some(found));
                }
            }
            let last = line_reference(&line, LAST);
            if last & LINK == 0 {
                return Ok(None);
            }
            at_line = last & !LINK;
        }
        Err(Failure::Again)
    }

    /// Reads the entry at `at` if it has the key.
    #[inline(always)]
    fn entry(
        &self,
        at: u64,
        key: &Key<'_>,
        stamp: &ReadStamp,
        scratch: &mut Vec<u8>,
    ) -> Result<Option<Found>, Failure> {
        if at < self.layout.first_data_page * PAGE_WORDS {
            return Err(Failure::Again);
        }
        let header = Header::load(|n| self.mapping.load(at + n).ok_or(Failure::Again))?;
        if header.key_bytes() != key.bytes.len() as u64 {
            return Ok(None);
        }
        if !self
            .mapping
            .equals(at + header.key_word(), key.bytes)
            .ok_or(Failure::Again)?
        {
            return Ok(None);
        }
        header.kind().ok_or(Failure::Again)?;
        let encoding = header.encoding().ok_or(Failure::Again)?;
        let expire_at = if header.has_expiry() {
            ExpiryWords(
                self.mapping
                    .load_line(at + header.expiry_word())
                    .ok_or(Failure::Again)?,
            )
            .expire_at()
        } else {
            None
        };
        let bytes = header.value_bytes();
        if bytes > self.value_bytes_max || encoding == Encoding::Int && bytes != 8 {
            return Err(Failure::Again);
        }
        if bytes >= LARGE_VALUE {
            self.confirm(stamp).ok_or(Failure::Again)?;
        }
        if (scratch.len() as u64) < bytes {
            scratch.resize(bytes as usize, 0);
        }
        let offset = at * 8 + header.value_offset();
        self.mapping
            .copy_out(offset, &mut scratch[..bytes as usize])
            .ok_or(Failure::Again)?;
        Ok(Some(Found {
            header,
            encoding,
            expire_at,
        }))
    }

    /// Checks that nothing has changed that the stamp depends on.
    #[inline(always)]
    fn confirm(&self, stamp: &ReadStamp) -> Option<()> {
        self.mapping.settle();
        let same_shard = self.mapping.load(EPOCH)? == stamp.epoch
            && self.mapping.load(TXN_SEQ)? == stamp.txn_seq;
        let same_map = self.mapping.load(self.layout.map(stamp.db))? == stamp.map;
        let state = State(self.mapping.load(self.layout.state(stamp.map as u8))?);
        let same_home = state == stamp.state || same_home(stamp.hash, stamp.state, state);
        let same_bucket =
            stamp.home == NO_BUCKET || self.mapping.load(stamp.home)? == stamp.home_word;
        (same_shard && same_map && same_home && same_bucket).then_some(())
    }
}

/// Whether the home bucket of a hash is the same although the number of buckets is not.
#[cold]
fn same_home(hash: u64, before: State, after: State) -> bool {
    before.shrinks() == after.shrinks()
        && before.buckets() != 0
        && after.buckets() != 0
        && home_bucket(hash, before.buckets()) == home_bucket(hash, after.buckets())
}

fn view<'s>(found: &Found, scratch: &'s [u8]) -> EntryView<'s> {
    let bytes = &scratch[..found.header.value_bytes() as usize];
    let value = match found.encoding {
        Encoding::Raw => Value::Bytes(bytes),
        Encoding::Int => Value::Int(i64::from_le_bytes(bytes.try_into().unwrap_or_default())),
    };
    EntryView {
        kind: Kind::String,
        value,
        expire_at: found.expire_at,
        version: found.header.version(),
        access: found.header.access(),
        bytes: Arena::footprint(found.header.total_bytes()),
        pinned_until: None,
    }
}
