//! Changes of entries.

use crate::keyspace::arena::Limit;
use crate::keyspace::bucket::{close, open};
use crate::keyspace::classes::{CLASS_BYTES_MAX, footprint};
use crate::keyspace::effect::Effect;
use crate::keyspace::entry::{
    EXPIRY_BYTES, ExpiryWords, Extent, Form, Header, KEY_BYTES_MAX, VALUE_BYTES_MAX,
};
use crate::keyspace::events::KeyEvent;
use crate::keyspace::journal::{Cause, Subject};
use crate::keyspace::kind::{Encoding, Kind, Stored, Value};
use crate::keyspace::layout::PAGE_BYTES;
use crate::keyspace::slot::key_slot;
use crate::keyspace::types::{Expiry, Key, KeyspaceError, Millis, hash_key};

use super::lease::InPlace;
use super::{Draft, Place, Shard};

/// Bytes that are written into a value.
#[derive(Clone, Copy)]
enum Tail<'a> {
    Here(&'a [u8]),
    /// They have arrived in the arena.
    Draft(&'a Draft),
}

impl Tail<'_> {
    fn len(&self) -> u64 {
        match self {
            Self::Here(bytes) => bytes.len() as u64,
            Self::Draft(draft) => draft.filled(),
        }
    }
}

/// The effect that puts a stored value.
fn put(form: Form, bytes: &[u8], expire_at: Option<Millis>) -> Effect<'_> {
    let value = Value::from_stored(form.kind, form.encoding, bytes);
    Effect::Put {
        kind: form.kind,
        value: value.unwrap_or(Value::Bytes(bytes)),
        expire_at,
        pinned_until: None,
    }
}

impl Shard {
    /// Stores a string. Tells whether a live entry was there before.
    #[inline]
    pub fn set(
        &mut self,
        key: &Key<'_>,
        value: Value<'_>,
        expiry: Expiry,
        now: Millis,
    ) -> Result<bool, KeyspaceError> {
        self.store(key, Kind::String, value, expiry, now)
    }

    /// Stores a value of any kind, in place of one of any kind. Tells whether a live entry was there before.
    #[inline(never)]
    pub fn put(
        &mut self,
        key: &Key<'_>,
        kind: Kind,
        value: Value<'_>,
        expiry: Expiry,
        now: Millis,
    ) -> Result<bool, KeyspaceError> {
        let existed = if matches!(value, Value::Tree(_) | Value::Written(_)) {
            self.put_collection(key, kind, value, expiry, now)?
        } else {
            self.store(key, kind, value, expiry, now)?
        };
        if kind == Kind::Hash {
            self.note_fields(key, &value);
        }
        Ok(existed)
    }

    #[inline(always)]
    fn store(
        &mut self,
        key: &Key<'_>,
        kind: Kind,
        value: Value<'_>,
        expiry: Expiry,
        now: Millis,
    ) -> Result<bool, KeyspaceError> {
        let mut int = [0; 8];
        let value = value.stored(kind, &mut int);
        self.reserve_record(key.bytes.len() as u64 + value.bytes.len() as u64)?;
        let done = self.try_set(key, value, expiry, now);
        match done {
            Err(KeyspaceError::OutOfMemory { needed, .. }) => {
                self.set_with_room(key, value, expiry, now, needed)
            }
            _ => done,
        }
    }

    #[cold]
    #[inline(never)]
    fn set_with_room(
        &mut self,
        key: &Key<'_>,
        value: Stored<'_>,
        expiry: Expiry,
        now: Millis,
        needed: u64,
    ) -> Result<bool, KeyspaceError> {
        self.make_room(key, now, needed, |shard| {
            shard.try_set(key, value, expiry, now)
        })
    }

    #[inline(always)]
    pub(super) fn try_set(
        &mut self,
        key: &Key<'_>,
        value: Stored<'_>,
        expiry: Expiry,
        now: Millis,
    ) -> Result<bool, KeyspaceError> {
        self.check_sizes(key.bytes.len() as u64, value.bytes.len() as u64)?;
        match self.locate(key) {
            Some(place)
                if !matches!(expiry, Expiry::At(_))
                    && self.overwrite_plain(key, &place, value, now) =>
            {
                Ok(true)
            }
            Some(place) => self.overwrite(key, place, value, expiry, now),
            None => {
                self.insert_value(key, value, expiry, now)?;
                Ok(false)
            }
        }
    }

