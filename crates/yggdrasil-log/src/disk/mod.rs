//! Disks: where the files of a log are. The real one, and one that loses what was not synced.

mod direct;
mod held;
mod mapped;
mod processor;
mod real;
mod simulated;
mod simulated_lines;
mod tail;

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

pub use held::{TAIL, settle};
pub use real::RealDisk;
pub use simulated::{Damage, SimulatedDisk};
pub use simulated_lines::Mistake;

/// The way in which bytes become durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Persist {
    /// Writes that wait for the disk (RWF_DSYNC).
    Dsync = 1,
    /// Lines of the processor's caches are written back and stay there.
    Clwb,
    /// Lines are written back and given up.
    Clflushopt,
    /// The same, one after another.
    Clflush,
    /// Lines are cleaned to the point of persistence (arm64).
    DcCvap,
}

impl Persist {
    /// All ways; the place of each is its number less one.
    pub const ALL: [Self; 5] = [
        Self::Dsync,
        Self::Clwb,
        Self::Clflushopt,
        Self::Clflush,
        Self::DcCvap,
    ];

    /// The name of the system call or instruction.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dsync => "dsync",
            Self::Clwb => "clwb",
            Self::Clflushopt => "clflushopt",
            Self::Clflush => "clflush",
            Self::DcCvap => "dc cvap",
        }
    }

    /// True where it takes no system call.
    #[must_use]
    pub fn is_direct(self) -> bool {
        self != Self::Dsync
    }
}

/// Files in directories, as a log needs them.
pub trait Disk: Send + Sync + Debug {
    /// Names of the files of a directory, in no order. A directory that is not there has none.
    ///
    /// # Errors
    /// The directory cannot be read.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;

    /// Creates a file of `bytes` zeros, or replaces one of that name. All its bytes are set aside on the disk.
    ///
    /// # Errors
    /// There is no room, or the disk fails. No file is left then.
    fn create(&self, path: &Path, bytes: u64) -> io::Result<Box<dyn Area>>;

    /// Gives a file another name of the same directory, and replaces one of that name. After a power cut it has one of
    /// the two, until the directory is synced.
    ///
    /// # Errors
    /// It is not there, or the disk fails.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Opens a file to change it.
    ///
    /// # Errors
    /// It is not there, or the disk fails.
    fn open(&self, path: &Path) -> io::Result<Box<dyn Area>>;

    /// The contents of a file.
    ///
    /// # Errors
    /// It is not there, or the disk fails.
    fn read(&self, path: &Path) -> io::Result<Contents>;

    /// Opens a file to read it part by part from its beginning on.
    ///
    /// # Errors
    /// It is not there, or the disk fails.
    fn source(&self, path: &Path) -> io::Result<Box<dyn Source>>;

    /// The first bytes of a file, as many as `at_most`, and the length of all of it.
    ///
    /// # Errors
    /// It is not there, or the disk fails.
    fn read_head(&self, path: &Path, at_most: usize) -> io::Result<(Vec<u8>, u64)>;

    /// Removes a file. After a power cut it is there still, or is not.
    ///
    /// # Errors
    /// It is not there, or the disk fails.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes durable what was created in, and removed from, a directory.
    ///
    /// # Errors
    /// The disk fails.
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;
}

/// The contents of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Contents {
    /// Its bytes, some of the zeros at its end left out.
    pub bytes: Vec<u8>,
    /// Bytes of all of it.
    pub length: u64,
}

/// A file that is read part by part.
pub trait Source: Send + Debug {
    /// Bytes of the file.
    fn length(&self) -> u64;

    /// The offset behind its data: zeros follow up to its end, or nothing.
    fn data_end(&self) -> u64;

    /// Appends as many bytes from an offset on as are wanted, or fewer: at least one where there is data.
    ///
    /// # Errors
    /// The disk fails.
    fn read(&mut self, offset: u64, wanted: u64, out: &mut Vec<u8>) -> io::Result<()>;
}

/// The bytes of a file that is open for changes. What is written survives the process at once, and a power cut after
/// a sync. Writing goes on behind the last byte; whoever begins again before that gives up what stands behind.
pub trait Area: Send + Debug {
    /// Bytes of the file.
    fn bytes(&self) -> u64;

    /// Writes bytes.
    ///
    /// # Panics
    /// They do not lie in the file.
    fn write(&mut self, offset: u64, bytes: &[u8]);

    /// Writes whole blocks of a file to which nothing else was written, past all memory in which bytes wait for the disk.
    ///
    /// # Errors
    /// The disk fails.
    fn write_through(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write(offset, bytes);
        Ok(())
    }

    /// Tells whether all is kept that was written. Once bytes were given up, nothing behind them is kept either.
    ///
    /// # Errors
    /// The disk has failed, and there was no memory for what waits for it.
    fn check(&self) -> io::Result<()> {
        Ok(())
    }

    /// The means to make durable what is written, from any thread.
    fn syncer(&self) -> Arc<dyn Syncer>;
}

/// The means to make what is written to a file durable.
pub trait Syncer: Send + Sync + Debug {
    /// Returns when all that was written before is durable.
    ///
    /// # Errors
    /// The disk fails. What was not durable before may be lost then, also where a later call succeeds.
    fn sync(&self) -> io::Result<()>;

    /// Does what makes later syncs cheaper, while nobody waits for one.
    fn prepare(&self) {}

    /// The way in which it does so.
    fn persist(&self) -> Persist {
        Persist::Dsync
    }
}
