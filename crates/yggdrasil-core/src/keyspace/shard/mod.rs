//! The owner's side of a shard: the one writer of its arena.

mod ahead;
mod apply;
mod background;
mod buckets;
mod capture;
mod change;
mod check;
mod collections;
mod commit;
mod compact;
mod draft;
mod evict;
mod export;
mod fields;
mod lease;
mod notify;
mod pin;
mod queued;
pub(super) mod scan;
mod stamp;
mod upload;
mod write;

use std::collections::VecDeque;
use std::convert::Infallible;

use crate::lease::Holders;
use crate::shm::Mapping;

pub use self::ahead::WrittenAhead;
pub use self::apply::ApplyError;
use self::background::Cleared;
pub use self::change::EntryPlace;
pub use self::commit::Unheard;
pub use self::draft::{Draft, Published, Received};
pub use self::stamp::OwnStamp;
use self::upload::Uploads;
pub use self::upload::{UPLOAD_SERIAL_BITS, UploadError, UploadId};
use super::arena::{Arena, Limit, OutOfMemory};
use super::bucket::{LAST, fingerprint, matches, owner_reference};
use super::classes::footprint;
use super::database::Database;
use super::effect::Effect;
use super::entry::{ExpiryWords, Extent, Header};
use super::events::Events;
use super::field_dues::FieldDues;
use super::journal::Journal;
use super::kind::{Encoding, Kind, Value};
use super::layout::{
    BUCKET_WORDS, DATABASES_MAX, EPOCH, HEADER_WORDS, LINK, Layout, State, TXN_SEQ,
};
use super::pins::Pins;
use super::types::{
    EntryView, Key, KeyspaceError, MemoryUse, Millis, ShardCounters, ShardShape, WatchToken,
};
use super::waiting::{ReadyKey, WaitToken, Waiting};
use super::wheel::Wheel;

/// The keys of a shard, as their owner and only writer has them. The database of a key must be one of the shape's.
#[derive(Debug)]
pub struct Shard {
    shape: ShardShape,
    arena: Arena,
    wheel: Wheel,
    /// By physical number.
    databases: Vec<Database>,
    /// How often each physical database has given buckets up.
    shrinks: Vec<u64>,
    /// Blocks of each directory that were touched.
    directory_blocks: Vec<u64>,
    /// Physical number of each logical database.
    map: [u8; DATABASES_MAX as usize],
    /// Where the search for sparse pages goes on.
    sweep: u32,
    /// The remains of cleared databases.
    cleared: VecDeque<Cleared>,
    /// The time of the last background work.
    clock: Millis,
    journal: Journal,
    events: Events,
    /// True while another shard decides what is changed.
    is_follower: bool,
    is_reserved: bool,
    is_hidden: bool,
    pins: Pins,
    field_dues: FieldDues,
    eviction: evict::Eviction,
    /// Reads of others, while they are being counted.
    reported: Vec<(u64, u8)>,
    counters: ShardCounters,
    scratch: buckets::Scratch,
    /// How long a freed run may be held.
    lease_age_max: Millis,
    /// Bytes of entries that are being made.
    draft_bytes: u64,
    received: Option<Received>,
    uploads: Uploads,
    trees: collections::Trees,
}

/// Where a key was found.
#[derive(Clone, Copy, Debug)]
struct Place {
    physical: u8,
    /// Its home bucket, whose sequence number guards it.
    home: u64,
    /// The bucket it stands in, and its place there.
    line: u64,
    place: u32,
    /// The entry.
    at: u64,
    header: Header,
}

impl Shard {
    /// Empties the arena and takes it over. Readers see the reset as a change of epoch.
    pub fn create(mapping: Mapping, shape: ShardShape) -> Result<Shard, KeyspaceError> {
        Self::create_beside(Holders::default(), mapping, shape)
    }

