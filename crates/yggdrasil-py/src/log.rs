//! The log of a worker's shard: how it comes back, and how it goes on.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use rustix::fd::OwnedFd;
use yggdrasil_core::control::NodeShape;
use yggdrasil_core::engine::{Origin, OtherShard, ShardState, TAG_SERIAL_BITS};
use yggdrasil_core::keyspace::{ApplyError, Record, Shard};
use yggdrasil_log::disk::{Disk, RealDisk};
use yggdrasil_log::{
    Each, Flusher, Group, LogError, Outcomes, Recovery, RecoveryError, Remains, ShardLog, Target,
    Writer, WriterOptions, find_parts,
};

use crate::errors::{DamageError, YggdrasilError, to_python};
use crate::worker::Worker;

/// The keys of so many changes at the beginning of a step are looked at, and then that of one in so many.
const LOOKED_AT_FIRST: u64 = 64;
const LOOK_EACH: u64 = 16;

/// The parts of decisions, by tag.
type Decisions = HashMap<u64, Vec<(u16, u64)>>;

/// The log of a shard while it is read.
#[pyclass(frozen, module = "yggdrasil._core")]
pub struct LogRecovery {
    directory: PathBuf,
    disk: Arc<dyn Disk>,
    recovery: Mutex<Option<Recovery>>,
}

/// A shard of another number of shards, while its snapshot and its log are read.
#[pyclass(frozen, module = "yggdrasil._core")]
pub struct MovedShard {
    other: Mutex<OtherShard>,
}

impl MovedShard {
    pub(crate) fn lock(&self) -> MutexGuard<'_, OtherShard> {
        self.other.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl MovedShard {
    #[new]
    fn new(shard: usize, shards: usize) -> Self {
        Self {
            other: Mutex::new(OtherShard::new(shard, shards)),
        }
    }
}

impl LogRecovery {
    fn lock(&self) -> MutexGuard<'_, Option<Recovery>> {
        self.recovery.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, look: impl FnOnce(&mut Recovery) -> T) -> PyResult<T> {
        let mut recovery = self.lock();
        let recovery = recovery.as_mut();
        recovery
            .map(look)
            .ok_or_else(|| YggdrasilError::new_err("the log was not read yet"))
    }
}

