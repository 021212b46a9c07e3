//! Reading snapshots: which there are, and their records in the order in which they are applied.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use yggdrasil_core::keyspace::{Effect, Record};

use crate::chunk::{ChunkFault, Decoded, decode};
use crate::error::SnapshotError;
use crate::manifest::{ChunkRef, MANIFEST_BYTES_MAX, Manifest, ManifestFault, ShardPart};
use crate::name::{ChunkName, MANIFESTS, id_of_object, manifest_object};
use crate::scan::Change;
use crate::store::Store;
use crate::unpack::{Bodies, Unpacker};

/// A snapshot in a list.
#[derive(Debug)]
pub struct Listed {
    pub id: String,
    /// Its manifest, or why that cannot be read.
    pub manifest: Result<Manifest, SnapshotError>,
}

/// The snapshots of a store, the oldest first.
pub type Catalog = Vec<Listed>;

/// Lists the snapshots of a store, the oldest first. What cannot be read is listed, too.
///
/// # Errors
/// The store does not answer.
pub fn list(store: &dyn Store) -> Result<Catalog, SnapshotError> {
    let objects = store
        .list(MANIFESTS)
        .map_err(SnapshotError::of_store("listed", MANIFESTS))?;
    let ids = objects
        .iter()
        .filter_map(|object| id_of_object(&object.name));
    let listed = ids.map(|id| Listed {
        id: id.to_owned(),
        manifest: read_manifest(store, id),
    });
    Ok(listed.collect())
}

/// Gives the newest snapshot of a node whose manifest can be read.
///
/// # Errors
/// The store does not answer.
pub fn newest(store: &dyn Store, node: &str) -> Result<Option<Manifest>, SnapshotError> {
    let listed = list(store)?.into_iter().rev();
    let mut readable = listed.filter_map(|listed| listed.manifest.ok());
    Ok(readable.find(|manifest| manifest.node == node))
}

/// Reads the manifest of a snapshot.
///
/// # Errors
/// There is none, or it is damaged.
pub fn read_manifest(store: &dyn Store, id: &str) -> Result<Manifest, SnapshotError> {
    let object = manifest_object(id);
    let bytes = match store.get(&object, MANIFEST_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(SnapshotError::Missing(id.to_owned()));
        }
        Err(error) => return Err(SnapshotError::of_store("read", object)(error)),
    };
    let decoded = Manifest::decode(&bytes).and_then(|manifest| {
        if manifest.id == id {
            Ok(manifest)
        } else {
            Err(ManifestFault::Name(manifest.id))
        }
    });
    decoded.map_err(|fault| SnapshotError::Manifest {
        name: object,
        fault,
    })
}

/// Reads a chunk: exactly the bytes that its name stands for.
pub(crate) fn read_bytes(store: &dyn Store, chunk: &ChunkRef) -> Result<Vec<u8>, SnapshotError> {
    let mut bytes = Vec::new();
    read_bytes_into(store, chunk, &mut bytes)?;
    Ok(bytes)
}

/// The same in place of what is there.
pub(crate) fn read_bytes_into(
    store: &dyn Store,
    chunk: &ChunkRef,
    bytes: &mut Vec<u8>,
) -> Result<(), SnapshotError> {
    let object = chunk.name.object();
    let fault = match store.get_into(&object, chunk.bytes, bytes) {
        Ok(()) if bytes.len() as u64 != chunk.bytes => ChunkFault::Length {
            expected: chunk.bytes,
            found: bytes.len() as u64,
        },
        Ok(()) if ChunkName::of(bytes) == chunk.name => return Ok(()),
        Ok(()) => ChunkFault::Checksum,
        Err(error) if error.kind() == io::ErrorKind::NotFound => ChunkFault::Missing,
        Err(error) if error.kind() == io::ErrorKind::InvalidData => ChunkFault::Checksum,
        Err(error) => return Err(SnapshotError::of_store("read", object)(error)),
    };
    Err(SnapshotError::Chunk {
        name: object,
        fault,
    })
}

