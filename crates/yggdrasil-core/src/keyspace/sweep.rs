//! Walking over all entries of another process's shard.

use super::bucket::{LAST, Line, line_reference, sequence};
use super::entry::{ExpiryWords, Header};
use super::kind::{Encoding, Kind, Value};
use super::layout::{EPOCH, LINK, NUMBER, PAGE_WORDS, State, TXN_SEQ, bucket_mask, home_bucket};
use super::reader::{ATTEMPTS, CHAIN_MAX, NO_BUCKET, ShardReader, same_home};
use super::shard::scan::cursor_after;
use super::types::{EntryView, Millis, hash_key};

/// Entries from here on are checked before they are copied, not only afterwards.
const LARGE_ENTRY: u64 = 1024;

/// The contents of a bucket, copied. Kept between calls so that memory need not be allocated again.
#[derive(Debug, Default)]
pub struct Swept {
    bytes: Vec<u8>,
    entries: Vec<SweptEntry>,
}

#[derive(Clone, Copy, Debug)]
struct SweptEntry {
    kind: Kind,
    encoding: Encoding,
    expire_at: Option<Millis>,
    version: u64,
    access: u32,
    total_bytes: u64,
    /// Places in the bytes: those of the key, and behind them those of the value.
    start: usize,
    key_bytes: usize,
    value_bytes: usize,
}

/// An entry whose key and value are not copied yet.
#[derive(Clone, Copy)]
struct Seen {
    at: u64,
    header: Header,
    kind: Kind,
    expire_at: Option<Millis>,
}

impl Seen {
    /// Bytes of key and value.
    fn bytes(&self) -> u64 {
        self.header.key_bytes() + self.header.value_bytes()
    }
}

/// The words that a bucket depends on, as they were.
struct Moment {
    epoch: u64,
    txn_seq: u64,
    state: State,
    home: u64,
    home_word: u64,
}

/// True for a key that a scan has come past before it had this cursor.
#[must_use]
pub fn is_before(hash_seed: u64, key: &[u8], cursor: u64) -> bool {
    // A scan goes through hashes by their lowest bits first, whatever the number of buckets.
    hash_key(hash_seed, key).reverse_bits() < cursor.reverse_bits()
}

