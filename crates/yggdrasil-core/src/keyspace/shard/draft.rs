//! Entries in the making: a long value gets its memory before it is there, is received straight into it, and is
//! published whole.

use crate::keyspace::arena::Limit;
use crate::keyspace::classes::{CLASS_BYTES_MAX, footprint};
use crate::keyspace::effect::Effect;
use crate::keyspace::entry::{Extent, Form, Header};
use crate::keyspace::journal::Subject;
use crate::keyspace::kind::{Kind, Value};
use crate::keyspace::layout::PAGE_BYTES;
use crate::keyspace::leases::Lender;
use crate::keyspace::types::{Expiry, Key, KeyspaceError, Millis};

use super::buckets::Spot;
use super::evict::Effort;
use super::{Place, Shard, UploadId};

/// Bytes that room is made for at a time where others have to go for it: a value comes in as fast as that, and others
/// are served between.
const STEP_BYTES: u64 = 32 * 1024;
/// Bytes of a value that a listener is given at a time, and most of what it gets in one step.
const PIECE_BYTES: u64 = 64 * 1024;
const GIVEN_AT_ONCE: u64 = 4 << 20;
/// Address space for a value of unknown length to grow into before it has to move.
const GROWTH_BYTES_MAX: u64 = 4 << 30;

/// Memory for an entry that nobody sees yet. It goes back to the shard that made it: by [`Shard::publish`] or by
/// [`Shard::abandon`].
#[derive(Debug)]
#[must_use = "its memory is only freed by the shard"]
pub struct Draft {
    at: u64,
    key_bytes: u64,
    /// Bytes that the value is to have, as far as that is known.
    expected: u64,
    /// Bytes of the value that there is room for.
    room: u64,
    /// Bytes of the value that are there.
    filled: u64,
    wide: bool,
    /// The name that the listener has for it; 0 where its change brings all of it.
    name: u64,
    /// Bytes of the value that the listener has.
    given: u64,
}

/// A long argument that was received where it stays. The command sees an empty one in its place.
#[derive(Debug)]
pub enum Received {
    /// A value for a command like SET.
    Value(Draft),
    /// The next bytes of an upload.
    Part { id: UploadId, len: u64 },
}

/// The outcome of publishing a draft.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Published {
    /// A live entry was there before.
    pub existed: bool,
    /// The version of the new entry.
    pub version: u64,
}

/// Where the entry of a draft goes.
enum Target {
    /// It takes the place of another entry.
    Place(Place),
    Spot(Spot),
}

impl Target {
    fn place(&self) -> Option<Place> {
        match self {
            Self::Place(place) => Some(*place),
            Self::Spot(_) => None,
        }
    }
}

impl Draft {
    /// Bytes of the value that are there.
    pub fn filled(&self) -> u64 {
        self.filled
    }

    /// Bytes that it may have beyond those.
    pub fn missing(&self) -> u64 {
        self.expected - self.filled
    }

    /// Expects no more bytes than there are.
    pub(super) fn give_up_missing(&mut self) {
        self.expected = self.filled;
    }

    fn extent(&self, value_bytes: u64) -> Extent {
        let extent = Extent::new(self.key_bytes, value_bytes, true);
        if self.wide { extent.widened() } else { extent }
    }

    /// Bytes of an entry with so long a value; drafts are runs, however short they are.
    fn bytes_for(&self, value_bytes: u64) -> u64 {
        self.extent(value_bytes)
            .total_bytes()
            .max(CLASS_BYTES_MAX + 1)
    }

    /// Byte of the segment at which the value begins.
    fn value_at(&self) -> u64 {
        self.at * 8 + self.extent(self.room).value_offset()
    }
}

