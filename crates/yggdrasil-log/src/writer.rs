//! Writing a log: behind its end, in segments.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use yggdrasil_core::keyspace::{Effect, Record, Value};

use crate::disk::{Area, Contents, Disk};
use crate::flusher::{Failure, FailureKind, Prepared, Progress};
use crate::format::{
    ALIGNMENT, CHANGE, COMMIT_BYTES, Commit, Content, Frame, HEADER_BYTES, PIECE, PIECED,
    RECORD_HEADER_BYTES, SegmentHeader, frame_bytes, put_pieced, seal_frame, segment_name,
    sequence_of,
};
use crate::reader::{End, LogError, Place};

/// Bytes that are written without being copied before.
const PIECE_BYTES: usize = 4096;
/// Bytes of a piece of a long value before its own.
const PIECE_HEAD_BYTES: u64 = 16;
/// Bytes that are written anew at a time.
const ANEW_BYTES: usize = 256 << 10;
/// Room that a segment keeps for marks.
const MARKS_BYTES: u64 = 2048;
/// The part of a segment that is kept for changes that cannot be refused, as a divisor.
const KEPT_PART: u64 = 16;

/// What a log is written by.
#[derive(Clone, Debug)]
pub struct WriterOptions {
    /// The directory of the segments.
    pub directory: PathBuf,
    /// Bytes of a segment. One is longer where a record needs that.
    pub segment_bytes: u64,
    /// The run that writes: higher than that of all before.
    pub epoch: u64,
}

/// Appends to a log.
#[derive(Debug)]
pub struct Writer {
    disk: Arc<dyn Disk>,
    options: WriterOptions,
    area: Box<dyn Area>,
    header: SegmentHeader,
    /// Where the next record goes.
    offset: u64,
    number: u64,
    /// The end of what the last commit speaks for: the position that it says, or its own end where nothing stands
    /// between the two.
    marked: u64,
    scratch: Vec<u8>,
    progress: Arc<Progress>,
    /// The next segment was asked for.
    has_asked: bool,
    /// Changes that found no room though nothing may refuse them.
    lost: u64,
    drafts: Drafts,
    /// Records that the segment could not take, as the disk had failed. They go into the next one.
    kept: Vec<Kept>,
    /// The segment that could not be sealed, and where it ends.
    unsealed: Option<Place>,
}

/// A record that is in no segment.
#[derive(Debug)]
struct Kept {
    kind: u8,
    number: u64,
    /// Room for its head, and its contents.
    frame: Vec<u8>,
}

/// Long values of which pieces are written and whose changes have not come yet.
#[derive(Default, Debug)]
struct Drafts {
    /// The segment in which the first piece of each stands.
    begun: HashMap<u64, u64>,
}

impl Drafts {
    /// The first segment with a piece.
    fn first(&self) -> Option<u64> {
        self.begun.values().copied().min()
    }
}

/// The pieces of a value that stand in the log before its change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Given {
    /// Names the value among those of the run.
    pub draft: u64,
    /// Bytes of it, from its beginning on.
    pub bytes: u64,
}

impl Writer {
    /// Goes on behind the end of a log, as a reader has found it, or begins one. What stands behind the end is removed.
    ///
    /// # Errors
    /// The disk fails, or has no room.
    pub fn open(disk: Arc<dyn Disk>, options: WriterOptions, end: &End) -> Result<Self, LogError> {
        let directory = options.directory.clone();
        let failed = |error| LogError::Disk {
            path: directory.clone(),
            error,
        };
        remove_unfinished(&*disk, &directory).map_err(failed)?;
        let (area, header, offset) = match end.place {
            Some(place) => resume(&*disk, &options, end, place).map_err(failed)?,
            None => begin(&*disk, &options).map_err(failed)?,
        };
        let progress = Progress::new(end.number, header.position + offset);
        progress.begin_segment(area.syncer(), false);
        Ok(Self {
            disk,
            options,
            area,
            header,
            offset,
            number: end.number,
            marked: committed_end(end, header.position + offset),
            scratch: Vec::new(),
            progress: Arc::new(progress),
            has_asked: false,
            lost: 0,
            drafts: Drafts::default(),
            kept: Vec::new(),
            unsealed: None,
        })
    }

    /// How far it has come.
    #[must_use]
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Where the next record goes.
    #[must_use]
    pub fn place(&self) -> Place {
        Place {
            sequence: self.header.sequence,
            offset: self.offset,
        }
    }

