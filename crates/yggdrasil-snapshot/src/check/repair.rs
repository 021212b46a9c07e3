//! Mending: what is damaged is set aside, and what is left goes on without it.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use yggdrasil_log::disk::{TAIL, settle};
use yggdrasil_log::{
    Content, Frame, HEADER_BYTES, SegmentHeader, segment_name, sequence_of, whole_frames,
};

use crate::name::manifest_object;

use super::log::{LogDamage, LogReport, head_of, is_change, segments_of};
use super::{CheckError, Report};

/// Beginning of the names of the directories that originals are set aside in.
pub(super) const BACKUP: &str = "backup-";

/// The result of mending.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Repaired {
    /// The directory with all originals.
    pub backup: PathBuf,
    /// What was done, in words.
    pub done: Vec<String>,
    /// What is lost by it, in words.
    pub dropped: Vec<String>,
}

/// Mends what a report says is damaged. Originals are copied to `backup-NAME` first, and made durable there.
///
/// # Errors
/// A file cannot be copied or written. What is not mended is as it was.
pub fn repair(
    directory: &Path,
    snapshots: Option<&Path>,
    report: &Report,
    name: &str,
) -> Result<Repaired, CheckError> {
    let mut repair = Repair {
        directory,
        logs: report.logs.len(),
        result: Repaired {
            backup: directory.join(format!("{BACKUP}{name}")),
            ..Repaired::default()
        },
    };
    if let Some(snapshots) = snapshots {
        repair.snapshots(snapshots, report)?;
    }
    for log in &report.logs {
        if let Some(damage) = &log.damage {
            repair.log(log, damage)?;
        }
    }
    Ok(repair.result)
}

struct Repair<'a> {
    directory: &'a Path,
    /// How many logs there are.
    logs: usize,
    result: Repaired,
}

impl Repair<'_> {
    /// Takes damaged snapshots out of the way, so that the newest whole one is found.
    fn snapshots(&mut self, root: &Path, report: &Report) -> Result<(), CheckError> {
        let verdict = &report.snapshots;
        let objects = verdict.damage.iter().map(|damage| damage.object.clone());
        let manifests = verdict.damaged.iter().map(|id| manifest_object(id));
        for object in objects.chain(manifests) {
            let path = root.join(&object);
            if path.exists() {
                self.set_aside(&path)?;
                fs::remove_file(&path).map_err(CheckError::at(&path))?;
                self.result.done.push(format!("removed {}", path.display()));
            }
        }
        for damage in &verdict.damage {
            let lost = match damage.shard {
                Some(shard) => format!(
                    "{} records of shard {shard} with numbers from {} to {}",
                    damage.records, damage.low, damage.high
                ),
                None => "all its records".to_owned(),
            };
            let ids = damage.snapshots.join(", ");
            self.result
                .dropped
                .push(format!("{lost}, in snapshots {ids}"));
        }
        for folder in ["manifests", "chunks"].map(|part| root.join(part)) {
            if folder.exists() {
                sync(&folder)?;
            }
        }
        Ok(())
    }

    /// Lets a log go on behind its damage where a snapshot has what is damaged, and cuts it there where none has.
    fn log(&mut self, log: &LogReport, damage: &LogDamage) -> Result<(), CheckError> {
        for sequence in segments_of(&log.directory)? {
            self.set_aside(&log.directory.join(segment_name(sequence)))?;
        }
        let tail = log.directory.join(TAIL);
        if tail.exists() {
            // From here on the segments have all there is.
            self.set_aside(&tail)?;
            settle(&log.directory).map_err(CheckError::at(&tail))?;
            fs::remove_file(&tail).map_err(CheckError::at(&tail))?;
        }
        let damaged = damage
            .file
            .file_name()
            .and_then(|name| sequence_of(name.to_str()?))
            .unwrap_or(0);
        if damage.is_cut_short {
            self.result.dropped.push(format!(
                "what stood at the end of {}, which is not there",
                damage.file.display()
            ));
        }
        if damage.is_covered {
            self.keep_behind(log, damage, damaged)?;
        } else {
            self.cut(log, damage, damaged)?;
        }
        sync(&log.directory)
    }

    fn keep_behind(
        &mut self,
        log: &LogReport,
        damage: &LogDamage,
        damaged: u64,
    ) -> Result<(), CheckError> {
        let path = log.directory.join(segment_name(damaged));
        if path.exists() {
            let contents = fs::read(&path).map_err(CheckError::at(&path))?;
            let mended = mended(&contents, damaged, damage.offset, log.last);
            replace(&path, &mended)?;
        }
        for sequence in segments_of(&log.directory)? {
            if sequence < damaged {
                let path = log.directory.join(segment_name(sequence));
                fs::remove_file(&path).map_err(CheckError::at(&path))?;
            }
        }
        let decided = if self.logs > 1 {
            "; transactions over several shards that it decided before may count in a part of them"
        } else {
            ""
        };
        self.result.done.push(format!(
            "the log in {} begins behind the damage now; a snapshot has all before{decided}",
            log.directory.display()
        ));
        Ok(())
    }

    fn cut(&mut self, log: &LogReport, damage: &LogDamage, damaged: u64) -> Result<(), CheckError> {
        // What stands behind goes first: a log whose end is whole stays one whatever happens in between.
        for sequence in segments_of(&log.directory)?.into_iter().rev() {
            let path = log.directory.join(segment_name(sequence));
            if sequence > damaged || sequence == damaged && damage.offset < HEADER_BYTES {
                fs::remove_file(&path).map_err(CheckError::at(&path))?;
            } else if sequence == damaged {
                let mut contents = fs::read(&path).map_err(CheckError::at(&path))?;
                contents[damage.offset as usize..].fill(0);
                replace(&path, &contents)?;
            }
        }
        self.result.done.push(format!(
            "the log in {} ends before the damage now, with change {}",
            log.directory.display(),
            log.last
        ));
        let until = damage.next.map_or_else(String::new, |next| {
            format!(
                ", of which {} from {next} on were whole",
                damage.changes_behind
            )
        });
        self.result.dropped.push(format!(
            "all changes of the log in {} behind {}{until}",
            log.directory.display(),
            log.last
        ));
        Ok(())
    }

    /// Copies an original, and makes the copy durable.
    fn set_aside(&self, path: &Path) -> Result<(), CheckError> {
        let below = path.strip_prefix(self.directory).unwrap_or_else(|_| {
            // Snapshots may lie elsewhere.
            Path::new(path.file_name().unwrap_or_default())
        });
        let copy = self.result.backup.join(below);
        let folder = copy.parent().unwrap_or(&self.result.backup);
        fs::create_dir_all(folder).map_err(CheckError::at(folder))?;
        fs::copy(path, &copy).map_err(CheckError::at(path))?;
        sync(&copy)?;
        let mut folder = folder;
        while folder.starts_with(self.directory) {
            sync(folder)?;
            let Some(above) = folder.parent() else {
                break;
            };
            folder = above;
        }
        Ok(())
    }
}

