//! The end of a log that is not on the disk yet, in memory that survives the process.
//!
//! What is written to a segment is stored to a ring, in a mapped file beside the segments. From there whole blocks go
//! to the disk by direct writes, which end when it has them: no page of the system's cache is dirtied, cleaned or
//! faulted in again. After the end of the process, a reader finds in the ring what the segments do not have. That is
//! believed within one run of the machine only: after a power cut the segments have all that was promised.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use rustix::fs::{FallocateFlags, OFlags, fallocate, fcntl_setfl};
use rustix::io::{Errno, ReadWriteFlags, pwritev2};

use super::held::{
    AT_RING, AT_RUN, AT_SLOTS, BLOCK, CALL, HEAD, MAGIC, RING_MAX, RING_MIN, SLOT, SLOTS, TAIL,
    locked, run_of_machine, settle, write_to,
};
use super::mapped::{Block, SharedMapping};
use super::real::set_aside;
use super::{Area, Syncer};
use crate::format::{segment_name, sequence_of};

/// Bytes of zeros that are written ahead, so that a sync of a few records changes nothing but blocks.
const AHEAD: u64 = 1 << 20;
/// A sync of so many bytes costs less where nothing is written ahead.
const AHEAD_FOR: u64 = 32 << 10;
/// Bytes for which a segment has room after another one has begun: it is sealed then.
const SEAL: u64 = BLOCK;

/// The ring of a directory with a log.
#[derive(Debug)]
pub(super) struct Tail {
    mapping: SharedMapping,
    /// Bytes of the ring.
    ring: u64,
    /// Who has each slot.
    owners: Mutex<Vec<Weak<Segment>>>,
    /// Behind the last byte that was stored.
    head: AtomicU64,
    /// Up to here nothing is stored over that is needed still.
    limit: AtomicU64,
}

/// A segment that is written through the ring.
#[derive(Debug)]
struct Segment {
    file: File,
    tails: Arc<Tails>,
    directory: PathBuf,
    sequence: AtomicU64,
    place: OnceLock<(Arc<Tail>, u64)>,
    /// Where in the ring the next segment begins.
    fence: AtomicU64,
    /// The error of the system with which the disk failed when bytes had to be given up, or 0.
    lost: AtomicI32,
    /// Another segment has all that is not on the disk.
    is_replaced: AtomicBool,
    draining: Mutex<Draining>,
    bytes: u64,
}

#[derive(Debug, Default)]
struct Draining {
    buffer: Vec<Block>,
    /// There are zeros, or records, up to here.
    filled: u64,
    /// Bytes of the last sync.
    last: u64,
}

/// A segment as its writer has it.
#[derive(Debug)]
pub(super) struct TailArea(Arc<Segment>);

/// The rings of the directories in which this process writes, and segments that have no name yet.
#[derive(Debug, Default)]
pub(super) struct Tails {
    open: Mutex<HashMap<PathBuf, Weak<Tail>>>,
    unnamed: Mutex<HashMap<PathBuf, Weak<Segment>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn down(offset: u64) -> u64 {
    offset / BLOCK * BLOCK
}

fn up(offset: u64) -> u64 {
    offset.next_multiple_of(BLOCK)
}

impl Tails {
    /// A file that is written through the ring of its directory.
    pub fn area(self: &Arc<Self>, path: &Path, file: File, bytes: u64) -> TailArea {
        if bytes.is_multiple_of(BLOCK) {
            // Without direct writes, the same calls go through the system's cache.
            let _ = fcntl_setfl(&file, OFlags::DIRECT);
        }
        let name = path.file_name().and_then(|name| name.to_str());
        let sequence = name.and_then(sequence_of).unwrap_or(0);
        let segment = Arc::new(Segment {
            file,
            tails: Arc::clone(self),
            directory: path.parent().unwrap_or(Path::new("")).to_path_buf(),
            sequence: AtomicU64::new(sequence),
            place: OnceLock::new(),
            fence: AtomicU64::new(u64::MAX),
            lost: AtomicI32::new(0),
            is_replaced: AtomicBool::new(false),
            draining: Mutex::default(),
            bytes,
        });
        if sequence == 0 {
            let mut unnamed = lock(&self.unnamed);
            unnamed.retain(|_, segment| segment.strong_count() > 0);
            unnamed.insert(path.to_path_buf(), Arc::downgrade(&segment));
        }
        TailArea(segment)
    }