    /// Changes that found no room though nothing may refuse them.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Bytes of a segment without which a record with so many bytes of contents is not begun.
    #[inline]
    fn needed_for(&self, contents: u64) -> u64 {
        frame_bytes(contents) + MARKS_BYTES + self.options.segment_bytes / KEPT_PART
    }

    /// Has all that is written made durable: at once where that takes no system call, otherwise by the flusher.
    pub fn demand(&self) {
        if !self.flush_directly() {
            self.progress.demand();
        }
    }

    /// The same where more is to be written in a moment.
    pub fn demand_soon(&self) {
        if !self.flush_directly() {
            self.progress.demand_soon();
        }
    }

    /// Says in the log that all of it is durable, where that is so and the log does not say it yet. Otherwise a commit
    /// comes with the next record only, and later damage of what was written last would look like a torn tail.
    pub fn commit(&mut self) {
        let durable = self.progress.durable_position();
        let is_durable = self.progress.position() <= durable && !self.keeps_records();
        if durable <= self.marked || !is_durable || self.progress.has_failed() {
            return;
        }
        self.mark_durable(durable);
        self.marked = self.header.position + self.offset;
        self.progress.wrote(self.number, self.marked);
    }

    /// Ends a run: makes durable what is written, and the commit that says so.
    pub fn close(&mut self) {
        for _ in 0..2 {
            // A disk that fails now is told by the progress; without the commit the log is as it would be after a kill.
            let _ = self.progress.flush(&*self.disk, &self.options.directory);
            self.commit();
        }
    }

    /// Makes all durable where that takes no system call; False where it does.
    fn flush_directly(&self) -> bool {
        let is_direct = self.progress.persist().is_direct() && !self.progress.has_failed();
        if is_direct {
            // A directory that cannot be synced is told by the progress.
            let _ = self.progress.flush(&*self.disk, &self.options.directory);
        }
        is_direct
    }

    /// Makes sure that a record with so many bytes of contents finds room.
    ///
    /// # Errors
    /// The disk has no room, or has failed.
    #[inline]
    pub fn reserve(&mut self, contents: u64) -> Result<(), Failure> {
        let needed = self.needed_for(contents);
        if self.offset + needed <= self.header.bytes && self.has_asked && self.kept.is_empty() {
            return Ok(());
        }
        self.make_room(needed)
    }

    /// Bytes of contents for which the segment in hand has room.
    #[must_use]
    pub fn room(&self) -> u64 {
        let left = self.header.bytes.saturating_sub(self.offset);
        left.saturating_sub(self.needed_for(0)) / ALIGNMENT * ALIGNMENT
    }

    /// True while nothing has failed.
    ///
    /// # Errors
    /// What has.
    pub fn check(&self) -> Result<(), Failure> {
        let kept = || self.area.check().err().filter(|_| self.keeps_records());
        let failure = self.progress.failure();
        let failure = failure.or_else(|| Some(Failure::new(FailureKind::Sync, &kept()?)));
        failure.map_or(Ok(()), Err)
    }

    /// True while records stand in memory alone, as the disk has failed.
    #[inline]
    pub fn keeps_records(&self) -> bool {
        !self.kept.is_empty()
    }

    #[cold]
    fn make_room(&mut self, needed: u64) -> Result<(), Failure> {
        if self.keeps_records() {
            return self.check();
        }
        if self.offset + needed <= self.header.bytes {
            self.has_asked = true;
            self.progress.ask_to_prepare(self.options.segment_bytes);
            return Ok(());
        }
        if self.progress.must_heal() {
            // What a failed sync has left comes first.
            return self.check();
        }
        match self.roll(needed) {
            Ok(()) => Ok(()),
            Err(error) => {
                let failure = Failure::new(FailureKind::Room, &error);
                self.progress.set_failure(failure);
                self.progress.ask_to_prepare(self.options.segment_bytes);
                Err(failure)
            }
        }
    }

    /// True while a part of the segment in hand is left and nothing is known of the next one.
    #[inline]
    pub fn waits_for_segment(&self) -> bool {
        self.progress.is_preparing() && self.header.bytes - self.offset < self.header.bytes / 4
    }