impl Shard {
    /// A draft for a value of `value_bytes` under a key of `key_bytes`. Where many others would have to go for it, it
    /// gets its memory as the value comes.
    ///
    /// # Errors
    /// When it is too large, or there is no memory for it: then nothing was evicted.
    pub fn draft(&mut self, key_bytes: usize, value_bytes: u64) -> Result<Draft, KeyspaceError> {
        self.check_draft(key_bytes as u64, value_bytes)?;
        let wide = Extent::new(key_bytes as u64, value_bytes, true).is_wide();
        match self.new_draft(key_bytes, value_bytes, 0, wide, Effort::Little) {
            Err(KeyspaceError::OutOfMemory { .. }) if self.could_free(value_bytes) => {}
            Err(KeyspaceError::OutOfMemory { needed, .. }) => return Err(self.refused(needed)),
            outcome => return outcome,
        }
        let pages = value_bytes.div_ceil(PAGE_BYTES);
        let room = value_bytes.min(STEP_BYTES);
        let mut draft = self.new_draft(key_bytes, room, pages, wide, Effort::Full)?;
        draft.expected = value_bytes;
        Ok(draft)
    }

    /// A draft that grows as its value comes. About `expected` bytes of it will not have to move.
    ///
    /// # Errors
    /// When the key or the expected length is more than may ever be stored, or there is no memory for an empty one.
    pub fn growing_draft(
        &mut self,
        key_bytes: usize,
        expected: Option<u64>,
    ) -> Result<Draft, KeyspaceError> {
        self.check_draft(key_bytes as u64, expected.unwrap_or_default())?;
        let ahead = expected.unwrap_or(GROWTH_BYTES_MAX);
        let pages = ahead.min(self.arena.limit).div_ceil(PAGE_BYTES);
        self.new_draft(key_bytes, 0, pages, true, Effort::Full)
    }

    fn new_draft(
        &mut self,
        key_bytes: usize,
        room: u64,
        spare_pages: u64,
        wide: bool,
        effort: Effort,
    ) -> Result<Draft, KeyspaceError> {
        let mut draft = Draft {
            at: 0,
            key_bytes: key_bytes as u64,
            expected: room,
            room,
            filled: 0,
            wide,
            name: 0,
            given: 0,
        };
        let bytes = draft.bytes_for(room);
        draft.at = self.with_room_for_draft(effort, |shard| {
            shard.allocate(bytes, spare_pages, Limit::Respect)
        })?;
        self.draft_bytes += bytes;
        Ok(draft)
    }

    fn check_draft(&mut self, key_bytes: u64, bytes: u64) -> Result<(), KeyspaceError> {
        self.check_sizes(key_bytes, bytes)?;
        if bytes > self.arena.limit {
            // No eviction makes room for it: nothing is to be lost for the attempt.
            return Err(self.refused(bytes));
        }
        Ok(())
    }

    /// Lets a draft have `more` bytes beyond what is filled. On an error it is as it was.
    ///
    /// # Errors
    /// When the value would become too large, or there is no memory for it: then nothing was evicted.
    pub fn extend_draft(&mut self, draft: &mut Draft, more: u64) -> Result<(), KeyspaceError> {
        let expected = draft.filled.saturating_add(more);
        self.check_draft(draft.key_bytes, expected)?;
        let beyond = expected.saturating_sub(draft.room);
        if beyond > self.room() && !self.could_free(beyond) {
            return Err(self.refused(beyond));
        }
        draft.expected = draft.expected.max(expected);
        Ok(())
    }

    /// Makes room for the `bytes` that stand `ahead` behind what is filled. On an error the draft is as it was.
    fn make_room_in_draft(
        &mut self,
        draft: &mut Draft,
        ahead: u64,
        bytes: u64,
    ) -> Result<(), KeyspaceError> {
        let needed = draft.filled + ahead + bytes;
        if needed <= draft.room {
            return Ok(());
        }
        let room = needed.max((draft.room + STEP_BYTES).min(draft.expected));
        let (from, to) = (draft.bytes_for(draft.room), draft.bytes_for(room));
        let at = draft.at;
        let grown = self.with_room_for_draft(Effort::Full, |shard| {
            shard.obtain(|arena| arena.resize_in_place(at, from, to))
        })?;
        if !grown {
            let ahead_pages = to.max(draft.expected).div_ceil(PAGE_BYTES);
            let moved = self.with_room_for_draft(Effort::Full, |shard| {
                shard.allocate(to, ahead_pages, Limit::Respect)
            })?;
            let (old, offset) = (draft.value_at(), draft.value_at() - at * 8);
            let there = (draft.filled + ahead) as usize;
            self.arena
                .mapping
                .copy_within(old, moved * 8 + offset, there);
            self.arena.release(at, from);
            draft.at = moved;
        }
        self.draft_bytes += to - from;
        draft.room = room;
        Ok(())
    }

