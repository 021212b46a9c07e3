//! Reading another process's shard.
//!
//! The memory is written by someone else, and perhaps by someone mad: every offset and length is checked before use,
//! every loop is bounded, and nothing counts before the sequence check has passed.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crate::lease::Holder;
use crate::shm::ReadOnlyMapping;

use super::bucket::{LAST, Line, fingerprint, line_reference, matches, sequence};
use super::classes::CLASS_BYTES_MAX;
use super::entry::{ExpiryWords, Header, VALUE_BYTES_MAX};
use super::kind::{Encoding, Kind, Value};
use super::layout::{
    EPOCH, LINK, Layout, PAGE_BUCKETS, PAGE_WORDS, State, TXN_SEQ, bucket_word, home_bucket,
};
use super::taking::{Hold, Small, Taking};
use super::types::{EntryView, Key, KeyspaceError, LeasedValue, Millis, ShardShape};

/// Attempts before a read is left to the owner.
pub(super) const ATTEMPTS: usize = 100;
/// Buckets of a chain that are followed.
pub(super) const CHAIN_MAX: usize = 256;
/// Stands for the bucket of an empty database.
pub(super) const NO_BUCKET: u64 = 0;

/// The state that a read saw, which can be compared with a later one.
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
    /// The value is where only its owner finds it: ask the owner.
    AskOwner,
    /// The shard is reserved or being reset, or kept changing: ask its owner.
    Unsettled,
}

/// The result of a read that is not asked later whether it still holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Looked<T> {
    Hit(T),
    Miss,
    /// The key has a value that is no string.
    OtherKind,
    /// As [`Read::AskOwner`].
    AskOwner,
    /// As [`Read::Unsettled`].
    Unsettled,
}

/// A value without its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ValueInfo {
    /// Length of the value as a string.
    pub len: u64,
    /// The integer that the value is, if it is stored as one: then it has no bytes in the arena.
    pub int: Option<i64>,
    pub expire_at: Option<Millis>,
    /// As in [`EntryView`].
    pub version: u64,
    /// True for a value with a run of its own, which can be held.
    pub is_run: bool,
}

/// A value that is held, or copied because it is small.
#[derive(PartialEq, Eq, Debug)]
pub enum Leased {
    Run(LeasedValue),
    Copied(ValueInfo),
    /// The holder has no slot left.
    NoSlot,
}

/// An entry that was found.
pub(super) struct Found {
    pub(super) at: u64,
    pub(super) header: Header,
    kind: Kind,
    encoding: Encoding,
    expire_at: Option<Millis>,
}

/// Why an attempt came to nothing.
pub(super) enum Failure {
    /// Something changed, or made no sense.
    Again,
    /// The owner keeps readers away.
    Closed,
    /// The entry is no string, and the reader wants one.
    OtherKind,
    /// The value is where only its owner finds it.
    AskOwner,
}