    /// Appends bytes of a long value whose change comes later. False where the disk has no room for them just now; then
    /// they come with the change.
    pub fn piece(&mut self, draft: u64, offset: u64, bytes: &[u8]) -> bool {
        let contents = PIECE_HEAD_BYTES + bytes.len() as u64;
        let needs_segment = self.offset + self.needed_for(contents) > self.header.bytes;
        if needs_segment && self.progress.is_preparing() || self.reserve(contents).is_err() {
            return false;
        }
        let mut frame = self.begin_frame();
        frame.extend(draft.to_le_bytes());
        frame.extend(offset.to_le_bytes());
        if !self.append(PIECE, self.number, frame, bytes) {
            return false;
        }
        let sequence = self.header.sequence;
        self.drafts.begun.entry(draft).or_insert(sequence);
        true
    }

    /// Says that the change of a long value does not come, if pieces of it were written.
    pub fn abandon(&mut self, draft: u64) {
        if self.drafts.begun.remove(&draft).is_some() {
            self.mark(&Content::Abandoned { draft });
        }
    }

    /// Appends a change of a value of which pieces are written; of a collection all of it.
    pub fn change_in_pieces(&mut self, number: u64, record: &Record<'_>, given: Given) {
        let mut head = Vec::new();
        let piece = encode(record, &mut head);
        let tail = if is_bare(record) {
            piece
        } else {
            let tail = piece.get(given.bytes as usize..);
            tail.expect("the pieces of a value are its beginning")
        };
        let mut frame = self.begin_frame();
        put_pieced(&mut frame, given.draft, given.bytes, head.len());
        frame.extend_from_slice(&head);
        self.append(PIECED, number, frame, tail);
        self.drafts.begun.remove(&given.draft);
    }

    /// Appends a change.
    #[inline]
    pub fn change(&mut self, number: u64, record: &Record<'_>) {
        let mut frame = self.begin_frame();
        let piece = encode(record, &mut frame);
        self.append(CHANGE, number, frame, piece);
    }

    /// The beginning of a record: room for its head, which comes when its contents are there.
    #[inline]
    fn begin_frame(&mut self) -> Vec<u8> {
        let mut frame = std::mem::take(&mut self.scratch);
        frame.clear();
        frame.extend([0; RECORD_HEADER_BYTES as usize]);
        frame
    }