/// A segment with the whole records behind an offset, as the first one of a log.
fn mended(contents: &[u8], sequence: u64, offset: u64, last: u64) -> Vec<u8> {
    let frames: Vec<Frame<'_>> = whole_frames(contents, offset.max(HEADER_BYTES))
        .map(|(_, frame)| frame)
        .skip_while(|frame| {
            let is_piece = matches!(frame.content, Content::Piece { .. });
            !is_piece && (!is_change(&frame.content) || frame.number <= last)
        })
        .collect();
    let head = head_of(contents);
    let first = frames.first();
    let number = first.map_or(last, |frame| frame.number.saturating_sub(1));
    let epoch = frames.first().map_or(0, |frame| frame.epoch);
    let header = SegmentHeader {
        sequence,
        bytes: contents.len() as u64,
        position: head.map_or(0, |head| head.position),
        number,
        epoch: head.map_or(epoch, |head| head.epoch.min(epoch)),
        previous_end: 0,
    };
    let mut mended = header.encode().to_vec();
    for frame in &frames {
        frame.encode(&mut mended);
    }
    // Where another segment follows, it may say that this one was longer.
    let is_sealed = frames
        .last()
        .is_some_and(|frame| frame.content == Content::Sealed);
    let (number, epoch) = frames
        .last()
        .map_or((number, epoch), |frame| (frame.number, frame.epoch));
    let sealed = Frame {
        content: Content::Sealed,
        number,
        epoch,
        bytes: 0,
    };
    let mut end = Vec::new();
    sealed.encode(&mut end);
    if !is_sealed && mended.len() + end.len() <= contents.len() {
        mended.extend(end);
    }
    mended.resize(contents.len(), 0);
    mended
}

/// Writes a file anew: the old contents are there until the new ones are durable.
fn replace(path: &Path, contents: &[u8]) -> Result<(), CheckError> {
    let draft = path.with_extension("new");
    let write = || {
        let mut file = File::create(&draft)?;
        file.write_all(contents)?;
        file.sync_all()?;
        fs::rename(&draft, path)
    };
    write().map_err(CheckError::at(path))
}

fn sync(path: &Path) -> Result<(), CheckError> {
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(CheckError::at(path))
}