/// Reads a chunk, and unpacks it.
pub(crate) fn read_chunk(store: &dyn Store, chunk: &ChunkRef) -> Result<Decoded, SnapshotError> {
    let bytes = read_bytes(store, chunk)?;
    decode(&bytes).map_err(|fault| SnapshotError::Chunk {
        name: chunk.name.object(),
        fault,
    })
}

/// Some records of a shard, in their order.
#[derive(Debug)]
pub struct Batch {
    /// One that began before the chunk, or has none.
    lead: Option<(u64, Vec<u8>)>,
    chunk: Option<Decoded>,
    /// Items of the chunk that belong to the lead.
    skipped: usize,
    /// Items of the chunk that are whole records.
    whole: usize,
    /// Who gets the memory of the chunk when it is not needed any more.
    bodies: Option<Arc<Bodies>>,
}

impl Drop for Batch {
    fn drop(&mut self) {
        if let (Some(chunk), Some(bodies)) = (self.chunk.take(), &self.bodies) {
            bodies.give(chunk.into_body());
        }
    }
}

impl Batch {
    /// The records, and the numbers under which they are applied.
    pub fn changes(&self) -> impl Iterator<Item = Change<'_>> {
        let lead = self.lead.iter().map(|(number, record)| Change {
            number: *number,
            record,
        });
        let items = self.chunk.iter().flat_map(Decoded::items);
        let whole = items.skip(self.skipped).take(self.whole);
        lead.chain(whole.map(|item| Change {
            number: item.number,
            record: item.bytes,
        }))
    }

    /// Bytes before compression.
    #[must_use]
    pub fn raw_bytes(&self) -> u64 {
        self.chunk.as_ref().map_or(0, Decoded::raw_bytes)
    }
}

/// Puts records together that go on from one chunk to the next.
#[derive(Debug)]
pub(crate) struct Joiner {
    begun: Option<(u64, Vec<u8>)>,
    record_bytes_max: u64,
}

impl Joiner {
    pub(crate) fn new(record_bytes_max: u64) -> Self {
        Self {
            begun: None,
            record_bytes_max,
        }
    }

    /// Takes the next chunk.
    pub(crate) fn join(&mut self, chunk: Decoded) -> Result<Batch, ChunkFault> {
        let (mut lead, mut skipped, mut whole) = (None, 0, 0);
        let mut items = chunk.items();
        let mut next = items.next();
        if let (Some((number, mut bytes)), Some(item)) = (self.begun.take(), next) {
            if number != item.number {
                return Err(ChunkFault::Torn);
            }
            bytes.extend_from_slice(item.bytes);
            if bytes.len() as u64 > self.record_bytes_max {
                return Err(ChunkFault::RecordTooLong(self.record_bytes_max));
            }
            skipped = 1;
            next = items.next();
            let record = (number, bytes);
            if item.continues {
                self.begun = Some(record);
            } else {
                lead = Some(record);
            }
        }
        while let Some(item) = next {
            // Nothing comes behind what goes on in the next chunk.
            if self.begun.is_some() {
                return Err(ChunkFault::Torn);
            }
            if item.continues {
                self.begun = Some((item.number, item.bytes.to_vec()));
            } else {
                whole += 1;
            }
            next = items.next();
        }
        drop(items);
        Ok(Batch {
            lead,
            chunk: Some(chunk),
            skipped,
            whole,
            bodies: None,
        })
    }

    /// True between two records.
    pub(crate) fn is_between(&self) -> bool {
        self.begun.is_none()
    }
}

/// A step of loading a shard.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The map of the databases of a layer.
    Map(usize),
    Chunk(ChunkRef),
}