    /// The run that writes.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.options.epoch
    }

    /// The directory of the segments.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.options.directory
    }

    /// The disk that they are on.
    #[must_use]
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// Appends something else than a change.
    pub fn mark(&mut self, content: &Content<'_>) {
        self.mark_numbered(self.number, content);
    }

    /// The same for what has a number of its own.
    pub fn mark_numbered(&mut self, number: u64, content: &Content<'_>) {
        let mut frame = self.begin_frame();
        content.encode(&mut frame);
        self.append(content.kind(), number, frame, b"");
    }

    /// Appends a record whose contents end with a piece that was not copied. False where it found no room.
    #[inline]
    fn append(&mut self, kind: u8, number: u64, frame: Vec<u8>, piece: &[u8]) -> bool {
        if self.keeps_records() {
            self.keep(kind, number, frame, piece);
            return true;
        }
        let durable = self.progress.durable_position();
        if durable > self.marked {
            self.mark_durable(durable);
        }
        let bytes = (frame.len() + piece.len()) as u64;
        if self.offset + bytes + MARKS_BYTES / 2 > self.header.bytes {
            if self.area.check().is_err() {
                self.keep(kind, number, frame, piece);
                return true;
            }
            if self.roll(bytes + MARKS_BYTES).is_err() {
                self.lost += 1;
                return false;
            }
        }
        self.put(kind, number, frame, piece);
        if !self.keeps_records() {
            self.number = number;
            self.progress
                .wrote(number, self.header.position + self.offset);
        }
        true
    }

    /// Keeps a record in memory until the log goes on in another segment.
    #[cold]
    fn keep(&mut self, kind: u8, number: u64, mut frame: Vec<u8>, piece: &[u8]) {
        frame.extend_from_slice(piece);
        let bytes = frame_bytes(frame.len() as u64 - RECORD_HEADER_BYTES);
        self.kept.push(Kept {
            kind,
            number,
            frame,
        });
        self.number = number;
        // The flusher is to find out that the disk has failed: something is not durable.
        self.progress
            .wrote(number, self.progress.position() + bytes);
        self.progress.demand();
    }

    /// Writes a record. Its checksum tells of a process that has died meanwhile.
    #[inline]
    fn put(&mut self, kind: u8, number: u64, mut frame: Vec<u8>, piece: &[u8]) {
        seal_frame(kind, number, self.options.epoch, &mut frame, piece);
        let bytes = frame.len() + piece.len();
        let padding = bytes.next_multiple_of(ALIGNMENT as usize) - bytes;
        if piece.is_empty() {
            frame.extend_from_slice(&[0; ALIGNMENT as usize][..padding]);
            self.area.write(self.offset, &frame);
        } else {
            self.area.write(self.offset, &frame);
            let at = self.offset + frame.len() as u64;
            self.area.write(at, piece);
            let end = at + piece.len() as u64;
            self.area.write(end, &[0; ALIGNMENT as usize][..padding]);
        }
        if self.area.check().is_err() {
            frame.truncate(bytes - piece.len());
            self.keep(kind, number, frame, piece);
            return;
        }
        self.offset += (bytes + padding) as u64;
        if frame.capacity() <= 64 * PIECE_BYTES {
            self.scratch = frame;
        }
    }

    /// Writes what nobody misses who finds the records elsewhere. False where the disk has failed.
    fn put_content(&mut self, content: &Content<'_>) -> bool {
        let mut frame = self.begin_frame();
        content.encode(&mut frame);
        self.put(content.kind(), self.number, frame, b"");
        std::mem::take(&mut self.kept).is_empty()
    }

    fn mark_durable(&mut self, position: u64) {
        let number = self.progress.durable_number();
        self.marked = position;
        if self.offset + MARKS_BYTES / 2 <= self.header.bytes {
            self.put_content(&Content::Commit(Commit { number, position }));
        }
    }

    /// Goes on in another segment, which has room for a record of so many bytes.
    fn roll(&mut self, needed: u64) -> io::Result<()> {
        let bytes = self
            .options
            .segment_bytes
            .max(HEADER_BYTES + needed + MARKS_BYTES)
            .next_multiple_of(4096);
        let prepared = self.progress.take_prepared();
        let Prepared { mut area, path } = match prepared {
            Some(prepared) if prepared.area.bytes() >= bytes => prepared,
            _ => {
                // The flusher may be making the other one just now.
                let path = self.options.directory.join("needed.new");
                let area = self.disk.create(&path, bytes)?;
                Prepared { area, path }
            }
        };
        let header = SegmentHeader {
            sequence: self.header.sequence + 1,
            bytes: area.bytes(),
            position: self.header.position + self.header.bytes,
            number: self.number,
            epoch: self.options.epoch,
            previous_end: 0,
        };
        area.write(0, &header.encode());
        area.check()?;
        let name = segment_name(header.sequence);
        self.disk
            .rename(&path, &self.options.directory.join(name))?;
        let end = self.place();
        if !self.put_content(&Content::Sealed) {
            self.unsealed = Some(end);
        }
        self.progress.begin_segment(area.syncer(), true);
        self.progress
            .retire(std::mem::replace(&mut self.area, area));
        self.header = header;
        self.offset = HEADER_BYTES;
        self.has_asked = false;
        if let Some(sequence) = self.drafts.first() {
            self.put_content(&Content::Open { sequence });
        }
        Ok(())
    }

    /// Writes anew, into another segment, what was not durable when the disk failed, and goes on there.
    ///
    /// # Errors
    /// The disk fails still, or does not give back what was written.
    pub fn heal(&mut self) -> Result<(), LogError> {
        let directory = self.options.directory.clone();
        let failed = |error| LogError::Disk {
            path: directory.clone(),
            error,
        };
        let (from, records) = self.unsynced().map_err(failed)?;
        let epoch = self.options.epoch + 1;
        for Kept {
            kind,
            number,
            frame,
        } in &mut self.kept
        {
            seal_frame(*kind, *number, epoch, frame, b"");
        }
        let kept = self.kept.iter().map(|kept| &kept.frame[..]);
        let records = std::iter::once(&records[..]).chain(kept);
        let room = records
            .clone()
            .map(|record| record.len() as u64 + ALIGNMENT);
        let needed = HEADER_BYTES + room.sum::<u64>() + 2 * MARKS_BYTES;
        let bytes = self.options.segment_bytes.max(needed);
        let header = SegmentHeader {
            sequence: from.sequence + 1,
            bytes: bytes.next_multiple_of(4096),
            position: self.header.position + self.header.bytes,
            number: self.progress.durable_number(),
            epoch,
            previous_end: from.offset,
        };
        let path = directory.join("healed.new");
        let mut area = self.disk.create(&path, header.bytes).map_err(failed)?;
        let offset = write_anew(&mut *area, &header, records).map_err(failed)?;
        let name = directory.join(segment_name(header.sequence));
        self.disk.rename(&path, &name).map_err(failed)?;
        self.disk.sync_directory(&directory).map_err(failed)?;
        remove_behind(&*self.disk, &directory, header.sequence).map_err(failed)?;
        self.go_on_in(area, header, offset);
        Ok(())
    }

    /// Goes on in a segment that has all records which were not durable.
    fn go_on_in(&mut self, area: Box<dyn Area>, header: SegmentHeader, offset: u64) {
        self.options.epoch = header.epoch;
        for begun in self.drafts.begun.values_mut() {
            *begun = header.sequence.min(*begun);
        }
        self.kept = Vec::new();
        self.unsealed = None;
        self.area = area;
        self.header = header;
        self.offset = offset;
        self.has_asked = false;
        self.progress
            .replace(self.area.syncer(), self.number, header.position + offset);
    }

    /// The place from which on nothing is durable, and the records there, of the next run.
    fn unsynced(&self) -> io::Result<(Place, Vec<u8>)> {
        let durable = self.progress.durable_position();
        let epoch = self.options.epoch + 1;
        let mut records = Vec::new();
        let mut sequence = self.header.sequence;
        // From the last segment back to the one with the last durable byte.
        let from = loop {
            let path = self.options.directory.join(segment_name(sequence));
            let Contents { bytes, length } = self.disk.read(&path)?;
            let header = SegmentHeader::decode(&bytes, length).map_err(io::Error::other)?;
            let is_first = header.position <= durable;
            let start = if is_first {
                durable - header.position
            } else {
                HEADER_BYTES
            };
            let unsealed = self.unsealed.filter(|end| end.sequence == sequence);
            let end = if sequence == self.header.sequence {
                Some(self.offset)
            } else {
                unsealed.map(|end| end.offset)
            };
            let mut own = Vec::new();
            copy_records(&bytes, start, end, epoch, &mut own)?;
            own.append(&mut records);
            records = own;
            if is_first {
                break Place {
                    sequence,
                    offset: start,
                };
            }
            sequence -= 1;
        };
        if let Some(sequence) = self.drafts.first() {
            // Its pieces may come first in the new segment, too.
            let open = Frame {
                content: Content::Open { sequence },
                number: self.progress.durable_number(),
                epoch,
                bytes: 0,
            };
            let mut first = Vec::new();
            open.encode(&mut first);
            records.splice(0..0, first);
        }
        Ok((from, records))
    }
}