    /// The same where others may hold runs that the last owner has left: those stay as they are until they are let go.
    pub fn create_beside(
        holders: Holders,
        mapping: Mapping,
        shape: ShardShape,
    ) -> Result<Shard, KeyspaceError> {
        Self::create_for(holders, mapping, shape, false)
    }

    /// The same for a shard that is to be filled first: readers from outside are kept away as by [`Shard::hide`].
    pub fn create_hidden(
        holders: Holders,
        mapping: Mapping,
        shape: ShardShape,
    ) -> Result<Shard, KeyspaceError> {
        Self::create_for(holders, mapping, shape, true)
    }

    fn create_for(
        holders: Holders,
        mut mapping: Mapping,
        shape: ShardShape,
        is_hidden: bool,
    ) -> Result<Shard, KeyspaceError> {
        let layout = Layout::of(&shape)?;
        if mapping.bytes() != shape.segment_bytes {
            return Err(KeyspaceError::SegmentSize {
                expected: shape.segment_bytes,
                found: mapping.bytes(),
            });
        }
        // The last owner may have died in the middle of a reset.
        let epoch = mapping.load(EPOCH) | 1;
        mapping.announce(EPOCH, epoch);
        let leased = lease::leased_runs(&holders, &mapping, &layout);
        lease::punch_around(&leased, &mut mapping).map_err(|error| KeyspaceError::Reset {
            errno: error.raw_os_error().unwrap_or(0),
        })?;
        let txn_seq = mapping.load(TXN_SEQ).next_multiple_of(2);
        for word in (0..HEADER_WORDS).filter(|word| *word != EPOCH) {
            mapping.store(word, 0);
        }
        mapping.store(TXN_SEQ, txn_seq + u64::from(is_hidden));
        let databases = usize::from(shape.databases);
        for logical in 0..databases {
            mapping.store(layout.map(logical as u8), logical as u64);
        }
        mapping.publish(EPOCH, epoch + 1);
        let mut arena = Arena::new(mapping, layout, shape.memory_limit).map_err(|_| {
            KeyspaceError::Shape("there is no memory for the books of so large a segment")
        })?;
        arena.holders = holders;
        for (number, bytes) in leased {
            arena.adopt_leased(number, bytes);
        }
        Ok(Shard {
            arena,
            wheel: Wheel::new(),
            databases: (0..databases).map(|_| Database::default()).collect(),
            shrinks: vec![0; databases],
            directory_blocks: vec![0; databases],
            map: std::array::from_fn(|logical| logical as u8),
            sweep: 0,
            cleared: VecDeque::new(),
            clock: 0,
            journal: Journal::new(shape.hash_seed),
            events: Events::default(),
            is_follower: false,
            is_reserved: false,
            is_hidden,
            pins: Pins::new(databases),
            field_dues: FieldDues::new(databases),
            eviction: evict::Eviction::default(),
            reported: Vec::new(),
            counters: ShardCounters::default(),
            scratch: buckets::Scratch::default(),
            lease_age_max: Millis::MAX,
            draft_bytes: 0,
            received: None,
            uploads: Uploads::default(),
            trees: collections::Trees::new(shape.hash_seed),
            shape,
        })
    }

    /// First stage of a batch: asks for the index line of a key.
    #[inline]
    pub fn prefetch_index(&self, key: &Key<'_>) -> u64 {
        let database = &self.databases[usize::from(self.map[usize::from(key.db)])];
        if database.buckets() == 0 {
            return 0;
        }
        let home = database.home(key.hash);
        self.arena.mapping.prefetch(home * 8);
        home
    }

    /// Second stage: the index line that the first stage gave is there; asks for the entry that it names.
    #[inline]
    pub fn prefetch_entry(&self, home: u64, hash: u64) {
        if home == 0 {
            return;
        }
        let mapping = &self.arena.mapping;
        let found = matches(
            mapping.load(home),
            mapping.load(home + 1),
            fingerprint(hash),
        );
        // Without a match it is either a miss or in an overflow bucket, which the last place names.
        let place = if found == 0 {
            LAST
        } else {
            found.trailing_zeros()
        };
        let at = (owner_reference(mapping, home, place) & !LINK) * 8;
        mapping.prefetch(at);
        mapping.prefetch(at + 64);
    }