    /// Says that a file has another name now.
    pub fn renamed(&self, from: &Path, to: &Path) {
        let segment = lock(&self.unnamed).remove(from);
        let name = to.file_name().and_then(|name| name.to_str());
        if let (Some(segment), Some(sequence)) = (
            segment.and_then(|segment| segment.upgrade()),
            name.and_then(sequence_of),
        ) {
            segment.name(sequence);
        }
    }

    /// The ring of a directory, where something was written through it.
    fn opened(&self, directory: &Path) -> Option<Arc<Tail>> {
        lock(&self.open).get(directory).and_then(Weak::upgrade)
    }

    fn open(&self, directory: &Path, segment: u64) -> io::Result<Arc<Tail>> {
        let mut open = lock(&self.open);
        if let Some(tail) = open.get(directory).and_then(Weak::upgrade) {
            return Ok(tail);
        }
        let ring = segment.next_power_of_two().clamp(RING_MIN, RING_MAX);
        let tail = Arc::new(Tail::open(directory, ring)?);
        open.insert(directory.to_path_buf(), Arc::downgrade(&tail));
        Ok(tail)
    }
}

impl Tail {
    /// Opens the ring of a directory, which is empty then: what was in it goes to the segments.
    fn open(directory: &Path, ring: u64) -> io::Result<Self> {
        let path = directory.join(TAIL);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        settle(directory)?;
        // The head is not believed until its last word is there.
        file.write_all_at(&[0; HEAD as usize], 0)?;
        file.set_len(HEAD + ring)?;
        match fallocate(&file, FallocateFlags::empty(), 0, HEAD + ring) {
            Err(Errno::OPNOTSUPP) => set_aside(&file, HEAD + ring)?,
            outcome => outcome?,
        }
        let mapping = SharedMapping::new(&file, HEAD + ring)?;
        let [first, second] = run_of_machine();
        mapping.word(AT_RUN).store(first, Relaxed);
        mapping.word(AT_RUN + 8).store(second, Relaxed);
        mapping.word(AT_RING).store(ring, Relaxed);
        mapping.word(0).store(MAGIC, Release);
        Ok(Self {
            mapping,
            ring,
            owners: Mutex::new((0..SLOTS).map(|_| Weak::new()).collect()),
            // Places before the first are counted back from here.
            head: AtomicU64::new(1 << 62),
            limit: AtomicU64::new((1 << 62) + ring),
        })
    }

    fn word(&self, slot: u64, place: u64) -> &AtomicU64 {
        self.mapping.word(AT_SLOTS + slot * SLOT + 8 * place)
    }

    fn sequence(&self, slot: u64) -> &AtomicU64 {
        self.word(slot, 0)
    }

    fn base(&self, slot: u64) -> &AtomicU64 {
        self.word(slot, 1)
    }

    fn drained(&self, slot: u64) -> &AtomicU64 {
        self.word(slot, 2)
    }

    fn written(&self, slot: u64) -> &AtomicU64 {
        self.word(slot, 3)
    }

    fn copy(&self, at: u64, bytes: u64, mut copy: impl FnMut(u64, std::ops::Range<usize>)) {
        let at = at % self.ring;
        let first = bytes.min(self.ring - at);
        copy(HEAD + at, 0..first as usize);
        if first < bytes {
            copy(HEAD, first as usize..bytes as usize);
        }
    }

    #[inline]
    fn store(&self, at: u64, bytes: &[u8]) {
        self.copy(at, bytes.len() as u64, |to, range| {
            self.mapping.store(to, &bytes[range]);
        });
    }

    fn load(&self, at: u64, bytes: &mut [u8]) {
        self.copy(at, bytes.len() as u64, |from, range| {
            self.mapping.load(from, &mut bytes[range]);
        });
    }

    /// Notes that there are bytes up to a place. Only the writer does.
    #[inline]
    fn advance(&self, end: u64) {
        if end > self.head.load(Relaxed) {
            self.head.store(end, Relaxed);
        }
    }

    /// Gives a segment a slot.
    fn take_slot(&self, segment: &Arc<Segment>) -> io::Result<u64> {
        let mut owners = lock(&self.owners);
        let free = owners.iter().position(|owner| owner.strong_count() == 0);
        let slot = free.ok_or_else(|| io::Error::other("too many segments wait for the disk"))?;
        owners[slot] = Arc::downgrade(segment);
        self.sequence(slot as u64).store(0, Release);
        Ok(slot as u64)
    }