/// Writes a segment with these records, durably. Returns the offset behind them.
fn write_anew<'a>(
    area: &mut dyn Area,
    header: &SegmentHeader,
    records: impl Iterator<Item = &'a [u8]>,
) -> io::Result<u64> {
    let (mut waiting, mut written) = (header.encode().to_vec(), 0);
    for record in records {
        let mut rest = record;
        while !rest.is_empty() {
            let (part, behind) = rest.split_at(rest.len().min(ANEW_BYTES - waiting.len()));
            waiting.extend_from_slice(part);
            rest = behind;
            if waiting.len() == ANEW_BYTES {
                area.write_through(written, &waiting)?;
                written += ANEW_BYTES as u64;
                waiting.clear();
            }
        }
        waiting.resize(waiting.len().next_multiple_of(ALIGNMENT as usize), 0);
    }
    area.write_through(written, &waiting)?;
    area.syncer().sync()?;
    Ok(written + waiting.len() as u64)
}

/// Copies the records of a segment between two offsets, or up to where it is sealed, as those of another run.
fn copy_records(
    segment: &[u8],
    start: u64,
    end: Option<u64>,
    epoch: u64,
    out: &mut Vec<u8>,
) -> io::Result<()> {
    let mut offset = start;
    while end.is_none_or(|end| offset < end) {
        let frame = Frame::decode(segment, offset).map_err(io::Error::other)?;
        if frame.content == Content::Sealed {
            break;
        }
        offset += frame.bytes;
        // What a commit says is where it stood.
        if !matches!(frame.content, Content::Commit(_)) {
            Frame { epoch, ..frame }.encode(out);
        }
    }
    Ok(())
}

