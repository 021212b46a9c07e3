//! The journal of a shard: it numbers the changes, and tells those who wait for them.

use std::fmt::Debug;

use super::capture::Capture;
use super::collection::Collection;
use super::effect::{Effect, Record};
use super::entry::VERSION_MASK;
use super::kind::Value;
use super::tracking::Tracking;
use super::types::{Key, KeyspaceError, Millis};
use super::waiting::Waiting;
use super::watch::Watches;

/// A listener to all changes of a shard, such as a log, a follower's stream, or a list of blocked clients.
pub trait ChangeListener: Debug {
    /// Makes sure that records of so many bytes can be kept. Asked before anything is touched.
    ///
    /// # Errors
    /// There is no room for them: the change is refused.
    fn reserve(&mut self, bytes: u64) -> Result<(), KeyspaceError>;

    /// Makes sure that changes of a key can be kept. Asked before anything is touched; the key is empty for a change of
    /// whole databases.
    ///
    /// # Errors
    /// They cannot: the change is refused.
    fn admit(&mut self, _key: &[u8]) -> Result<(), KeyspaceError> {
        Ok(())
    }

    /// True where records of so many bytes together can be kept for certain.
    fn has_room(&self, _bytes: u64) -> bool {
        false
    }

    /// Bytes of records for which there is room already. Nothing is made ready for more.
    fn certain_room(&self) -> u64 {
        0
    }

    /// Names a long value of a key that is still coming, whose bytes may be given piece by piece; 0 where its change
    /// brings all of it.
    fn name_draft(&mut self, _key: &[u8]) -> u64 {
        0
    }

    /// Takes bytes of such a value from an offset on, which end what was there. False where that cannot be now.
    fn piece(&mut self, _draft: u64, _offset: u64, _bytes: &[u8]) -> bool {
        false
    }

    /// True while so much waits for the listener's own place that no more should be given before it has to be.
    fn is_behind(&mut self) -> bool {
        false
    }

    /// Hears that the next change puts such a value, of which so many bytes were given; of a collection all.
    fn publish_pieces(&mut self, _draft: u64, _bytes: u64) {}

    /// Hears that such a value does not come.
    fn abandon_pieces(&mut self, _draft: u64) {}

    /// Hears where a group of changes begins or ends. `number` is that of the last change, or of the decision.
    fn mark(&mut self, _number: u64, _mark: &Mark<'_>) {}

    /// Hears of a change that is about to become visible. Numbers rise strictly.
    fn changed(&mut self, number: u64, record: &Record<'_>);
}

/// A mark between changes. Those of a group come back all or none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mark<'a> {
    /// What follows belongs to a group; each has the number of its coordinator and a tag there.
    Begin { coordinator: u16, tag: u64 },
    /// All of the group is before this mark.
    Whole,
    /// The group counts if the coordinator's log has the decision.
    Released,
    /// The changes before this mark have undone it.
    Undone,
    /// A group of several shards counts, if each of them has its changes up to this number.
    Decided { tag: u64, parts: &'a [(u16, u64)] },
}

/// The reason for a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cause {
    /// A client, or the owner, asked for it.
    Asked,
    /// A time is over: that of a key or of its pin.
    Time,
    /// Others need the memory.
    Eviction,
}

/// An entry that changes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    pub(super) physical: u8,
    pub(super) hash: u64,
    pub(super) key: &'a [u8],
    /// Bytes of its value after the change.
    pub(super) value_bytes: u64,
}

/// An entry as it was before a change that may be undone.
#[derive(Debug)]
pub(super) struct Before {
    pub(super) physical: u8,
    pub(super) hash: u64,
    pub(super) key: Box<[u8]>,
    /// `None` where there was no entry.
    pub(super) entry: Option<Past>,
}

/// The contents of an entry, as they were.
#[derive(Debug)]
pub(super) enum Past {
    /// The effect that puts the entry there.
    Put(Vec<u8>),
    /// A collection in a tree, which is cheap to keep.
    Tree {
        tree: Collection,
        expire_at: Option<Millis>,
        pinned_until: Option<Millis>,
    },
}

#[derive(Debug)]
pub(super) struct Journal {
    number: u64,
    /// True while anybody is to be told of changes.
    is_attended: bool,
    watches: Watches,
    waiting: Waiting,
    tracking: Tracking,
    /// While a capture is taken.
    capture: Option<Box<Capture>>,
    listener: Option<Box<dyn ChangeListener>>,
    /// The next collection that is put: the listener has it under this name, with so many bytes.
    written: Option<(u64, u64)>,
    /// Entries as they were before changes that may be undone.
    before: Vec<Before>,
    /// How many there were when each of the undertakings under way began.
    undo_from: Vec<usize>,
    /// A whole database was changed among them.
    cannot_undo: bool,
    /// True while changes are made that nothing may refuse.
    is_exempt: bool,
    /// True while changes are undone of which nobody has heard.
    is_undoing: bool,
}