/// Reads a shard from outside. It trusts nothing that it finds.
#[derive(Debug)]
pub struct ShardReader {
    pub(super) mapping: ReadOnlyMapping,
    pub(super) layout: Layout,
    pub(super) value_bytes_max: u64,
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
        match self.settle_on(key, now, &mut &mut *scratch) {
            Ok((Some(found), stamp)) => Read::Hit(view(&found, scratch), stamp),
            Ok((None, stamp)) => Read::Miss(stamp),
            Err(Failure::AskOwner) => Read::AskOwner,
            Err(_) => Read::Unsettled,
        }
    }

    /// Looks a key up like [`ShardReader::read`], for a reader that will not ask later whether it still holds.
    pub fn get<'s>(
        &self,
        key: &Key<'_>,
        now: Millis,
        scratch: &'s mut Vec<u8>,
    ) -> Looked<EntryView<'s>> {
        let settled = self.settle_on(key, now, &mut &mut *scratch);
        looked(settled, |found| view(&found, scratch))
    }

    /// Copies a small value to the beginning of `scratch`, which grows as needed; a large one can be held.
    #[inline]
    pub fn look_up(&self, key: &Key<'_>, now: Millis, scratch: &mut Vec<u8>) -> Looked<ValueInfo> {
        let mut number = [0; 8];
        let settled = self.settle_on(key, now, &mut (Small(scratch), &mut number[..]));
        looked(settled, |found| info(&found, number))
    }

    /// Copies a small value to the beginning of `out`, if it fits and is not stored as an integer.
    #[inline]
    pub fn copy_to(&self, key: &Key<'_>, now: Millis, out: &mut [u8]) -> Looked<ValueInfo> {
        let mut number = [0; 8];
        let settled = self.settle_on(key, now, &mut (Small(&mut *out), &mut number[..]));
        looked(settled, |found| info(&found, number))
    }

    /// Describes a key's value.
    #[inline]
    pub fn describe(&self, key: &Key<'_>, now: Millis) -> Looked<ValueInfo> {
        self.copy_to(key, now, &mut [])
    }

    /// Holds the run of a large value of this shard, whose number is `shard`; copies a small one as
    /// [`ShardReader::look_up`] does.
    pub fn lease(
        &self,
        key: &Key<'_>,
        now: Millis,
        shard: usize,
        holder: &mut Holder,
        scratch: &mut Vec<u8>,
    ) -> Looked<Leased> {
        let mut number = [0; 8];
        let mut hold = Hold {
            holder,
            shard,
            small: (scratch, &mut number[..]),
            held: None,
            refused: false,
        };
        let settled = self.settle_on(key, now, &mut hold);
        let (held, refused) = (hold.held.take(), hold.refused);
        looked(settled, |found| match held {
            Some(lease) => Leased::Run(LeasedValue {
                lease,
                offset: found.value_offset(),
                len: found.header.value_bytes(),
                version: found.header.version(),
                expire_at: found.expire_at,
            }),
            None if refused => Leased::NoSlot,
            None => Leased::Copied(info(&found, number)),
        })
    }

    /// Bytes of a value that is held, for a system call to read.
    #[must_use]
    pub fn exposed(&self, offset: u64, len: u64) -> Option<crate::shm::Exposed<'_>> {
        self.mapping.exposed(offset, len)
    }

    /// Copies bytes of a value that is held.
    #[must_use]
    pub fn copy_held(&self, offset: u64, out: &mut [u8]) -> Option<()> {
        self.mapping.copy_out(offset, out)
    }

    /// The bytes of a value that is held; none where it does not lie in this segment.
    #[must_use]
    pub fn leased_bytes<'a>(&'a self, value: &'a LeasedValue) -> &'a [u8] {
        let held = &value.lease;
        self.mapping
            .leased(held, value.offset, value.len)
            .unwrap_or_default()
    }

    #[inline(always)]
    fn settle_on(
        &self,
        key: &Key<'_>,
        now: Millis,
        taking: &mut impl Taking,
    ) -> Result<(Option<Found>, ReadStamp), Failure> {
        for _ in 0..ATTEMPTS {
            match self.attempt(key, now, taking) {
                Err(Failure::Again) => {
                    taking.undo();
                    self.retries.fetch_add(1, Relaxed);
                    std::hint::spin_loop();
                }
                settled => {
                    if !matches!(settled, Ok((Some(_), _))) {
                        taking.undo();
                    }
                    return settled;
                }
            }
        }
        Err(Failure::Again)
    }

    /// True when what a read saw is still so. It is as long as nobody has written there, also while the shard is
    /// reserved: the first that a transaction lets anybody read comes after the last that it writes.
    pub fn still_valid(&self, stamp: &ReadStamp) -> bool {
        self.mapping.settle();
        self.unchanged(stamp).is_some()
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
    pub(super) fn physical(&self, db: u8) -> Option<(u64, u8)> {
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
    pub(super) fn home(&self, physical: u8, state: State, hash: u64) -> Option<u64> {
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
        taking: &mut impl Taking,
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
        let found = self.search(key, &stamp, taking)?;
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
        taking: &mut impl Taking,
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
                if let Some(found) = self.entry(at, key, stamp, taking)? {
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
        taking: &mut impl Taking,
    ) -> Result<Option<Found>, Failure> {
        if at < self.layout.first_data_page * PAGE_WORDS {
            return Err(Failure::Again);
        }
        // The value is fetched from memory together with the header.
        self.mapping.prefetch(at * 8 + 64);
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
        let kind = header.kind().ok_or(Failure::Again)?;
        let encoding = header.encoding();
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
        let is_int = encoding == Encoding::Int;
        if bytes > self.value_bytes_max || is_int && (bytes != 8 || kind != Kind::String) {
            return Err(Failure::Again);
        }
        let found = Found {
            at,
            header,
            kind,
            encoding,
            expire_at,
        };
        if !header.is_string_here() {
            self.check_form(&found, stamp, taking.wants_string())?;
        }
        taking.take(self, &found, stamp)?;
        Ok(Some(found))
    }

    /// Leaves what is no string to those who can read it. Nothing of it counts before the sequence check.
    #[cold]
    fn check_form(
        &self,
        found: &Found,
        stamp: &ReadStamp,
        wants_string: bool,
    ) -> Result<(), Failure> {
        let failure = if wants_string && found.kind != Kind::String {
            Failure::OtherKind
        } else if matches!(found.encoding, Encoding::Tree | Encoding::Absent) {
            Failure::AskOwner
        } else {
            return Ok(());
        };
        self.confirm(stamp).ok_or(Failure::Again)?;
        Err(failure)
    }

    #[inline(always)]
    pub(super) fn copy_out(&self, found: &Found, out: &mut [u8]) -> Result<(), Failure> {
        self.mapping
            .copy_out(found.value_offset(), out)
            .ok_or(Failure::Again)
    }

    /// Checks that nothing has changed that the stamp depends on, and that the shard was not reserved meanwhile.
    #[inline(always)]
    pub(super) fn confirm(&self, stamp: &ReadStamp) -> Option<()> {
        self.mapping.settle();
        let same_reservation = self.mapping.load(TXN_SEQ)? == stamp.txn_seq;
        self.unchanged(stamp).filter(|()| same_reservation)
    }

    #[inline(always)]
    fn unchanged(&self, stamp: &ReadStamp) -> Option<()> {
        let same_shard = self.mapping.load(EPOCH)? == stamp.epoch;
        let same_map = self.mapping.load(self.layout.map(stamp.db))? == stamp.map;
        let state = State(self.mapping.load(self.layout.state(stamp.map as u8))?);
        let same_home = state == stamp.state || same_home(stamp.hash, stamp.state, state);
        let same_bucket =
            stamp.home == NO_BUCKET || self.mapping.load(stamp.home)? == stamp.home_word;
        (same_shard && same_map && same_home && same_bucket).then_some(())
    }
}

/// True when the home bucket of a hash is the same although the number of buckets is not.
#[cold]
pub(super) fn same_home(hash: u64, before: State, after: State) -> bool {
    before.shrinks() == after.shrinks()
        && before.buckets() != 0
        && after.buckets() != 0
        && home_bucket(hash, before.buckets()) == home_bucket(hash, after.buckets())
}

impl Found {
    pub(super) fn is_int(&self) -> bool {
        self.encoding == Encoding::Int
    }

    /// True for a value whose bytes lie in pages of their own, and can be held there. An integer is none, however long
    /// its key is: its bytes are not those that a client sees.
    #[inline(always)]
    pub(super) fn can_be_held(&self) -> bool {
        self.header.total_bytes() > CLASS_BYTES_MAX && !self.is_int()
    }

    #[inline(always)]
    fn value_offset(&self) -> u64 {
        self.at * 8 + self.header.value_offset()
    }
}

#[inline(always)]
fn looked<T>(
    settled: Result<(Option<Found>, ReadStamp), Failure>,
    hit: impl FnOnce(Found) -> T,
) -> Looked<T> {
    match settled {
        Ok((Some(found), _)) => Looked::Hit(hit(found)),
        Ok((None, _)) => Looked::Miss,
        Err(Failure::OtherKind) => Looked::OtherKind,
        Err(Failure::AskOwner) => Looked::AskOwner,
        Err(Failure::Again | Failure::Closed) => Looked::Unsettled,
    }
}

/// `number` is the value of an entry that is stored as an integer.
fn info(found: &Found, number: [u8; 8]) -> ValueInfo {
    let int = found.is_int().then(|| i64::from_le_bytes(number));
    let len = match int {
        Some(int) => itoa::Buffer::new().format(int).len() as u64,
        None => found.header.value_bytes(),
    };
    ValueInfo {
        len,
        int,
        expire_at: found.expire_at,
        version: found.header.version(),
        is_run: found.can_be_held(),
    }
}

fn view<'s>(found: &Found, scratch: &'s [u8]) -> EntryView<'s> {
    let bytes = &scratch[..found.header.value_bytes() as usize];
    let value = Value::from_stored(found.kind, found.encoding, bytes);
    EntryView {
        kind: found.kind,
        value: value.unwrap_or(Value::Bytes(b"")),
        expire_at: found.expire_at,
        version: found.header.version(),
        access: found.header.access(),
        total_bytes: found.header.total_bytes(),
        pinned_until: None,
    }
}