    /// Where the next bytes of the value belong, for a system call to write them there: up to `at_most` of them,
    /// beginning `ahead` bytes behind what is filled.
    ///
    /// # Errors
    /// When there is no memory for them. The draft is as it was.
    pub fn landing(
        &mut self,
        draft: &mut Draft,
        ahead: u64,
        at_most: u64,
    ) -> Result<(*mut u8, usize), KeyspaceError> {
        let missing = draft.missing().saturating_sub(ahead);
        self.make_room_in_draft(draft, ahead, missing.min(STEP_BYTES))?;
        let len = (draft.room - draft.filled)
            .saturating_sub(ahead)
            .min(at_most);
        let start = draft.value_at() + draft.filled + ahead;
        Ok(self.arena.mapping.landing(start, len))
    }

    /// Copies the next bytes in, `ahead` bytes behind what is filled.
    ///
    /// # Errors
    /// When there is no memory for them. The draft is as it was.
    pub fn write_draft(
        &mut self,
        draft: &mut Draft,
        ahead: u64,
        bytes: &[u8],
    ) -> Result<(), KeyspaceError> {
        let count = bytes.len() as u64;
        assert!(
            ahead + count <= draft.missing(),
            "no more is written into a draft than it is to have"
        );
        self.make_room_in_draft(draft, ahead, count)?;
        let start = draft.value_at() + draft.filled + ahead;
        self.arena.mapping.copy_in(start, bytes);
        Ok(())
    }

    /// The bytes of the value from `start` on, which have been written there.
    pub fn draft_slice(&self, draft: &Draft, start: u64, len: u64) -> &[u8] {
        self.arena.mapping.slice(draft.value_at() + start, len)
    }

    /// Counts the next bytes as there.
    pub fn fill_draft(&self, draft: &mut Draft, bytes: u64) {
        assert!(
            draft.filled + bytes <= draft.room,
            "a draft is filled within its room"
        );
        draft.filled += bytes;
    }

    /// Lets the listener have the value piece by piece as it comes, so that its change is a small one.
    pub fn name_draft(&mut self, draft: &mut Draft, key: &[u8]) {
        if let Some(listener) = self.journal.listener() {
            draft.name = listener.name_draft(key);
        }
    }

    /// Gives the listener what it has not of the first `there` bytes of the value, as far as it takes that now. A small
    /// rest waits for more, or comes with the change.
    pub fn give_pieces(&mut self, draft: &mut Draft, there: u64) {
        if draft.name == 0 || draft.given + PIECE_BYTES > there {
            return;
        }
        let value_at = draft.value_at();
        let Self { arena, journal, .. } = self;
        let Some(listener) = journal.listener() else {
            return;
        };
        let until = there.min(draft.given + GIVEN_AT_ONCE);
        while draft.given + PIECE_BYTES <= until {
            let bytes = arena.mapping.slice(value_at + draft.given, PIECE_BYTES);
            if !listener.piece(draft.name, draft.given, bytes) {
                return;
            }
            draft.given += PIECE_BYTES;
        }
    }

    /// Bytes among the first `there` of a value that the listener is still to be given before its change.
    #[must_use]
    pub fn behind(draft: &Draft, there: u64) -> u64 {
        if draft.name == 0 {
            0
        } else {
            there.saturating_sub(draft.given)
        }
    }

    /// True where the listener could not take all that it might have had of the first `there` bytes.
    #[must_use]
    pub fn lacks_pieces(draft: &Draft, there: u64) -> bool {
        Self::behind(draft, there) >= PIECE_BYTES
    }

