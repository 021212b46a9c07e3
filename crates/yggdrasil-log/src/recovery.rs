//! The way back from a log to a shard: once through to learn its end and its groups, once to make the changes.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use yggdrasil_core::keyspace::{ApplyError, EffectError, Record, Shard};

use crate::disk::Disk;
use crate::distinct::Distinct;
use crate::format::{Content, Outcome, segment_name};
use crate::parts::Group;
use crate::reader::{End, Entry, LogError, Place, Reader};

/// What the changes of a log are made on.
pub trait Target {
    /// Hears of a key of a physical database that most likely changes a little later.
    fn expect(&mut self, _physical: u8, _key: &[u8]) {}

    /// Hears how many keys a physical database is going to have, about, once it has one.
    fn expect_keys(&mut self, _physical: u8, _keys: u64) {}

    /// Makes a change. False where it came too late.
    ///
    /// # Errors
    /// It does not fit.
    fn apply(&mut self, record: &Record<'_>, number: u64) -> Result<bool, ApplyError>;
}

impl Target for Shard {
    fn expect(&mut self, physical: u8, key: &[u8]) {
        self.prefetch_key(physical, key);
    }

    fn expect_keys(&mut self, physical: u8, keys: u64) {
        Shard::expect_keys(self, physical, keys);
    }

    fn apply(&mut self, record: &Record<'_>, number: u64) -> Result<bool, ApplyError> {
        Shard::apply(self, record, number)
    }
}

/// A function that takes each change.
#[derive(Debug)]
pub struct Each<F>(pub F);

impl<F: FnMut(&Record<'_>, u64) -> Result<bool, ApplyError>> Target for Each<F> {
    fn apply(&mut self, record: &Record<'_>, number: u64) -> Result<bool, ApplyError> {
        (self.0)(record, number)
    }
}

/// A reason why a shard cannot be made from its log.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("{file}, offset {offset}: {error}")]
    Change {
        file: String,
        offset: u64,
        error: EffectError,
    },
    #[error("{file}, offset {offset}: {error}")]
    Apply {
        file: String,
        offset: u64,
        error: ApplyError,
    },
}

/// A group of changes whose outcome its own log does not say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Open {
    pub coordinator: u16,
    pub tag: u64,
    /// Its shard has heard that it counts, before the power may have been cut.
    pub was_released: bool,
    /// Number of the last change of it.
    pub last: u64,
    begin: Place,
    /// Number of the last change before it.
    before: u64,
}

/// The contents of a log, as the first reading finds them.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub end: End,
    /// Number of the last change before the log: those up to there are in a snapshot.
    pub begins_behind: u64,
    /// Bytes of all records.
    pub bytes: u64,
    pub changes: u64,
    /// Groups that count only if their coordinator has decided so.
    pub open: Vec<Open>,
    /// Decisions of this shard's worker, each with its parts.
    pub decisions: HashMap<u64, Vec<(u16, u64)>>,
    /// Beginnings of groups that do not count.
    dropped: Vec<Place>,
    /// The group that the log ends in, if it does.
    unfinished: Option<Open>,
    /// Databases and the keys that change in them.
    keys: Vec<(u8, Changed)>,
}

/// The keys of a database that change.
#[derive(Clone, Debug, Default)]
struct Changed {
    keys: Distinct,
    removals: u64,
}

impl Changed {
    /// Keys that are there at the end, about: not more than that.
    fn left(&self) -> u64 {
        self.keys.estimate().saturating_sub(self.removals)
    }
}

/// Outcomes of open groups by coordinator and tag: true where they count.
pub type Outcomes = HashMap<(u16, u64), bool>;

/// A recovery under way.
#[derive(Debug)]
pub struct Recovery {
    reader: Reader,
    found: Found,
    /// A snapshot has the changes with lower numbers.
    start: u64,
    /// The group in hand does not count.
    is_passing_over: bool,
    applied: u64,
    /// Databases and the keys that they are going to have, which the target has not heard of yet.
    expected: Vec<(u8, u64)>,
}

