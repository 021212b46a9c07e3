//! What the ring of a log has for those who read it: another process mostly, after the end of the one that wrote.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::fence;

use rustix::fs::{FlockOperation, flock};
use rustix::io::retry_on_intr;

use super::mapped::Block;
use super::real::end_of_data;
use crate::format::{segment_name, sequence_of};

/// The name of the file with the ring, beside the segments.
pub const TAIL: &str = "tail";
pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"YGGTAIL1");
/// Bytes of a ring: as many as the first segment has, within these.
pub(super) const RING_MIN: u64 = 1 << 20;
pub(super) const RING_MAX: u64 = 32 << 20;
/// Bytes of the file before the ring.
pub(super) const HEAD: u64 = 4096;
/// Segments that may have bytes in the ring.
pub(super) const SLOTS: u64 = 126;
/// Direct writes begin and end at multiples of this.
pub(super) const BLOCK: u64 = Block::BYTES as u64;
/// Bytes that are written by one call at most.
pub(super) const CALL: u64 = 256 << 10;

/// Places of the words in the head of the file.
pub(super) const AT_RUN: u64 = 8;
pub(super) const AT_RING: u64 = 24;
pub(super) const AT_SLOTS: u64 = 64;
pub(super) const SLOT: u64 = 32;

/// Bytes of a segment that are in the ring, as the head of the file has them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stretch {
    /// Bytes of the ring.
    ring: u64,
    /// The segment; 0 while it has no name.
    sequence: u64,
    /// Where in the ring the first byte of the segment would stand, if the ring had no end.
    base: u64,
    /// Those before are on the disk.
    drained: u64,
    /// Those before are written.
    written: u64,
}

/// Puts what the ring of a directory has where it belongs, into the segments.
pub fn settle(directory: &Path) -> io::Result<()> {
    let Some((_, stretches)) = read_head(directory)? else {
        return Ok(());
    };
    for stretch in stretches {
        let path = directory.join(segment_name(stretch.sequence));
        match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            segment => locked(&segment?, || write_to(&path))?,
        }
    }
    Ok(())
}

/// Puts what the ring has of a segment into that, durably. Whoever does has the lock of the segment.
pub(super) fn write_to(path: &Path) -> io::Result<()> {
    let Some(held) = Held::of(path)? else {
        return Ok(());
    };
    let segment = OpenOptions::new().read(true).write(true).open(path)?;
    let length = segment.metadata()?.len();
    if held.end() > length {
        return Ok(());
    }
    let data_end = end_of_data(&segment, length);
    held.matching(&segment, data_end)?.write_to(&segment)
}

/// What the ring has of a segment. It is looked at before the segment is read: what goes there meanwhile is in both,
/// until the ring has come round. So whoever has taken bytes from the ring looks again, and takes them from the segment
/// where they have gone there.
#[derive(Debug)]
pub(super) struct Held {
    directory: PathBuf,
    tail: File,
    stretch: Stretch,
    /// The first byte that is not in the segment.
    start: u64,
}

impl Held {
    fn new(directory: &Path, tail: File, stretch: Stretch) -> Self {
        Self {
            directory: directory.to_path_buf(),
            tail,
            stretch,
            start: stretch.drained,
        }
    }

    /// Looks for the bytes of a file that is a segment, perhaps.
    pub fn of(path: &Path) -> io::Result<Option<Self>> {
        let name = path.file_name().and_then(|name| name.to_str());
        let (Some(sequence), Some(directory)) = (name.and_then(sequence_of), path.parent()) else {
            return Ok(None);
        };
        let Some((tail, stretches)) = read_head(directory)? else {
            return Ok(None);
        };
        let own = stretches
            .into_iter()
            .find(|stretch| stretch.sequence == sequence);
        Ok(own.map(|stretch| Self::new(directory, tail, stretch)))
    }

    /// Leaves out all of it where the segment was written anew: it has other bytes in the place of these.
    ///
    /// Zeros are no other bytes. A sync that failed may have written what comes last, and not what comes before.
    pub fn matching(mut self, segment: &File, data_end: u64) -> io::Result<Self> {
        while !self.matches(segment, data_end)? {
            match self.now()? {
                Some(now) if (now.base, now.drained) != (self.stretch.base, self.start) => {
                    (self.stretch, self.start) = (now, now.drained);
                }
                _ => self.start = self.end(),
            }
        }
        Ok(self)
    }

