//! Taking a snapshot.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use yggdrasil_core::keyspace::{Effect, Record, ShardReader};

use crate::chunk::{ChunkWriter, Encoder, Piece};
use crate::error::SnapshotError;
use crate::manifest::{ChunkRef, FORMAT, Layer, Manifest, ShardPart};
use crate::name::{ChunkName, manifest_object};
use crate::pace::Pace;
use crate::scan::{Change, History, Owner, Scan, settled};
use crate::store::Store;

mod writers;

use writers::Writers;

/// A shard that is to be in a snapshot.
pub struct Source<'a> {
    pub shard: u32,
    pub reader: &'a ShardReader,
    pub history: &'a mut dyn History,
    pub owner: &'a mut dyn Owner,
    /// False for keys that are left out: their changes are in no log.
    pub keeps: &'a dyn Fn(&[u8]) -> bool,
}

/// The manner in which snapshots are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Level of zstd.
    pub level: i32,
    /// Threads that compress and write.
    pub threads: usize,
    /// Bytes to write in a second; 0 for no limit.
    pub bytes_per_second: u64,
    /// A snapshot that would have more layers is a full one; 1 for none but full ones.
    pub layers_max: usize,
    /// A shard is written anew when all its layers take so much more than a whole one would, in percent.
    pub growth_max: u64,
    /// The generation of the logs; 0 without logs.
    pub generation: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            level: 1,
            threads: 1,
            bytes_per_second: 0,
            layers_max: 32,
            growth_max: 50,
            generation: 0,
        }
    }
}

/// The state of a snapshot under way, for others to look at, and to end it.
#[derive(Debug, Default)]
pub struct Progress {
    /// Entries of all shards when it began.
    pub keys: AtomicU64,
    /// Records written.
    pub written: AtomicU64,
    /// Bytes written.
    pub bytes: AtomicU64,
    /// Shards that are done.
    pub shards: AtomicU64,
    /// True ends it.
    pub cancelled: AtomicBool,
}

impl Progress {
    /// Forgets the snapshot before.
    pub fn begin(&self) {
        for number in [&self.keys, &self.written, &self.bytes, &self.shards] {
            number.store(0, Relaxed);
        }
        self.cancelled.store(false, Relaxed);
    }

    pub(crate) fn check(&self) -> Result<(), SnapshotError> {
        if self.cancelled.load(Relaxed) {
            return Err(SnapshotError::Cancelled);
        }
        Ok(())
    }
}

/// A snapshot that was taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Taken {
    pub manifest: Manifest,
    /// Shards that were written whole.
    pub full_shards: usize,
    /// How far each shard had come when it was begun. Other shards may still need what its log has from there on: a
    /// decision about a transaction stands in the log of its coordinator alone.
    pub reached: Vec<(u32, u64)>,
}

impl Taken {
    /// The number of each shard from which on its log is needed.
    pub fn needed(&self) -> impl Iterator<Item = (u32, u64)> {
        let parts = self.manifest.shards.iter();
        parts.map(|part| {
            let mut reached = self.reached.iter();
            let own = reached.find(|(shard, _)| *shard == part.shard);
            let from = own.map_or(0, |(_, number)| *number);
            (part.shard, part.start().min(from))
        })
    }
}