    /// Uses the live entry of a key: records the access, and removes the entry if its time has come. A follower only
    /// hides such an entry.
    #[inline]
    pub fn use_entry(&mut self, key: &Key<'_>, now: Millis) -> Option<EntryView<'_>> {
        let place = self.use_place(key, now)?;
        Some(self.view(place.at, &place.header))
    }

    /// The same, with its place. Callers take only a part of what it tells.
    #[inline(always)]
    pub fn use_entry_at(
        &mut self,
        key: &Key<'_>,
        now: Millis,
    ) -> Option<(EntryView<'_>, EntryPlace)> {
        let place = self.use_place_apart(key, now)?;
        let at = EntryPlace::new(place, self.journal.number());
        Some((self.view(place.at, &place.header), at))
    }

    #[inline(never)]
    fn use_place_apart(&mut self, key: &Key<'_>, now: Millis) -> Option<Place> {
        self.use_place(key, now)
    }

    #[inline(always)]
    fn use_place(&mut self, key: &Key<'_>, now: Millis) -> Option<Place> {
        let Some(mut place) = self.locate(key) else {
            self.note_read(key, 0);
            return None;
        };
        let header = &place.header;
        if header.has_expiry() && is_past(self.expire_at(place.at, header), now) {
            if !self.is_follower {
                self.expire(&place);
            }
            self.note_read(key, 0);
            return None;
        }
        self.note_read(key, header.key_bytes() + header.value_bytes());
        let tree_bytes = if self.eviction.weighs_uses() {
            self.tree_bytes(place.at, header)
        } else {
            0
        };
        let access = self.eviction.used(&place, key.hash, now, tree_bytes);
        if header.access() != access {
            place.header.set_access(access);
            self.arena.mapping.store(place.at + 1, place.header.word1);
        }
        Some(place)
    }

    /// Looks at the live entry of a key and changes nothing: no access is recorded, and what has expired is hidden.
    pub fn look(&self, key: &Key<'_>, now: Millis) -> Option<EntryView<'_>> {
        let place = self.locate(key)?;
        let view = self.view(place.at, &place.header);
        (!is_past(view.expire_at, now)).then_some(view)
    }

    /// Memory that the live entry of a key takes, its share of the index included.
    pub fn entry_bytes(&self, key: &Key<'_>, now: Millis) -> Option<u64> {
        self.look(key, now)?;
        let place = self.locate(key)?;
        let database = &self.databases[usize::from(place.physical)];
        // A nearly empty index is not the fault of its few keys.
        let bucket_bytes = BUCKET_WORDS * 8;
        let index_share = (database.buckets() * bucket_bytes)
            .div_ceil(database.keys.max(1))
            .min(bucket_bytes);
        Some(self.weight(place.at, &place.header) + index_share)
    }

    /// Keys of a database, those included whose time has come but which are not yet removed.
    pub fn len(&self, db: u8) -> u64 {
        self.databases[usize::from(self.map[usize::from(db)])].keys
    }

    /// Keys of a database that have a time of expiry.
    pub fn expiring(&self, db: u8) -> u64 {
        self.databases[usize::from(self.map[usize::from(db)])].expiring
    }

    /// Keys of database 0 in a hash slot.
    pub fn slot_len(&self, slot: u16) -> u64 {
        let database = &self.databases[usize::from(self.map[0])];
        database
            .slot_counts
            .as_ref()
            .map_or(0, |counts| u64::from(counts[usize::from(slot)]))
    }

    pub fn memory(&self) -> MemoryUse {
        MemoryUse {
            limit: self.arena.limit,
            used: self.arena.used(),
            peak: self.arena.peak,
            entries: self.arena.entry_bytes + self.arena.tree_bytes,
            index: self.arena.index_bytes,
            overhead: self.arena.kept_bytes + self.arena.fixed_bytes + self.arena.policy_bytes,
            live: self.arena.live_bytes + self.arena.tree_bytes,
            leased: self.arena.limbo_bytes(),
            huge: self.arena.huge_bytes(),
        }
    }

    /// Bytes on the heap that are counted as used.
    pub fn heap_bytes(&self) -> u64 {
        self.arena.heap_bytes() + self.arena.policy_bytes + self.arena.tree_bytes
    }

    pub fn counters(&self) -> ShardCounters {
        self.counters
    }

    /// Sets the counters to zero, and the peak of memory to what is used now.
    pub fn reset_counters(&mut self) {
        self.counters = ShardCounters::default();
        self.arena.peak = self.arena.used();
    }

    /// True when more is stored than the limit allows, because it was lowered.
    #[inline]
    pub fn is_over_limit(&self) -> bool {
        self.arena.needed() > self.arena.limit
    }

    /// Bytes of the arena that the limit leaves.
    pub fn room(&self) -> u64 {
        self.arena.limit.saturating_sub(self.arena.needed())
    }

    /// Changes the limit. What is stored above it is evicted in the steps of [`Shard::advance`] and before writes, if
    /// the policy allows.
    pub fn set_memory_limit(&mut self, bytes: u64) {
        self.arena.limit = bytes;
        self.update_access_bits();
    }

    /// Puts pages full of small values or buckets into huge pages, or ends that. Returns false where that cannot
    /// be.
    pub fn set_huge_pages(&mut self, wanted: bool) -> bool {
        self.arena.set_huge_pages(wanted)
    }

    /// Gives empty pages that were kept for reuse back to the system, and has sparse ones emptied in the steps of
    /// [`Shard::advance`].
    pub fn purge(&mut self) {
        self.settle_pages();
        while self.arena.give_up_kept_page() {}
        while self.arena.give_up_warm(u32::MAX) {}
    }

    /// Keeps readers from outside away until [`Shard::release`].
    #[inline]
    pub fn reserve(&mut self) {
        assert!(!self.is_reserved, "a shard is reserved once");
        self.is_reserved = true;
        self.admit_readers();
    }

    /// Lets readers from outside in again.
    #[inline]
    pub fn release(&mut self) {
        assert!(self.is_reserved, "a shard is released once");
        self.is_reserved = false;
        self.admit_readers();
    }

    /// Keeps readers from outside away for a long time, as while it is being filled, or ends that.
    pub fn hide(&mut self, is_hidden: bool) {
        self.is_hidden = is_hidden;
        self.admit_readers();
    }

    /// Tells readers from outside whether they may look.
    #[inline]
    fn admit_readers(&mut self) {
        let txn_seq = self.arena.mapping.load(TXN_SEQ);
        match (txn_seq & 1 == 0, self.is_reserved || self.is_hidden) {
            (true, true) => self.arena.mapping.announce(TXN_SEQ, txn_seq + 1),
            (false, false) => self.arena.mapping.publish(TXN_SEQ, txn_seq + 1),
            _ => {}
        }
    }

    /// Watches a key: from now on any change of it marks the token.
    pub fn watch(&mut self, key: &Key<'_>, token: WatchToken, now: Millis) {
        let expire_at = self.look(key, now).and_then(|view| view.expire_at);
        self.journal
            .with_watches(|watches| watches.add(key.db, key.bytes, token, expire_at));
    }

    /// Forgets all that a token watches.
    pub fn unwatch(&mut self, token: WatchToken) {
        self.journal.with_watches(|watches| watches.remove(token));
    }

    /// Lets a request wait for a change of a key, and for its removal where that is wanted.
    pub fn wait_for(&mut self, key: &Key<'_>, token: WaitToken, removal: bool) {
        self.journal
            .with_waiting(|waiting| waiting.add(key, token, removal));
    }

    /// Forgets a request that waits for a key of a database.
    pub fn end_wait(&mut self, db: u8, key: &[u8], token: WaitToken) {
        self.journal
            .with_waiting(|waiting| waiting.remove(db, key, token));
    }

    /// Numbers of keys that requests wait for, and of those whose removal they wait for.
    #[must_use]
    pub fn waited_keys(&self) -> (u64, u64) {
        self.journal.waiting().sizes()
    }

    /// True when a key has changed that a request waits for.
    #[inline]
    #[must_use]
    pub fn has_ready(&self) -> bool {
        self.journal.waiting().has_ready()
    }

    /// The next key that has changed while requests wait for it. They wait until [`Shard::end_wait`].
    pub fn take_ready(&mut self) -> Option<ReadyKey> {
        self.journal.with_waiting(Waiting::take_ready)
    }

    /// The next request that waits for a key that has changed; of a key that is gone, one that waits for that.
    #[must_use]
    pub fn next_waiting(&self, ready: &ReadyKey, is_missing: bool) -> Option<WaitToken> {
        self.journal.waiting().next(ready, is_missing)
    }

    /// Has a key looked at as if it had changed, for requests from one on.
    pub fn look_again(&mut self, db: u8, key: &[u8], from: WaitToken) {
        self.journal
            .with_waiting(|waiting| waiting.note_from(db, key, from));
    }

    /// True when a key that the token watches has been changed, or has expired, since it was watched.
    pub fn is_touched(&self, token: WatchToken, now: Millis) -> bool {
        self.journal.watches().is_touched(token, now)
    }

    /// Swaps the contents of two logical databases.
    pub fn swap_databases(&mut self, a: u8, b: u8) {
        let mut map = self.map;
        map.swap(usize::from(a), usize::from(b));
        self.map_databases(&map[..self.databases.len()]);
    }

    /// Gives each logical database the contents of a physical one.
    ///
    /// # Panics
    /// If this does not name each physical database once.
    pub fn map_databases(&mut self, physical: &[u8]) {
        let mut named = physical.to_vec();
        named.sort_unstable();
        assert!(
            named
                .iter()
                .copied()
                .eq((0..=u8::MAX).take(self.databases.len())),
            "databases are mapped one to one"
        );
        let moved: Vec<u8> = (0..)
            .zip(physical)
            .filter(|(logical, to)| self.map[usize::from(*logical)] != **to)
            .map(|(logical, _)| logical)
            .collect();
        for logical in &moved {
            let other = self.logical(physical[usize::from(*logical)]);
            self.touch_watched(*logical, &[*logical, other]);
        }
        if !moved.is_empty() {
            self.commit_whole(0, Effect::MapDatabases { physical });
        }
        for logical in moved {
            let to = physical[usize::from(logical)];
            self.map[usize::from(logical)] = to;
            let word = self.arena.layout.map(logical);
            let generation = self.arena.mapping.load(word) >> 16;
            self.arena
                .mapping
                .switch(word, (generation + 1) << 16 | u64::from(to));
        }
    }

    /// True for a time that is over where that is for this shard to say.
    #[inline(always)]
    fn is_over(&self, expire_at: Option<Millis>, now: Millis) -> bool {
        is_past(expire_at, now) && !self.is_follower
    }

    /// The logical database that has the contents of a physical one.
    fn logical(&self, physical: u8) -> u8 {
        let logical = (0..).zip(&self.map[..self.databases.len()]);
        let mut found = logical.filter(|(_, to)| **to == physical);
        found.next().map_or(0, |(logical, _)| logical)
    }

    /// Empties a database at once; its memory is freed in the steps of [`Shard::advance`].
    pub fn clear_database(&mut self, db: u8) {
        self.touch_watched(db, &[db]);
        let physical = self.map[usize::from(db)];
        let index = usize::from(physical);
        if self.databases[index].keys == 0 {
            return;
        }
        self.commit_whole(physical, Effect::Clear);
        let old = self.databases[index].take();
        self.pins.clear(physical);
        self.field_dues.clear(physical);
        self.publish_state(physical, 0, true);
        self.arena
            .mapping
            .store(self.arena.layout.keys(physical), 0);
        self.cleared.push_back(Cleared::new(old));
    }

    /// Empties all databases.
    pub fn clear(&mut self) {
        for db in 0..self.databases.len() {
            self.clear_database(db as u8);
        }
    }

    /// Marks the watches on keys of a logical database that exist in any of `databases`.
    fn touch_watched(&mut self, db: u8, databases: &[u8]) {
        if self.journal.watches().is_empty() {
            return;
        }
        for bytes in self.journal.watches().keys(db) {
            let hash = super::types::hash_key(self.shape.hash_seed, &bytes);
            if databases.iter().any(|db| {
                self.locate(&Key {
                    db: *db,
                    hash,
                    bytes: &bytes,
                })
                .is_some()
            }) {
                self.journal
                    .with_watches(|watches| watches.touch(db, &bytes, false));
            }
        }
    }

    #[inline(always)]
    fn locate(&self, key: &Key<'_>) -> Option<Place> {
        self.locate_in(self.map[usize::from(key.db)], key.hash, key.bytes)
    }

    /// Looks a key up in a physical database.
    #[inline(always)]
    fn locate_in(&self, physical: u8, hash: u64, key: &[u8]) -> Option<Place> {
        let database = &self.databases[usize::from(physical)];
        if database.buckets() == 0 {
            return None;
        }
        let home = database.home(hash);
        let fingerprint = fingerprint(hash);
        let mapping = &self.arena.mapping;
        let mut line = home;
        loop {
            let mut found = matches(mapping.load(line), mapping.load(line + 1), fingerprint);
            while found != 0 {
                let place = found.trailing_zeros();
                found &= found - 1;
                let at = owner_reference(mapping, line, place);
                if at == 0 || at & LINK != 0 {
                    continue;
                }
                let header = self.header(at);
                if self.has_key(at, &header, key) {
                    return Some(Place {
                        physical,
                        home,
                        line,
                        place,
                        at,
                        header,
                    });
                }
            }
            line = self.next_line(line)?;
        }
    }

    /// The overflow bucket behind a bucket.
    #[inline(always)]
    fn next_line(&self, line: u64) -> Option<u64> {
        let last = owner_reference(&self.arena.mapping, line, LAST);
        (last & LINK != 0).then_some(last & !LINK)
    }

    #[inline(always)]
    fn has_key(&self, at: u64, header: &Header, key: &[u8]) -> bool {
        header.key_bytes() == key.len() as u64 && equal(self.key_bytes(at, header), key)
    }

    #[inline(always)]
    fn header(&self, at: u64) -> Header {
        let Ok(header) = Header::load(|n| Ok::<_, Infallible>(self.arena.mapping.load(at + n)));
        header
    }

    #[inline(always)]
    fn expire_at(&self, at: u64, header: &Header) -> Option<Millis> {
        if !header.has_expiry() {
            return None;
        }
        ExpiryWords(self.arena.mapping.load_line(at + header.expiry_word())).expire_at()
    }

    #[inline(always)]
    fn key_bytes(&self, at: u64, header: &Header) -> &[u8] {
        self.arena
            .mapping
            .slice((at + header.key_word()) * 8, header.key_bytes())
    }

    #[inline(always)]
    fn view(&self, at: u64, header: &Header) -> EntryView<'_> {
        let offset = at * 8 + header.value_offset();
        let bytes = self.arena.mapping.slice(offset, header.value_bytes());
        let (kind, value) = if header.is_raw_string() {
            (Kind::String, Value::Bytes(bytes))
        } else {
            self.other_value(header, bytes)
        };
        EntryView {
            kind,
            value,
            expire_at: self.expire_at(at, header),
            version: header.version(),
            access: header.access(),
            total_bytes: header.total_bytes(),
            pinned_until: self.end_of_pin(at, header),
        }
    }

    /// Kind and value of an entry that is no string of bytes.
    #[inline]
    fn other_value<'a>(&'a self, header: &Header, bytes: &'a [u8]) -> (Kind, Value<'a>) {
        let kind = header.kind().unwrap_or(Kind::String);
        let value = match header.encoding() {
            Encoding::Tree => self.trees.at(bytes).map(Value::Tree),
            encoding => Value::from_stored(kind, encoding, bytes),
        };
        (kind, value.unwrap_or(Value::Bytes(b"")))
    }