    /// What stands behind the bytes that are filled was forgotten.
    pub(super) fn take_back_pieces(draft: &mut Draft) {
        draft.given = draft.given.min(draft.filled);
    }

    /// Bytes that drafts take.
    #[must_use]
    pub fn draft_bytes(&self) -> u64 {
        self.draft_bytes
    }

    /// Frees a draft.
    pub fn abandon(&mut self, draft: Draft) {
        let bytes = draft.bytes_for(draft.room);
        self.draft_bytes -= bytes;
        self.arena.release(draft.at, bytes);
        if draft.name != 0
            && let Some(listener) = self.journal.listener()
        {
            listener.abandon_pieces(draft.name);
        }
    }

    /// Makes the value of a draft, as far as it is filled, that of a key.
    ///
    /// # Errors
    /// When there is no memory for the index; the draft is freed then.
    pub fn publish(
        &mut self,
        draft: Draft,
        key: &Key<'_>,
        expiry: Expiry,
        now: Millis,
    ) -> Result<Published, KeyspaceError> {
        assert_eq!(
            draft.key_bytes,
            key.bytes.len() as u64,
            "a draft is published under a key of the length it was made for"
        );
        if draft.extent(draft.filled).total_bytes() <= CLASS_BYTES_MAX {
            return self.publish_short(draft, key, expiry, now);
        }
        let physical = self.map[usize::from(key.db)];
        let extent = draft.extent(draft.filled);
        let target = match self.prepare_publishing(&extent, draft.given, key, now) {
            Ok(target) => target,
            Err(error) => {
                self.abandon(draft);
                return Err(error);
            }
        };
        let place = target.place();
        let before = place.and_then(|place| self.expire_at(place.at, &place.header));
        let expire_at = match expiry {
            Expiry::Clear => None,
            Expiry::Keep => before,
            Expiry::At(at) => Some(at),
        };
        let access = match place {
            Some(place) => self.access_after_write(key, &place, extent.total_bytes(), now),
            None => {
                let bytes = extent.total_bytes();
                self.eviction.inserted(physical, key.hash, bytes, now)
            }
        };
        let pinned = place.is_some_and(|place| place.header.is_pinned());
        let version = self.commit_draft(&draft, key, expire_at);
        let header = Header::new(&extent, physical, Form::STRING, version, access).with_pin(pinned);
        let (at, room_bytes) = (draft.at, draft.bytes_for(draft.room));
        self.write_header_and_key(at, &header, key.bytes, expire_at);
        match target {
            Target::Place(place) => {
                self.note_pinned_weight(key, &place, footprint(extent.total_bytes()));
                self.wheel_unlink(place.at, &place.header);
                self.reattach(&place, at);
                self.drop_tree(place.at, &place.header);
                self.forget_fields(&place);
                self.arena.release(place.at, place.header.total_bytes());
            }
            Target::Spot(spot) => {
                self.attach(spot, key.hash, at);
                self.count_key(physical, key.bytes, true);
                self.notify_new(physical, key.bytes);
            }
        }
        self.draft_bytes -= room_bytes;
        self.arena.live_bytes = self.arena.live_bytes + extent.total_bytes() - room_bytes;
        self.arena.trim_run(at, extent.total_bytes());
        self.count_expiring(physical, before, expire_at);
        self.link(at, expire_at, now);
        if place.is_none() {
            self.grow(physical);
        }
        Ok(Published {
            existed: place.is_some(),
            version,
        })
    }

    /// Makes it real that a key gets the value of a draft.
    fn commit_draft(&mut self, draft: &Draft, key: &Key<'_>, expire_at: Option<Millis>) -> u64 {
        let subject = self.subject(key, draft.filled);
        self.commit_landed(&subject, draft, |bytes| Effect::Put {
            kind: Kind::String,
            value: Value::Bytes(bytes),
            expire_at,
            pinned_until: None,
        })
    }