#[pymethods]
impl LogRecovery {
    #[new]
    fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            disk: Arc::new(RealDisk::default()),
            recovery: Mutex::new(None),
        }
    }

    /// Reads all of it once; other threads of Python run meanwhile. DamageError says that it is damaged.
    fn scan(&self, py: Python<'_>) -> PyResult<()> {
        let (disk, directory) = (Arc::clone(&self.disk), &self.directory);
        let recovery = py.detach(|| Recovery::scan(disk, directory));
        *self.lock() = Some(recovery.map_err(to_log_error)?);
        Ok(())
    }

    /// Number of the last change, changes, bytes of records, and bytes of a torn tail.
    fn found(&self) -> PyResult<(u64, u64, u64, u64)> {
        self.with(|recovery| {
            let found = recovery.found();
            let (number, torn) = (found.end.number, found.end.torn_bytes);
            (number, found.changes, found.bytes, torn)
        })
    }

    /// Gives back the memory of what the first reading has found, which is not asked for any more. It can be read again.
    fn forget(&self) {
        *self.lock() = None;
    }

    /// Number of the last change before the log: those up to there are in a snapshot.
    fn begins_behind(&self) -> PyResult<u64> {
        self.with(|recovery| recovery.found().begins_behind)
    }

    /// Groups of changes whose coordinator knows whether they count: coordinator, tag, and whether they were ended.
    fn open_groups(&self) -> PyResult<Vec<(u16, u64, bool)>> {
        self.with(|recovery| {
            let undecided = recovery.undecided();
            undecided
                .map(|group| (group.coordinator, group.tag, group.was_released))
                .collect()
        })
    }

    /// The runs of workers of which this log has groups since its last recovery: coordinator, and the part of the tags
    /// that names the run.
    fn runs(&self) -> PyResult<HashSet<(u16, u64)>> {
        self.with(|recovery| {
            let open = recovery.found().open.iter();
            open.map(|group| (group.coordinator, group.tag >> TAG_SERIAL_BITS))
                .collect()
        })
    }

    /// Numbers of the last changes of these groups that this log has, in order; 0 for one that it has not, or of which
    /// it says that it does not count.
    fn parts(&self, py: Python<'_>, groups: Vec<Group>) -> PyResult<Vec<u64>> {
        let mut found = self.with(|recovery| recovery.parts())?;
        let unknown = groups.iter().filter(|group| !found.contains_key(group));
        let unknown: HashSet<Group> = unknown.copied().collect();
        if !unknown.is_empty() {
            // They are from before the last recovery, or were never here.
            let (disk, directory) = (Arc::clone(&self.disk), &self.directory);
            let others = py.detach(|| find_parts(disk, directory, &unknown));
            found.extend(others.map_err(|error| to_log_error(error.into()))?);
        }
        let number = |group| found.get(group).copied().unwrap_or(0);
        Ok(groups.iter().map(number).collect())
    }

    /// Reads what is whole of a log that is damaged: the number of the last change that is known to have been there, and
    /// the parts of each decision by its tag.
    fn remains(&self, py: Python<'_>) -> PyResult<(u64, Decisions)> {
        let remains = py.detach(|| Remains::of(&*self.disk, &self.directory));
        let remains = remains.map_err(|error| to_log_error(error.into()))?;
        Ok((remains.number, remains.decisions))
    }

    /// The last changes that a transaction of this worker has made, by shard; nothing if it was not decided.
    fn decision(&self, tag: u64) -> PyResult<Option<Vec<(u16, u64)>>> {
        self.with(|recovery| recovery.found().decisions.get(&tag).cloned())
    }

    /// Passes over the changes with lower numbers, which a snapshot has.
    fn begin_at(&self, start: u64) -> PyResult<()> {
        self.with(|recovery| recovery.begin_at(start))
    }

    /// Says which groups count.
    fn decide(&self, counting: Vec<(u16, u64)>) -> PyResult<()> {
        let outcomes: Outcomes = counting.into_iter().map(|group| (group, true)).collect();
        self.with(|recovery| recovery.decide(&outcomes))
    }

    /// Bytes of records and changes that are made so far.
    fn progress(&self) -> PyResult<(u64, u64)> {
        self.with(|recovery| (recovery.bytes_done(), recovery.applied()))
    }
}

/// The shard that a log is read into. It refuses the log of another one.
struct OwnShard<'a> {
    shape: NodeShape,
    me: usize,
    shard: &'a mut Shard,
    /// Changes whose keys may have been looked at.
    looked_at: u64,
}

impl Target for OwnShard<'_> {
    fn expect(&mut self, physical: u8, key: &[u8]) {
        Target::expect(self.shard, physical, key);
    }

    fn expect_keys(&mut self, physical: u8, keys: u64) {
        Target::expect_keys(self.shard, physical, keys);
    }

    fn apply(&mut self, record: &Record<'_>, number: u64) -> Result<bool, ApplyError> {
        self.looked_at += 1;
        // Some are enough: in another shard's log all keys are others'.
        let is_looked_at =
            self.looked_at <= LOOKED_AT_FIRST || self.looked_at.is_multiple_of(LOOK_EACH);
        if is_looked_at && !record.key.is_empty() {
            let owner = self.shape.shard_of(record.key);
            if owner != self.me {
                return Err(ApplyError::Shard(owner));
            }
        }
        self.shard.apply(record, number)
    }
}

#[pymethods]
impl Worker {
    /// Makes changes from about so many bytes of a log. True when all are made.
    fn replay(&self, log: &LogRecovery, step: u64) -> PyResult<bool> {
        let mut engine = self.engine.borrow_mut();
        let mut own = OwnShard {
            shape: *engine.shape(),
            me: engine.own_shard(),
            shard: engine.filling(),
            looked_at: 0,
        };
        log.with(|recovery| recovery.step(step, &mut own))?
            .map_err(to_log_error)
    }