/// Takes a snapshot of shards. What a former one has is used again where a log tells what has changed since.
///
/// `now` gives the Unix time in milliseconds.
///
/// # Errors
/// It is not there then, and what was written of it is left for [`prune`](crate::prune).
pub fn take(
    store: &dyn Store,
    node: &str,
    sources: &mut [Source<'_>],
    base: Option<&Manifest>,
    options: &Options,
    progress: &Progress,
    now: &(dyn Fn() -> u64 + Sync),
) -> Result<Taken, SnapshotError> {
    let base = base.filter(|base| base.node == node);
    let began_ms = now().max(base.map_or(0, |base| base.began_ms + 1));
    // Numbers of another generation, or of another number of shards, are those of other changes.
    let base = base
        .filter(|base| base.generation == options.generation && base.shards.len() == sources.len());
    let reached = sources
        .iter()
        .map(|source| (source.shard, source.reader.number()));
    let reached: Vec<(u32, u64)> = reached.collect();
    let keys = sources.iter().map(|source| keys_of(source.reader)).sum();
    progress.keys.store(keys, Relaxed);
    let taking = Taking {
        store,
        options,
        progress,
        pace: Pace::new(options.bytes_per_second),
        known: base.map_or_else(HashSet::new, |base| {
            base.chunks().map(|chunk| chunk.name).collect()
        }),
        now,
    };
    let (mut shards, mut full_shards) = (Vec::new(), 0);
    for source in sources.iter_mut() {
        let part = base.and_then(|base| base.shard(source.shard));
        let part = taking.shard(source, part)?;
        full_shards += usize::from(part.layers.len() == 1);
        shards.push(part);
        progress.shards.fetch_add(1, Relaxed);
    }
    // A snapshot may not have a part of a transaction whose other parts a power cut takes from the logs.
    for source in sources.iter_mut() {
        source.history.settle()?;
    }
    shards.sort_by_key(|part| part.shard);
    let is_shared = shards.iter().any(|part| part.layers.len() > 1);
    let manifest = Manifest {
        format: FORMAT,
        id: format!("{began_ms:016}"),
        node: node.to_owned(),
        began_ms,
        ended_ms: now(),
        base: base.filter(|_| is_shared).map(|base| base.id.clone()),
        new_bytes: progress.bytes.load(Relaxed),
        generation: options.generation,
        shards,
    };
    commit(store, &manifest)?;
    Ok(Taken {
        manifest,
        full_shards,
        reached,
    })
}

/// Makes a snapshot real: all that it consists of is durable before its manifest is.
fn commit(store: &dyn Store, manifest: &Manifest) -> Result<(), SnapshotError> {
    let object = manifest_object(&manifest.id);
    let failed = |action| SnapshotError::of_store(action, object.clone());
    store.settle().map_err(failed("made durable"))?;
    store
        .put(&object, &manifest.encode())
        .map_err(failed("written"))?;
    store.settle().map_err(failed("made durable"))
}

fn keys_of(reader: &ShardReader) -> u64 {
    let logical = 0..reader.map().len();
    logical.map(|db| reader.len(db as u8)).sum()
}

struct Taking<'a> {
    store: &'a dyn Store,
    options: &'a Options,
    progress: &'a Progress,
    pace: Pace,
    /// Chunks that are there already.
    known: HashSet<ChunkName>,
    now: &'a (dyn Fn() -> u64 + Sync),
}

