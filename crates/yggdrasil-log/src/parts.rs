//! What the log of a shard tells the others about groups of changes of several shards: which of them it has, and what
//! was decided, also where it is damaged.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use crate::disk::Disk;
use crate::format::{Content, Frame, HEADER_BYTES, Outcome, segment_name, sequence_of};
use crate::reader::{LogError, Reader};

/// Records begin at multiples of it.
const ALIGNMENT: u64 = 8;

/// A group of changes of several shards: its coordinator and its tag.
pub type Group = (u16, u64);

/// The numbers of the last changes of groups in a log. A group without changes there, or of which they do not count, is
/// not among them.
///
/// # Errors
/// The log cannot be read, or is damaged.
pub fn find_parts(
    disk: Arc<dyn Disk>,
    directory: &Path,
    wanted: &HashSet<Group>,
) -> Result<HashMap<Group, u64>, LogError> {
    let mut reader = Reader::open(disk, directory)?;
    reader.put_together(false);
    let mut found = HashMap::new();
    // The group in hand, and the number of its last change.
    let mut open: Option<(Group, Option<u64>)> = None;
    while let Some(entry) = reader.read()? {
        match entry.frame.content {
            Content::Begin { coordinator, tag } => {
                open = Some(((coordinator, tag), None)).filter(|(group, _)| wanted.contains(group));
            }
            Content::Change(_) | Content::Pieced { .. } => {
                if let Some((_, last)) = &mut open {
                    *last = Some(entry.frame.number);
                }
            }
            Content::End {
                coordinator,
                tag,
                outcome,
            } => {
                let is_lost = matches!(outcome, Outcome::Dropped | Outcome::Undone);
                match open.take() {
                    Some((group, Some(last))) if !is_lost => drop(found.insert(group, last)),
                    None if is_lost => drop(found.remove(&(coordinator, tag))),
                    _ => {}
                }
            }
            _ => {}
        }
    }
    if let Some((group, Some(last))) = open {
        found.insert(group, last);
    }
    Ok(found)
}

/// What can be told of a log that is damaged before its end.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Remains {
    /// Number of the last change that is known to have been there.
    pub number: u64,
    /// Decisions of the shard's worker that are whole, each with its parts.
    pub decisions: HashMap<u64, Vec<(u16, u64)>>,
}

impl Remains {
    /// Reads what is whole of a log, before and behind its damage.
    ///
    /// # Errors
    /// The disk fails.
    pub fn of(disk: &dyn Disk, directory: &Path) -> Result<Self, LogError> {
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            move |error| LogError::Disk { path, error }
        };
        let names = disk.list(directory).map_err(failed(directory))?;
        let mut segments: Vec<u64> = names.iter().filter_map(|name| sequence_of(name)).collect();
        segments.sort_unstable();
        let (mut remains, mut tail) = (Self::default(), Self::default());
        let mut is_torn = false;
        for sequence in segments {
            let path = directory.join(segment_name(sequence));
            let bytes = disk.read(&path).map_err(failed(&path))?.bytes;
            let mut expected = HEADER_BYTES;
            for (offset, frame) in whole_frames(&bytes, HEADER_BYTES) {
                // Behind a gap stands what was durable, or what a power cut has left of an end: a commit tells.
                is_torn |= offset != expected;
                expected = offset + frame.bytes;
                tail.note(&frame);
                if !is_torn || matches!(frame.content, Content::Commit(_)) {
                    is_torn = false;
                    remains.take(&mut tail);
                }
            }
        }
        Ok(remains)
    }

    fn note(&mut self, frame: &Frame<'_>) {
        self.number = self.number.max(frame.number);
        if let Content::Decision(decision) = &frame.content {
            self.decisions.insert(decision.tag, decision.parts.clone());
        }
    }

    fn take(&mut self, tail: &mut Self) {
        self.number = self.number.max(tail.number);
        self.decisions.extend(tail.decisions.drain());
    }
}

/// The whole records of a segment from an offset on, wherever they begin, each with its offset.
pub fn whole_frames(contents: &[u8], from: u64) -> impl Iterator<Item = (u64, Frame<'_>)> {
    let mut offset = from.next_multiple_of(ALIGNMENT);
    std::iter::from_fn(move || {
        while offset < contents.len() as u64 {
            let at = offset;
            if let Ok(frame) = Frame::decode(contents, at) {
                offset += frame.bytes;
                return Some((at, frame));
            }
            offset += ALIGNMENT;
        }
        None
    })
}
