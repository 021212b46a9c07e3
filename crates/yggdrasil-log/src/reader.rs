//! Reading a log from its first segment to its end.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Contents, Disk};
use crate::format::{
    Commit, Content, FormatError, Frame, HEADER_BYTES, RECORD_HEADER_BYTES, SegmentHeader,
    last_commit_behind, segment_name, sequence_of,
};
use crate::pieces::Pieces;

/// A reason why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("{}: {error}", path.display())]
    Disk { path: PathBuf, error: io::Error },
    /// Something was durable once and is not any more.
    #[error(
        "{} is damaged at offset {offset}: {reason}; what stands behind it was durable (`yggdrasil check` says more)",
        path.display()
    )]
    Damaged {
        path: PathBuf,
        offset: u64,
        reason: FormatError,
    },
    #[error("{} is missing: the log has segments before it and behind it", path.display())]
    Missing { path: PathBuf },
}

/// A place in a log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Place {
    pub sequence: u64,
    pub offset: u64,
}

/// A record and where it stands.
#[derive(Debug)]
pub struct Entry<'a> {
    pub frame: Frame<'a>,
    pub place: Place,
}

/// The end of a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct End {
    /// Where the next record goes; `None` for a log without segments.
    pub place: Option<Place>,
    /// Bytes of the log up to there.
    pub position: u64,
    /// Number of the last change.
    pub number: u64,
    /// The latest run that has written something.
    pub epoch: u64,
    /// Bytes that stand behind the end without being whole: a torn tail.
    pub torn_bytes: u64,
    /// Number of the last change that is known to have been durable.
    pub durable_number: u64,
    /// Bytes of the log that are known to have been durable.
    pub durable_position: u64,
}

/// A segment in memory.
#[derive(Debug)]
struct Loaded {
    header: SegmentHeader,
    path: PathBuf,
    contents: Vec<u8>,
    /// Where it ends, when the one behind it says so.
    end: Option<u64>,
}

/// Reads the records of a log in order.
#[derive(Debug)]
pub struct Reader {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    /// Sequence numbers of all segments, ascending.
    segments: Vec<u64>,
    /// The place in `segments` of the one in hand.
    current: usize,
    loaded: Option<Loaded>,
    offset: u64,
    end: End,
    is_over: bool,
    bytes_read: u64,
    pieces: Pieces,
    /// Changes in pieces are put together.
    is_whole: bool,
    /// Pieces before the first segment that is read were removed: a snapshot has the changes that they belong to.
    is_cut: bool,
}

impl Reader {
    /// Begins to read the log in a directory.
    ///
    /// # Errors
    /// The directory cannot be read, or a segment in the middle is missing.
    pub fn open(disk: Arc<dyn Disk>, directory: &Path) -> Result<Self, LogError> {
        let names = disk.list(directory).map_err(|error| LogError::Disk {
            path: directory.to_path_buf(),
            error,
        })?;
        let mut segments: Vec<u64> = names.iter().filter_map(|name| sequence_of(name)).collect();
        segments.sort_unstable();
        for pair in segments.windows(2) {
            if pair[1] != pair[0] + 1 {
                let path = directory.join(segment_name(pair[0] + 1));
                return Err(LogError::Missing { path });
            }
        }
        Ok(Self {
            disk,
            directory: directory.to_path_buf(),
            segments,
            current: 0,
            loaded: None,
            offset: 0,
            end: End::default(),
            is_over: false,
            bytes_read: 0,
            pieces: Pieces::default(),
            is_whole: true,
            is_cut: false,
        })
    }

    /// Begins at the first segment again.
    pub fn rewind(&mut self) {
        self.current = 0;
        self.loaded = None;
        self.offset = 0;
        self.end = End::default();
        self.is_over = false;
        self.bytes_read = 0;
        self.pieces = Pieces::default();
    }

    /// Says whether changes that stand in pieces are given as a whole, or as [`Content::Pieced`], which takes no memory.
    pub fn put_together(&mut self, is_whole: bool) {
        self.is_whole = is_whole;
    }

    /// Passes over all but the last segments. For a reader that has read nothing, and puts nothing together.
    pub fn skip_to_last(&mut self, segments: usize) {
        self.is_whole = false;
        self.current = self.segments.len().saturating_sub(segments);
    }

    /// Passes over the segments whose changes all have numbers up to this one. For a reader that has read nothing.
    ///
    /// # Errors
    /// A segment cannot be read.
    pub fn skip_to(&mut self, number: u64) -> Result<(), LogError> {
        while self.current + 1 < self.segments.len() {
            if self.header(self.current + 1)?.number > number {
                break;
            }
            self.current += 1;
        }
        let Some(sequence) = self.segments.get(self.current) else {
            return Ok(());
        };
        let needed = first_needed(&*self.disk, &self.directory, *sequence);
        let needed = needed.map_err(|error| LogError::Disk {
            path: self.path(self.current),
            error,
        })?;
        while self.current > 0 && self.segments[self.current] > needed {
            self.current -= 1;
        }
        Ok(())
    }

