//! Reading a log from its first segment to its end.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, Source};
use crate::format::{
    COMMIT_RECORD_BYTES, Commit, Content, FORMAT_VERSION, FormatError, Frame, HEADER_BYTES,
    RECORD_HEADER_BYTES, SegmentHeader, last_commit, segment_name, sequence_of,
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
    /// Not damage: a newer program has written it, and reads it.
    #[error(
        "{} has version {version} of the format of logs, and this program knows {FORMAT_VERSION}: use a newer one",
        path.display()
    )]
    Newer { path: PathBuf, version: u32 },
}

/// Bytes that are read at a time: so many stay in the caches of a processor.
const WINDOW_BYTES: u64 = 256 << 10;
/// Bytes behind the next record in which changes are looked for that come soon.
const AHEAD_BYTES: u64 = 2048;

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

/// A segment of which a part is in memory.
#[derive(Debug)]
struct Loaded {
    header: SegmentHeader,
    path: PathBuf,
    source: Box<dyn Source>,
    window: Vec<u8>,
    /// The offset of the window.
    base: u64,
    /// Where it ends, when the one behind it says so.
    end: Option<u64>,
}

impl Loaded {
    /// Reads on, where the record at an offset is not in the window as a whole.
    #[inline]
    fn fetch(&mut self, offset: u64) -> io::Result<()> {
        let rest = self.window.get((offset - self.base) as usize..);
        let rest = rest.unwrap_or_default();
        if rest.len() as u64 >= Frame::bytes_wanted(rest) {
            return Ok(());
        }
        self.fetch_more(offset)
    }

    #[cold]
    fn fetch_more(&mut self, offset: u64) -> io::Result<()> {
        let data_end = self.source.data_end();
        let passed = ((offset - self.base) as usize).min(self.window.len());
        self.window.drain(..passed);
        self.base += passed as u64;
        loop {
            let have = self.window.len() as u64;
            let wanted = Frame::bytes_wanted(&self.window);
            let at = self.base + have;
            if have >= wanted || at >= data_end {
                break;
            }
            let more = wanted.max(WINDOW_BYTES) - have;
            fill(&mut *self.source, at, more, &mut self.window)?;
        }
        if self.base + self.window.len() as u64 == data_end && data_end < self.source.length() {
            // Zeros stand there: no record.
            self.window.extend([0; RECORD_HEADER_BYTES as usize]);
        }
        Ok(())
    }

    /// The record at an offset.
    #[inline]
    fn frame(&self, offset: u64) -> Result<Frame<'_>, FormatError> {
        Frame::decode(&self.window, offset - self.base)
    }
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
    /// Up to where changes were looked for that come later.
    glanced: u64,
    end: End,
    is_over: bool,
    /// Where the log ends, when it was read before.
    known_end: Option<Place>,
    bytes_read: u64,
    pieces: Pieces,
    /// Changes in pieces are put together.
    is_whole: bool,
    /// Pieces before the first segment that is read were removed: a snapshot has the changes that they belong to.
    is_cut: bool,
    /// The memory of a window, for the next segment.
    spare: Vec<u8>,
}

