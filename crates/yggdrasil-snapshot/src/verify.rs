//! Checking everything in a store.

use std::collections::HashMap;

use serde::Serialize;
use yggdrasil_core::keyspace::Record;

use crate::archive::verify_archive;
use crate::chunk::{ChunkFault, Decoded};
use crate::error::SnapshotError;
use crate::load::{Batch, Joiner, list, read_chunk};
use crate::manifest::{ChunkRef, Manifest, ShardPart};
use crate::name::{ChunkName, manifest_object};
use crate::pace::Pace;
use crate::store::Store;

/// Damage of one object, and what it means.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Damage {
    pub object: String,
    pub fault: String,
    /// Snapshots that cannot be loaded because of it.
    pub snapshots: Vec<String>,
    /// The shard whose records are concerned; none for a manifest.
    pub shard: Option<u32>,
    /// Records in it, and the lowest and highest of their numbers.
    pub records: u64,
    pub low: u64,
    pub high: u64,
}

/// The result of checking a store.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Verdict {
    /// Snapshots that are whole, the oldest first.
    pub whole: Vec<String>,
    /// Snapshots that are damaged, the oldest first.
    pub damaged: Vec<String>,
    pub chunks: u64,
    /// Archived parts of logs.
    pub archived: u64,
    pub bytes: u64,
    pub records: u64,
    pub damage: Vec<Damage>,
}

/// Checks all snapshots of a store: each manifest, each chunk once, each record.
///
/// `progress` hears of the bytes of each chunk, and ends the check by false.
///
/// # Errors
/// The store does not answer, or the check was ended.
pub fn verify(
    store: &dyn Store,
    record_bytes_max: u64,
    pace: &Pace,
    progress: &mut dyn FnMut(u64) -> bool,
) -> Result<Verdict, SnapshotError> {
    let mut check = Check {
        store,
        record_bytes_max,
        pace,
        progress,
        verdict: Verdict::default(),
        seen: HashMap::new(),
    };
    for listed in list(store)? {
        match listed.manifest {
            Ok(manifest) => check.snapshot(&manifest)?,
            // It was removed while the list was read.
            Err(SnapshotError::Missing(_)) => {}
            Err(SnapshotError::Manifest { fault, .. }) => {
                check.verdict.damage.push(Damage {
                    object: manifest_object(&listed.id),
                    fault: fault.to_string(),
                    snapshots: vec![listed.id.clone()],
                    shard: None,
                    records: 0,
                    low: 0,
                    high: 0,
                });
                check.verdict.damaged.push(listed.id);
            }
            Err(error) => return Err(error),
        }
    }
    let mut verdict = check.verdict;
    verify_archive(store, pace, progress, &mut verdict)?;
    Ok(verdict)
}

struct Check<'a> {
    store: &'a dyn Store,
    record_bytes_max: u64,
    pace: &'a Pace,
    progress: &'a mut dyn FnMut(u64) -> bool,
    verdict: Verdict,
    /// The damage of each chunk that was looked at, as a place among all damage.
    seen: HashMap<ChunkName, Option<usize>>,
}

impl Check<'_> {
    fn snapshot(&mut self, manifest: &Manifest) -> Result<(), SnapshotError> {
        let mut is_whole = true;
        for part in &manifest.shards {
            is_whole &= self.shard(manifest, part)?;
        }
        let list = if is_whole {
            &mut self.verdict.whole
        } else {
            &mut self.verdict.damaged
        };
        list.push(manifest.id.clone());
        Ok(())
    }

    /// True for a shard that is whole.
    fn shard(&mut self, manifest: &Manifest, part: &ShardPart) -> Result<bool, SnapshotError> {
        let mut joiner = Joiner::new(self.record_bytes_max);
        let mut is_whole = true;
        for chunk in part.chunks() {
            let known = self.seen.get(&chunk.name).copied();
            let damage = match known {
                Some(damage) => damage,
                None => {
                    let damage = self.chunk(part, chunk, &mut joiner)?;
                    self.seen.insert(chunk.name, damage);
                    damage
                }
            };
            if let Some(place) = damage {
                is_whole = false;
                let snapshots = &mut self.verdict.damage[place].snapshots;
                if snapshots.last() != Some(&manifest.id) {
                    snapshots.push(manifest.id.clone());
                }
            }
        }
        Ok(is_whole)
    }

    /// Checks a chunk that was not looked at yet. Gives the place of its damage.
    fn chunk(
        &mut self,
        part: &ShardPart,
        chunk: &ChunkRef,
        joiner: &mut Joiner,
    ) -> Result<Option<usize>, SnapshotError> {
        self.verdict.chunks += 1;
        self.verdict.bytes += chunk.bytes;
        self.verdict.records += chunk.records;
        self.pace.spend(chunk.bytes);
        if !(self.progress)(chunk.bytes) {
            return Err(SnapshotError::Cancelled);
        }
        let fault = match read_chunk(self.store, chunk) {
            Ok(decoded) => match check_records(decoded, chunk, joiner) {
                Ok(()) => return Ok(None),
                Err(fault) => fault,
            },
            Err(SnapshotError::Chunk { fault, .. }) => fault,
            Err(error) => return Err(error),
        };
        *joiner = Joiner::new(self.record_bytes_max);
        self.verdict.damage.push(Damage {
            object: chunk.name.object(),
            fault: fault.to_string(),
            snapshots: Vec::new(),
            shard: Some(part.shard),
            records: chunk.records,
            low: chunk.low,
            high: chunk.high,
        });
        Ok(Some(self.verdict.damage.len() - 1))
    }
}

/// Checks that a chunk has nothing but records, between the numbers that its manifest tells.
fn check_records(
    decoded: Decoded,
    chunk: &ChunkRef,
    joiner: &mut Joiner,
) -> Result<(), ChunkFault> {
    let batch: Batch = joiner.join(decoded)?;
    for change in batch.changes() {
        if !(chunk.low..=chunk.high).contains(&change.number) {
            return Err(ChunkFault::Torn);
        }
        Record::decode(change.record).map_err(ChunkFault::Record)?;
    }
    Ok(())
}