    /// Removes a key. Tells whether a live entry was removed.
    pub fn remove(&mut self, key: &Key<'_>, now: Millis) -> bool {
        let Some(place) = self.locate(key) else {
            return false;
        };
        if self.is_over(self.expire_at(place.at, &place.header), now) {
            self.expire(&place);
            return false;
        }
        self.commit_removal(&place, Cause::Asked);
        self.discard(&place);
        true
    }

    /// Changes the time of expiry of a live entry. Tells whether there is one.
    pub fn set_expiry(&mut self, key: &Key<'_>, expiry: Option<Millis>, now: Millis) -> bool {
        let Some((place, header)) = self.locate_live(key, now) else {
            return false;
        };
        let at = if header.has_expiry() || expiry.is_none() {
            place.at
        } else {
            // Small, and in exchange for the old one: it must not fail at the limit of memory.
            let bytes = header.total_bytes() + EXPIRY_BYTES;
            let Ok(at) = self.allocate(bytes, 0, Limit::Ignore) else {
                return false;
            };
            at
        };
        let effect = || Effect::Expire { at: expiry };
        let number = self.commit(key, header.value_bytes(), effect);
        let before = self.expire_at(place.at, &header);
        self.wheel_unlink(place.at, &header);
        let new = header.changed(number, header.has_expiry() || expiry.is_some());
        let weight = self.weight(place.at, &header);
        let heavier = weight + footprint(new.total_bytes()) - footprint(header.total_bytes());
        self.note_pinned_weight(key, &place, heavier);
        self.eviction.resized(header.access(), weight, heavier);
        if at == place.at {
            open(&mut self.arena.mapping, place.home);
            self.write_header(at, &new, expiry);
            close(&mut self.arena.mapping, place.home);
        } else {
            self.write_header(at, &new, expiry);
            let bytes = (header.key_bytes() + header.value_bytes()) as usize;
            let (from, to) = (place.at + header.key_word(), at + new.key_word());
            self.arena.mapping.copy_within(from * 8, to * 8, bytes);
            self.reattach(&place, at);
            self.arena.release(place.at, header.total_bytes());
        }
        self.count_expiring(place.physical, before, expiry);
        self.link(at, expiry, now);
        true
    }

    /// Appends to a value, creating it when missing. Returns the new length.
    pub fn append(
        &mut self,
        key: &Key<'_>,
        tail: &[u8],
        now: Millis,
    ) -> Result<u64, KeyspaceError> {
        self.reserve_record((key.bytes.len() + tail.len()) as u64)?;
        let tail = Tail::Here(tail);
        self.with_room(key, now, |shard| shard.splice(key, None, tail, now))
    }

    /// Writes into a value, creating it when missing; a gap is filled with zeros. Returns the new length.
    pub fn write_range(
        &mut self,
        key: &Key<'_>,
        offset: u64,
        bytes: &[u8],
        now: Millis,
    ) -> Result<u64, KeyspaceError> {
        self.reserve_record((key.bytes.len() + bytes.len()) as u64)?;
        let bytes = Tail::Here(bytes);
        self.with_room(key, now, |shard| {
            shard.splice(key, Some(offset), bytes, now)
        })
    }

    /// Writes the bytes of a draft into a value that is there, at an offset or at its end. Returns the new length.
    pub fn splice_draft(
        &mut self,
        key: &Key<'_>,
        offset: Option<u64>,
        draft: Draft,
        now: Millis,
    ) -> Result<u64, KeyspaceError> {
        let record = key.bytes.len() as u64 + Self::behind(&draft, draft.filled());
        let outcome = self.reserve_record(record).and_then(|()| {
            let tail = Tail::Draft(&draft);
            self.with_room(key, now, |shard| shard.splice(key, offset, tail, now))
        });
        // Of what the listener has by a change, nothing is given up.
        self.abandon(draft);
        outcome
    }

