//! A segment of shared memory: an anonymous file (memfd) of fixed size, sparse until touched.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FlockOperation, MemfdFlags, Mode, OFlags, SealFlags};

use super::mapping::{Mapping, ReadOnlyMapping, SharedMapping};
use super::region::{Access, Region};

/// A fault while a segment is made or mapped.
#[derive(Debug, thiserror::Error)]
pub enum ShmError {
    #[error("{action} failed on a shared memory segment: {source}")]
    System {
        action: &'static str,
        source: io::Error,
    },
    #[error(
        "a shared memory segment needs a size that is a positive multiple of 65536 bytes, not {bytes}"
    )]
    Size { bytes: u64 },
    #[error("the descriptor is not a shared memory segment sealed against resizing")]
    NotSealed,
    #[error("the segment is in use: its owner must be its only writer")]
    InUse,
}

impl ShmError {
    fn system(action: &'static str) -> impl FnOnce(rustix::io::Errno) -> Self {
        move |errno| Self::System {
            action,
            source: errno.into(),
        }
    }
}

/// A memfd that can no longer change its size. Descriptors of it are passed between processes.
#[derive(Debug)]
pub struct Segment {
    file: OwnedFd,
    bytes: u64,
}

impl Segment {
    /// Sizes are multiples of this (a page of the arena).
    pub const GRANULARITY: u64 = 64 * 1024;

    /// Makes a segment of `bytes`, all zero and without memory until touched. The name shows up in `/proc` only.
    pub fn create(name: &str, bytes: u64) -> Result<Self, ShmError> {
        if bytes == 0 || !bytes.is_multiple_of(Self::GRANULARITY) {
            return Err(ShmError::Size { bytes });
        }
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        // Kernels before 6.3 do not know NOEXEC_SEAL.
        let file = rustix::fs::memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL)
            .or_else(|_| rustix::fs::memfd_create(name, flags))
            .map_err(ShmError::system("memfd_create"))?;
        rustix::fs::ftruncate(&file, bytes).map_err(ShmError::system("ftruncate"))?;
        // Who is given a read-only descriptor must not open the file anew for writing.
        let owner = Mode::RUSR | Mode::WUSR;
        rustix::fs::fchmod(&file, owner).map_err(ShmError::system("fchmod"))?;
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&file, seals)
            .map_err(ShmError::system("fcntl(F_ADD_SEALS)"))?;
        Ok(Self { file, bytes })
    }

    /// Takes a descriptor that another process made by [`Segment::create`].
    pub fn adopt(file: OwnedFd) -> Result<Self, ShmError> {
        let seals = rustix::fs::fcntl_get_seals(&file).map_err(|_| ShmError::NotSealed)?;
        if !seals.contains(SealFlags::SHRINK | SealFlags::GROW) {
            return Err(ShmError::NotSealed);
        }
        let status = rustix::fs::fstat(&file).map_err(ShmError::system("fstat"))?;
        let bytes = u64::try_from(status.st_size).unwrap_or(0);
        if bytes == 0 || bytes % Self::GRANULARITY != 0 {
            return Err(ShmError::Size { bytes });
        }
        Ok(Self { file, bytes })
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Lets processes of other users that are given its descriptor [`share`](Segment::share) it.
    pub fn allow_writers(&self) -> Result<(), ShmError> {
        let everyone = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::WGRP | Mode::ROTH | Mode::WOTH;
        rustix::fs::fchmod(&self.file, everyone).map_err(ShmError::system("fchmod"))
    }

    /// Memory that the segment really takes, by the kernel's count.
    pub fn resident_bytes(&self) -> Result<u64, ShmError> {
        let status = rustix::fs::fstat(&self.file).map_err(ShmError::system("fstat"))?;
        Ok(u64::try_from(status.st_blocks).unwrap_or(0) * 512)
    }

    /// Maps it as its one writer. Fails while anyone else has it mapped for writing.
    pub fn own(&self) -> Result<Mapping, ShmError> {
        let lock = self.lock(FlockOperation::NonBlockingLockExclusive)?;
        let region = self.map(Access::ReadWrite)?;
        Ok(Mapping::new(region, lock))
    }

    /// Maps it for reading what its owner writes.
    pub fn read(&self) -> Result<ReadOnlyMapping, ShmError> {
        Ok(ReadOnlyMapping::new(self.map(Access::ReadOnly)?))
    }

    /// Maps it for reading and writing by several processes. Fails while it has an owner.
    pub fn share(&self) -> Result<SharedMapping, ShmError> {
        let lock = self.lock(FlockOperation::NonBlockingLockShared)?;
        let region = self.map(Access::ReadWrite)?;
        Ok(SharedMapping::new(region, lock))
    }

    fn map(&self, access: Access) -> Result<Region, ShmError> {
        Region::map(self.file.as_fd(), self.bytes, access).map_err(ShmError::system("mmap"))
    }

    /// Locks belong to an open file description, and descriptors that were passed on share theirs. So the segment is
    /// opened anew; the lock lives until that descriptor is closed, at the latest by the end of the process.
    fn lock(&self, operation: FlockOperation) -> Result<OwnedFd, ShmError> {
        use std::os::fd::AsRawFd;
        let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let file = rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(
            ShmError::system("opening the segment anew below /proc/self/fd"),
        )?;
        match rustix::fs::flock(&file, operation) {
            Ok(()) => Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(ShmError::InUse),
            Err(errno) => Err(ShmError::system("flock")(errno)),
        }
    }
}

impl AsFd for Segment {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl From<Segment> for OwnedFd {
    fn from(segment: Segment) -> Self {
        segment.file
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_owner_at_a_time() {
        let segment = Segment::create("test", 65536).unwrap();
        let owner = segment.own().unwrap();
        assert!(matches!(segment.own(), Err(ShmError::InUse)));
        assert!(matches!(segment.share(), Err(ShmError::InUse)));
        let _reader = segment.read().unwrap();
        drop(owner);
        let _first = segment.share().unwrap();
        let _second = segment.share().unwrap();
        assert!(matches!(segment.own(), Err(ShmError::InUse)));
    }

    #[test]
    fn a_segment_travels_as_a_descriptor() {
        let segment = Segment::create("test", 2 * 65536).unwrap();
        let passed = Segment::adopt(segment.as_fd().try_clone_to_owned().unwrap()).unwrap();
        assert_eq!(passed.bytes(), 2 * 65536);
        let mut owner = segment.own().unwrap();
        assert!(matches!(passed.own(), Err(ShmError::InUse)));
        owner.store(3, 77);
        assert_eq!(passed.read().unwrap().load(3), Some(77));
    }

    #[test]
    fn other_files_are_refused() {
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        assert!(matches!(
            Segment::adopt(file.into()),
            Err(ShmError::NotSealed)
        ));
        assert!(matches!(
            Segment::create("test", 100),
            Err(ShmError::Size { bytes: 100 })
        ));
    }

    #[test]
    fn untouched_memory_is_not_resident() {
        let segment = Segment::create("test", 1 << 36).unwrap();
        let mut owner = segment.own().unwrap();
        assert_eq!(segment.resident_bytes().unwrap(), 0);
        owner.store(1 << 30, 5);
        assert_eq!(segment.resident_bytes().unwrap(), 4096);
        owner.punch_hole(0, 1 << 36).unwrap();
        assert_eq!(segment.resident_bytes().unwrap(), 0);
        assert_eq!(owner.load(1 << 30), 0);
    }
}