    /// Publishes the number of buckets of a database.
    fn publish_state(&mut self, physical: u8, buckets: u64, shrunk: bool) {
        let shrinks = &mut self.shrinks[usize::from(physical)];
        *shrinks += u64::from(shrunk);
        let state = State::new(buckets, *shrinks);
        // The buckets are there before this is seen, and what is freed later is not reused before.
        self.arena
            .mapping
            .switch(self.arena.layout.state(physical), state.0);
    }

    /// Takes memory, freeing what cleared databases have left as far as it is needed.
    #[inline]
    fn obtain<T>(
        &mut self,
        mut attempt: impl FnMut(&mut Arena) -> Result<T, OutOfMemory>,
    ) -> Result<T, KeyspaceError> {
        loop {
            match attempt(&mut self.arena) {
                Ok(taken) => return Ok(taken),
                Err(refusal) => self.reclaim_some(refusal)?,
            }
        }
    }

    fn reclaim_some(&mut self, refusal: OutOfMemory) -> Result<(), KeyspaceError> {
        const STEP: usize = 256;
        if self.arena.settle_limbo() {
            return Ok(());
        }
        if self.cleared.is_empty() {
            let (limit, used) = (self.arena.limit, self.arena.used());
            return Err(KeyspaceError::OutOfMemory {
                needed: refusal.needed,
                limit,
                used,
            });
        }
        self.reclaim(STEP);
        Ok(())
    }