    /// Writes at `offset`, or at the end.
    fn splice(
        &mut self,
        key: &Key<'_>,
        offset: Option<u64>,
        tail: Tail<'_>,
        now: Millis,
    ) -> Result<u64, KeyspaceError> {
        let Some((place, header)) = self.locate_live(key, now) else {
            return self.insert_tail(key, offset.unwrap_or(0), tail, now);
        };
        if !header.is_string_here() {
            return Err(KeyspaceError::WrongKind);
        }
        if header.encoding() == Encoding::Int {
            self.spell_out(key, now)?;
            return self.splice(key, offset, tail, now);
        }
        let offset = offset.unwrap_or(header.value_bytes());
        let length = header.value_bytes().max(offset.saturating_add(tail.len()));
        self.check_sizes(key.bytes.len() as u64, length)?;
        let expire_at = self.expire_at(place.at, &header);
        let extent =
            Extent::new(header.key_bytes(), length, expire_at.is_some()).as_wide_as(&header);
        self.check_pinned_growth(&header, key.bytes, extent.total_bytes())?;
        let at = self.stretch(&place, &header, offset, &extent)?;
        let version = self.commit_splice(key, length, offset, tail);
        let access = self.access_after_write(key, &place, extent.total_bytes(), now);
        let new = Header::new(&extent, place.physical, Form::STRING, version, access)
            .with_pin(header.is_pinned());
        self.note_pinned_weight(key, &place, footprint(new.total_bytes()));
        if at == place.at {
            self.write_words(at, &new);
            self.write_tail(at, &new, header.value_bytes(), offset, tail);
            close(&mut self.arena.mapping, place.home);
            return Ok(length);
        }
        self.wheel_unlink(place.at, &header);
        self.write_header(at, &new, expire_at);
        let (from, to) = (place.at + header.key_word(), at + new.key_word());
        self.arena.mapping.copy_within(
            from * 8,
            to * 8,
            (header.key_bytes() + header.value_bytes()) as usize,
        );
        self.write_tail(at, &new, header.value_bytes(), offset, tail);
        self.reattach(&place, at);
        self.arena.release(place.at, header.total_bytes());
        self.link(at, expire_at, now);
        Ok(length)
    }

    /// Makes a value of zeros and what stands behind them.
    fn insert_tail(
        &mut self,
        key: &Key<'_>,
        gap: u64,
        tail: Tail<'_>,
        now: Millis,
    ) -> Result<u64, KeyspaceError> {
        let length = gap.saturating_add(tail.len());
        self.check_sizes(key.bytes.len() as u64, length)?;
        match tail {
            Tail::Here(bytes) => self.insert(key, Stored::string(bytes), gap, None, now)?,
            Tail::Draft(draft) => {
                let bytes = self.draft_slice(draft, 0, draft.filled()).to_vec();
                self.insert(key, Stored::string(&bytes), gap, None, now)?;
            }
        }
        Ok(length)
    }

    /// Makes it real that bytes are written into a value, which is so long then.
    fn commit_splice(&mut self, key: &Key<'_>, length: u64, offset: u64, tail: Tail<'_>) -> u64 {
        match tail {
            Tail::Here(bytes) => self.commit(key, length, || Effect::Splice { offset, bytes }),
            Tail::Draft(draft) => {
                let subject = self.subject(key, length);
                self.commit_landed(&subject, draft, |bytes| Effect::Splice { offset, bytes })
            }
        }
    }

    /// Room for the entry with a value that is longer or changed from `offset` on: where it is, and then its bucket is
    /// open for the change, or elsewhere. A run that must move gets space to grow. What is lent is not written; behind
    /// its end nobody looks.
    fn stretch(
        &mut self,
        place: &Place,
        header: &Header,
        offset: u64,
        extent: &Extent,
    ) -> Result<u64, KeyspaceError> {
        let same_layout = extent.key_word() == header.key_word();
        let (from, to) = (header.total_bytes(), extent.total_bytes());
        if same_layout && self.obtain(|arena| arena.resize_in_place(place.at, from, to))? {
            let change = if offset < header.value_bytes() {
                InPlace::Inside
            } else {
                InPlace::Behind
            };
            if self.open_in_place(place, change) {
                return Ok(place.at);
            }
            self.arena.undo_resize(place.at, from, to);
        }
        let spare_pages = if to > CLASS_BYTES_MAX {
            to.div_ceil(PAGE_BYTES)
        } else {
            0
        };
        self.allocate(to, spare_pages, Limit::Respect)
    }

    /// Zeroes what lies between the old end of a value and `offset`, and writes there.
    fn write_tail(&mut self, at: u64, header: &Header, old_end: u64, offset: u64, tail: Tail<'_>) {
        let value = at * 8 + header.value_offset();
        if offset > old_end {
            self.arena
                .mapping
                .zero(value + old_end, (offset - old_end) as usize);
        }
        match tail {
            Tail::Here(bytes) => self.arena.mapping.copy_in(value + offset, bytes),
            Tail::Draft(draft) => self.copy_out_of(draft, value + offset),
        }
    }

