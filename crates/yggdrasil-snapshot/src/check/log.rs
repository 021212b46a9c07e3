//! Checking the log of a shard.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use yggdrasil_core::keyspace::Record;
use yggdrasil_core::keyspace::slot::{key_slot, shard_of_slot};
use yggdrasil_log::disk::{Disk, RealDisk};
use yggdrasil_log::{
    Content, FormatError, HEADER_BYTES, LogError, Reader, SegmentHeader, segment_name, sequence_of,
    whole_frames,
};

use super::CheckError;

/// The state of the log of a shard.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct LogReport {
    pub directory: PathBuf,
    pub shard: Option<u32>,
    pub segments: u64,
    /// Changes up to the end, or up to the damage, and the last number of them.
    pub changes: u64,
    pub last: u64,
    /// Bytes behind the end that are not whole: they never were durable.
    pub torn_bytes: u64,
    pub damage: Option<LogDamage>,
}

/// Damage in the middle of a log, and what it means.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct LogDamage {
    pub file: PathBuf,
    pub offset: u64,
    pub fault: String,
    /// Number of the first change behind the damage that is whole, and how many there are.
    pub next: Option<u64>,
    pub changes_behind: u64,
    /// True where a whole snapshot has all changes that are damaged.
    pub is_covered: bool,
    /// True where the end of the file is not there: nothing tells how many changes stood in it.
    pub is_cut_short: bool,
}

/// Checks a log, which is that of a shard of so many. `start` is the number from which on it is needed beside a snapshot.
pub(super) fn check_log(
    directory: &Path,
    shard: Option<u32>,
    shards: Option<usize>,
    start: Option<u64>,
) -> Result<LogReport, CheckError> {
    let mut report = LogReport {
        directory: directory.to_path_buf(),
        shard,
        segments: segments_of(directory)?.len() as u64,
        changes: 0,
        last: 0,
        torn_bytes: 0,
        damage: None,
    };
    let shape = shard.zip(shards);
    match read_all(directory, shape, &mut report) {
        Ok(None) => {}
        Ok(Some(owner)) => {
            let path = directory.to_path_buf();
            return Err(CheckError::Misplaced { path, owner });
        }
        Err(LogError::Disk { path, error }) => return Err(CheckError::at(&path)(error)),
        Err(error @ LogError::Newer { .. }) => return Err(CheckError::Newer(error.to_string())),
        Err(LogError::Damaged {
            path,
            offset,
            reason,
        }) => {
            let mut damage = damage_of(&report, &path, offset, reason.to_string(), start)?;
            damage.is_cut_short =
                matches!(reason, FormatError::Length { expected, found } if found < expected);
            report.damage = Some(damage);
        }
        Err(LogError::Missing { path }) => {
            let fault = "the file is not there".to_owned();
            report.damage = Some(damage_of(&report, &path, 0, fault, start)?);
        }
    }
    Ok(report)
}

/// Reads a log up to its end, or up to a key of another shard, which it gives then.
fn read_all(
    directory: &Path,
    shape: Option<(u32, usize)>,
    report: &mut LogReport,
) -> Result<Option<usize>, LogError> {
    let mut reader = Reader::open(Arc::new(RealDisk::default()), directory)?;
    while let Some(entry) = reader.read()? {
        if let (Some((shard, shards)), Content::Change(bytes)) = (shape, &entry.frame.content)
            && let Some((_, key)) = Record::key_of(bytes)
            && !key.is_empty()
        {
            let owner = shard_of_slot(key_slot(key), shards);
            if owner != shard as usize {
                return Ok(Some(owner));
            }
        }
        report.changes += u64::from(is_change(&entry.frame.content));
        report.last = entry.frame.number;
    }
    report.torn_bytes = reader.end().torn_bytes;
    Ok(None)
}

fn damage_of(
    report: &LogReport,
    file: &Path,
    offset: u64,
    fault: String,
    start: Option<u64>,
) -> Result<LogDamage, CheckError> {
    let behind = changes_behind(&report.directory, file, offset, report.last)?;
    let next = behind.first().copied();
    let is_covered = match (start, next) {
        (Some(start), Some(next)) => next <= start,
        _ => false,
    };
    Ok(LogDamage {
        file: file.to_path_buf(),
        offset,
        fault,
        next,
        changes_behind: behind.len() as u64,
        is_covered,
        is_cut_short: false,
    })
}

/// Numbers of the whole changes behind a place that are higher than the last one before it.
fn changes_behind(
    directory: &Path,
    file: &Path,
    offset: u64,
    last: u64,
) -> Result<Vec<u64>, CheckError> {
    let damaged = file
        .file_name()
        .and_then(|name| sequence_of(name.to_str()?));
    let mut numbers = Vec::new();
    for sequence in segments_of(directory)? {
        if Some(sequence) < damaged {
            continue;
        }
        let path = directory.join(segment_name(sequence));
        let contents = RealDisk::default()
            .read(&path)
            .map_err(CheckError::at(&path))?
            .bytes;
        let from = if Some(sequence) == damaged {
            offset.max(HEADER_BYTES)
        } else {
            HEADER_BYTES
        };
        for (_, frame) in whole_frames(&contents, from) {
            if is_change(&frame.content) && frame.number > last {
                numbers.push(frame.number);
            }
        }
    }
    Ok(numbers)
}

/// True for a change, whole or in pieces.
pub(super) fn is_change(content: &Content<'_>) -> bool {
    matches!(content, Content::Change(_) | Content::Pieced { .. })
}

/// Sequence numbers of the segments in a directory, ascending.
pub(super) fn segments_of(directory: &Path) -> Result<Vec<u64>, CheckError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(CheckError::at(directory))? {
        let entry = entry.map_err(CheckError::at(directory))?;
        found.extend(entry.file_name().to_str().and_then(sequence_of));
    }
    found.sort_unstable();
    Ok(found)
}

/// The head of a segment, if it is whole.
pub(super) fn head_of(contents: &[u8]) -> Option<SegmentHeader> {
    SegmentHeader::decode(contents, contents.len() as u64).ok()
}
