//! The disk of the machine.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Advice, FallocateFlags, SeekFrom, fadvise, fallocate, seek};
use rustix::io::Errno;

use super::direct::{DirectArea, Store};
use super::mapped::Mapped;
use super::{Area, Contents, Disk, Source, Syncer};

/// From so many bytes on a system call costs less than a fault for each new page that is stored to.
const CALL_BYTES_MIN: usize = 16 * 1024;
/// Bytes of a file that is read that the kernel fetches ahead.
const FETCHED_BYTES: u64 = 8 << 20;
/// Zeros are written in pieces of so many bytes, where the file system cannot set room aside.
const PIECE_BYTES: usize = 1 << 20;

/// Directories and files of the operating system.
#[derive(Clone, Copy, Default, Debug)]
pub struct RealDisk;

/// A file and its mapping.
#[derive(Debug)]
struct RealArea {
    mapped: Mapped,
    bytes: u64,
    file: Arc<RealFile>,
}

#[derive(Debug)]
struct RealFile(File);

/// A file that is read, and fetched by the kernel some time before.
#[derive(Debug)]
struct RealSource {
    file: File,
    length: u64,
    data_end: u64,
    /// Up to where the kernel was asked to fetch it.
    announced: u64,
}

impl RealSource {
    /// Asks the kernel for what follows an offset, and does not wait for it.
    fn announce(&mut self, offset: u64) {
        let until = (offset + FETCHED_BYTES).min(self.data_end);
        if let Some(bytes) = NonZeroU64::new(until.saturating_sub(self.announced))
            && (until == self.data_end || offset + FETCHED_BYTES / 2 > self.announced)
        {
            // Where it fails, the bytes are fetched when they are read.
            let _ = fadvise(&self.file, self.announced, Some(bytes), Advice::WillNeed);
            self.announced = until;
        }
    }
}

impl Source for RealSource {
    fn length(&self) -> u64 {
        self.length
    }

    fn data_end(&self) -> u64 {
        self.data_end
    }

    fn read(&mut self, offset: u64, wanted: u64, out: &mut Vec<u8>) -> io::Result<()> {
        self.announce(offset);
        let bytes = wanted.min(self.data_end.saturating_sub(offset));
        self.file.seek(io::SeekFrom::Start(offset))?;
        (&self.file).take(bytes).read_to_end(out)?;
        Ok(())
    }
}

impl Disk for RealDisk {
    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.collect()
    }

    fn create(&self, path: &Path, bytes: u64) -> io::Result<Box<dyn Area>> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        let made = set_aside(&file, bytes)
            .and_then(|()| file.sync_all())
            .and_then(|()| area_of(file, bytes, 0));
        match made {
            Ok(area) => Ok(area),
            Err(error) => {
                // The room that it has taken is needed by others.
                let _ = fs::remove_file(path);
                Err(error)
            }
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Area>> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let bytes = file.metadata()?.len();
        let stored = end_of_data(&file, bytes);
        area_of(file, bytes, stored)
    }

    fn read(&self, path: &Path) -> io::Result<Contents> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let end = end_of_data(&file, length);
        let mut bytes = Vec::with_capacity(usize::try_from(end).map_err(io::Error::other)?);
        file.take(end).read_to_end(&mut bytes)?;
        Ok(Contents { bytes, length })
    }

    fn source(&self, path: &Path) -> io::Result<Box<dyn Source>> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let data_end = end_of_data(&file, length);
        Ok(Box::new(RealSource {
            file,
            length,
            data_end,
            announced: 0,
        }))
    }

    fn read_head(&self, path: &Path, at_most: usize) -> io::Result<(Vec<u8>, u64)> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        let mut head = Vec::with_capacity(at_most);
        file.take(at_most as u64).read_to_end(&mut head)?;
        Ok((head, bytes))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }
}

/// The end of what was ever written to a file, as far as the file system knows. Most of a new segment is a hole.
fn end_of_data(file: &File, length: u64) -> u64 {
    let mut end = 0;
    while let Ok(data) = seek(file, SeekFrom::Data(end)) {
        match seek(file, SeekFrom::Hole(data)) {
            Ok(hole) if hole > end => end = hole,
            _ => break,
        }
    }
    // A file system that knows of no holes says that all of it is data.
    let is_known = seek(file, SeekFrom::Start(0)).is_ok();
    if is_known { end.min(length) } else { length }
}

/// Sets room aside for a file that is empty: a store to its mapping never finds the disk full.
fn set_aside(file: &File, bytes: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Err(Errno::OPNOTSUPP) => {}
        outcome => return Ok(outcome?),
    }
    let zeros = vec![0; PIECE_BYTES];
    let mut left = bytes;
    while left > 0 {
        let piece = &zeros[..PIECE_BYTES.min(usize::try_from(left).unwrap_or(PIECE_BYTES))];
        (&*file).write_all(piece)?;
        left -= piece.len() as u64;
    }
    Ok(())
}

/// The area of a file with data up to `stored`: persistent memory where it is that.
fn area_of(file: File, bytes: u64, stored: u64) -> io::Result<Box<dyn Area>> {
    if let Some((mapped, lines)) = Mapped::direct(&file, bytes)? {
        let area = DirectArea::new(mapped, bytes, stored, Box::new(lines));
        return Ok(Box::new(area));
    }
    let mapped = Mapped::new(&file, bytes)?;
    let file = Arc::new(RealFile(file));
    Ok(Box::new(RealArea {
        mapped,
        bytes,
        file,
    }))
}

impl Area for RealArea {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    #[inline]
    fn write(&mut self, offset: u64, bytes: &[u8]) {
        let end = offset.checked_add(bytes.len() as u64);
        let is_inside = end.is_some_and(|end| end <= self.bytes);
        let is_long = bytes.len() >= CALL_BYTES_MIN && is_inside;
        // Both ways lead to the same pages. Where the call fails, the stores do not.
        if !is_long || self.file.0.write_all_at(bytes, offset).is_err() {
            self.mapped.store(offset, bytes);
        }
    }

    fn syncer(&self) -> Arc<dyn Syncer> {
        Arc::clone(&self.file) as Arc<dyn Syncer>
    }
}

impl Syncer for RealFile {
    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
