//! The disk of the machine.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::num::NonZeroU64;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Advice, FallocateFlags, SeekFrom, fadvise, fallocate, seek};
use rustix::io::Errno;

use super::direct::DirectArea;
use super::held::Held;
use super::mapped::Mapped;
use super::tail::Tails;
use super::{Area, Contents, Disk, Source};

/// Bytes of a file that is read that the kernel fetches ahead.
const FETCHED_BYTES: u64 = 8 << 20;
/// Zeros are written in pieces of so many bytes, where the file system cannot set room aside.
const PIECE_BYTES: usize = 1 << 20;

/// Directories and files of the operating system.
#[derive(Clone, Default, Debug)]
pub struct RealDisk {
    tails: Arc<Tails>,
}

/// A file that is read, and fetched by the kernel some time before.
#[derive(Debug)]
struct RealSource {
    file: File,
    length: u64,
    data_end: u64,
    held: Option<Held>,
    /// Up to where the kernel was asked to fetch it.
    announced: u64,
}

impl RealSource {
    fn open(path: &Path) -> io::Result<Self> {
        let held = Held::of(path)?;
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut data_end = end_of_data(&file, length);
        let held = held
            .map(|held| held.matching(&file, data_end))
            .transpose()?
            .filter(|held| held.end() <= length);
        if let Some(held) = &held {
            data_end = data_end.max(held.end());
        }
        Ok(Self {
            file,
            length,
            data_end,
            held,
            announced: 0,
        })
    }

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
        let start = out.len();
        loop {
            out.truncate(start);
            self.file.seek(io::SeekFrom::Start(offset))?;
            (&self.file).take(bytes).read_to_end(out)?;
            let Some(held) = &mut self.held else {
                return Ok(());
            };
            if !held.patch(offset, &mut out[start..])? || held.still_holds()? {
                return Ok(());
            }
        }
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
            .and_then(|()| self.area_of(path, file, bytes, 0));
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
        fs::rename(from, to)?;
        self.tails.renamed(from, to);
        Ok(())
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Area>> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let bytes = file.metadata()?.len();
        let stored = end_of_data(&file, bytes);
        self.area_of(path, file, bytes, stored)
    }

    fn read(&self, path: &Path) -> io::Result<Contents> {
        let mut source = RealSource::open(path)?;
        let (length, end) = (source.length, source.data_end);
        let mut bytes = Vec::with_capacity(usize::try_from(end).map_err(io::Error::other)?);
        source.read(0, end, &mut bytes)?;
        Ok(Contents { bytes, length })
    }

    fn source(&self, path: &Path) -> io::Result<Box<dyn Source>> {
        Ok(Box::new(RealSource::open(path)?))
    }

    fn read_head(&self, path: &Path, at_most: usize) -> io::Result<(Vec<u8>, u64)> {
        let mut source = RealSource::open(path)?;
        let mut head = Vec::with_capacity(at_most);
        // Zeros may follow the data.
        source.data_end = source.length;
        source.read(0, at_most as u64, &mut head)?;
        Ok((head, source.length))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }
}

/// The end of what was ever written to a file, as far as the file system knows. Most of a new segment is a hole.
pub(super) fn end_of_data(file: &File, length: u64) -> u64 {
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
pub(super) fn set_aside(file: &File, bytes: u64) -> io::Result<()> {
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

impl RealDisk {
    /// The area of a file with data up to `stored`: persistent memory where it is that.
    fn area_of(
        &self,
        path: &Path,
        file: File,
        bytes: u64,
        stored: u64,
    ) -> io::Result<Box<dyn Area>> {
        if let Some((mapped, lines)) = Mapped::direct(&file, bytes)? {
            let area = DirectArea::new(mapped, bytes, stored, Box::new(lines));
            return Ok(Box::new(area));
        }
        Ok(Box::new(self.tails.area(path, file, bytes)))
    }
}