    /// Turns an integer into its decimal form.
    fn spell_out(&mut self, key: &Key<'_>, now: Millis) -> Result<(), KeyspaceError> {
        let Some(Value::Int(int)) = self.look(key, now).map(|view| view.value) else {
            return Ok(());
        };
        let mut buffer = itoa::Buffer::new();
        let digits = Stored::string(buffer.format(int).as_bytes());
        self.try_set(key, digits, Expiry::Keep, now)?;
        Ok(())
    }

    /// Stores a new entry, whose name is free.
    pub(super) fn insert(
        &mut self,
        key: &Key<'_>,
        stored: Stored<'_>,
        gap: u64,
        expire_at: Option<Millis>,
        now: Millis,
    ) -> Result<(), KeyspaceError> {
        let (form, value) = (Form::of(&stored), stored.bytes);
        let physical = self.map[usize::from(key.db)];
        self.ensure_buckets(physical)?;
        let extent = Extent::new(
            key.bytes.len() as u64,
            gap + value.len() as u64,
            expire_at.is_some(),
        );
        let bytes = extent.total_bytes();
        let at = self.allocate(bytes, 0, Limit::Respect)?;
        let spot = match self.find_spot(physical, key.hash) {
            Ok(spot) => spot,
            Err(error) => {
                self.arena.release(at, bytes);
                return Err(error);
            }
        };
        let access = self.eviction.inserted(physical, key.hash, bytes, now);
        let version = self.commit_insert(key, &stored, gap, expire_at);
        let header = Header::new(&extent, physical, form, version, access);
        self.write_header(at, &header, expire_at);
        self.arena
            .mapping
            .copy_in((at + header.key_word()) * 8, key.bytes);
        self.write_tail(at, &header, 0, gap, Tail::Here(value));
        self.attach(spot, key.hash, at);
        self.count_key(physical, key.bytes, true);
        self.notify_new(physical, key.bytes);
        self.count_expiring(physical, None, expire_at);
        self.link(at, expire_at, now);
        self.grow(physical);
        self.tidy_after_insert();
        Ok(())
    }

    /// The most frequent overwrite: no expiry, and no other size class. False when it is not that.
    #[inline(always)]
    fn overwrite_plain(
        &mut self,
        key: &Key<'_>,
        place: &Place,
        value: Stored<'_>,
        now: Millis,
    ) -> bool {
        if !place.header.is_here() {
            return false;
        }
        let version = self.journal.number() + 1;
        let bytes = value.bytes.len() as u64;
        let access = self.eviction.used(place, key.hash, now, 0);
        let rewritten = place
            .header
            .rewritten(bytes, Form::of(&value), version, access);
        let Some(header) = rewritten else {
            return false;
        };
        if !self
            .arena
            .resize_in_slot(place.header.total_bytes(), header.total_bytes())
        {
            return false;
        }
        let committed = self.commit_value(key, &value, None);
        debug_assert_eq!(committed, version);
        open(&mut self.arena.mapping, place.home);
        self.arena.mapping.store(place.at, header.word0);
        self.arena.mapping.store(place.at + 1, header.word1);
        self.arena
            .mapping
            .copy_in(place.at * 8 + header.value_offset(), value.bytes);
        close(&mut self.arena.mapping, place.home);
        true
    }