/// Appends a record up to a long piece at its end, and returns that piece.
fn encode<'a>(record: &Record<'a>, out: &mut Vec<u8>) -> &'a [u8] {
    let (effect, piece) = match record.effect {
        Effect::Put {
            kind,
            value: Value::Bytes(bytes),
            expire_at,
            pinned_until,
        } if bytes.len() >= PIECE_BYTES => {
            let value = Value::Bytes(b"");
            let bare = Effect::Put {
                kind,
                value,
                expire_at,
                pinned_until,
            };
            (bare, bytes)
        }
        Effect::Splice { offset, bytes } if bytes.len() >= PIECE_BYTES => {
            (Effect::Splice { offset, bytes: b"" }, bytes)
        }
        effect => (effect, &b""[..]),
    };
    Record { effect, ..*record }.encode(out);
    piece
}

/// True for a record of a collection whose operations stand elsewhere.
fn is_bare(record: &Record<'_>) -> bool {
    matches!(
        record.effect,
        Effect::Put {
            value: Value::Written(b""),
            ..
        }
    )
}

/// What the last commit of a log speaks for that ends at this position.
fn committed_end(end: &End, position: u64) -> u64 {
    let behind = end.durable_position + frame_bytes(COMMIT_BYTES as u64);
    match end.place {
        Some(_) if behind != position => end.durable_position,
        _ => position,
    }
}

type Begun = (Box<dyn Area>, SegmentHeader, u64);

/// Makes the first segment of a log.
fn begin(disk: &dyn Disk, options: &WriterOptions) -> io::Result<Begun> {
    let header = SegmentHeader {
        sequence: 1,
        bytes: options.segment_bytes,
        position: 0,
        number: 0,
        epoch: options.epoch,
        previous_end: 0,
    };
    let path = options.directory.join("next.new");
    let mut area = disk.create(&path, header.bytes)?;
    area.write(0, &header.encode());
    area.syncer().sync()?;
    disk.rename(&path, &options.directory.join(segment_name(1)))?;
    disk.sync_directory(&options.directory)?;
    Ok((area, header, HEADER_BYTES))
}

/// Opens the last segment of a log, and makes sure that nothing stands behind its end.
fn resume(disk: &dyn Disk, options: &WriterOptions, end: &End, place: Place) -> io::Result<Begun> {
    remove_behind(disk, &options.directory, place.sequence)?;
    let mut sequence = place.sequence;
    let mut last = None;
    loop {
        let path = options.directory.join(segment_name(sequence));
        let contents = match disk.read(&path) {
            // Those before it were covered by a snapshot, so they were durable.
            Err(error) if error.kind() == io::ErrorKind::NotFound && last.is_some() => break,
            contents => contents?,
        };
        let Contents { bytes, length } = contents;
        let header = SegmentHeader::decode(&bytes, length).map_err(io::Error::other)?;
        let mut area = disk.open(&path)?;
        let from = end.durable_position.saturating_sub(header.position);
        let is_last = last.is_none();
        let to = if is_last { place.offset } else { header.bytes };
        rewrite(&mut *area, &bytes, from..to, is_last);
        area.syncer().sync()?;
        last.get_or_insert((area, header, place.offset));
        if header.position <= end.durable_position {
            break;
        }
        sequence -= 1;
    }
    last.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
}

/// Writes again what may be in memory only, as a sync that has failed may have left it, and zeros over a torn tail.
fn rewrite(area: &mut dyn Area, contents: &[u8], range: std::ops::Range<u64>, clears: bool) {
    // Behind what there is in memory there are zeros.
    let to = (range.end as usize).min(contents.len());
    let from = range.start as usize;
    if from < to {
        area.write(range.start, &contents[from..to]);
    }
    let tail = &contents[to..];
    if clears && let Some(last) = tail.iter().rposition(|byte| *byte != 0) {
        area.write(range.end, &vec![0; last + 1]);
    }
}

/// Removes the segments behind one, and what is left of files in the making.
fn remove_behind(disk: &dyn Disk, directory: &Path, sequence: u64) -> io::Result<()> {
    let names = disk.list(directory)?;
    let mut behind: Vec<u64> = names.iter().filter_map(|name| sequence_of(name)).collect();
    behind.retain(|other| *other > sequence);
    behind.sort_unstable();
    for other in behind.into_iter().rev() {
        disk.remove(&directory.join(segment_name(other)))?;
    }
    disk.sync_directory(directory)
}

/// Removes what is left of files in the making.
fn remove_unfinished(disk: &dyn Disk, directory: &Path) -> io::Result<()> {
    let names = disk.list(directory)?;
    for name in names.iter().filter(|name| name.ends_with(".new")) {
        disk.remove(&directory.join(name))?;
    }
    Ok(())
}