    fn matches(&self, segment: &File, data_end: u64) -> io::Result<bool> {
        let end = self.end().min(data_end);
        let (mut there, mut here) = (vec![0; CALL as usize], vec![0; CALL as usize]);
        let mut done = self.start;
        while done < end {
            let bytes = (end - done).min(CALL) as usize;
            segment.read_exact_at(&mut there[..bytes], done)?;
            self.patch(done, &mut here[..bytes])?;
            let mut pairs = there[..bytes].iter().zip(&here);
            if pairs.any(|(there, here)| *there != 0 && there != here) {
                return Ok(false);
            }
            done += bytes as u64;
        }
        Ok(true)
    }

    /// What the ring has of the segment by now.
    fn now(&self) -> io::Result<Option<Stretch>> {
        let sequence = self.stretch.sequence;
        let stretches = read_head(&self.directory)?.map(|(_, stretches)| stretches);
        let mut stretches = stretches.into_iter().flatten();
        Ok(stretches.find(|now| now.sequence == sequence))
    }

    /// The offset behind the last byte.
    pub fn end(&self) -> u64 {
        self.stretch.written
    }

    /// Puts in what belongs to a part of the segment that begins at an offset. True where that is anything.
    pub fn patch(&self, offset: u64, part: &mut [u8]) -> io::Result<bool> {
        let end = self.end().min(offset + part.len() as u64);
        let start = self.start.max(offset);
        let mut done = start;
        while done < end {
            let at = self.stretch.base.wrapping_add(done) % self.stretch.ring;
            let bytes = (end - done).min(self.stretch.ring - at);
            let place = (done - offset) as usize;
            self.tail
                .read_exact_at(&mut part[place..place + bytes as usize], HEAD + at)?;
            done += bytes;
        }
        Ok(start < end)
    }

    /// True where what was taken from the ring was there still. Otherwise what is not there any more is in the segment,
    /// and is to be read again.
    pub fn still_holds(&mut self) -> io::Result<bool> {
        // What was taken was read before the head is.
        fence(SeqCst);
        let drained = match self.now()? {
            Some(now) if now.base == self.stretch.base => now.drained,
            // All of it has gone there.
            _ => self.end(),
        };
        let holds = drained <= self.start;
        self.start = self.start.max(drained.min(self.end()));
        Ok(holds)
    }

    fn write_to(&self, segment: &File) -> io::Result<()> {
        let mut buffer = vec![0; CALL as usize];
        let mut done = self.start;
        while done < self.end() {
            let bytes = (self.end() - done).min(CALL) as usize;
            self.patch(done, &mut buffer[..bytes])?;
            segment.write_all_at(&buffer[..bytes], done)?;
            done += bytes as u64;
        }
        segment.sync_data()
    }
}

/// The file of a directory's ring and what is in it; `None` where that is nothing, or of another run of the machine.
fn read_head(directory: &Path) -> io::Result<Option<(File, Vec<Stretch>)>> {
    let file = match File::open(directory.join(TAIL)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut head = [0; HEAD as usize];
    if file.read_exact_at(&mut head, 0).is_err() {
        return Ok(None);
    }
    let word = |at: u64| {
        let bytes = &head[at as usize..at as usize + 8];
        u64::from_le_bytes(bytes.try_into().unwrap_or_default())
    };
    let ring = word(AT_RING);
    let is_ring = ring.is_power_of_two() && (RING_MIN..=RING_MAX).contains(&ring);
    let is_whole = is_ring && file.metadata()?.len() == HEAD + ring;
    let run = [word(AT_RUN), word(AT_RUN + 8)];
    if word(0) != MAGIC || !is_whole || run != run_of_machine() {
        return Ok(None);
    }
    let stretches = (0..SLOTS).map(|slot| {
        let at = AT_SLOTS + slot * SLOT;
        Stretch {
            ring,
            sequence: word(at),
            base: word(at + 8),
            drained: word(at + 16),
            written: word(at + 24),
        }
    });
    let is_there = |stretch: &Stretch| {
        let held = stretch.written.checked_sub(stretch.drained);
        stretch.sequence != 0 && held.is_some_and(|held| held > 0 && held <= ring)
    };
    Ok(Some((file, stretches.filter(is_there).collect())))
}

/// The name of this run of the machine. Where the system does not tell it, all runs have one.
pub(super) fn run_of_machine() -> [u64; 2] {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let number = u128::from_str_radix(&digits, 16).unwrap_or(0);
    [(number >> 64) as u64, number as u64]
}

/// Does something with a segment that one process does at a time: two that write the same block would undo each other.
pub(super) fn locked<T>(segment: &File, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    retry_on_intr(|| flock(segment, FlockOperation::LockExclusive))?;
    let outcome = act();
    // It ends with the file at the latest.
    let _ = flock(segment, FlockOperation::Unlock);
    outcome
}