    /// Makes changes from about so many bytes of the log of a shard of another number of shards, as far as they are about
    /// keys of this shard. True when all are made.
    fn replay_moved(&self, log: &LogRecovery, other: &MovedShard, step: u64) -> PyResult<bool> {
        let mut engine = self.engine.borrow_mut();
        let mut other = other.lock();
        log.with(|recovery| {
            let apply = |record: &Record<'_>, number| {
                Ok(engine.replay_moved(&mut other, Origin::Log, record, number)?)
            };
            recovery.step(step, &mut Each(apply))
        })?
        .map_err(to_log_error)
    }

    /// Gives the databases the order that they had where another number of shards was.
    fn finish_moved(&self, other: &MovedShard) {
        self.engine.borrow_mut().finish_moved(&other.lock());
    }

    /// Begins the loading, once more where it has failed.
    fn begin_loading(&self) {
        let mut engine = self.engine.borrow_mut();
        engine.set_shard_state(ShardState::Loading);
    }

    /// Ends the loading for want of a shard: what needs it is refused with the reason from now on.
    fn fail_loading(&self, reason: &str) {
        self.engine.borrow_mut().fail_shard(reason);
    }

    /// True where another worker has its shard.
    fn others_serve(&self) -> bool {
        self.engine.borrow().others_serve()
    }

    /// Ends the loading: the shard serves.
    fn end_loading(&self, py: Python<'_>) -> PyResult<()> {
        self.engine.borrow_mut().end_loading();
        self.settle(py)
    }

    /// Goes on with a log that was read.
    #[pyo3(signature = (log, *, segment_bytes, flush_interval_ms, unflushed_max))]
    fn begin_log(
        &self,
        log: &LogRecovery,
        segment_bytes: u64,
        flush_interval_ms: u64,
        unflushed_max: u64,
    ) -> PyResult<()> {
        let (end, marks) = log.with(|recovery| (recovery.found().end, recovery.closing_marks()))?;
        let options = WriterOptions {
            directory: log.directory.clone(),
            segment_bytes,
            epoch: end.epoch + 1,
        };
        let opened = Writer::open(Arc::clone(&log.disk), options, &end);
        let mut writer = opened.map_err(|error| to_log_error(error.into()))?;
        for mark in marks {
            writer.mark(&mark);
        }
        let progress = Arc::clone(writer.progress());
        let mut engine = self.engine.borrow_mut();
        let namespaces = Arc::clone(&engine.options().namespaces);
        let (shard_log, listener) = ShardLog::new(writer, namespaces, unflushed_max);
        engine.begin_log(end.number, Box::new(shard_log), Box::new(listener));
        drop(engine);
        let wake = self.wake_descriptor()?;
        let flusher = Flusher::start(
            progress,
            Arc::clone(&log.disk),
            log.directory.clone(),
            Duration::from_millis(flush_interval_ms),
            move || wake_worker(&wake),
        );
        let flusher = flusher.map_err(to_python)?;
        self.flusher.replace(Some(flusher));
        Ok(())
    }

    /// Makes durable what is written; the future ends when it is.
    fn sync_log<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let (call, future) = self.new_future(py, &self.calls)?;
        self.engine.borrow_mut().sync_log(call);
        self.settle(py)?;
        Ok(future)
    }

    /// Makes durable what is written, and ends the thread that does it.
    fn end_log(&self, py: Python<'_>) {
        let flusher = self.flusher.take();
        py.detach(|| drop(flusher));
        self.engine.borrow_mut().end_log();
    }

    /// True where a transaction of this worker was decided. A shard it has reserved was lost: it decides nothing more.
    fn has_decided(&self, tag: u64, lost: usize) -> bool {
        self.engine.borrow_mut().has_decided(tag, lost)
    }
}

fn wake_worker(descriptor: &OwnedFd) {
    // A full eventfd has woken its worker already.
    let _ = rustix::io::write(descriptor, &1_u64.to_ne_bytes());
}

fn to_log_error(error: RecoveryError) -> PyErr {
    match error {
        RecoveryError::Log(LogError::Disk { .. } | LogError::Newer { .. })
        | RecoveryError::Apply { .. } => PyOSError::new_err(error.to_string()),
        damage => DamageError::new_err(damage.to_string()),
    }
}
