//! The log of a shard as the history that snapshots need, read while its owner writes.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use yggdrasil_log::disk::Disk;
use yggdrasil_log::{
    Content, Frame, HEADER_BYTES, Outcome, Pieces, SegmentHeader, first_needed, segment_name,
    sequence_of,
};

use crate::archive::used_bytes;
use crate::error::SnapshotError;
use crate::pace::Pace;
use crate::scan::{Change, History, Visit};

/// Looks for the end of a segment that has a successor, and the time between two of them.
const TRIES_MAX: u32 = 100;
const PAUSE: Duration = Duration::from_millis(5);

/// The log of a shard, in a directory of segments.
#[derive(Debug)]
pub struct LogHistory {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    shard: u32,
    /// Bytes of the log, from its beginning on, that were durable when it was read.
    durable: u64,
}

/// A segment of a log.
struct Segment {
    sequence: u64,
    header: SegmentHeader,
}

impl LogHistory {
    /// Names a log. Nothing is read.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>, directory: &Path, shard: u32) -> Self {
        Self {
            disk,
            directory: directory.to_path_buf(),
            shard,
            durable: 0,
        }
    }

    pub(crate) fn failed(&self, reason: impl std::fmt::Display) -> SnapshotError {
        SnapshotError::History {
            shard: self.shard,
            reason: reason.to_string(),
        }
    }

    fn segments(&self) -> Result<Vec<Segment>, SnapshotError> {
        segments_of(&*self.disk, &self.directory).map_err(|error| self.failed(error))
    }

    /// Removes segments of which no change has a number from `start` on: a snapshot has them all. The last one stays.
    ///
    /// # Errors
    /// A segment cannot be read or removed. What is left goes on without a gap.
    pub fn drop_before(&self, start: u64) -> Result<u64, SnapshotError> {
        let segments = self.segments()?;
        let covered = segments.windows(2).take_while(|pair| {
            // The next one begins behind the last change of this one.
            pair[1].header.number < start
        });
        let Some(first) = segments.get(covered.count()) else {
            return Ok(0);
        };
        let needed = self.first_needed(first.sequence)?;
        let mut bytes = 0;
        for pair in segments.windows(2) {
            if pair[0].sequence >= needed {
                break;
            }
            let path = self.directory.join(segment_name(pair[0].sequence));
            self.disk
                .remove(&path)
                .map_err(|error| self.failed(error))?;
            bytes += pair[0].header.bytes;
        }
        if bytes > 0 {
            let synced = self.disk.sync_directory(&self.directory);
            synced.map_err(|error| self.failed(error))?;
        }
        Ok(bytes)
    }

    /// The first segment with something that is needed from a segment on.
    fn first_needed(&self, sequence: u64) -> Result<u64, SnapshotError> {
        let needed = first_needed(&*self.disk, &self.directory, sequence);
        needed.map_err(|error| self.failed(error))
    }

    /// Reads from a segment on, up to the end of the log. Gives the groups that had ended and do not count.
    fn read(
        &mut self,
        begin: u64,
        first: u64,
        dropped: HashSet<Group>,
        visit: Option<&mut Visit<'_>>,
    ) -> Result<HashSet<Group>, SnapshotError> {
        let (mut next, mut tries) = (begin, 0);
        let mut cursor = Cursor {
            first,
            offset: HEADER_BYTES,
            number: 0,
            epoch: 0,
            durable: 0,
            pending: Pending::default(),
            pieces: Pieces::default(),
            dropped,
            visit,
        };
        loop {
            // Its successor may be there only since a moment ago.
            let following = self
                .segments()?
                .into_iter()
                .find(|segment| segment.sequence == next + 1);
            let path = self.directory.join(segment_name(next));
            let contents = self.disk.read(&path).map_err(|error| self.failed(error))?;
            let end = following
                .as_ref()
                .map(|segment| segment.header.previous_end)
                .filter(|end| *end != 0);
            let is_over = cursor.take(&contents.bytes, end)?;
            self.durable = self.durable.max(cursor.durable);
            match (is_over, following) {
                (true, Some(_)) => {
                    (next, cursor.offset, tries) = (next + 1, HEADER_BYTES, 0);
                }
                // The end of the log, for now.
                (_, None) => return Ok(cursor.dropped),
                // A segment is sealed when the next one is there already.
                (false, Some(_)) if tries < TRIES_MAX => {
                    tries += 1;
                    std::thread::sleep(PAUSE);
                }
                (false, Some(_)) => {
                    return Err(self.failed(format!("{} is damaged", path.display())));
                }
            }
        }
    }

    /// Heads of all segments, by sequence number.
    pub(crate) fn headers(&self) -> Result<Vec<(u64, SegmentHeader)>, SnapshotError> {
        let segments = self.segments()?.into_iter();
        Ok(segments
            .map(|segment| (segment.sequence, segment.header))
            .collect())
    }

    /// The first segment that is needed to read the log from a segment on; nothing where that was removed meanwhile.
    pub(crate) fn needed_from(&self, sequence: u64) -> Result<Option<u64>, SnapshotError> {
        match first_needed(&*self.disk, &self.directory, sequence) {
            Ok(first) => Ok(Some(first)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Makes durable what a segment has so far, and its name.
    pub(crate) fn settle_segment(&self, sequence: u64) -> Result<(), SnapshotError> {
        let path = self.directory.join(segment_name(sequence));
        let synced = match self.disk.open(&path) {
            // What was in it is durable elsewhere.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            area => area.and_then(|area| area.syncer().sync()),
        };
        let synced = synced.and_then(|()| self.disk.sync_directory(&self.directory));
        synced.map_err(|error| self.failed(error))
    }

    /// All of a segment; nothing where it was removed meanwhile.
    pub(crate) fn contents(&self, sequence: u64) -> Result<Option<Vec<u8>>, SnapshotError> {
        let path = self.directory.join(segment_name(sequence));
        match self.disk.read(&path) {
            Ok(contents) => Ok(Some(contents.bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Reads again the segments that are not written to any more. Tells of each that is damaged its name and the offset.
    ///
    /// # Errors
    /// The log cannot be read, or `progress` has ended it by false.
    pub fn verify(
        &self,
        pace: &Pace,
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Vec<(PathBuf, u64)>, SnapshotError> {
        let mut damaged = Vec::new();
        let headers = self.headers()?;
        for (place, (sequence, _)) in headers.iter().enumerate() {
            // The last ones may be written anew after a sync that failed.
            let Some((_, next)) = headers.get(place + 1).filter(|_| place + 2 < headers.len())
            else {
                break;
            };
            let Some(contents) = self.contents(*sequence)? else {
                continue;
            };
            pace.spend(contents.len() as u64);
            if !progress(contents.len() as u64) {
                return Err(SnapshotError::Cancelled);
            }
            let used = used_bytes(&contents, Some(next));
            if !used.is_whole {
                damaged.push((self.directory.join(segment_name(*sequence)), used.bytes));
            }
        }
        Ok(damaged)
    }

    /// Bytes of all segments.
    ///
    /// # Errors
    /// A segment cannot be read.
    pub fn bytes(&self) -> Result<u64, SnapshotError> {
        let segments = self.segments()?;
        Ok(segments.iter().map(|segment| segment.header.bytes).sum())
    }
}

/// The segments of a log in their order. Those in the making have other names.
fn segments_of(disk: &dyn Disk, directory: &Path) -> Result<Vec<Segment>, io::Error> {
    let names = disk.list(directory)?;
    let mut sequences: Vec<u64> = names.iter().filter_map(|name| sequence_of(name)).collect();
    sequences.sort_unstable();
    let read = |sequence: u64| {
        let path = directory.join(segment_name(sequence));
        let (head, bytes) = disk.read_head(&path, HEADER_BYTES as usize)?;
        let header = SegmentHeader::decode(&head, bytes).map_err(|fault| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{}: {fault}", path.display()),
            )
        })?;
        Ok(Segment { sequence, header })
    };
    sequences.into_iter().map(read).collect()
}

/// A group of changes: its coordinator and tag.
type Group = (u16, u64);

/// Changes of a group of which it is not known yet whether they count.
#[derive(Default)]
struct Pending {
    group: Option<Group>,
    changes: Vec<(u64, Vec<u8>)>,
}

/// The position of a reader among the records.
struct Cursor<'v, 'w> {
    first: u64,
    /// The place in the segment in hand.
    offset: u64,
    number: u64,
    epoch: u64,
    /// Bytes of the log that the last commit calls durable.
    durable: u64,
    pending: Pending,
    pieces: Pieces,
    /// Groups that had ended, and did not count when the log was read after a power cut.
    dropped: HashSet<Group>,
    /// Hears of each change that counts; nobody while the groups are found out that do not.
    visit: Option<&'v mut Visit<'w>>,
}

impl Cursor<'_, '_> {
    /// Takes the records of a segment up to `end`, or as far as they go. True where the segment was over.
    fn take(&mut self, contents: &[u8], end: Option<u64>) -> Result<bool, SnapshotError> {
        loop {
            if end.is_some_and(|end| self.offset >= end) {
                return Ok(true);
            }
            let Ok(frame) = Frame::decode(contents, self.offset) else {
                return Ok(false);
            };
            if frame.epoch < self.epoch || frame.number < self.number {
                return Ok(false);
            }
            (self.epoch, self.number) = (frame.epoch, frame.number);
            self.offset += frame.bytes;
            if self.visit.is_some() {
                // Where pieces are missing, their change is older than what is asked for.
                let is_whole = self.pieces.take(&frame.content).is_ok();
                if matches!(frame.content, Content::Pieced { .. }) && frame.number >= self.first {
                    if !is_whole {
                        return Ok(false);
                    }
                    let record = self.pieces.take_whole();
                    self.change(frame.number, &record)?;
                }
            }
            match frame.content {
                Content::Change(record) if frame.number >= self.first => {
                    self.change(frame.number, record)?;
                }
                Content::Begin { coordinator, tag } => {
                    self.pending = Pending::default();
                    self.pending.group = Some((coordinator, tag));
                }
                Content::End {
                    coordinator,
                    tag,
                    outcome,
                } => self.end((coordinator, tag), outcome)?,
                // What a process left unfinished does not reach beyond its end.
                Content::Settled => self.pending = Pending::default(),
                Content::Sealed => return Ok(true),
                Content::Commit(commit) => self.durable = commit.position,
                _ => {}
            }
        }
    }

    fn change(&mut self, number: u64, record: &[u8]) -> Result<(), SnapshotError> {
        let Some(visit) = &mut self.visit else {
            return Ok(());
        };
        if self.pending.group.is_some() {
            self.pending.changes.push((number, record.to_vec()));
            return Ok(());
        }
        visit(Change { number, record })
    }

    fn end(&mut self, group: Group, outcome: Outcome) -> Result<(), SnapshotError> {
        let pending = std::mem::take(&mut self.pending);
        if outcome == Outcome::Dropped && pending.group.is_none() {
            self.dropped.insert(group);
        }
        let Some(visit) = &mut self.visit else {
            return Ok(());
        };
        if outcome == Outcome::Dropped || self.dropped.contains(&group) {
            return Ok(());
        }
        for (number, record) in &pending.changes {
            visit(Change {
                number: *number,
                record,
            })?;
        }
        Ok(())
    }
}

impl History for LogHistory {
    /// A transaction that is not over is left out: it counts when it is, and the log has it then.
    fn since(&mut self, first: u64, visit: &mut Visit<'_>) -> Result<bool, SnapshotError> {
        let segments = self.segments()?;
        let begin = segments
            .iter()
            .rposition(|segment| segment.header.number < first);
        let Some(begin) = begin else {
            return Ok(false);
        };
        let begin = self.first_needed(segments[begin].sequence)?;
        let dropped = self.read(begin, first, HashSet::new(), None)?;
        self.read(begin, first, dropped, Some(visit))?;
        Ok(true)
    }

    fn settle(&mut self) -> Result<(), SnapshotError> {
        for Segment { sequence, header } in self.segments()? {
            if header.position + header.bytes > self.durable {
                self.settle_segment(sequence)?;
            }
        }
        Ok(())
    }
}