/// The records of a shard in a snapshot. Threads read, check and unpack chunks ahead of who takes them.
pub struct Loader {
    part: ShardPart,
    steps: std::vec::IntoIter<Step>,
    /// What each thread has unpacked: chunk n comes from thread n modulo their number.
    threads: Vec<Receiver<Result<Decoded, SnapshotError>>>,
    bodies: Arc<Bodies>,
    taken: usize,
    joiner: Joiner,
    last: Option<ChunkName>,
}

impl Loader {
    /// Begins to load a shard by so many threads. No record is longer than `record_bytes_max`.
    #[must_use]
    pub fn new(
        store: &Arc<dyn Store>,
        part: &ShardPart,
        threads: usize,
        record_bytes_max: u64,
    ) -> Self {
        let chunks: Arc<[ChunkRef]> = part.chunks().copied().collect();
        let count = threads.clamp(1, chunks.len().max(1));
        let bodies = Arc::<Bodies>::default();
        let receivers = (0..count).map(|first| {
            let (sender, receiver) = sync_channel(1);
            let (store, chunks) = (Arc::clone(store), Arc::clone(&chunks));
            let mut unpacker = Unpacker::new(Arc::clone(&bodies));
            std::thread::spawn(move || {
                let own = chunks.iter().skip(first).step_by(count);
                for chunk in own {
                    if sender.send(unpacker.read(&*store, chunk)).is_err() {
                        return;
                    }
                }
            });
            receiver
        });
        let steps = part.layers.iter().enumerate().flat_map(|(index, layer)| {
            let map = Some(Step::Map(index)).filter(|_| layer.map_number > 0);
            map.into_iter()
                .chain(layer.chunks.iter().copied().map(Step::Chunk))
        });
        Self {
            steps: steps.collect::<Vec<_>>().into_iter(),
            threads: receivers.collect(),
            bodies,
            taken: 0,
            joiner: Joiner::new(record_bytes_max),
            part: part.clone(),
            last: None,
        }
    }

    /// Bytes before compression of all chunks.
    #[must_use]
    pub fn raw_bytes(&self) -> u64 {
        self.part.chunks().map(|chunk| chunk.raw).sum()
    }

    fn databases(&self, index: usize) -> Batch {
        let layer = &self.part.layers[index];
        let mut record = Vec::new();
        Record {
            db: 0,
            key: b"",
            effect: Effect::MapDatabases {
                physical: &layer.map,
            },
        }
        .encode(&mut record);
        Batch {
            lead: Some((layer.map_number, record)),
            chunk: None,
            skipped: 0,
            whole: 0,
            bodies: None,
        }
    }

    fn chunk(&mut self, chunk: &ChunkRef) -> Result<Batch, SnapshotError> {
        let receiver = &self.threads[self.taken % self.threads.len()];
        self.taken += 1;
        self.last = Some(chunk.name);
        let name = || chunk.name.object();
        let received = receiver.recv();
        // A thread that panicked has sent nothing.
        let decoded = received.unwrap_or_else(|_| {
            let source = io::Error::other("its thread has ended");
            Err(SnapshotError::of_store("read", name())(source))
        })?;
        let joined = self.joiner.join(decoded);
        let mut batch = joined.map_err(|fault| SnapshotError::Chunk {
            name: name(),
            fault,
        })?;
        batch.bodies = Some(Arc::clone(&self.bodies));
        Ok(batch)
    }
}

impl Iterator for Loader {
    type Item = Result<Batch, SnapshotError>;

    fn next(&mut self) -> Option<Self::Item> {
        let Some(step) = self.steps.next() else {
            let is_torn = !self.joiner.is_between();
            let name = self.last.take().filter(|_| is_torn)?.object();
            let fault = ChunkFault::Torn;
            return Some(Err(SnapshotError::Chunk { name, fault }));
        };
        let batch = match step {
            Step::Map(index) => Ok(self.databases(index)),
            Step::Chunk(chunk) => self.chunk(&chunk),
        };
        if batch.is_err() {
            // Nothing that follows may be applied.
            self.steps = Vec::new().into_iter();
            self.last = None;
        }
        Some(batch)
    }
}