    #[inline]
    fn allocate(
        &mut self,
        bytes: u64,
        spare_pages: u64,
        limit: Limit,
    ) -> Result<u64, KeyspaceError> {
        self.obtain(|arena| arena.allocate(bytes, spare_pages, limit))
    }
}

/// Bytes of the arena that a new entry takes, its share of the index included.
#[must_use]
fn room_of_entry(key_bytes: u64, value_bytes: u64) -> u64 {
    const INDEX_SHARE: u64 = 16;
    let extent = Extent::new(key_bytes, value_bytes, true);
    footprint(extent.total_bytes()).saturating_add(INDEX_SHARE)
}

#[inline(always)]
fn is_past(expire_at: Option<Millis>, now: Millis) -> bool {
    expire_at.is_some_and(|expire_at| expire_at <= now)
}

/// Equality of two slices of the same length, without a call for short ones.
#[inline(always)]
fn equal(a: &[u8], b: &[u8]) -> bool {
    const WORD: usize = 8;
    let last = |bytes: &[u8]| {
        bytes
            .last_chunk::<WORD>()
            .map(|chunk| u64::from_le_bytes(*chunk))
    };
    let first = |bytes: &[u8]| {
        bytes
            .first_chunk::<WORD>()
            .map(|chunk| u64::from_le_bytes(*chunk))
    };
    match a.len() {
        // Two overlapping words cover all of it.
        WORD..=16 => first(a) == first(b) && last(a) == last(b),
        _ => a == b,
    }
}