    /// The general overwrite.
    fn overwrite(
        &mut self,
        key: &Key<'_>,
        place: Place,
        value: Stored<'_>,
        expiry: Expiry,
        now: Millis,
    ) -> Result<bool, KeyspaceError> {
        let old = place.header;
        let before = self.expire_at(place.at, &old);
        if self.is_over(before, now) {
            self.expire(&place);
            self.insert_value(key, value, expiry, now)?;
            return Ok(false);
        }
        let expire_at = match expiry {
            Expiry::Clear => None,
            Expiry::Keep => before,
            Expiry::At(at) => Some(at),
        };
        let extent = Extent::new(
            key.bytes.len() as u64,
            value.bytes.len() as u64,
            expire_at.is_some(),
        );
        let (from, to) = (old.total_bytes(), extent.total_bytes());
        self.check_pinned_growth(&old, key.bytes, to)?;
        let mut in_place = self.obtain(|arena| arena.resize_in_place(place.at, from, to))?;
        if in_place && !self.open_in_place(&place, InPlace::Inside) {
            self.arena.undo_resize(place.at, from, to);
            in_place = false;
        }
        let at = if in_place {
            place.at
        } else {
            self.allocate(to, 0, Limit::Respect)?
        };
        let version = self.commit_value(key, &value, expire_at);
        let access = self.access_after_write(key, &place, to, now);
        let form = Form::of(&value);
        let header =
            Header::new(&extent, place.physical, form, version, access).with_pin(old.is_pinned());
        self.note_pinned_weight(key, &place, footprint(to));
        self.wheel_unlink(place.at, &old);
        self.drop_tree(place.at, &old);
        if value.kind != Kind::Hash {
            self.forget_fields(&place);
        }
        if in_place {
            self.write_header(at, &header, expire_at);
            if !header.same_layout(&old) {
                self.arena
                    .mapping
                    .copy_in((at + header.key_word()) * 8, key.bytes);
            }
            self.arena
                .mapping
                .copy_in(at * 8 + header.value_offset(), value.bytes);
            close(&mut self.arena.mapping, place.home);
            if to > CLASS_BYTES_MAX {
                self.arena.trim_run(at, to);
            }
        } else {
            self.write_header(at, &header, expire_at);
            self.arena
                .mapping
                .copy_in((at + header.key_word()) * 8, key.bytes);
            self.arena
                .mapping
                .copy_in(at * 8 + header.value_offset(), value.bytes);
            self.reattach(&place, at);
            self.arena.release(place.at, from);
        }
        self.count_expiring(place.physical, before, expire_at);
        self.link(at, expire_at, now);
        Ok(true)
    }

    /// Access bits of an entry that is overwritten and takes `to` bytes then.
    #[inline]
    pub(super) fn access_after_write(
        &mut self,
        key: &Key<'_>,
        place: &Place,
        to: u64,
        now: Millis,
    ) -> u32 {
        let tree_bytes = self.tree_bytes(place.at, &place.header);
        let access = self.eviction.used(place, key.hash, now, tree_bytes);
        let before = footprint(place.header.total_bytes()) + tree_bytes;
        self.eviction.resized(access, before, footprint(to));
        access
    }

    fn insert_value(
        &mut self,
        key: &Key<'_>,
        value: Stored<'_>,
        expiry: Expiry,
        now: Millis,
    ) -> Result<(), KeyspaceError> {
        let expire_at = match expiry {
            Expiry::At(at) => Some(at),
            Expiry::Clear | Expiry::Keep => None,
        };
        self.insert(key, value, 0, expire_at, now)
    }

    pub(super) fn check_sizes(
        &self,
        key_bytes: u64,
        value_bytes: u64,
    ) -> Result<(), KeyspaceError> {
        let limit = self.shape.value_bytes_max.min(VALUE_BYTES_MAX);
        if value_bytes > limit {
            return Err(KeyspaceError::ValueTooLarge {
                bytes: value_bytes,
                limit,
            });
        }
        let limit = limit.min(KEY_BYTES_MAX);
        if key_bytes > limit {
            return Err(KeyspaceError::KeyTooLarge {
                bytes: key_bytes,
                limit,
            });
        }
        Ok(())
    }

    /// The live entry of a key; one whose time has come is removed.
    pub(super) fn locate_live(&mut self, key: &Key<'_>, now: Millis) -> Option<(Place, Header)> {
        let place = self.locate(key)?;
        if self.is_over(self.expire_at(place.at, &place.header), now) {
            self.expire(&place);
            return None;
        }
        Some((place, place.header))
    }

