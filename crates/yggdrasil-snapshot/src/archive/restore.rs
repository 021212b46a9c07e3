//! The way back to a point in time: a snapshot from before it, and the log from there to it.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use yggdrasil_log::{Frame, HEADER_BYTES, SegmentHeader, segment_name, shard_directory};

use crate::copy::copy_as;
use crate::error::SnapshotError;
use crate::load::list;
use crate::manifest::{Manifest, ShardPart};
use crate::store::Store;

use super::name::{SegmentName, TimesName};
use super::object::{Kind, RAW_BYTES_MAX};
use super::times::{self, Moment};
use super::{list_segments, read_object};

/// Moments are noted more often than this, in milliseconds, while anything changes.
const MOMENTS_MS: u64 = 5_000;

/// The point to go back to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Until {
    /// Unix time in milliseconds.
    Time(u64),
    /// The number of the last change of some shards; of the others all is taken.
    Numbers(Vec<(u32, u64)>),
    /// All that is there.
    Latest,
}

/// What was restored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Restored {
    /// The snapshot that the logs go on from; none where they are there from the first change on.
    pub snapshot: Option<Manifest>,
    pub generation: u64,
    /// The number of the last change of each shard.
    pub numbers: Vec<u64>,
    /// Of each shard the number that was wanted, where the archive ends before it.
    pub missing: Vec<Option<u64>>,
    /// The moment up to which all is there, Unix time in milliseconds, where one was asked for.
    pub moment: Option<u64>,
    /// Bytes of the logs.
    pub log_bytes: u64,
}

/// Segments of a log, each with whether nothing is written to it any more.
type Segments = Vec<(SegmentName, bool)>;

/// Everything to go back to a point.
struct Plan {
    snapshot: Option<Manifest>,
    generation: u64,
    /// The number of the last change of each shard.
    cuts: Vec<u64>,
    moment: Option<u64>,
}

/// Restores a node: the snapshot to an empty store, and the logs to an empty directory. It has the name `as_node` from
/// now on, since what it changes is another history.
///
/// # Errors
/// The archive does not reach from a snapshot to that point, or something is damaged.
pub fn restore_until(
    from: &dyn Store,
    node: &str,
    until: &Until,
    to: &dyn Store,
    logs: &Path,
    as_node: &str,
) -> Result<Restored, SnapshotError> {
    let segments = list_segments(from, node)?;
    let mut plans = plans(from, node, until, &segments)?.into_iter();
    let first = plans.next().map(|plan| plan.with_logs(&segments));
    // What is nearest may have been pruned: a snapshot stands for it, if there is one.
    let chosen = match first {
        Some(Err(error)) => match plans.next() {
            Some(second) => second.with_logs(&segments),
            None => Err(error),
        },
        Some(first) => first,
        None => Err(SnapshotError::Archived(
            "nothing is archived from before that time".to_owned(),
        )),
    };
    let (plan, logs_of) = chosen?;
    let mut restored = Restored {
        snapshot: plan.snapshot,
        generation: plan.generation,
        numbers: Vec::new(),
        missing: Vec::new(),
        moment: plan.moment,
        log_bytes: 0,
    };
    for (shard, (cut, chosen)) in plan.cuts.iter().zip(&logs_of).enumerate() {
        let part = restored.snapshot.as_ref();
        let part = part.and_then(|snapshot| snapshot.shard(shard as u32));
        let end = part.map_or(0, ShardPart::end);
        let directory = logs.join(shard_directory(shard));
        let (last, bytes) = write_log(from, chosen, *cut, &directory)?;
        let last = last.max(end);
        restored.numbers.push(last);
        let falls_short = *cut != u64::MAX && last < *cut;
        restored.missing.push(falls_short.then_some(*cut));
        restored.log_bytes += bytes;
    }
    if let Some(snapshot) = &restored.snapshot {
        copy_as(from, to, snapshot, as_node)?;
    }
    Ok(restored)
}

impl Plan {
    /// A snapshot by itself: its shards are as they were when each was scanned.
    fn of_snapshot(snapshot: &Manifest) -> Self {
        Self {
            moment: Some(snapshot.ended_ms),
            generation: snapshot.generation.max(1),
            cuts: snapshot.shards.iter().map(ShardPart::end).collect(),
            snapshot: Some(snapshot.clone()),
        }
    }