    /// Finds room up to a place, by writing to the disk what is in the way.
    #[cold]
    fn make_room(&self, end: u64) -> io::Result<()> {
        let owners: Vec<_> = lock(&self.owners)
            .iter()
            .filter_map(Weak::upgrade)
            .collect();
        for must_drain in [false, true] {
            if must_drain {
                owners
                    .iter()
                    .try_for_each(|owner| owner.drain_or_give_up())?;
            }
            let oldest = owners.iter().filter_map(|owner| owner.oldest()).min();
            let limit = oldest.unwrap_or_else(|| down(self.head.load(Relaxed))) + self.ring;
            self.limit.store(limit, Relaxed);
            if end <= limit {
                return Ok(());
            }
        }
        Err(io::Error::other("the ring is too small"))
    }
}

impl Segment {
    fn name(&self, sequence: u64) {
        self.sequence.store(sequence, Relaxed);
        let tail = match self.place.get() {
            Some((tail, slot)) => {
                tail.sequence(*slot).store(sequence, Release);
                Some(Arc::clone(tail))
            }
            None => self.tails.opened(&self.directory),
        };
        if let Some(tail) = tail {
            self.replace_others(&tail, sequence);
        }
    }

    /// Gives up the bytes in the ring of segments whose place this one takes.
    fn replace_others(&self, tail: &Tail, sequence: u64) {
        for other in lock(&tail.owners).iter().filter_map(Weak::upgrade) {
            let is_behind = other.sequence.load(Relaxed) >= sequence;
            let is_lost = other.lost.load(Relaxed) != 0;
            if !std::ptr::eq(&raw const *other, self) && (is_behind || is_lost) {
                other.is_replaced.store(true, Relaxed);
                if let Some((tail, slot)) = other.place.get() {
                    tail.sequence(*slot).store(0, Release);
                }
            }
        }
    }

    fn placed(&self) -> io::Result<&(Arc<Tail>, u64)> {
        let place = self.place.get();
        place.ok_or_else(|| io::Error::other("a segment was not begun"))
    }

    /// Where in the ring a byte of the segment stands.
    fn place_of(&self, offset: u64) -> io::Result<u64> {
        let (tail, slot) = self.placed()?;
        Ok(tail.base(*slot).load(Relaxed).wrapping_add(offset))
    }

    /// The first byte that has to stay in the ring.
    fn oldest(&self) -> Option<u64> {
        let (tail, slot) = self.place.get()?;
        if self.is_given_up() || self.is_replaced.load(Relaxed) {
            return None;
        }
        let block = down(tail.drained(*slot).load(Acquire));
        Some(tail.base(*slot).load(Relaxed).wrapping_add(block))
    }

    /// True where all is on the disk and another segment has begun: what is written then begins anew.
    fn is_given_up(&self) -> bool {
        let Some((tail, slot)) = self.place.get() else {
            return false;
        };
        let is_last = self.fence.load(Relaxed) == u64::MAX;
        let written = tail.written(*slot).load(Relaxed);
        !is_last && tail.drained(*slot).load(Acquire) == written
    }

    /// Begins to write at a place. What stands before it in its block is taken from the disk.
    fn begin(self: &Arc<Self>, offset: u64) -> io::Result<()> {
        let (tail, slot) = match self.place.get() {
            Some((tail, slot)) => (Arc::clone(tail), *slot),
            None => {
                let tail = self.tails.open(&self.directory, self.bytes)?;
                let slot = tail.take_slot(self)?;
                (tail, slot)
            }
        };
        let start = down(offset);
        let head = up(tail.head.load(Relaxed)) + SEAL;
        let base = head.wrapping_sub(start);
        if head + BLOCK > tail.limit.load(Relaxed) {
            tail.make_room(head + BLOCK)?;
        }
        let mut draining = lock(&self.draining);
        let mut block = vec![Block::ZERO];
        let bytes = &mut Block::bytes_of(&mut block)[..BLOCK.min(self.bytes - start) as usize];
        if offset > start {
            self.file.read_exact_at(bytes, start)?;
        }
        tail.store(head, &bytes[..(offset - start) as usize]);
        draining.filled = up(offset);
        tail.sequence(slot).store(0, Release);
        tail.base(slot).store(base, Relaxed);
        tail.drained(slot).store(offset, Relaxed);
        tail.written(slot).store(offset, Relaxed);
        tail.head.store(base.wrapping_add(offset), Relaxed);
        self.fence.store(u64::MAX, Relaxed);
        for other in lock(&tail.owners).iter().filter_map(Weak::upgrade) {
            if !Arc::ptr_eq(&other, self) {
                other.fence.fetch_min(head, Relaxed);
            }
        }
        let sequence = self.sequence.load(Relaxed);
        tail.sequence(slot).store(sequence, Release);
        // It may be set already, to the same.
        let _ = self.place.set((tail, slot));
        Ok(())
    }