    /// Tells of a change by the bytes of a draft, of which the listener has some.
    pub(super) fn commit_landed(
        &mut self,
        subject: &Subject<'_>,
        draft: &Draft,
        effect: impl for<'b> FnOnce(&'b [u8]) -> Effect<'b>,
    ) -> u64 {
        if draft.given > 0
            && let Some(listener) = self.journal.listener()
        {
            listener.publish_pieces(draft.name, draft.given);
        }
        self.commit_in_arena(subject, draft.value_at(), draft.filled, effect)
    }

    /// Copies the bytes of a draft elsewhere in the arena.
    pub(super) fn copy_out_of(&mut self, draft: &Draft, to: u64) {
        let mut done = 0;
        while done < draft.filled {
            let some = (draft.filled - done).min(PIECE_BYTES);
            let part = self.draft_slice(draft, done, some).to_vec();
            self.arena.mapping.copy_in(to + done, &part);
            done += some;
        }
    }

    fn write_header_and_key(
        &mut self,
        at: u64,
        header: &Header,
        key: &[u8],
        expire_at: Option<Millis>,
    ) {
        self.write_header(at, header, expire_at);
        let key_at = (at + header.key_word()) * 8;
        self.arena.mapping.copy_in(key_at, key);
    }

    /// Finds the place of a draft in the index, evicting others where that needs memory.
    fn prepare_publishing(
        &mut self,
        extent: &Extent,
        given: u64,
        key: &Key<'_>,
        now: Millis,
    ) -> Result<Target, KeyspaceError> {
        self.reserve_record(extent.total_bytes() - given)?;
        if let Some((place, header)) = self.locate_live(key, now) {
            self.check_pinned_growth(&header, key.bytes, extent.total_bytes())?;
            return Ok(Target::Place(place));
        }
        let physical = self.map[usize::from(key.db)];
        let spot = self.with_room(key, now, |shard| {
            shard.ensure_buckets(physical)?;
            shard.find_spot(physical, key.hash)
        })?;
        Ok(Target::Spot(spot))
    }

    /// A value that fits into a page with others is copied there.
    fn publish_short(
        &mut self,
        draft: Draft,
        key: &Key<'_>,
        expiry: Expiry,
        now: Millis,
    ) -> Result<Published, KeyspaceError> {
        let bytes = self.draft_slice(&draft, 0, draft.filled).to_vec();
        self.abandon(draft);
        let existed = self.set(key, Value::Bytes(&bytes), expiry, now)?;
        Ok(Published {
            existed,
            version: self.number(),
        })
    }

    /// Gives the next command what was received for it.
    pub fn give_received(&mut self, received: Received) {
        assert!(
            self.received.is_none(),
            "what was received belongs to one command"
        );
        self.received = Some(received);
    }

    /// True when a long argument of the command in hand was received before it.
    #[inline]
    pub fn has_received(&self) -> bool {
        self.received.is_some()
    }

    /// Bytes of the value that was received for the command in hand.
    #[must_use]
    pub fn received_bytes(&self) -> Option<u64> {
        match &self.received {
            Some(Received::Value(draft)) => Some(draft.filled),
            _ => None,
        }
    }

    /// Takes what was received for the command in hand.
    pub fn take_received(&mut self) -> Option<Received> {
        self.received.take()
    }

    /// Lends long values of this shard.
    pub fn lender(&self) -> Lender {
        self.arena.lender()
    }

    /// Frees runs whose last lease has ended.
    #[inline]
    pub fn settle_leases(&mut self) {
        if self.arena.has_returned_leases() {
            self.arena.settle_limbo();
        }
    }

    /// Lent bytes.
    pub fn lent(&self, offset: u64, len: u64) -> &[u8] {
        self.arena.mapping.slice(offset, len)
    }

    /// The segment of this shard.
    #[cfg(test)]
    pub fn file(&self) -> std::os::fd::BorrowedFd<'_> {
        self.arena.mapping.file()
    }

    /// Lent bytes, for a system call to read.
    pub fn exposed(&self, offset: u64, len: u64) -> crate::shm::Exposed<'_> {
        self.arena.mapping.exposed(offset, len)
    }
}