    /// An entry that is about to change.
    #[inline(always)]
    pub(super) fn subject<'k>(&self, key: &Key<'k>, value_bytes: u64) -> Subject<'k> {
        Subject {
            physical: self.map[usize::from(key.db)],
            hash: key.hash,
            key: key.bytes,
            value_bytes,
        }
    }

    /// Makes it real that a key gets a value.
    #[inline(always)]
    fn commit_value(
        &mut self,
        key: &Key<'_>,
        value: &Stored<'_>,
        expire_at: Option<Millis>,
    ) -> u64 {
        let (form, bytes, said) = (Form::of(value), value.bytes, value.said);
        self.commit(key, bytes.len() as u64, || {
            said.copied().unwrap_or_else(|| put(form, bytes, expire_at))
        })
    }

    /// Makes it real that a new key has zeros and then bytes as its value.
    #[inline(always)]
    fn commit_insert(
        &mut self,
        key: &Key<'_>,
        stored: &Stored<'_>,
        gap: u64,
        expire_at: Option<Millis>,
    ) -> u64 {
        let (form, bytes) = (Form::of(stored), stored.bytes);
        let value_bytes = gap + bytes.len() as u64;
        if gap > 0 && self.journal.is_attended() {
            let whole = [&vec![0; gap as usize], bytes].concat();
            return self.commit(key, value_bytes, || put(form, &whole, expire_at));
        }
        self.commit_value(key, stored, expire_at)
    }

    /// Writes all that precedes the key; the expiry is not linked.
    #[inline(always)]
    pub(super) fn write_header(&mut self, at: u64, header: &Header, expire_at: Option<Millis>) {
        self.write_words(at, header);
        if header.has_expiry() {
            let words = ExpiryWords::unlinked(expire_at).0;
            self.arena
                .mapping
                .store(at + header.expiry_word(), words[0]);
            self.arena
                .mapping
                .store(at + header.expiry_word() + 1, words[1]);
        }
    }

    #[inline(always)]
    fn write_words(&mut self, at: u64, header: &Header) {
        self.arena.mapping.store(at, header.word0);
        self.arena.mapping.store(at + 1, header.word1);
        if header.is_wide() {
            self.arena.mapping.store(at + 2, header.wide_word());
        }
    }

    #[inline(always)]
    pub(super) fn wheel_unlink(&mut self, at: u64, header: &Header) {
        if header.has_expiry() {
            self.wheel.unlink(&mut self.arena.mapping, at);
        }
    }

    #[inline(always)]
    pub(super) fn link(&mut self, at: u64, expire_at: Option<Millis>, now: Millis) {
        if expire_at.is_some_and(|expire_at| expire_at < ExpiryWords::FAR) {
            self.wheel.link(&mut self.arena.mapping, at, now);
        }
    }

    /// Removes an entry whose time has come.
    #[cold]
    pub(super) fn expire(&mut self, place: &Place) {
        self.counters.expired += 1;
        self.notify_of(KeyEvent::Expired, place);
        self.commit_removal(place, Cause::Time);
        self.discard(place);
    }

    /// Removes an entry and all that is known of it.
    pub(super) fn discard(&mut self, place: &Place) {
        let header = &place.header;
        let access = self.header(place.at).access();
        let weight = self.weight(place.at, header);
        let Self {
            eviction,
            arena,
            shape,
            ..
        } = self;
        eviction.removed(place.physical, access, weight, || {
            let key = (place.at + header.key_word()) * 8;
            let key = arena.mapping.slice(key, header.key_bytes());
            hash_key(shape.hash_seed, key)
        });
        self.discard_uncounted(place);
    }

    /// Removes an entry that the policy of eviction does not count any more.
    pub(super) fn discard_uncounted(&mut self, place: &Place) {
        let header = &place.header;
        self.release_pin(place);
        let before = self.expire_at(place.at, header);
        self.wheel_unlink(place.at, header);
        self.detach(place);
        self.count_expiring(place.physical, before, None);
        self.uncount_key(place, header);
        self.forget_fields(place);
        self.drop_tree(place.at, header);
        self.arena.release(place.at, header.total_bytes());
        self.merge(place.physical);
    }

    fn uncount_key(&mut self, place: &Place, header: &Header) {
        let slot = key_slot(self.key_bytes(place.at, header));
        self.adjust_keys(place.physical, slot, false);
    }

    #[inline]
    pub(super) fn count_key(&mut self, physical: u8, key: &[u8], added: bool) {
        self.adjust_keys(physical, key_slot(key), added);
    }

    #[inline]
    fn adjust_keys(&mut self, physical: u8, slot: u16, added: bool) {
        let database = &mut self.databases[usize::from(physical)];
        let counts = database.slot_counts.iter_mut();
        let change = if added { 1 } else { u32::MAX };
        counts.for_each(|counts| {
            counts[usize::from(slot)] = counts[usize::from(slot)].wrapping_add(change)
        });
        database.keys = if added {
            database.keys + 1
        } else {
            database.keys - 1
        };
        self.arena
            .mapping
            .store(self.arena.layout.keys(physical), database.keys);
    }

    #[inline]
    pub(super) fn count_expiring(
        &mut self,
        physical: u8,
        before: Option<Millis>,
        after: Option<Millis>,
    ) {
        let expiring = &mut self.databases[usize::from(physical)].expiring;
        *expiring = *expiring + u64::from(after.is_some()) - u64::from(before.is_some());
    }
}