    /// The newest snapshot in which no change is later than it may be, and the logs from there.
    fn of_logs(
        generation: u64,
        cuts: Vec<u64>,
        moment: Option<u64>,
        snapshots: &[Manifest],
    ) -> Self {
        let fits = |manifest: &&Manifest| {
            let mut parts = manifest.shards.iter().zip(&cuts);
            manifest.generation == generation
                && manifest.shards.len() == cuts.len()
                && parts.all(|(part, cut)| part.end() <= *cut)
        };
        Self {
            snapshot: snapshots.iter().find(fits).cloned(),
            generation,
            cuts,
            moment,
        }
    }

    /// Finds the segments of each shard.
    fn with_logs(
        self,
        segments: &[(SegmentName, bool)],
    ) -> Result<(Self, Vec<Segments>), SnapshotError> {
        let mut logs = Vec::new();
        for (shard, cut) in self.cuts.iter().enumerate() {
            let shard = shard as u32;
            let of_shard = |(name, _): &&(SegmentName, bool)| {
                (name.generation, name.shard) == (self.generation, shard)
            };
            let own: Vec<_> = segments.iter().filter(of_shard).cloned().collect();
            let part = self.snapshot.as_ref().and_then(|it| it.shard(shard));
            let (start, end) = part.map_or((1, 0), |part| (part.start().max(1), part.end()));
            logs.push(chain(&own, shard, start, end, *cut)?);
        }
        Ok((self, logs))
    }
}

/// Finds the ways to a point, the nearest first.
fn plans(
    from: &dyn Store,
    node: &str,
    until: &Until,
    segments: &[(SegmentName, bool)],
) -> Result<Vec<Plan>, SnapshotError> {
    let listed = list(from)?.into_iter().rev();
    let snapshots: Vec<Manifest> = listed
        .filter_map(|listed| listed.manifest.ok())
        .filter(|manifest| manifest.node == node)
        .collect();
    let Until::Time(ms) = until else {
        let (generation, cuts) = numbers(node, until, segments)?;
        return Ok(vec![Plan::of_logs(generation, cuts, None, &snapshots)]);
    };
    let alone = snapshots.iter().find(|manifest| manifest.ended_ms <= *ms);
    let alone_ms = alone.map_or(0, |snapshot| snapshot.ended_ms);
    let mut plans = Vec::from_iter(alone.map(Plan::of_snapshot));
    if let Some((generation, at)) = last_moment(from, node, *ms)? {
        let plan = Plan::of_logs(generation, at.numbers, Some(at.ms), &snapshots);
        // At a moment all shards are as they were together, which they are not in a snapshot alone.
        let is_nearer = at.ms + MOMENTS_MS >= alone_ms;
        plans.insert(if is_nearer { 0 } else { plans.len() }, plan);
    }
    Ok(plans)
}

/// The newest generation of logs, and how far each of them is to be read.
fn numbers(
    node: &str,
    until: &Until,
    segments: &[(SegmentName, bool)],
) -> Result<(u64, Vec<u64>), SnapshotError> {
    let newest = segments.iter().map(|(name, _)| name.generation).max();
    let generation = newest
        .ok_or_else(|| SnapshotError::Archived(format!("no log of node {node} is archived")))?;
    let of_it = segments
        .iter()
        .filter(|(name, _)| name.generation == generation);
    let shards = of_it.map(|(name, _)| name.shard as usize + 1).max();
    let mut cuts = vec![u64::MAX; shards.unwrap_or(0)];
    let count = cuts.len();
    if let Until::Numbers(numbers) = until {
        for (shard, number) in numbers {
            let cut = cuts.get_mut(*shard as usize);
            *cut.ok_or_else(|| {
                SnapshotError::Archived(format!("there is no shard {shard} of {count}"))
            })? = *number;
        }
    }
    Ok((generation, cuts))
}