impl Journal {
    /// Nobody is told of changes yet; `seed` is for hashes of keys.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            number: 0,
            is_attended: false,
            watches: Watches::new(seed),
            waiting: Waiting::new(seed),
            tracking: Tracking::new(seed),
            capture: None,
            listener: None,
            written: None,
            before: Vec::new(),
            undo_from: Vec::new(),
            cannot_undo: false,
            is_exempt: false,
            is_undoing: false,
        }
    }

    /// Number of the last change.
    #[inline(always)]
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Numbers a change.
    #[inline(always)]
    pub(super) fn count(&mut self) -> u64 {
        self.number += 1;
        debug_assert!(
            self.number <= VERSION_MASK,
            "the numbers of a shard last for centuries"
        );
        self.number
    }

    /// Goes on behind a number.
    pub(super) fn go_on_from(&mut self, number: u64) {
        self.number = number & VERSION_MASK;
    }

    #[inline(always)]
    pub(super) fn is_attended(&self) -> bool {
        self.is_attended
    }

    fn settle(&mut self) {
        self.is_attended = !self.watches.is_empty()
            || !self.waiting.is_empty()
            || !self.tracking.is_idle()
            || self.capture.is_some()
            || self.listener.is_some()
            || !self.undo_from.is_empty();
    }

    pub(super) fn watches(&self) -> &Watches {
        &self.watches
    }

    /// Changes the watches.
    pub(super) fn with_watches<T>(&mut self, change: impl FnOnce(&mut Watches) -> T) -> T {
        let outcome = change(&mut self.watches);
        self.settle();
        outcome
    }

    pub(super) fn waiting(&self) -> &Waiting {
        &self.waiting
    }

    /// Changes who waits for keys.
    pub(super) fn with_waiting<T>(&mut self, change: impl FnOnce(&mut Waiting) -> T) -> T {
        let outcome = change(&mut self.waiting);
        self.settle();
        outcome
    }

    pub(super) fn tracking(&self) -> &Tracking {
        &self.tracking
    }

    /// Changes who keeps what of the keys.
    pub(super) fn with_tracking<T>(&mut self, change: impl FnOnce(&mut Tracking) -> T) -> T {
        let outcome = change(&mut self.tracking);
        self.settle();
        outcome
    }

    #[inline(always)]
    pub(super) fn capture(&mut self) -> Option<&mut Capture> {
        self.capture.as_deref_mut()
    }

    /// Begins, replaces or ends a recording.
    pub(super) fn set_capture(&mut self, capture: Option<Box<Capture>>) {
        self.capture = capture;
        self.settle();
    }

    pub(super) fn has_listener(&self) -> bool {
        self.listener.is_some()
    }

    pub(super) fn set_listener(
        &mut self,
        listener: Option<Box<dyn ChangeListener>>,
    ) -> Option<Box<dyn ChangeListener>> {
        let before = std::mem::replace(&mut self.listener, listener);
        self.settle();
        before
    }

    /// Asks for room for records.
    pub(super) fn reserve(&mut self, bytes: u64) -> Result<(), KeyspaceError> {
        match &mut self.listener {
            Some(listener) if !self.is_exempt => listener.reserve(bytes),
            _ => Ok(()),
        }
    }

    pub(super) fn admit(&mut self, key: &[u8]) -> Result<(), KeyspaceError> {
        match &mut self.listener {
            Some(listener) if !self.is_exempt => listener.admit(key),
            _ => Ok(()),
        }
    }

    pub(super) fn has_room(&self, bytes: u64) -> bool {
        self.listener
            .as_ref()
            .is_none_or(|listener| listener.has_room(bytes))
    }

    /// Bytes of records for which the listener has room already.
    pub(super) fn certain_room(&self) -> u64 {
        let listener = self.listener.as_ref();
        listener.map_or(u64::MAX, |listener| listener.certain_room())
    }

    pub(super) fn listener(&mut self) -> Option<&mut (dyn ChangeListener + 'static)> {
        self.listener.as_deref_mut()
    }

    /// Says that the listener has the next collection that is put already, or that none is to be put.
    pub(super) fn set_written(&mut self, written: Option<(u64, u64)>) {
        self.written = written;
    }

    /// True where the listener has the next collection that is put already.
    pub(super) fn has_written(&self) -> bool {
        self.written.is_some()
    }

    pub(super) fn mark(&mut self, mark: &Mark<'_>) {
        if let Some(listener) = &mut self.listener {
            listener.mark(self.number, mark);
        }
    }

    /// Begins or ends a time in which nothing is refused.
    pub(super) fn set_exempt(&mut self, is_exempt: bool) {
        self.is_exempt = is_exempt;
    }

    /// Begins changes that may be undone, perhaps among others that may.
    pub(super) fn begin_undo(&mut self) {
        self.undo_from.push(self.before.len());
        self.settle();
    }

    /// Ends them, and gives what was before where they are undone: the last change last.
    pub(super) fn end_undo(&mut self, count: bool) -> Vec<Before> {
        let from = self.undo_from.pop().unwrap_or_default();
        self.settle();
        if self.undo_from.is_empty() {
            self.watches.settle();
            if count {
                self.before = Vec::new();
            }
        }
        if count {
            Vec::new()
        } else {
            self.before.split_off(from)
        }
    }

    /// Ends for a while that entries are kept as they were; [`Journal::set_undo`] takes the answer.
    pub(super) fn take_undo(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.undo_from)
    }

    pub(super) fn set_undo(&mut self, undo_from: Vec<usize>) {
        self.undo_from = undo_from;
        self.settle();
    }

    /// Where entries are kept as they were, while changes may be undone.
    pub(super) fn undo(&mut self) -> Option<&mut Vec<Before>> {
        (!self.undo_from.is_empty()).then_some(&mut self.before)
    }

    /// True where the entry of a key is kept as it was, as the last one of the innermost undertaking.
    pub(super) fn has_kept(&self, subject: &Subject<'_>) -> bool {
        let from = self.undo_from.last().copied().unwrap_or_default();
        let last = self.before.get(from..).and_then(<[Before]>::last);
        last.is_some_and(|last| {
            last.hash == subject.hash
                && last.physical == subject.physical
                && *last.key == *subject.key
        })
    }

    /// Begins or ends the undoing of changes of which nobody has heard.
    pub(super) fn set_undoing(&mut self, is_undoing: bool) {
        self.is_undoing = is_undoing;
    }

    /// Remembers that a whole database was changed, which nothing undoes.
    pub(super) fn note_whole(&mut self) {
        self.cannot_undo |= !self.undo_from.is_empty();
    }

    /// True where something was changed since the last call that cannot be undone.
    pub(super) fn take_cannot_undo(&mut self) -> bool {
        std::mem::take(&mut self.cannot_undo)
    }

    /// Tells of a change of an entry, whose logical database is `db`.
    pub(super) fn tell(
        &mut self,
        number: u64,
        db: u8,
        subject: &Subject<'_>,
        effect: &Effect<'_>,
        cause: Cause,
    ) {
        // Watches know themselves when a key expires, and a pin changes nothing for them.
        let is_heard = !self.is_undoing && !matches!(effect, Effect::Pin { .. });
        if is_heard && !self.tracking.is_idle() {
            self.tracking.note(subject.key, cause == Cause::Asked);
        }
        if is_heard && cause != Cause::Time {
            let may_be_undone = cause == Cause::Asked && !self.undo_from.is_empty();
            self.watches.touch(db, subject.key, may_be_undone);
        }
        let is_write = matches!(
            effect,
            Effect::Put { .. } | Effect::Splice { .. } | Effect::Delta { .. }
        );
        if is_write {
            self.waiting.note(db, subject.key);
        }
        if matches!(effect, Effect::Remove) {
            self.waiting.note_removal(db, subject.key);
        }
        if is_write && let Some(capture) = &mut self.capture {
            let key = Key {
                db,
                hash: subject.hash,
                bytes: subject.key,
            };
            capture.note_write(&key, subject.key.len() as u64 + subject.value_bytes);
        }
        let record = Record {
            db: subject.physical,
            key: subject.key,
            effect: *effect,
        };
        let is_bare = matches!(
            effect,
            Effect::Put {
                value: Value::Written(b""),
                ..
            }
        );
        if is_bare
            && let Some((name, bytes)) = self.written.take()
            && let Some(listener) = &mut self.listener
        {
            listener.publish_pieces(name, bytes);
        }
        self.tell_listener(number, &record);
    }

    /// Tells of a change of a whole database, or of the map of all.
    pub(super) fn tell_listener(&mut self, number: u64, record: &Record<'_>) {
        if matches!(record.effect, Effect::MapDatabases { .. }) {
            self.waiting.note_all();
            self.tracking.note_all();
        }
        if let Some(listener) = &mut self.listener {
            listener.changed(number, record);
        }
    }
}