impl Recovery {
    /// Reads a log once.
    ///
    /// # Errors
    /// It cannot be read, or is damaged.
    pub fn scan(disk: Arc<dyn Disk>, directory: &Path) -> Result<Self, RecoveryError> {
        let mut reader = Reader::open(disk, directory)?;
        reader.put_together(false);
        let mut found = Found {
            begins_behind: reader.begins_behind()?,
            ..Found::default()
        };
        let mut group = None;
        while let Some(entry) = reader.read()? {
            found.note(&entry, &mut group);
        }
        found.end = reader.end();
        if let Some(open) = group {
            let open = Open {
                last: found.end.number,
                ..open
            };
            found.unfinished = Some(open);
            found.leave(open);
        }
        found.bytes = reader.bytes_read();
        reader.rewind();
        reader.put_together(true);
        let keys = std::mem::take(&mut found.keys);
        let expected = keys
            .into_iter()
            .map(|(physical, keys)| (physical, keys.left()));
        Ok(Self {
            reader,
            found,
            start: 0,
            is_passing_over: false,
            applied: 0,
            expected: expected.collect(),
        })
    }

    /// What the first reading has found.
    #[must_use]
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// Groups whose outcome this log does not say, those aside that a snapshot has: none begins within a group.
    pub fn undecided(&self) -> impl Iterator<Item = &Open> {
        let open = self.found.open.iter();
        open.filter(|open| open.before >= self.start)
    }

    /// Numbers of the last changes of groups, where this log has them and does not say that they do not count.
    #[must_use]
    pub fn parts(&self) -> HashMap<Group, u64> {
        let open = self.found.open.iter();
        open.map(|open| ((open.coordinator, open.tag), open.last))
            .collect()
    }

    /// Bytes read a second time.
    #[must_use]
    pub fn bytes_done(&self) -> u64 {
        self.reader.bytes_read()
    }

    /// Changes made.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// Passes over the changes with lower numbers, which a snapshot has. They must not be made again: decisions about
    /// groups among them were removed with the beginnings of other logs, so that not all of them would be.
    pub fn begin_at(&mut self, start: u64) {
        self.start = start;
    }

    /// Says what has become of the open groups. One that is not named does not count, unless a snapshot has it: none
    /// begins within a group.
    pub fn decide(&mut self, outcomes: &Outcomes) {
        let start = self.start;
        let counts = |open: &Open| {
            open.before < start || outcomes.get(&(open.coordinator, open.tag)) == Some(&true)
        };
        let lost = self.found.open.iter().filter(|open| !counts(open));
        self.found.dropped.extend(lost.map(|open| open.begin));
        self.found.dropped.sort_unstable();
    }

    /// The marks to be written at the end of the log: what counts now counts for ever, and what does not never does.
    #[must_use]
    pub fn closing_marks(&self) -> Vec<Content<'static>> {
        let is_dropped = |open: &Open| self.found.dropped.binary_search(&open.begin).is_ok();
        let unfinished = self.found.unfinished.iter().copied();
        let open = self.found.open.iter().copied();
        let dropped = open.filter(|open| open.was_released && is_dropped(open));
        let mut marks: Vec<_> = unfinished
            .map(|open| (open, is_dropped(&open)))
            .chain(dropped.map(|open| (open, true)))
            .map(|(open, is_dropped)| Content::End {
                coordinator: open.coordinator,
                tag: open.tag,
                outcome: if is_dropped {
                    Outcome::Dropped
                } else {
                    Outcome::Released
                },
            })
            .collect();
        marks.push(Content::Settled);
        marks
    }

    /// Makes changes from about so many bytes of the log. True when the end is reached.
    ///
    /// # Errors
    /// The log cannot be read, or a change does not fit the shard.
    pub fn step(&mut self, bytes: u64, target: &mut dyn Target) -> Result<bool, RecoveryError> {
        let until = self.reader.bytes_read() + bytes;
        while self.reader.bytes_read() < until {
            self.reader.look_ahead(&mut |change| {
                if let Some((physical, key)) = Record::key_of(change) {
                    target.expect(physical, key);
                }
            });
            let Some(entry) = self.reader.read()? else {
                return Ok(true);
            };
            match entry.frame.content {
                Content::Begin { .. } => {
                    let dropped = &self.found.dropped;
                    self.is_passing_over = dropped.binary_search(&entry.place).is_ok();
                }
                Content::End { .. } => self.is_passing_over = false,
                // What a process left unfinished does not reach beyond its end.
                Content::Settled => self.is_passing_over = false,
                Content::Change(bytes)
                    if !self.is_passing_over && entry.frame.number >= self.start =>
                {
                    let (place, number) = (entry.place, entry.frame.number);
                    let file = || segment_name(place.sequence);
                    let offset = place.offset;
                    let record = Record::decode(bytes).map_err(|error| RecoveryError::Change {
                        file: file(),
                        offset,
                        error,
                    })?;
                    target
                        .apply(&record, number)
                        .map_err(|error| RecoveryError::Apply {
                            file: file(),
                            offset,
                            error,
                        })?;
                    self.applied += 1;
                    let mut expected = self.expected.iter();
                    if let Some(place) = expected.position(|known| known.0 == record.db) {
                        let (physical, keys) = self.expected.swap_remove(place);
                        target.expect_keys(physical, keys);
                    }
                }
                _ => {}
            }
        }
        Ok(false)
    }
}