/// The last moment up to a time that is archived, and the generation of its logs.
fn last_moment(
    from: &dyn Store,
    node: &str,
    ms: u64,
) -> Result<Option<(u64, Moment)>, SnapshotError> {
    const HOUR_MS: u64 = 3_600_000;
    let names = times::names(from)?;
    let own = |name: &&TimesName| name.node == node && name.hour <= ms / HOUR_MS;
    for name in names.iter().rev().filter(own) {
        let moments = times::read(from, name)?;
        if let Some(last) = moments.into_iter().rev().find(|moment| moment.ms <= ms) {
            return Ok(Some((name.generation, last)));
        }
    }
    Ok(None)
}

/// The segments from the one with a change to that with another, without a gap.
fn chain(
    own: &[(SegmentName, bool)],
    shard: u32,
    start: u64,
    end: u64,
    cut: u64,
) -> Result<Vec<(SegmentName, bool)>, SnapshotError> {
    // By sequence; of one that was archived twice, the whole one.
    let mut by_sequence: HashMap<u64, &(SegmentName, bool)> = HashMap::new();
    for one in own {
        let there = by_sequence.entry(one.0.sequence).or_insert(one);
        if one.1 {
            *there = one;
        }
    }
    let mut sorted: Vec<_> = by_sequence.into_values().collect();
    sorted.sort_by_key(|(name, _)| name.sequence);
    let first = sorted.iter().rfind(|(name, _)| name.number < start);
    let Some((first, _)) = first else {
        if cut <= end {
            return Ok(Vec::new());
        }
        return Err(SnapshotError::Archived(format!(
            "the log of shard {shard} is not archived from change {start} on"
        )));
    };
    let mut chosen: Vec<(SegmentName, bool)> = Vec::new();
    for (name, is_cut) in sorted {
        if name.sequence < first.needs || name.number > cut {
            continue;
        }
        if let Some((last, _)) = chosen.last()
            && name.sequence != last.sequence + 1
        {
            return Err(SnapshotError::Archived(format!(
                "segment {:016x} of the log of shard {shard} is not archived",
                last.sequence + 1
            )));
        }
        chosen.push((name.clone(), *is_cut));
    }
    match chosen.first() {
        Some((name, _)) if name.sequence == first.needs => Ok(chosen),
        _ => Err(SnapshotError::Archived(format!(
            "segment {:016x} of the log of shard {shard} is not archived",
            first.needs
        ))),
    }
}

/// Writes the segments of a log, up to a change. Gives the number of the last one, and the bytes of all.
fn write_log(
    from: &dyn Store,
    chosen: &[(SegmentName, bool)],
    cut: u64,
    directory: &Path,
) -> Result<(u64, u64), SnapshotError> {
    let (mut last, mut epoch, mut bytes) = (0, 0, 0);
    for (name, is_cut) in chosen {
        let object = name.object(*is_cut);
        let contents = read_object(from, Kind::Segment, &object, RAW_BYTES_MAX)?;
        let length = u64::from_le_bytes(word_of(&contents));
        let header = SegmentHeader::decode(&contents, length);
        let header =
            header.map_err(|fault| SnapshotError::Archived(format!("{object}: {fault}")))?;
        // A power cut took it back, and another one was written in its place.
        if header.epoch < epoch {
            break;
        }
        let mut end = HEADER_BYTES;
        last = last.max(header.number);
        while let Ok(frame) = Frame::decode(&contents, end) {
            if frame.number > cut {
                break;
            }
            (last, epoch) = (frame.number, frame.epoch);
            end += frame.bytes;
        }
        let is_last = end < contents.len() as u64;
        let path = directory.join(segment_name(name.sequence));
        let written = write_segment(&path, &contents[..end as usize], header.bytes);
        written.map_err(SnapshotError::of_store(
            "written",
            path.display().to_string(),
        ))?;
        bytes += end;
        if is_last {
            break;
        }
    }
    Ok((last, bytes))
}

/// The length of its file that the head of a segment tells.
fn word_of(contents: &[u8]) -> [u8; 8] {
    let word = contents.get(24..32).and_then(|word| word.try_into().ok());
    word.unwrap_or_default()
}

/// Writes a segment, with zeros behind its records.
fn write_segment(path: &Path, records: &[u8], length: u64) -> std::io::Result<()> {
    let directory = path.parent().unwrap_or(path);
    fs::create_dir_all(directory)?;
    let mut file = File::create(path)?;
    file.write_all(records)?;
    file.set_len(length)?;
    file.sync_all()?;
    File::open(directory)?.sync_all()
}
