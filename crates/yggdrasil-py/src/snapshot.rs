//! Snapshots for the steward, for a worker that starts, and for the command line. Results are JSON.

mod archive;
mod export;
mod owner;
pub mod parts;
mod store;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pyo3::prelude::*;
use serde_json::{Value, json};
use yggdrasil_core::engine::Origin;
use yggdrasil_core::keyspace::{Record, SEGMENT_BYTES_MAX, ShardReader};
use yggdrasil_core::namespaces::{Ack, Namespaces};
use yggdrasil_core::shm::Segment;
use yggdrasil_log::disk::RealDisk;
use yggdrasil_log::shard_directory;
use yggdrasil_snapshot::{
    Archive, Batch, CheckError, Folder, History, Loader, LogHistory, Manifest, NoHistory, Options,
    Pace, Progress, SnapshotError, Source, Store, Taken, apply_batch, check_directory, copy, list,
    newest, prune, read_manifest, repair, take, verify,
};

use crate::errors::{DamageError, to_python};
use crate::log::MovedShard;
use crate::node::NodeShape;
use crate::socket;
use crate::worker::Worker;

use owner::OwnerProcess;
use store::Objects;

/// Threads that unpack chunks for a shard that is filled.
const LOADING_THREADS: usize = 2;

/// A place where snapshots lie: a folder, or an object with the methods of a store.
#[pyclass(frozen, module = "yggdrasil._core")]
pub struct SnapshotStore {
    pub(crate) store: Arc<dyn Store>,
    folder: Option<Folder>,
}

#[pymethods]
impl SnapshotStore {
    #[new]
    fn new(target: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(path) = target.extract::<PathBuf>() {
            return Ok(Self {
                store: Arc::new(Folder::new(path.clone())),
                folder: Some(Folder::new(path)),
            });
        }
        Ok(Self {
            store: Arc::new(Objects::new(target.clone().unbind())),
            folder: None,
        })
    }

    /// The snapshots, the oldest first.
    fn list(&self, py: Python<'_>) -> PyResult<String> {
        let listed = py.detach(|| list(&*self.store)).map_err(to_python)?;
        let rows = listed.into_iter().map(|listed| match listed.manifest {
            Ok(manifest) => row(&manifest),
            Err(error) => json!({"id": listed.id, "fault": error.to_string()}),
        });
        Ok(Value::from_iter(rows).to_string())
    }

    /// How many shards a snapshot is of.
    fn shards(&self, py: Python<'_>, snapshot: &str) -> PyResult<usize> {
        let found = py.detach(|| read_manifest(&*self.store, snapshot));
        Ok(found.map_err(to_python)?.shards.len())
    }