    /// The next record; `None` at the end of the log. A change in pieces that begins before a log that was cut is given
    /// as it stands.
    ///
    /// # Errors
    /// The disk fails, or what was durable is damaged.
    pub fn read(&mut self) -> Result<Option<Entry<'_>>, LogError> {
        self.pieces.release();
        loop {
            if self.is_over || self.segments.is_empty() {
                return Ok(None);
            }
            if self.loaded.is_none() && !self.begin_segment()? {
                return Ok(None);
            }
            match self.step() {
                Ok(true) => break,
                // The segment is over.
                Ok(false) => {}
                Err(reason) => {
                    self.stop_at(reason)?;
                    return Ok(None);
                }
            }
        }
        let Some(loaded) = &self.loaded else {
            return Ok(None);
        };
        let place = Place {
            sequence: loaded.header.sequence,
            offset: self.offset,
        };
        let damage = |reason| damaged(&loaded.path, place.offset, reason);
        let mut frame = Frame::decode_checked(&loaded.contents, place.offset).map_err(damage)?;
        self.offset += frame.bytes;
        self.bytes_read += frame.bytes;
        self.end.number = frame.number;
        self.end.epoch = frame.epoch;
        if let Content::Open { sequence } = frame.content {
            let is_first = self.bytes_read == frame.bytes;
            self.is_cut |= is_first && sequence < place.sequence;
        }
        if let Content::Commit(commit) = &frame.content {
            self.end.durable_number = commit.number;
            self.end.durable_position = commit.position;
        }
        if self.is_whole && frame.content.is_of_pieces() {
            match self.pieces.take(&frame.content) {
                Ok(()) if matches!(frame.content, Content::Pieced { .. }) => {
                    frame.content = Content::Change(self.pieces.whole());
                }
                Err(_) if self.is_cut => {}
                outcome => outcome.map_err(damage)?,
            }
        }
        Ok(Some(Entry { frame, place }))
    }

    /// Bytes of records read so far.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// Number of the last change before the first segment: 0 where the log has all changes there were.
    ///
    /// # Errors
    /// That segment cannot be read.
    pub fn begins_behind(&self) -> Result<u64, LogError> {
        if self.segments.is_empty() {
            return Ok(0);
        }
        Ok(self.header(0)?.number)
    }

    /// Bytes of all segments, written or not.
    ///
    /// # Errors
    /// A segment cannot be read.
    pub fn bytes_at_most(&self) -> Result<u64, LogError> {
        let Some(last) = self.segments.len().checked_sub(1) else {
            return Ok(0);
        };
        let (first, last) = (self.header(0)?, self.header(last)?);
        Ok(last.position - first.position + last.bytes)
    }

    /// The end of the log, once it was reached.
    #[must_use]
    pub fn end(&self) -> End {
        self.end
    }

    fn path(&self, index: usize) -> PathBuf {
        self.directory.join(segment_name(self.segments[index]))
    }

    fn header(&self, index: usize) -> Result<SegmentHeader, LogError> {
        let path = self.path(index);
        match self.disk.read_head(&path, HEADER_BYTES as usize) {
            Ok((head, bytes)) => self.checked_header(index, &head, bytes),
            Err(error) => Err(LogError::Disk { path, error }),
        }
    }

    fn checked_header(
        &self,
        index: usize,
        head: &[u8],
        bytes: u64,
    ) -> Result<SegmentHeader, LogError> {
        let header = SegmentHeader::decode(head, bytes);
        match header {
            Ok(header) if header.sequence == self.segments[index] => Ok(header),
            Ok(_) => Err(damaged(&self.path(index), 0, FormatError::Order)),
            Err(reason) => Err(damaged(&self.path(index), 0, reason)),
        }
    }

    fn load(&self, index: usize) -> Result<Loaded, LogError> {
        let path = self.path(index);
        let Contents { mut bytes, length } = match self.disk.read(&path) {
            Ok(contents) => contents,
            Err(error) => return Err(LogError::Disk { path, error }),
        };
        if (bytes.len() as u64) < length {
            // Zeros stand there: no record.
            bytes.extend([0; RECORD_HEADER_BYTES as usize]);
        }
        Ok(Loaded {
            header: self.checked_header(index, &bytes, length)?,
            path,
            contents: bytes,
            end: None,
        })
    }

    /// Loads the segment in hand. False where the log ends before it.
    fn begin_segment(&mut self) -> Result<bool, LogError> {
        if self.current == self.segments.len() {
            self.is_over = true;
            return Ok(false);
        }
        let mut loaded = match self.load(self.current) {
            // It was never written, where nothing says that it was durable. But its length was, before its name.
            Err(LogError::Damaged { reason, .. })
                if self.current > 0 && !matches!(reason, FormatError::Length { .. }) =>
            {
                return self.end_before(self.current, reason);
            }
            loaded => loaded?,
        };
        if self.current + 1 < self.segments.len()
            && let Ok(next) = self.header(self.current + 1)
        {
            loaded.end = Some(next.previous_end).filter(|end| *end != 0);
        }
        if loaded.header.epoch < self.end.epoch {
            // It was replaced, and could not be removed any more.
            self.is_over = true;
            return Ok(false);
        }
        self.offset = HEADER_BYTES;
        self.end.number = self.end.number.max(loaded.header.number);
        self.end.epoch = self.end.epoch.max(loaded.header.epoch);
        self.set_end(&loaded, HEADER_BYTES);
        self.loaded = Some(loaded);
        Ok(true)
    }

    fn set_end(&mut self, loaded: &Loaded, offset: u64) {
        self.end.place = Some(Place {
            sequence: loaded.header.sequence,
            offset,
        });
        self.end.position = loaded.header.position + offset;
    }

    /// Looks at the record at the offset in hand. True for one to be given, false where the segment was over.
    fn step(&mut self) -> Result<bool, FormatError> {
        let Some(loaded) = self.loaded.take() else {
            return Ok(false);
        };
        let is_over = loaded.end.is_some_and(|end| self.offset >= end);
        let outcome = if is_over {
            Ok(None)
        } else {
            Frame::decode(&loaded.contents, self.offset).and_then(|frame| self.check(&frame))
        };
        self.set_end(&loaded, self.offset);
        match outcome {
            Ok(Some(bytes)) => {
                self.set_end(&loaded, self.offset + bytes);
                self.loaded = Some(loaded);
                Ok(true)
            }
            Ok(None) => {
                self.current += 1;
                Ok(false)
            }
            Err(reason) => {
                self.loaded = Some(loaded);
                Err(reason)
            }
        }
    }

    /// Bytes of a record that may stand behind those before it; `None` where it ends its segment.
    fn check(&self, frame: &Frame<'_>) -> Result<Option<u64>, FormatError> {
        if frame.epoch < self.end.epoch {
            return Err(FormatError::Stale);
        }
        let is_change = matches!(frame.content, Content::Change(_) | Content::Pieced { .. });
        if frame.number < self.end.number || is_change && frame.number == self.end.number {
            return Err(FormatError::Order);
        }
        let is_last = frame.content == Content::Sealed;
        Ok((!is_last).then_some(frame.bytes))
    }

    /// No record stands at the offset in hand: the log ends there, unless something behind it says that it was durable.
    fn stop_at(&mut self, reason: FormatError) -> Result<(), LogError> {
        self.is_over = true;
        let Some(loaded) = self.loaded.take() else {
            return Ok(());
        };
        let position = loaded.header.position + self.offset;
        let tail = loaded.contents.get(self.offset as usize..);
        let tail = tail.unwrap_or_default();
        let later = self.look_behind(self.current + 1)?;
        let commit = later
            .0
            .or(last_commit_behind(&loaded.contents, self.offset));
        if commit.is_some_and(|commit| commit.position > position) {
            return Err(damaged(&loaded.path, self.offset, reason));
        }
        self.end.torn_bytes = later.1 + written(tail);
        Ok(())
    }

    /// The segments from one on are not as they should be: the log ends before them, or is damaged.
    fn end_before(&mut self, index: usize, reason: FormatError) -> Result<bool, LogError> {
        self.is_over = true;
        let before = self.header(index - 1)?;
        let (commit, torn) = self.look_behind(index)?;
        if commit.is_some_and(|commit| commit.position > before.position + before.bytes) {
            return Err(damaged(&self.path(index), 0, reason));
        }
        self.end.torn_bytes = torn;
        Ok(false)
    }

    /// The last commit in the segments from one on, whatever else is in them, and the bytes written there.
    fn look_behind(&self, index: usize) -> Result<(Option<Commit>, u64), LogError> {
        let (mut commit, mut torn) = (None, 0);
        for index in index..self.segments.len() {
            let path = self.path(index);
            let contents = match self.disk.read(&path) {
                Ok(contents) => contents.bytes,
                Err(error) => return Err(LogError::Disk { path, error }),
            };
            commit = last_commit_behind(&contents, 0).or(commit);
            torn += written(contents.get(HEADER_BYTES as usize..).unwrap_or_default());
        }
        Ok((commit, torn))
    }
}

/// The first segment that is needed to read a log from a segment on: pieces of long values may stand before it.
///
/// # Errors
/// It cannot be read.
pub fn first_needed(disk: &dyn Disk, directory: &Path, sequence: u64) -> io::Result<u64> {
    const AT_MOST: usize = HEADER_BYTES as usize + 64;
    let (head, _) = disk.read_head(&directory.join(segment_name(sequence)), AT_MOST)?;
    Ok(match Frame::decode(&head, HEADER_BYTES) {
        Ok(Frame {
            content: Content::Open { sequence: first },
            ..
        }) => first.min(sequence),
        _ => sequence,
    })
}

fn damaged(path: &Path, offset: u64, reason: FormatError) -> LogError {
    LogError::Damaged {
        path: path.to_path_buf(),
        offset,
        reason,
    }
}

/// Bytes up to the last one that is not zero.
fn written(bytes: &[u8]) -> u64 {
    let last = bytes.iter().rposition(|byte| *byte != 0);
    last.map_or(0, |last| last as u64 + 1)
}
