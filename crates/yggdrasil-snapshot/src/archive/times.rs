//! When changes were made: how far each shard had come at some moments.
//!
//! ```text
//! shards: u32 | { Unix time in ms: u64 | number of the last change of each shard: u64 ... } ...
//! ```

use crate::error::SnapshotError;
use crate::store::Store;

use super::name::{TIMES, TimesName};
use super::object::{ArchiveFault, Kind, open, seal};
use super::read_object;

const HOUR_MS: u64 = 3_600_000;
/// Most bytes of the times of an hour: one a second, of more shards than there may be.
const BYTES_MAX: u64 = 64 << 20;

/// How far all shards had come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Moment {
    pub ms: u64,
    pub numbers: Vec<u64>,
}

/// Moments that are to be archived, of a node whose logs are of one generation.
#[derive(Debug)]
pub struct Times {
    node: String,
    generation: u64,
    /// Those of the hour of the last one, and of hours that are not archived whole.
    moments: Vec<Moment>,
    /// The moments of an earlier process in this hour are in `moments`.
    has_earlier: bool,
    is_archived: bool,
}

impl Times {
    pub fn new(node: &str, generation: u64) -> Self {
        Self {
            node: node.to_owned(),
            generation,
            moments: Vec::new(),
            has_earlier: false,
            is_archived: true,
        }
    }

    /// Remembers a moment, if anything has changed since the last one.
    pub fn add(&mut self, moment: Moment) {
        let last = self.moments.last();
        let is_new = last.is_none_or(|last| last.numbers != moment.numbers && last.ms <= moment.ms);
        if is_new {
            self.moments.push(moment);
            self.is_archived = false;
        }
    }

    /// Archives what is not archived yet.
    pub fn archive(&mut self, store: &dyn Store) -> Result<u64, SnapshotError> {
        if self.is_archived {
            return Ok(0);
        }
        if !std::mem::replace(&mut self.has_earlier, true)
            && let Some(first) = self.moments.first()
        {
            let name = self.name(first.ms / HOUR_MS);
            // What is damaged is told by the check, and is of no use here.
            let mut earlier = read(store, &name).unwrap_or_default();
            earlier.retain(|moment| moment.ms < first.ms);
            earlier.append(&mut self.moments);
            self.moments = earlier;
        }
        let mut bytes = 0;
        for hour in self
            .moments
            .chunk_by(|a, b| a.ms / HOUR_MS == b.ms / HOUR_MS)
        {
            let object = self.name(hour[0].ms / HOUR_MS).object();
            let sealed = seal(Kind::Times, &object, &encode(hour));
            let sealed = sealed.map_err(SnapshotError::of_store("compressed", &*object))?;
            let put = store.put(&object, &sealed);
            put.map_err(SnapshotError::of_store("written", object))?;
            bytes += sealed.len() as u64;
        }
        let last = self.moments.last().map_or(0, |moment| moment.ms / HOUR_MS);
        self.moments.retain(|moment| moment.ms / HOUR_MS == last);
        self.is_archived = true;
        Ok(bytes)
    }

    fn name(&self, hour: u64) -> TimesName {
        TimesName {
            node: self.node.clone(),
            generation: self.generation,
            hour,
        }
    }
}

fn encode(moments: &[Moment]) -> Vec<u8> {
    let shards = moments.first().map_or(0, |moment| moment.numbers.len());
    let mut raw = (shards as u32).to_le_bytes().to_vec();
    for moment in moments {
        raw.extend(moment.ms.to_le_bytes());
        for number in &moment.numbers {
            raw.extend(number.to_le_bytes());
        }
    }
    raw
}

/// The moments in what an object holds.
pub fn decode(raw: &[u8]) -> Result<Vec<Moment>, ArchiveFault> {
    let fault = |what: &str| ArchiveFault::Contents(what.to_owned());
    let (shards, rest) = raw
        .split_first_chunk()
        .ok_or_else(|| fault("it has no number of shards"))?;
    let shards = u32::from_le_bytes(*shards) as usize;
    let row_bytes = shards
        .checked_add(1)
        .and_then(|words| words.checked_mul(8))
        .ok_or_else(|| fault("its number of shards makes no sense"))?;
    let rows = rest.chunks_exact(row_bytes);
    if !rows.remainder().is_empty() {
        return Err(fault("its last moment is not whole"));
    }
    let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap_or_default());
    let moments: Vec<Moment> = rows
        .map(|row| {
            let mut words = row.chunks_exact(8).map(word);
            Moment {
                ms: words.next().unwrap_or(0),
                numbers: words.collect(),
            }
        })
        .collect();
    let falls = |pair: &[Moment]| pair[0].ms > pair[1].ms;
    if moments.windows(2).any(falls) {
        return Err(fault("its moments are not in order"));
    }
    Ok(moments)
}

/// Reads the moments of an hour.
pub fn read(store: &dyn Store, name: &TimesName) -> Result<Vec<Moment>, SnapshotError> {
    let object = name.object();
    let raw = read_object(store, Kind::Times, &object, BYTES_MAX)?;
    decode(&raw).map_err(|fault| SnapshotError::Archive {
        name: object,
        fault,
    })
}

/// Checks an object with times.
pub fn check(name: &str, bytes: &[u8]) -> Result<(), ArchiveFault> {
    decode(&open(Kind::Times, name, bytes, BYTES_MAX)?).map(drop)
}

/// The names of all times of a node, in their order.
pub fn names(store: &dyn Store) -> Result<Vec<TimesName>, SnapshotError> {
    let listed = store.list(TIMES);
    let listed = listed.map_err(SnapshotError::of_store("listed", TIMES))?;
    let mut names: Vec<_> = listed
        .iter()
        .filter_map(|object| TimesName::of_object(&object.name))
        .collect();
    names.sort_by_key(|name| (name.hour, name.generation));
    Ok(names)
}