    /// Checks everything, at so many bytes a second; 0 for no limit. `progress` gets the bytes of each chunk, and ends
    /// the check by False.
    fn verify(
        &self,
        py: Python<'_>,
        record_bytes_max: u64,
        bytes_per_second: u64,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<String> {
        let verdict = py.detach(|| {
            let mut told = |bytes: u64| {
                let Some(progress) = &progress else {
                    return true;
                };
                let go_on = |py: Python<'_>| progress.call1(py, (bytes,))?.extract(py);
                Python::attach(go_on).unwrap_or(false)
            };
            let pace = Pace::new(bytes_per_second);
            verify(&*self.store, record_bytes_max, &pace, &mut told)
        });
        let verdict = verdict.map_err(to_python)?;
        serde_json::to_string(&verdict).map_err(to_python)
    }

    /// Removes all but the newest `keep` snapshots, and chunks of none that are older than so many seconds.
    fn prune(&self, py: Python<'_>, keep: usize, age_s: f64) -> PyResult<String> {
        let age = Duration::try_from_secs_f64(age_s).map_err(to_python)?;
        let pruned = py
            .detach(|| prune(&*self.store, keep, age))
            .map_err(to_python)?;
        Ok(json!({
            "snapshots": pruned.snapshots,
            "chunks": pruned.chunks,
            "bytes": pruned.bytes,
            "unreadable": pruned.unreadable,
        })
        .to_string())
    }

    /// Checks the snapshots and all logs below a directory.
    fn check(&self, py: Python<'_>, directory: PathBuf, record_bytes_max: u64) -> PyResult<String> {
        let report = py.detach(|| check_directory(&directory, &*self.store, record_bytes_max));
        serde_json::to_string(&report.map_err(to_python)?).map_err(to_python)
    }

    /// Checks them and mends what is damaged: the report from before, and what was done. Originals are copied to
    /// `backup-NAME` in the directory first. Snapshots in a bucket are left alone.
    fn repair(
        &self,
        py: Python<'_>,
        directory: PathBuf,
        record_bytes_max: u64,
        name: &str,
    ) -> PyResult<String> {
        let snapshots = self.folder.as_ref().map(Folder::root);
        let work = || {
            let report = check_directory(&directory, &*self.store, record_bytes_max)?;
            let repaired = repair(&directory, snapshots, &report, name)?;
            Ok::<_, CheckError>((report, repaired))
        };
        let (report, repaired) = py.detach(work).map_err(to_python)?;
        Ok(json!({"report": report, "repaired": repaired}).to_string())
    }

    /// Copies a snapshot, the newest one without a name, to an empty store. All is checked on the way.
    #[pyo3(signature = (target, snapshot))]
    fn copy_to(
        &self,
        py: Python<'_>,
        target: &SnapshotStore,
        snapshot: Option<String>,
    ) -> PyResult<String> {
        let copied = py.detach(|| copy(&*self.store, &*target.store, snapshot.as_deref()));
        Ok(row(&copied.map_err(to_python)?).to_string())
    }

    /// Removes what earlier writers have left unfinished. Nobody may be writing.
    fn remove_drafts(&self, py: Python<'_>) -> PyResult<u64> {
        match &self.folder {
            Some(folder) => py.detach(|| folder.remove_drafts()).map_err(to_python),
            None => Ok(0),
        }
    }
}

/// A snapshot as Python sees it.
fn row(manifest: &Manifest) -> Value {
    let shards = manifest.shards.iter().map(|part| {
        json!({
            "shard": part.shard,
            "keys": part.keys,
            "start": part.start(),
            "end": part.end(),
            "layers": part.layers.len(),
            "bytes": part.chunks().map(|chunk| chunk.bytes).sum::<u64>(),
        })
    });
    json!({
        "id": manifest.id,
        "node": manifest.node,
        "began_ms": manifest.began_ms,
        "ended_ms": manifest.ended_ms,
        "base": manifest.base,
        "keys": manifest.keys(),
        "bytes": manifest.bytes(),
        "new_bytes": manifest.new_bytes,
        "generation": manifest.generation,
        "shards": shards.collect::<Vec<_>>(),
    })
}

/// The manner in which a snapshot is taken: a dictionary.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct Manner {
    level: i32,
    threads: usize,
    bytes_per_second: u64,
    layers_max: usize,
    growth_max: u64,
    /// Namespaces as the engine reads them, and the acknowledgement of all other keys.
    namespaces: String,
    ack: String,
}

impl Manner {
    /// The namespaces of which some are not kept, if there are such.
    fn kept(&self) -> PyResult<Option<Namespaces>> {
        let ack = Ack::named(&self.ack);
        let namespaces = ack.and_then(|ack| Namespaces::parse(&self.namespaces, ack));
        let namespaces = namespaces.ok_or_else(|| to_python("impossible namespaces"))?;
        // Where no key has a log, snapshots are all there is.
        Ok(Some(namespaces).filter(|namespaces| !namespaces.keep_nothing()))
    }
}

/// Takes snapshots of all shards of a running node.
#[pyclass(frozen, module = "yggdrasil._core")]
pub struct Snapshotter {
    readers: Vec<ShardReader>,
    hash_seed: u64,
    store: Arc<dyn Store>,
    node: String,
    progress: Progress,
    /// An object with the methods of an owner.
    owners: Py<PyAny>,
    /// The directory of the logs of all shards, and their generation.
    logs: Option<PathBuf>,
    generation: u64,
    /// Archived logs; none where logs are not archived.
    archive: Mutex<Option<Archive>>,
}

#[pymethods]
impl Snapshotter {
    #[new]
    fn new(
        shape: &NodeShape,
        arena_fds: Vec<i32>,
        store: &SnapshotStore,
        node: String,
        owners: Py<PyAny>,
        logs: Option<PathBuf>,
        generation: u64,
    ) -> PyResult<Self> {
        let shard_shape = shape.shard_shape(0);
        let readers = arena_fds.into_iter().map(|descriptor| {
            let segment = Segment::adopt(socket::duplicate(descriptor)?).map_err(to_python)?;
            let mapping = segment.read().map_err(to_python)?;
            ShardReader::open(mapping, &shard_shape).map_err(to_python)
        });
        Ok(Self {
            readers: readers.collect::<PyResult<_>>()?,
            hash_seed: shard_shape.hash_seed,
            store: Arc::clone(&store.store),
            node,
            progress: Progress::default(),
            owners,
            archive: Mutex::new(None),
            logs,
            generation,
        })
    }

