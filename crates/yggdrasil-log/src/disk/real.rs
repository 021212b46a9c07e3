//! The disk of the machine.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FallocateFlags, SeekFrom, fallocate, seek};
use rustix::io::Errno;

use super::direct::DirectArea;
use super::mapped::Mapped;
use super::tail::{Held, Tails};
use super::{Area, Contents, Disk};

/// Zeros are written in pieces of so many bytes, where the file system cannot set room aside.
const PIECE_BYTES: usize = 1 << 20;

/// Directories and files of the operating system.
#[derive(Clone, Default, Debug)]
pub struct RealDisk {
    tails: Arc<Tails>,
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
        let held = Held::of(path)?;
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let end = end_of_data(&file, length);
        let mut bytes = Vec::with_capacity(usize::try_from(end).map_err(io::Error::other)?);
        file.take(end).read_to_end(&mut bytes)?;
        held.add_to(&mut bytes, length)?;
        Ok(Contents { bytes, length })
    }

    fn read_head(&self, path: &Path, at_most: usize) -> io::Result<(Vec<u8>, u64)> {
        let held = Held::of(path)?;
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        let mut head = Vec::with_capacity(at_most);
        file.take(at_most as u64).read_to_end(&mut head)?;
        held.add_to(&mut head, bytes.min(at_most as u64))?;
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