/// A record that may stand behind those before it, its contents apart.
struct Next {
    bytes: u64,
    /// It ends its segment.
    is_last: bool,
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
            glanced: 0,
            end: End::default(),
            is_over: false,
            known_end: None,
            bytes_read: 0,
            pieces: Pieces::default(),
            is_whole: true,
            is_cut: false,
            spare: Vec::new(),
        })
    }

    /// Begins at the first segment again.
    pub fn rewind(&mut self) {
        if self.is_over {
            self.known_end = self.end.place;
        }
        self.current = 0;
        self.unload();
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
            if self.is_at_known_end() {
                self.is_over = true;
                return Ok(None);
            }
            self.fetch()?;
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
        let at = place.offset - loaded.base;
        let mut frame = Frame::decode_checked(&loaded.window, at).map_err(damage)?;
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

    /// Hands on, once each, the contents of what looks like a change a little behind the next record. They are not checked.
    pub(crate) fn look_ahead(&mut self, see: &mut dyn FnMut(&[u8])) {
        let Some(loaded) = &self.loaded else {
            return;
        };
        let until = self.offset + AHEAD_BYTES;
        self.glanced = self.glanced.max(self.offset);
        while self.glanced < until {
            let Some(at) = self.glanced.checked_sub(loaded.base) else {
                return;
            };
            let Some((change, behind)) = Frame::glance(&loaded.window, at) else {
                return;
            };
            self.glanced = loaded.base + behind;
            change.map(&mut *see);
        }
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

    fn unload(&mut self) {
        if let Some(loaded) = self.loaded.take() {
            self.spare = loaded.window;
        }
    }

    fn is_at_known_end(&self) -> bool {
        let (Some(end), Some(loaded)) = (self.known_end, &self.loaded) else {
            return false;
        };
        end.offset == self.offset && end.sequence == loaded.header.sequence
    }

    fn fetch(&mut self) -> Result<(), LogError> {
        let Some(loaded) = &mut self.loaded else {
            return Ok(());
        };
        loaded.fetch(self.offset).map_err(|error| LogError::Disk {
            path: loaded.path.clone(),
            error,
        })
    }

    fn load(&mut self, index: usize) -> Result<Loaded, LogError> {
        let path = self.path(index);
        let mut window = std::mem::take(&mut self.spare);
        window.clear();
        let opened = self.disk.source(&path).and_then(|mut source| {
            fill(&mut *source, 0, HEADER_BYTES, &mut window)?;
            Ok(source)
        });
        let source = match opened {
            Ok(source) => source,
            Err(error) => return Err(LogError::Disk { path, error }),
        };
        Ok(Loaded {
            header: self.checked_header(index, &window, source.length())?,
            path,
            source,
            window,
            base: 0,
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
        self.glanced = HEADER_BYTES;
        self.end.number = self.end.number.max(loaded.header.number);
        self.end.epoch = self.end.epoch.max(loaded.header.epoch);
        self.loaded = Some(loaded);
        self.set_end(HEADER_BYTES);
        Ok(true)
    }

    /// Says that the log goes up to an offset of the segment in hand at least.
    fn set_end(&mut self, offset: u64) {
        if let Some(loaded) = &self.loaded {
            let sequence = loaded.header.sequence;
            self.end.place = Some(Place { sequence, offset });
            self.end.position = loaded.header.position + offset;
        }
    }

    /// Looks at the record at the offset in hand. True for one to be given, false where the segment was over.
    fn step(&mut self) -> Result<bool, FormatError> {
        let Some(loaded) = &self.loaded else {
            return Ok(false);
        };
        let is_over = loaded.end.is_some_and(|end| self.offset >= end);
        let next = if is_over {
            None
        } else {
            let frame = loaded.frame(self.offset)?;
            Some(self.check(&frame)?).filter(|next| !next.is_last)
        };
        match next {
            Some(next) => {
                self.set_end(self.offset + next.bytes);
                Ok(true)
            }
            None => {
                self.unload();
                self.current += 1;
                Ok(false)
            }
        }
    }

    /// Says how a record stands to those before it.
    fn check(&self, frame: &Frame<'_>) -> Result<Next, FormatError> {
        if frame.epoch < self.end.epoch {
            return Err(FormatError::Stale);
        }
        let is_change = matches!(frame.content, Content::Change(_) | Content::Pieced { .. });
        if frame.number < self.end.number || is_change && frame.number == self.end.number {
            return Err(FormatError::Order);
        }
        Ok(Next {
            bytes: frame.bytes,
            is_last: frame.content == Content::Sealed,
        })
    }

    /// No record stands at the offset in hand: the log ends there, unless something behind it says that it was durable.
    fn stop_at(&mut self, reason: FormatError) -> Result<(), LogError> {
        self.is_over = true;
        let Some(loaded) = self.loaded.take() else {
            return Ok(());
        };
        let position = loaded.header.position + self.offset;
        let behind = self.look_through(&loaded.path, self.offset)?;
        let later = self.look_behind(self.current + 1)?;
        let commit = later.0.or(behind.0);
        if commit.is_some_and(|commit| commit.position > position) {
            return Err(damaged(&loaded.path, self.offset, reason));
        }
        self.end.torn_bytes = later.1 + behind.1;
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
            let (found, written) = self.look_through(&self.path(index), HEADER_BYTES)?;
            commit = found.or(commit);
            torn += written;
        }
        Ok((commit, torn))
    }

    /// The last commit in a segment from an offset on, and the bytes up to the last one that is not zero.
    fn look_through(&self, path: &Path, from: u64) -> Result<(Option<Commit>, u64), LogError> {
        let look = || {
            let mut source = self.disk.source(path)?;
            let (mut window, mut commit, mut written) = (Vec::new(), None, 0);
            let mut at = from;
            loop {
                window.clear();
                fill(&mut *source, at, WINDOW_BYTES, &mut window)?;
                if let Some(last) = last_written(&window) {
                    commit = last_commit(&window).or(commit);
                    written = at - from + last;
                }
                // A commit may go on in the next window.
                let next = at + window.len() as u64;
                if next >= source.data_end() {
                    return Ok((commit, written));
                }
                at = next - COMMIT_RECORD_BYTES as u64;
            }
        };
        look().map_err(|error| LogError::Disk {
            path: path.to_path_buf(),
            error,
        })
    }
}

/// Appends so many bytes of a file from an offset on, or those up to the end of its data.
fn fill(source: &mut dyn Source, offset: u64, bytes: u64, window: &mut Vec<u8>) -> io::Result<()> {
    let before = window.len() as u64;
    let left = source.data_end().saturating_sub(offset);
    let wanted = before + bytes.min(left);
    while (window.len() as u64) < wanted {
        let have = window.len() as u64;
        source.read(offset + have - before, wanted - have, window)?;
        if window.len() as u64 == have {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
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
    if let FormatError::Version(version) = reason {
        return LogError::Newer {
            path: path.to_path_buf(),
            version,
        };
    }
    LogError::Damaged {
        path: path.to_path_buf(),
        offset,
        reason,
    }
}

/// Bytes up to the last one that is not zero; `None` where all are.
fn last_written(bytes: &[u8]) -> Option<u64> {
    const PIECE_BYTES: usize = 512;
    let is_zero = |piece: &[u8]| piece.iter().fold(0, |all, byte| all | byte) == 0;
    let mut end = bytes.len();
    for piece in bytes.rchunks(PIECE_BYTES) {
        if !is_zero(piece) {
            let last = piece.iter().rposition(|byte| *byte != 0)?;
            return Some((end - piece.len() + last + 1) as u64);
        }
        end -= piece.len();
    }
    None
}