    /// Takes a snapshot, which names the chunks of the newest one where `full` does not forbid that. One at a time.
    fn take(&self, py: Python<'_>, full: bool, manner: Manner) -> PyResult<String> {
        let options = Options {
            level: manner.level,
            threads: manner.threads,
            bytes_per_second: manner.bytes_per_second,
            layers_max: manner.layers_max,
            growth_max: manner.growth_max,
            generation: self.generation,
        };
        let kept = manner.kept()?;
        let taken = py.detach(|| self.take_all(full, &options, kept.as_ref()));
        Ok(row(&taken.map_err(to_python)?).to_string())
    }

    /// Keys when it began, records and bytes written, and shards done.
    fn progress(&self) -> (u64, u64, u64, u64) {
        let progress = &self.progress;
        (
            progress.keys.load(Relaxed),
            progress.written.load(Relaxed),
            progress.bytes.load(Relaxed),
            progress.shards.load(Relaxed),
        )
    }

    /// Ends the snapshot under way.
    fn cancel(&self) {
        self.progress.cancelled.store(true, Relaxed);
    }

    /// Bytes of the logs of all shards.
    fn log_bytes(&self, py: Python<'_>) -> PyResult<u64> {
        py.detach(|| {
            let logs = self.histories().into_iter();
            logs.map(|log| log.bytes()).sum::<Result<u64, _>>()
        })
        .map_err(to_python)
    }

    /// The number of the last change of each shard.
    fn numbers(&self) -> Vec<u64> {
        self.readers.iter().map(ShardReader::number).collect()
    }
}

impl Snapshotter {
    fn take_all(
        &self,
        full: bool,
        options: &Options,
        namespaces: Option<&Namespaces>,
    ) -> Result<Manifest, SnapshotError> {
        self.progress.begin();
        let base = if full {
            None
        } else {
            newest(&*self.store, &self.node)?
        };
        let databases = self.readers.first().map_or(0, |reader| reader.map().len());
        let shards = 0..self.readers.len() as u32;
        let mut histories: Vec<_> = shards.clone().map(|shard| self.history(shard)).collect();
        let mut owners: Vec<_> = shards
            .map(|shard| OwnerProcess::new(&self.owners, shard, databases))
            .collect();
        let keeps = |key: &[u8]| namespaces.is_none_or(|all| all.of(key).ack != Ack::None);
        let parts = self.readers.iter().zip(&mut histories).zip(&mut owners);
        let mut sources: Vec<_> = parts
            .enumerate()
            .map(|(shard, ((reader, history), owner))| Source {
                shard: shard as u32,
                reader,
                history: &mut **history,
                owner,
                keeps: &keeps,
            })
            .collect();
        let (node, progress) = (&self.node, &self.progress);
        let base = base.as_ref();
        let taken = take(
            &*self.store,
            node,
            &mut sources,
            base,
            options,
            progress,
            &now_ms,
        )?;
        self.archive_before_removal()?;
        self.drop_covered(&taken)?;
        Ok(taken.manifest)
    }

    fn log(&self, shard: u32) -> Option<LogHistory> {
        let directory = self.logs.as_ref()?.join(shard_directory(shard as usize));
        Some(LogHistory::new(
            Arc::new(RealDisk::default()),
            &directory,
            shard,
        ))
    }

    fn history(&self, shard: u32) -> Box<dyn History> {
        match self.log(shard) {
            Some(log) => Box::new(log),
            None => Box::new(NoHistory),
        }
    }

    /// Removes what logs have of changes that are in a snapshot. A worker that is reading its log keeps all of it.
    fn drop_covered(&self, taken: &Taken) -> Result<(), SnapshotError> {
        if self.readers.iter().any(|reader| reader.epoch() % 2 == 1) {
            return Ok(());
        }
        for (shard, from) in taken.needed() {
            if let Some(log) = self.log(shard) {
                log.drop_before(from)?;
            }
        }
        Ok(())
    }
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_millis() as u64)
}

/// The part of a shard in a snapshot of a node with so many shards.
pub fn part_of(
    store: &dyn Store,
    id: &str,
    shard: usize,
    shards: usize,
) -> Result<yggdrasil_snapshot::ShardPart, String> {
    let mut manifest = read_manifest(store, id).map_err(|error| error.to_string())?;
    let found = manifest.shards.len();
    if found != shards {
        return Err(format!(
            "snapshot {id} is one of {found} shards, and this node has {shards}"
        ));
    }
    let place = manifest
        .shards
        .iter()
        .position(|part| part.shard == shard as u32);
    place
        .map(|place| manifest.shards.swap_remove(place))
        .ok_or_else(|| format!("snapshot {id} has no shard {shard}"))
}

