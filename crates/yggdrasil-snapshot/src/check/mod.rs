//! Checking all that a node has on its disk, and mending what can be mended.

mod log;
mod repair;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use yggdrasil_log::sequence_of;

use crate::error::SnapshotError;
use crate::load::list;
use crate::manifest::ManifestFault;
use crate::pace::Pace;
use crate::store::Store;
use crate::verify::{Verdict, verify};

pub use log::{LogDamage, LogReport};
pub use repair::{Repaired, repair};

/// Folders above a log, seen from the directory of the node.
const DEPTH_MAX: usize = 4;

/// A reason why a directory cannot be checked or mended.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Snapshots(#[from] SnapshotError),
    /// A newer program has written something, and reads it.
    #[error("{0}")]
    Newer(String),
    #[error(
        "{} has the log of shard {owner}: put the directories of the logs back in their places",
        path.display()
    )]
    Misplaced { path: PathBuf, owner: usize },
}

impl CheckError {
    fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::File { path, source }
    }
}

/// The state of all that a node has on its disk.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Report {
    pub snapshots: Verdict,
    pub logs: Vec<LogReport>,
    /// The newest whole snapshot: its id, and of each shard the number from which on a log has to go on.
    pub newest: Option<(String, Vec<(u32, u64)>)>,
}

impl Report {
    /// True where nothing is damaged.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.snapshots.damage.is_empty() && self.logs.iter().all(|log| log.damage.is_none())
    }

    /// The number from which on the log of a shard is needed; all before it is in a whole snapshot.
    fn start_of(&self, shard: Option<u32>) -> Option<u64> {
        let (_, starts) = self.newest.as_ref()?;
        let found = starts.iter().find(|(other, _)| Some(*other) == shard)?;
        Some(found.1)
    }
}

/// Checks the snapshots in a store, and all logs below a directory.
///
/// # Errors
/// Something cannot be read at all.
pub fn check(
    directory: &Path,
    store: &dyn Store,
    record_bytes_max: u64,
) -> Result<Report, CheckError> {
    for listed in list(store)? {
        if let Err(
            error @ SnapshotError::Manifest {
                fault: ManifestFault::Format(_),
                ..
            },
        ) = listed.manifest
        {
            return Err(CheckError::Newer(error.to_string()));
        }
    }
    let snapshots = verify(store, record_bytes_max, &Pace::new(0), &mut |_| true)?;
    let mut newest = None;
    if let Some(id) = snapshots.whole.last() {
        for listed in list(store)? {
            if let (true, Ok(manifest)) = (listed.id == *id, listed.manifest) {
                let starts = manifest.shards.iter();
                newest = Some((
                    id.clone(),
                    starts.map(|part| (part.shard, part.start())).collect(),
                ));
            }
        }
    }
    let mut report = Report {
        snapshots,
        logs: Vec::new(),
        newest,
    };
    for found in logs_below(directory, 0)? {
        let shard = shard_of(&found);
        let start = report.start_of(shard);
        let log = log::check_log(&found, shard, shards_beside(&found), start)?;
        report.logs.push(log);
    }
    Ok(report)
}

/// The shard of a log: the digits at the end of its directory's name.
fn shard_of(directory: &Path) -> Option<u32> {
    let name = directory.file_name()?.to_str()?;
    let digits = name.trim_start_matches(|letter: char| !letter.is_ascii_digit());
    digits.parse().ok()
}

/// How many shards the logs are of to which one belongs, where that can be told.
fn shards_beside(directory: &Path) -> Option<usize> {
    let generation = directory.parent()?;
    let number = generation.file_name()?.to_str()?.rsplit('-').next()?;
    let layout = fs::read(generation.with_file_name("layout.json")).ok()?;
    let layout: serde_json::Value = serde_json::from_slice(&layout).ok()?;
    if layout["generation"].as_u64() != number.parse().ok() {
        return None;
    }
    usize::try_from(layout["shards"].as_u64()?).ok()
}

/// Directories with segments of a log.
fn logs_below(directory: &Path, depth: usize) -> Result<Vec<PathBuf>, CheckError> {
    let (mut found, mut below, mut is_log) = (Vec::new(), Vec::new(), false);
    for entry in fs::read_dir(directory).map_err(CheckError::at(directory))? {
        let entry = entry.map_err(CheckError::at(directory))?;
        let kind = entry.file_type().map_err(CheckError::at(&entry.path()))?;
        let name = entry.file_name();
        let name = name.to_str().unwrap_or_default();
        if kind.is_dir() && depth < DEPTH_MAX && !name.starts_with(repair::BACKUP) {
            below.push(entry.path());
        }
        is_log |= kind.is_file() && sequence_of(name).is_some();
    }
    if is_log {
        found.push(directory.to_path_buf());
    }
    below.sort();
    for directory in below {
        found.extend(logs_below(&directory, depth + 1)?);
    }
    Ok(found)
}