impl Taking<'_> {
    fn shard(
        &self,
        source: &mut Source<'_>,
        base: Option<&ShardPart>,
    ) -> Result<ShardPart, SnapshotError> {
        let epoch = source.reader.epoch();
        let number = source.reader.number();
        if let Some(base) = base.filter(|base| base.start() == number && base.end() == number) {
            return Ok(base.clone());
        }
        let usable = base.filter(|base| self.is_usable(base, number, keys_of(source.reader)));
        let mut layers = Vec::new();
        if let Some(base) = usable
            && let Some(layer) = self.layer(source, base.start(), true)?
        {
            layers.clone_from(&base.layers);
            layers.push(layer);
        }
        if layers.is_empty() {
            layers.extend(self.layer(source, 0, false)?);
        }
        if source.reader.epoch() != epoch || epoch % 2 == 1 {
            return Err(SnapshotError::Restarted(source.shard));
        }
        Ok(ShardPart {
            shard: source.shard,
            keys: keys_of(source.reader),
            layers,
        })
    }

    /// True where a layer on top of a former snapshot leaves little in it that has been written over.
    fn is_usable(&self, base: &ShardPart, number: u64, keys: u64) -> bool {
        let whole = base.estimate_whole(keys);
        let most = u128::from(whole) * u128::from(100 + self.options.growth_max) / 100;
        let layers = 1..self.options.layers_max;
        layers.contains(&base.layers.len())
            && u128::from(base.bytes()) <= most
            && base.end() <= number
    }

    /// Writes all entries that have changed from a number on, and what was removed. `None` where the log does not
    /// reach back so far, or the rest is better written whole.
    fn layer(
        &self,
        source: &mut Source<'_>,
        since: u64,
        is_later: bool,
    ) -> Result<Option<Layer>, SnapshotError> {
        let began_ms = (self.now)();
        let (reader, shard) = (source.reader, source.shard);
        // The change with this number may not be visible yet, those before it are. No layer begins within a transaction:
        // the log tells of its changes when it is over, and those before the number would be in no layer.
        let start = settled(shard, &mut || {
            reader.between_transactions(ShardReader::number)
        })?;
        let (chunks, found) = Writers::run(self, |writers| {
            let mut writer = ChunkWriter::default();
            let mut add = |change: Change<'_>| {
                self.progress.written.fetch_add(1, Relaxed);
                writer.add(change.number, change.record, &mut |piece| {
                    writers.hand_on(piece)
                })
            };
            if is_later {
                let mut is_cleared = false;
                let reaches_back = source.history.since(since, &mut |change| {
                    is_cleared |= removal(change, start, &mut add)? == Removal::Database;
                    Ok(())
                })?;
                // Nothing is left of a database that was cleared: a whole scan is shorter.
                if is_cleared || !reaches_back {
                    return Ok(None);
                }
            }
            let mut scan = Scan {
                reader: source.reader,
                owner: source.owner,
                shard: source.shard,
                keeps: source.keeps,
                since,
                each_once: None,
            };
            scan.run(&|| self.progress.check(), &mut add)?;
            // Writing keeps a pin, so the records of a log do not tell by themselves what is pinned in the end.
            source.owner.pins(&mut add)?;
            // What was changed during the scan, so that the snapshot is exact without a log, too.
            let is_logged = source.history.since(start, &mut add)?;
            writer.finish(&mut |piece| writers.hand_on(piece))?;
            Ok(Some(is_logged))
        })?;
        let Some(is_logged) = found else {
            return Ok(None);
        };
        let (number, map) = settled(shard, &mut || {
            reader.between_transactions(|reader| (reader.number(), reader.map()))
        })?;
        // The last change may not be visible yet: where there is a log, it is repeated from there.
        let map_number = number.saturating_sub(u64::from(is_logged));
        let highest = chunks.iter().map(|chunk| chunk.high).max().unwrap_or(0);
        Ok(Some(Layer {
            start,
            end: source.reader.number().max(highest),
            began_ms,
            map_number,
            map,
            chunks,
        }))
    }

    /// Writes a chunk, if it is not there already.
    fn write(
        &self,
        encoder: &mut Option<Encoder>,
        piece: &Piece,
    ) -> Result<ChunkRef, SnapshotError> {
        self.progress.check()?;
        let failed = SnapshotError::of_store("compressed", "a chunk");
        let encoder = match encoder {
            Some(encoder) => encoder,
            None => encoder.insert(Encoder::new(self.options.level).map_err(failed)?),
        };
        let encoded = encoder.encode(piece);
        let (name, bytes) = encoded.map_err(SnapshotError::of_store("compressed", "a chunk"))?;
        let len = bytes.len() as u64;
        if !self.known.contains(&name) {
            let object = name.object();
            let put = self.store.put(&object, bytes);
            put.map_err(SnapshotError::of_store("written", object))?;
            self.progress.bytes.fetch_add(len, Relaxed);
            self.pace.spend(len);
        }
        Ok(ChunkRef {
            name,
            bytes: len,
            raw: piece.raw_bytes(),
            records: piece.records,
            low: piece.low,
            high: piece.high,
        })
    }
}

/// The extent of what a change has removed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Removal {
    Key,
    Database,
}

/// Hands on what a scan does not see of a change: that something is gone, or is pinned no more.
fn removal(
    change: Change<'_>,
    before: u64,
    add: &mut dyn FnMut(Change<'_>) -> Result<(), SnapshotError>,
) -> Result<Removal, SnapshotError> {
    // Later ones come behind the scan.
    if change.number <= before {
        match Record::decode(change.record).map(|record| record.effect) {
            Ok(Effect::Remove | Effect::Pin { until: None }) => add(change)?,
            Ok(Effect::Clear) => return Ok(Removal::Database),
            _ => {}
        }
    }
    Ok(Removal::Key)
}