/// A shard in a snapshot, on its way into memory. Threads read and unpack ahead.
#[pyclass(frozen, module = "yggdrasil._core")]
pub struct SnapshotLoader {
    loader: Mutex<Loader>,
    /// The number from which on the first layer does not have all changes, and that from which on a log goes on.
    first_start: u64,
    start: u64,
    end: u64,
    /// Keys of the shard when the snapshot was taken.
    keys: u64,
    begun: AtomicBool,
    records: AtomicU64,
    done_bytes: AtomicU64,
    all_bytes: u64,
}

#[pymethods]
impl SnapshotLoader {
    #[new]
    fn new(
        py: Python<'_>,
        store: &SnapshotStore,
        snapshot: &str,
        shard: usize,
        shards: usize,
    ) -> PyResult<Self> {
        let part = py.detach(|| part_of(&*store.store, snapshot, shard, shards));
        let part = part.map_err(to_python)?;
        let loader = Loader::new(&store.store, &part, LOADING_THREADS, SEGMENT_BYTES_MAX);
        Ok(Self {
            first_start: part.layers.first().map_or(0, |layer| layer.start),
            start: part.start(),
            end: part.end(),
            keys: part.keys,
            begun: AtomicBool::new(false),
            records: AtomicU64::new(0),
            done_bytes: AtomicU64::new(0),
            all_bytes: loader.raw_bytes(),
            loader: Mutex::new(loader),
        })
    }

    /// The number from which on a log goes on.
    #[getter]
    fn start(&self) -> u64 {
        self.start
    }

    /// Records and bytes before compression that were loaded, and all bytes.
    fn progress(&self) -> (u64, u64, u64) {
        let (records, done) = (self.records.load(Relaxed), self.done_bytes.load(Relaxed));
        (records, done, self.all_bytes)
    }
}

impl SnapshotLoader {
    fn next(&self) -> Option<Result<Batch, SnapshotError>> {
        let mut loader = self.loader.lock().unwrap_or_else(PoisonError::into_inner);
        loader.next()
    }

    fn note(&self, batch: &Batch, records: u64) {
        self.records.fetch_add(records, Relaxed);
        self.done_bytes.fetch_add(batch.raw_bytes(), Relaxed);
    }
}

fn to_load_error(error: SnapshotError) -> PyErr {
    match error {
        SnapshotError::Chunk { .. } => DamageError::new_err(error.to_string()),
        error => to_python(error),
    }
}

#[pymethods]
impl Worker {
    /// Fills the shard by one more chunk of a snapshot; False when that was all. Other threads of Python run meanwhile:
    /// a store may be written in it.
    fn restore(&self, py: Python<'_>, loader: &SnapshotLoader) -> PyResult<bool> {
        let next = py.detach(|| loader.next());
        let mut engine = self.engine.borrow_mut();
        let shard = engine.filling();
        let Some(batch) = next else {
            // The last changes may have left nothing behind, and their numbers are taken.
            if shard.number() < loader.end {
                shard.resume_from(loader.end);
            }
            return Ok(false);
        };
        let batch = batch.map_err(to_load_error)?;
        let is_first = loader.done_bytes.load(Relaxed) == 0 && batch.raw_bytes() > 0;
        let keys = is_first.then_some(loader.keys);
        let records = apply_batch(shard, &batch, keys).map_err(to_python)?;
        loader.note(&batch, records);
        Ok(true)
    }

    /// The same from a shard of another number of shards, as far as its keys are those of this shard.
    fn restore_moved(
        &self,
        py: Python<'_>,
        loader: &SnapshotLoader,
        other: &MovedShard,
    ) -> PyResult<bool> {
        let (begins, next) = py.detach(|| (!loader.begun.swap(true, Relaxed), loader.next()));
        let mut other = other.lock();
        if begins {
            other.begin_snapshot(loader.first_start);
        }
        let Some(batch) = next else {
            other.end_snapshot(loader.start);
            return Ok(false);
        };
        let mut engine = self.engine.borrow_mut();
        let batch = batch.map_err(to_load_error)?;
        let mut records = 0;
        for change in batch.changes() {
            let record = Record::decode(change.record).map_err(to_python)?;
            let made = engine.replay_moved(&mut other, Origin::Snapshot, &record, change.number);
            records += u64::from(made.map_err(to_python)?);
        }
        loader.note(&batch, records);
        Ok(true)
    }
}
