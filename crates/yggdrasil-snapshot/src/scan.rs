//! The contents of a shard as records: from its memory, from its log, and from its owner.

use std::time::{Duration, Instant};

use yggdrasil_core::keyspace::{Effect, EntryView, Record, ShardReader, Swept, Value, is_before};

use crate::error::SnapshotError;
use crate::turns::Turns;

/// Time for which a shard may be reserved or keep changing in one place.
const UNSETTLED_MAX: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_micros(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(5);
/// Bytes of keys that an owner is asked for at a time, roughly.
const ASKED_BYTES: usize = 64 << 10;

/// A record and its number, as a log has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Change<'a> {
    pub number: u64,
    /// The bytes of a [`Record`].
    pub record: &'a [u8],
}

/// Takes records one after the other.
pub type Visit<'v> = dyn FnMut(Change<'_>) -> Result<(), SnapshotError> + 'v;

/// The log of a shard.
pub trait History {
    /// Hands on all changes from the number `first` on, in their order, up to one that is newer than the call. False
    /// where the log does not reach back so far.
    ///
    /// # Errors
    /// The log cannot be read, or `visit` failed.
    fn since(&mut self, first: u64, visit: &mut Visit<'_>) -> Result<bool, SnapshotError>;

    /// Makes durable what the log has so far.
    ///
    /// # Errors
    /// It may not survive a power cut.
    fn settle(&mut self) -> Result<(), SnapshotError>;
}

/// The history of a shard that has no log.
#[derive(Clone, Copy, Debug)]
pub struct NoHistory;

impl History for NoHistory {
    fn since(&mut self, _: u64, _: &mut Visit<'_>) -> Result<bool, SnapshotError> {
        Ok(false)
    }

    fn settle(&mut self) -> Result<(), SnapshotError> {
        Ok(())
    }
}

/// The owner of a shard, who alone finds the elements of a large collection, and knows when pins end.
pub trait Owner {
    /// Hands on a `Put` for each of these keys of a physical database that is still there, under the number of its
    /// last change.
    ///
    /// # Errors
    /// The owner does not answer, or `visit` failed.
    fn entries(
        &mut self,
        physical: u8,
        keys: &[Vec<u8>],
        visit: &mut Visit<'_>,
    ) -> Result<(), SnapshotError>;

    /// Hands on a `Pin` for each pinned key, under the version of its entry.
    ///
    /// # Errors
    /// As above.
    fn pins(&mut self, visit: &mut Visit<'_>) -> Result<(), SnapshotError>;
}

/// The owner of a shard without collections or pins.
#[derive(Clone, Copy, Debug)]
pub struct Unowned(pub u32);

impl Owner for Unowned {
    fn entries(&mut self, _: u8, keys: &[Vec<u8>], _: &mut Visit<'_>) -> Result<(), SnapshotError> {
        Err(SnapshotError::Owner {
            shard: self.0,
            entries: keys.len(),
            reason: "nobody can be asked".to_owned(),
        })
    }

    fn pins(&mut self, _: &mut Visit<'_>) -> Result<(), SnapshotError> {
        Ok(())
    }
}

/// A scan of a shard.
pub(crate) struct Scan<'a> {
    pub(crate) reader: &'a ShardReader,
    pub(crate) owner: &'a mut dyn Owner,
    pub(crate) shard: u32,
    pub(crate) keeps: &'a dyn Fn(&[u8]) -> bool,
    /// Entries whose last change has a lower number are passed over.
    pub(crate) since: u64,
    /// What a scan meets again, because buckets were put together meanwhile, is passed over.
    /// Keys are hashed with this seed.
    pub(crate) each_once: Option<u64>,
}

impl Scan<'_> {
    /// Hands on a record for each entry that has changed.
    pub(crate) fn run(
        &mut self,
        go_on: &dyn Fn() -> Result<(), SnapshotError>,
        visit: &mut Visit<'_>,
    ) -> Result<(), SnapshotError> {
        let mut swept = Swept::default();
        let mut turns = Turns::begin();
        let mut scratch = Vec::new();
        let keeps = self.keeps;
        for physical in self.reader.map() {
            let mut asked = Asked::default();
            let mut cursor = 0;
            loop {
                let mut outcome = Ok(());
                let (seed, seen) = (self.each_once, cursor);
                let is_again = |key: &[u8]| seed.is_some_and(|seed| is_before(seed, key, seen));
                cursor = self.bucket(physical, cursor, &mut swept, &mut |key, view| {
                    if outcome.is_err() || !keeps(key) || is_again(key) {
                        return;
                    }
                    if view.value == Value::AtOwner {
                        asked.add(key);
                        return;
                    }
                    scratch.clear();
                    record_of(physical, key, view).encode(&mut scratch);
                    outcome = visit(Change {
                        number: view.version,
                        record: &scratch,
                    });
                })?;
                outcome?;
                go_on()?;
                turns.pause();
                if asked.bytes >= ASKED_BYTES || cursor == 0 && !asked.keys.is_empty() {
                    let keys = std::mem::take(&mut asked);
                    self.owner.entries(physical, &keys.keys, visit)?;
                }
                if cursor == 0 {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Visits a bucket, and waits where the shard is reserved.
    fn bucket(
        &self,
        physical: u8,
        cursor: u64,
        swept: &mut Swept,
        visit: &mut dyn FnMut(&[u8], &EntryView<'_>),
    ) -> Result<u64, SnapshotError> {
        settled(self.shard, &mut || {
            self.reader
                .scan_since(physical, cursor, self.since, swept, visit)
        })
    }
}

/// Looks at a shard until that settles, and waits where the shard is reserved.
pub(crate) fn settled<T>(
    shard: u32,
    look: &mut dyn FnMut() -> Option<T>,
) -> Result<T, SnapshotError> {
    let mut pause = FIRST_PAUSE;
    let mut since = None;
    loop {
        if let Some(seen) = look() {
            return Ok(seen);
        }
        let began = *since.get_or_insert_with(Instant::now);
        if began.elapsed() > UNSETTLED_MAX {
            return Err(SnapshotError::Unsettled {
                shard,
                seconds: UNSETTLED_MAX.as_secs(),
            });
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Keys that the owner is to be asked for.
#[derive(Default)]
struct Asked {
    keys: Vec<Vec<u8>>,
    bytes: usize,
}

impl Asked {
    fn add(&mut self, key: &[u8]) {
        self.bytes += key.len() + size_of::<Vec<u8>>();
        self.keys.push(key.to_vec());
    }
}

fn record_of<'a>(physical: u8, key: &'a [u8], view: &EntryView<'a>) -> Record<'a> {
    Record {
        db: physical,
        key,
        effect: Effect::Put {
            kind: view.kind,
            value: view.value,
            expire_at: view.expire_at,
            pinned_until: None,
        },
    }
}