impl ShardReader {
    /// The number of the last change that may be visible; all before it are.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.mapping.load(NUMBER).unwrap_or(0)
    }

    /// Looks at the shard at a moment at which no transaction is changing it; `None` while one is, or where one has begun
    /// or ended meanwhile. Whatever the log has up to the number that is read then, it has as a whole.
    pub fn between_transactions<T>(&self, look: impl FnOnce(&Self) -> T) -> Option<T> {
        let txn_seq = self.mapping.observe(TXN_SEQ)?;
        if txn_seq & 1 == 1 {
            return None;
        }
        let seen = look(self);
        self.mapping.settle();
        (self.mapping.load(TXN_SEQ)? == txn_seq).then_some(seen)
    }

    /// The physical number of each logical database.
    #[must_use]
    pub fn map(&self) -> Vec<u8> {
        let logical = (0..=u8::MAX).take(usize::from(self.layout.databases));
        logical
            .filter_map(|db| Some(self.physical(db)?.1))
            .collect()
    }

    /// The state of the arena: odd while it is being emptied, another one after each time, 0 before the first.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.mapping.observe(EPOCH).unwrap_or(0)
    }

    /// Visits all entries of a bucket of a physical database, expired ones included, and returns the next cursor; 0
    /// begins and ends. What is there during the whole of a scan is visited at least once, as it is at some moment of
    /// it; the entries of a call are of one moment. A value that only the owner finds is given as the entry has it.
    /// `None` where the shard is reserved or keeps changing: try again.
    pub fn scan(
        &self,
        physical: u8,
        cursor: u64,
        swept: &mut Swept,
        visit: &mut dyn FnMut(&[u8], &EntryView<'_>),
    ) -> Option<u64> {
        self.scan_since(physical, cursor, 0, swept, visit)
    }

    /// Visits, like [`ShardReader::scan`], what has a version of `since` or a later one. Nothing else is copied.
    pub fn scan_since(
        &self,
        physical: u8,
        cursor: u64,
        since: u64,
        swept: &mut Swept,
        visit: &mut dyn FnMut(&[u8], &EntryView<'_>),
    ) -> Option<u64> {
        if u16::from(physical) >= self.layout.databases {
            return Some(0);
        }
        let next = (0..ATTEMPTS).find_map(|_| {
            let swept = self.sweep(physical, cursor, since, swept);
            if swept.is_none() {
                std::hint::spin_loop();
            }
            swept
        })?;
        for entry in &swept.entries {
            let bytes = &swept.bytes[entry.start..];
            let (key, rest) = bytes.split_at(entry.key_bytes);
            let bytes = &rest[..entry.value_bytes];
            let value = Value::from_stored(entry.kind, entry.encoding, bytes)?;
            let view = EntryView {
                kind: entry.kind,
                value,
                expire_at: entry.expire_at,
                version: entry.version,
                access: entry.access,
                total_bytes: entry.total_bytes,
                pinned_until: None,
            };
            visit(key, &view);
        }
        Some(next)
    }

    /// Copies what hangs on the bucket of a cursor and has changed. Returns the next cursor.
    fn sweep(&self, physical: u8, cursor: u64, since: u64, swept: &mut Swept) -> Option<u64> {
        swept.bytes.clear();
        swept.entries.clear();
        let moment = self.moment(physical, cursor)?;
        let buckets = moment.state.buckets();
        if moment.home == NO_BUCKET {
            return self.is_same(physical, cursor, &moment).then_some(0);
        }
        let mut at_line = moment.home;
        for _ in 0..CHAIN_MAX {
            let line: Line = self.mapping.load_line(at_line)?;
            for place in 0..=LAST {
                let at = line_reference(&line, place);
                if at != 0 && at & LINK == 0 {
                    let entry = self.entry_at(at)?;
                    if entry.header.version() < since {
                        continue;
                    }
                    let is_sure =
                        entry.bytes() < LARGE_ENTRY || self.is_same(physical, cursor, &moment);
                    if !is_sure || !self.copy_entry(entry, swept) {
                        return None;
                    }
                }
            }
            let last = line_reference(&line, LAST);
            if last & LINK == 0 {
                let bucket = home_bucket(cursor, buckets);
                let next = cursor_after(bucket, bucket_mask(bucket, buckets));
                return self.is_same(physical, cursor, &moment).then_some(next);
            }
            at_line = last & !LINK;
        }
        None
    }

    fn moment(&self, physical: u8, cursor: u64) -> Option<Moment> {
        let epoch = self.mapping.observe(EPOCH)?;
        let txn_seq = self.mapping.observe(TXN_SEQ)?;
        if epoch == 0 || epoch & 1 == 1 || txn_seq & 1 == 1 {
            return None;
        }
        let state = State(self.mapping.observe(self.layout.state(physical))?);
        // A cursor is a hash of the keys that come next.
        let home = self.home(physical, state, cursor)?;
        let home_word = self.mapping.observe(home)?;
        let is_open = home != NO_BUCKET && sequence(home_word) & 1 == 1;
        (!is_open).then_some(Moment {
            epoch,
            txn_seq,
            state,
            home,
            home_word,
        })
    }

    /// True when nothing has changed that was read since.
    fn is_same(&self, physical: u8, cursor: u64, moment: &Moment) -> bool {
        self.mapping.settle();
        let load = |word| self.mapping.load(word);
        let Some(state) = load(self.layout.state(physical)).map(State) else {
            return false;
        };
        load(EPOCH) == Some(moment.epoch)
            && load(TXN_SEQ) == Some(moment.txn_seq)
            && (state == moment.state || same_home(cursor, moment.state, state))
            && (moment.home == NO_BUCKET || load(moment.home) == Some(moment.home_word))
    }

    fn entry_at(&self, at: u64) -> Option<Seen> {
        if at < self.layout.first_data_page * PAGE_WORDS {
            return None;
        }
        let header = Header::load(|n| self.mapping.load(at + n).ok_or(())).ok()?;
        let (key_bytes, value_bytes) = (header.key_bytes(), header.value_bytes());
        let limit = self.value_bytes_max;
        if key_bytes > limit || value_bytes > limit {
            return None;
        }
        let expire_at = if header.has_expiry() {
            ExpiryWords(self.mapping.load_line(at + header.expiry_word())?).expire_at()
        } else {
            None
        };
        Some(Seen {
            at,
            header,
            kind: header.kind()?,
            expire_at,
        })
    }

    /// Copies key and value. False for what makes no sense.
    fn copy_entry(&self, entry: Seen, swept: &mut Swept) -> bool {
        let Seen {
            at,
            header,
            kind,
            expire_at,
        } = entry;
        let (start, len) = (swept.bytes.len(), entry.bytes() as usize);
        // The entries of an arena do not overlap.
        if (start + len) as u64 > self.mapping.bytes() {
            return false;
        }
        swept.bytes.resize(start + len, 0);
        let offset = (at + header.key_word()) * 8;
        let copied = self.mapping.copy_out(offset, &mut swept.bytes[start..]);
        let key_bytes = header.key_bytes() as usize;
        let value = &swept.bytes[start + key_bytes..];
        let encoding = header.encoding();
        if copied.is_none() || Value::from_stored(kind, encoding, value).is_none() {
            return false;
        }
        swept.entries.push(SweptEntry {
            kind,
            encoding,
            expire_at,
            version: header.version(),
            access: header.access(),
            total_bytes: header.total_bytes(),
            start,
            key_bytes,
            value_bytes: header.value_bytes() as usize,
        });
        true
    }
}
