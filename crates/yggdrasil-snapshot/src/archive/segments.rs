//! Archiving the segments of the logs of a node.

use std::collections::{HashMap, HashSet};

use yggdrasil_log::{Content, Frame, HEADER_BYTES, SegmentHeader, whole_frames};

use crate::error::SnapshotError;
use crate::history::LogHistory;
use crate::store::Store;

use super::name::{SEGMENTS, SegmentName};
use super::object::{Kind, seal};
use super::times::{Moment, Times};

/// Segments at the end of a log that are archived again when there is more in them.
const GROWING: usize = 2;

/// The archive of a node's logs, as one process fills it.
#[derive(Debug)]
pub struct Archive {
    node: String,
    generation: u64,
    times: Times,
    /// Objects with segments that nothing is written to any more; nothing while the store was not asked.
    known: Option<HashSet<String>>,
    /// Objects with segments that may still change, and the bytes of these.
    tails: HashMap<String, u64>,
}

impl Archive {
    /// The archive of the logs of a generation of a node.
    #[must_use]
    pub fn new(node: &str, generation: u64) -> Self {
        Self {
            node: node.to_owned(),
            generation,
            times: Times::new(node, generation),
            known: None,
            tails: HashMap::new(),
        }
    }

    /// Remembers how far all shards have come at a moment. It is archived with the segments that have these changes.
    pub fn note(&mut self, ms: u64, numbers: Vec<u64>) {
        self.times.add(Moment { ms, numbers });
    }

    /// Archives what is not archived yet, of logs in the order of their shards. Gives the bytes written.
    ///
    /// # Errors
    /// A log cannot be read, or the store does not take an object.
    pub fn archive(
        &mut self,
        store: &dyn Store,
        logs: &[LogHistory],
    ) -> Result<u64, SnapshotError> {
        let mut known = match self.known.take() {
            Some(known) => known,
            None => {
                let listed = store.list(SEGMENTS);
                let listed = listed.map_err(SnapshotError::of_store("listed", SEGMENTS))?;
                listed.into_iter().map(|object| object.name).collect()
            }
        };
        let (mut bytes, mut failure) = (0, None);
        for (shard, log) in logs.iter().enumerate() {
            match self.shard(store, shard, log, &mut known) {
                Ok(written) => bytes += written,
                // The others are archived all the same.
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        // Times are told of changes that are there.
        let settled = store.settle();
        settled.map_err(SnapshotError::of_store("made durable", SEGMENTS))?;
        if let Some(failure) = failure {
            return Err(failure);
        }
        bytes += self.times.archive(store)?;
        self.known = Some(known);
        Ok(bytes)
    }

    fn shard(
        &mut self,
        store: &dyn Store,
        shard: usize,
        log: &LogHistory,
        known: &mut HashSet<String>,
    ) -> Result<u64, SnapshotError> {
        let mut written = 0;
        let segments = log.headers()?;
        for (place, (sequence, header)) in segments.iter().enumerate() {
            let next = segments.get(place + 1).map(|(_, next)| next);
            let is_cut = place + GROWING < segments.len();
            // A snapshot may have covered it meanwhile, and with it what this would be for.
            let Some(needs) = log.needed_from(*sequence)? else {
                continue;
            };
            let name = SegmentName {
                node: self.node.clone(),
                generation: self.generation,
                shard: shard as u32,
                sequence: *sequence,
                number: header.number,
                needs,
            };
            let object = name.object(is_cut);
            if known.contains(&object) {
                continue;
            }
            let Some(contents) = log.contents(*sequence)? else {
                continue;
            };
            let used = used_bytes(&contents, next);
            if !used.is_whole && (is_cut || says_more(&contents, header, &used)) {
                let place = format!("segment {sequence} is damaged at offset {}", used.bytes);
                return Err(log.failed(place));
            }
            if is_cut {
                // A power cut may not take back what is archived for good.
                log.settle_segment(*sequence)?;
            } else if self.tails.get(&object) == Some(&used.bytes) {
                continue;
            }
            written += put_segment(store, &object, &contents[..used.bytes as usize])?;
            if is_cut {
                let tail = name.object(false);
                self.tails.remove(&tail);
                let removed = store.remove(&tail);
                removed.map_err(SnapshotError::of_store("removed", tail))?;
                known.insert(object);
            } else {
                self.tails.insert(object, used.bytes);
            }
        }
        Ok(written)
    }
}

fn put_segment(store: &dyn Store, object: &str, contents: &[u8]) -> Result<u64, SnapshotError> {
    let sealed = seal(Kind::Segment, object, contents);
    let sealed = sealed.map_err(SnapshotError::of_store("compressed", object))?;
    let put = store.put(object, &sealed);
    put.map_err(SnapshotError::of_store("written", object))?;
    Ok(sealed.len() as u64)
}

/// The part of a segment that has records.
pub(crate) struct Used {
    pub bytes: u64,
    /// The last number in it.
    pub number: u64,
    /// Nothing is missing up to where the segment ends.
    pub is_whole: bool,
}

/// True where a commit behind the records of a segment says that more was durable: that is damage, and what is archived
/// already may be more.
fn says_more(contents: &[u8], header: &SegmentHeader, used: &Used) -> bool {
    let end = header.position + used.bytes;
    let mut behind = whole_frames(contents, used.bytes);
    behind
        .any(|(_, frame)| matches!(frame.content, Content::Commit(commit) if commit.position > end))
}

/// Finds the end of the records of a segment, which the next one may tell.
pub(crate) fn used_bytes(contents: &[u8], next: Option<&SegmentHeader>) -> Used {
    let end = next.map(|next| next.previous_end).filter(|end| *end != 0);
    let mut used = Used {
        bytes: HEADER_BYTES.min(contents.len() as u64),
        number: 0,
        is_whole: false,
    };
    let mut epoch = 0;
    while let Ok(frame) = Frame::decode(contents, used.bytes) {
        if end.is_some_and(|end| used.bytes >= end)
            || frame.epoch < epoch
            || frame.number < used.number
        {
            break;
        }
        (used.number, epoch) = (frame.number, frame.epoch);
        used.bytes += frame.bytes;
        if frame.content == Content::Sealed {
            used.is_whole = true;
            return used;
        }
    }
    used.is_whole = end.is_some_and(|end| used.bytes >= end);
    used
}
