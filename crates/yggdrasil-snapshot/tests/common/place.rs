//! A node's directory with one shard: a log as a worker writes it, and snapshots.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use yggdrasil_core::keyspace::{ChangeListener, KeyspaceError, Mark, Record, ShardReader};
use yggdrasil_log::disk::{Disk, RealDisk};
use yggdrasil_log::{Content, End, Outcome, Reader, Writer, WriterOptions};
use yggdrasil_snapshot::{
    Folder, History, LogHistory, Manifest, Options, Progress, Source, Store, Unowned, take,
};

use super::{NOW, Rig, Scratch};

/// The generation of the log.
pub const GENERATION: u64 = 1;
const SEGMENT_BYTES: u64 = 64 << 10;

/// Writes a log as a worker does.
#[derive(Debug)]
struct Scribe {
    writer: Writer,
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    changes: u64,
}

impl ChangeListener for Scribe {
    fn reserve(&mut self, bytes: u64) -> Result<(), KeyspaceError> {
        let failed = |_| KeyspaceError::LogFull { bytes };
        self.writer.reserve(bytes).map_err(failed)
    }

    fn mark(&mut self, _: u64, mark: &Mark<'_>) {
        let (coordinator, tag) = (0, 0);
        self.writer.mark(&match mark {
            Mark::Begin { .. } => Content::Begin { coordinator, tag },
            _ => Content::End {
                coordinator,
                tag,
                outcome: Outcome::Whole,
            },
        });
    }

    fn changed(&mut self, number: u64, record: &Record<'_>) {
        self.writer.change(number, record);
        self.changes += 1;
        if self.changes.is_multiple_of(100) {
            // What is durable is marked, which makes damage before it damage.
            let progress = Arc::clone(self.writer.progress());
            progress.flush(&*self.disk, &self.directory).unwrap();
        }
    }
}

/// A node's directory: a log, and snapshots.
pub struct Place {
    pub scratch: Scratch,
    pub rig: Rig,
    pub folder: Arc<dyn Store>,
}

impl Place {
    pub fn new(name: &str) -> Self {
        let scratch = Scratch::new(name);
        let directory = scratch.0.join("log").join("shard-0");
        fs::create_dir_all(&directory).unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::default());
        let options = WriterOptions {
            directory: directory.clone(),
            segment_bytes: SEGMENT_BYTES,
            epoch: 1,
        };
        let writer = Writer::open(Arc::clone(&disk), options, &End::default()).unwrap();
        let mut rig = Rig::new();
        rig.shard.set_listener(Some(Box::new(Scribe {
            writer,
            disk,
            directory,
            changes: 0,
        })));
        let folder = Arc::new(Folder::new(scratch.0.join("snapshots")));
        Self {
            scratch,
            rig,
            folder,
        }
    }

    pub fn log(&self) -> PathBuf {
        self.scratch.0.join("log").join("shard-0")
    }

    pub fn history(&self) -> LogHistory {
        LogHistory::new(Arc::new(RealDisk::default()), &self.log(), 0)
    }

    pub fn write(&mut self, from: u32, count: u32) {
        for n in from..from + count {
            self.rig.set(0, &(n % 700).to_le_bytes(), &[n as u8; 100]);
            if n % 5 == 0 {
                self.rig.remove(0, &(n * 3 % 700).to_le_bytes());
            }
        }
    }

    pub fn snapshot(&self, base: Option<&Manifest>) -> Manifest {
        let (reader, mut history) = (&self.rig.reader, self.history());
        snapshot(&*self.folder, reader, &mut history, base)
    }

    /// All changes that a reader of the log finds.
    pub fn changes(&self) -> Vec<(u64, Vec<u8>)> {
        changes_of(&self.log())
    }

    pub fn segments(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.log()).unwrap();
        let mut segments: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        segments.retain(|path| path.extension().is_some_and(|ending| ending == "log"));
        segments.sort();
        segments
    }
}

/// A snapshot of a shard that has a log.
pub fn snapshot(
    store: &dyn Store,
    reader: &ShardReader,
    history: &mut dyn History,
    base: Option<&Manifest>,
) -> Manifest {
    let mut sources = [Source {
        shard: 0,
        reader,
        history,
        owner: &mut Unowned(0),
        keeps: &|_| true,
    }];
    let options = Options {
        generation: GENERATION,
        ..Options::default()
    };
    let (progress, now) = (Progress::default(), || NOW);
    let taken = take(store, "n", &mut sources, base, &options, &progress, &now);
    taken.unwrap().manifest
}

/// All changes that a reader of a log finds.
pub fn changes_of(log: &Path) -> Vec<(u64, Vec<u8>)> {
    let mut reader = Reader::open(Arc::new(RealDisk::default()), log).unwrap();
    let mut changes = Vec::new();
    while let Some(entry) = reader.read().unwrap() {
        if let Content::Change(record) = entry.frame.content {
            changes.push((entry.frame.number, record.to_vec()));
        }
    }
    changes
}