/// True where a log has a decision under no lower number than `since`.
pub(crate) fn find_decision(
    disk: &Arc<dyn Disk>,
    directory: &Path,
    tag: u64,
    since: u64,
) -> Result<bool, LogError> {
    let mut reader = Reader::open(Arc::clone(disk), directory)?;
    reader.put_together(false);
    reader.skip_to(since.saturating_sub(1))?;
    while let Some(entry) = reader.read()? {
        if matches!(&entry.frame.content, Content::Decision(decision) if decision.tag == tag) {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Found {
    fn note(&mut self, entry: &Entry<'_>, group: &mut Option<Open>) {
        match &entry.frame.content {
            Content::Change(bytes) => {
                self.changes += 1;
                self.note_key(bytes);
            }
            Content::Pieced { .. } => self.changes += 1,
            Content::Begin { coordinator, tag } => {
                // One that was not ended was in hand when the process died.
                if let Some(open) = group.take() {
                    self.leave(Open {
                        last: entry.frame.number,
                        ..open
                    });
                }
                *group = Some(Open {
                    coordinator: *coordinator,
                    tag: *tag,
                    was_released: false,
                    last: entry.frame.number,
                    begin: entry.place,
                    before: entry.frame.number,
                });
            }
            Content::End {
                coordinator,
                tag,
                outcome,
            } => {
                let Some(open) = group.take() else {
                    self.drop_later(*coordinator, *tag);
                    return;
                };
                match outcome {
                    Outcome::Released => self.open.push(Open {
                        was_released: true,
                        last: entry.frame.number,
                        ..open
                    }),
                    Outcome::Dropped => self.dropped.push(open.begin),
                    Outcome::Undone | Outcome::Whole => {}
                }
            }
            Content::Decision(decision) => {
                self.decisions.insert(decision.tag, decision.parts.clone());
            }
            Content::Settled => self.open.clear(),
            _ => {}
        }
    }

    /// Counts the key of a change, so that its index is as long from the start as it will be.
    fn note_key(&mut self, change: &[u8]) {
        let Some((physical, key)) = Record::key_of(change) else {
            return;
        };
        let mut known = self.keys.iter().map(|known| known.0);
        let place = known.position(|other| other == physical);
        let place = place.unwrap_or_else(|| {
            self.keys.push((physical, Changed::default()));
            self.keys.len() - 1
        });
        let changed = &mut self.keys[place].1;
        if Record::is_removal(change) {
            changed.removals += 1;
        } else {
            changed.keys.note(key);
        }
    }

    /// A group that had been released did not count at a recovery.
    fn drop_later(&mut self, coordinator: u16, tag: u64) {
        let open = self.open.iter();
        let dropped = open.filter(|open| (open.coordinator, open.tag) == (coordinator, tag));
        self.dropped.extend(dropped.map(|open| open.begin));
    }

    /// A group without an end: one of this shard alone is lost.
    fn leave(&mut self, open: Open) {
        if open.tag == 0 {
            self.dropped.push(open.begin);
        } else {
            self.open.push(open);
        }
    }
}