    /// Fails where bytes were given up: a part of the log is not there.
    fn check(&self) -> io::Result<()> {
        match self.lost.load(Relaxed) {
            0 => Ok(()),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    /// Makes durable what another process has written, also where that is in its ring still.
    fn sync_of_another(&self) -> io::Result<()> {
        let path = self
            .directory
            .join(segment_name(self.sequence.load(Relaxed)));
        locked(&self.file, || {
            write_to(&path)?;
            self.file.sync_data()
        })
    }

    /// Writes blocks directly, or through the system's cache where the file system wants that.
    fn write_blocks(&self, bytes: &[u8], offset: u64, flags: ReadWriteFlags) -> io::Result<()> {
        match write_all(&self.file, bytes, offset, flags) {
            Err(Errno::INVAL) => {
                fcntl_setfl(&self.file, OFlags::empty())?;
                Ok(write_all(&self.file, bytes, offset, flags)?)
            }
            outcome => Ok(outcome?),
        }
    }

    fn set_lost(&self, error: &io::Error) {
        let errno = error.raw_os_error().unwrap_or(Errno::IO.raw_os_error());
        self.lost.store(errno, Relaxed);
    }

    /// Writes to the disk what stands in the way of others. Where it fails, all of it has to be written anew.
    fn drain_or_give_up(&self) -> io::Result<()> {
        if self.is_replaced.load(Relaxed) {
            return Ok(());
        }
        self.drain().inspect_err(|error| self.set_lost(error))
    }

    /// Writes to the disk what is in the ring of this segment.
    fn drain(&self) -> io::Result<()> {
        self.check()?;
        let Some((tail, slot)) = self.place.get() else {
            return Ok(());
        };
        let mut draining = lock(&self.draining);
        locked(&self.file, || self.drain_locked(&mut draining, tail, *slot))
    }

    fn drain_locked(&self, draining: &mut Draining, tail: &Tail, slot: u64) -> io::Result<()> {
        let base = tail.base(slot).load(Relaxed);
        let written = tail.written(slot).load(Acquire);
        let mut drained = tail.drained(slot).load(Relaxed);
        draining.last = written - drained;
        while drained < written {
            let from = down(drained);
            let to = written.min(from + CALL);
            let blocks = up(to - from) / BLOCK;
            draining.buffer.resize(blocks as usize, Block::ZERO);
            let bytes = Block::bytes_of(&mut draining.buffer);
            let (records, rest) = bytes.split_at_mut((to - from) as usize);
            tail.load(base.wrapping_add(from), records);
            rest.fill(0);
            let length = up(to).min(self.bytes) - from;
            self.write_blocks(&bytes[..length as usize], from, ReadWriteFlags::DSYNC)?;
            draining.filled = draining.filled.max(up(to));
            drained = to;
            tail.drained(slot).store(to, Release);
        }
        Ok(())
    }
}

/// Writes blocks by as few calls as the system takes.
fn write_all(file: &File, bytes: &[u8], offset: u64, flags: ReadWriteFlags) -> Result<(), Errno> {
    let mut done = 0;
    while done < bytes.len() {
        let rest = [IoSlice::new(&bytes[done..])];
        match pwritev2(file, &rest, offset + done as u64, flags) {
            Ok(0) => return Err(Errno::IO),
            Ok(count) => done += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Area for TailArea {
    fn bytes(&self) -> u64 {
        self.0.bytes
    }

    #[inline]
    fn write(&mut self, offset: u64, bytes: &[u8]) {
        let end = offset.checked_add(bytes.len() as u64);
        assert!(
            end.is_some_and(|end| end <= self.0.bytes),
            "a record lies in its segment"
        );
        if let Some((tail, slot)) = self.0.place.get() {
            let base = tail.base(*slot).load(Relaxed);
            let written = tail.written(*slot).load(Relaxed);
            let end = base.wrapping_add(offset) + bytes.len() as u64;
            let is_last = self.0.fence.load(Relaxed) == u64::MAX;
            if offset == written && is_last && end <= tail.limit.load(Relaxed) {
                tail.store(base.wrapping_add(offset), bytes);
                tail.written(*slot)
                    .store(offset + bytes.len() as u64, Release);
                tail.advance(end);
                return;
            }
        }
        if let Err(error) = self.write_slowly(offset, bytes) {
            self.0.set_lost(&error);
        }
    }

    fn write_through(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut buffer = Vec::new();
        for (number, part) in (0..).zip(bytes.chunks(CALL as usize)) {
            buffer.resize(part.len().div_ceil(BLOCK as usize), Block::ZERO);
            let blocks = Block::bytes_of(&mut buffer);
            blocks[..part.len()].copy_from_slice(part);
            blocks[part.len()..].fill(0);
            let at = offset + number * CALL;
            let length = (blocks.len() as u64).min(self.0.bytes - at) as usize;
            self.0
                .write_blocks(&blocks[..length], at, ReadWriteFlags::DSYNC)?;
        }
        Ok(())
    }

    #[inline]
    fn check(&self) -> io::Result<()> {
        self.0.check()
    }

    fn syncer(&self) -> Arc<dyn Syncer> {
        Arc::clone(&self.0) as Arc<dyn Syncer>
    }
}

impl TailArea {
    /// Writes somewhere else than behind the last byte, or where the ring is full.
    #[cold]
    fn write_slowly(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.check()?;
        let place = self.0.place.get();
        match place.map(|(tail, slot)| tail.written(*slot).load(Relaxed)) {
            Some(written) if written < offset => {
                self.append(written, &vec![0; (offset - written) as usize])?;
            }
            Some(written) if written == offset => {}
            _ => self.begin_anew(offset)?,
        }
        self.append(offset, bytes)
    }

    fn begin_anew(&mut self, offset: u64) -> io::Result<()> {
        self.0.drain()?;
        self.0.begin(offset)
    }

    fn append(&mut self, mut offset: u64, bytes: &[u8]) -> io::Result<()> {
        for piece in bytes.chunks(CALL as usize) {
            let length = piece.len() as u64;
            if self.0.is_given_up()
                || self.0.place_of(offset + length)? > self.0.fence.load(Relaxed)
            {
                // Another segment has begun behind: this one goes on behind that.
                self.begin_anew(offset)?;
            }
            let end = self.0.place_of(offset + length)?;
            let (tail, slot) = self.0.placed()?;
            if end > tail.limit.load(Relaxed) {
                tail.make_room(end)?;
            }
            tail.store(end - length, piece);
            offset += length;
            tail.written(*slot).store(offset, Release);
            tail.advance(end);
        }
        Ok(())
    }
}

impl Syncer for Segment {
    fn sync(&self) -> io::Result<()> {
        self.check()?;
        if self.place.get().is_none() {
            return self.sync_of_another();
        }
        self.drain()
    }

    fn prepare(&self) {
        let mut draining = lock(&self.draining);
        let Some((tail, slot)) = self.place.get() else {
            return;
        };
        let drained = tail.drained(*slot).load(Relaxed);
        if draining.filled >= drained + AHEAD / 2 || draining.last >= AHEAD_FOR {
            return;
        }
        // Where it fails, a sync comes to know of it.
        let _ = locked(&self.file, || {
            // Another process may have put in what is written.
            let written = up(tail.written(*slot).load(Acquire));
            let from = draining.filled.max(written);
            let to = down(self.bytes).min(from + AHEAD);
            if from < to {
                draining.buffer.clear();
                let blocks = ((to - from) / BLOCK) as usize;
                draining.buffer.resize(blocks, Block::ZERO);
                let zeros = Block::bytes_of(&mut draining.buffer);
                self.write_blocks(zeros, from, ReadWriteFlags::empty())?;
                draining.filled = to;
            }
            Ok(())
        });
    }
}
