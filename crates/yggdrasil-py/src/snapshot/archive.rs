//! Archived logs, for the steward and for the command line.

use std::path::PathBuf;
use std::sync::{MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use pyo3::prelude::*;
use serde_json::json;
use yggdrasil_core::keyspace::ShardReader;
use yggdrasil_snapshot::{
    Archive, LogHistory, Pace, SnapshotError, Store, Until, archived_nodes, list, prune_archive,
    restore_until,
};

use super::{SnapshotStore, Snapshotter, now_ms, row};
use crate::errors::to_python;

#[pymethods]
impl SnapshotStore {
    /// Restores a node as it was at a time (Unix time in milliseconds), at changes of some shards, or with neither as
    /// far as its archived logs go: a snapshot to a store, and logs to a directory. It has another name from then on.
    #[expect(clippy::too_many_arguments, reason = "each is a different thing")]
    #[pyo3(signature = (node, time, numbers, target, logs, as_node))]
    fn restore_until(
        &self,
        py: Python<'_>,
        node: &str,
        time: Option<u64>,
        numbers: Vec<(u32, u64)>,
        target: &SnapshotStore,
        logs: PathBuf,
        as_node: &str,
    ) -> PyResult<String> {
        let until = match time {
            Some(ms) => Until::Time(ms),
            None if numbers.is_empty() => Until::Latest,
            None => Until::Numbers(numbers),
        };
        let work = || restore_until(&*self.store, node, &until, &*target.store, &logs, as_node);
        let restored = py.detach(work).map_err(to_python)?;
        Ok(json!({
            "snapshot": restored.snapshot.as_ref().map(row),
            "generation": restored.generation,
            "numbers": restored.numbers,
            "missing": restored.missing,
            "moment": restored.moment,
            "log_bytes": restored.log_bytes,
        })
        .to_string())
    }

    /// The nodes that have snapshots or archived logs here.
    fn nodes(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        py.detach(|| nodes(&*self.store)).map_err(to_python)
    }
}

#[pymethods]
impl Snapshotter {
    /// Notes how far all shards have come, for the archive, where they are all there.
    fn note(&self) {
        let mut archive = self.archive_begun();
        self.note_in(archive.get_or_insert_with(|| self.new_archive()));
    }

    /// Archives what the logs have that is not archived yet. Gives the bytes written.
    fn archive_logs(&self, py: Python<'_>) -> PyResult<u64> {
        py.detach(|| self.archive_all()).map_err(to_python)
    }

    /// Removes archived logs that no snapshot which is kept goes on with.
    fn prune_archive(&self, py: Python<'_>) -> PyResult<u64> {
        py.detach(|| {
            let listed = list(&*self.store)?.into_iter();
            let mut own = listed
                .filter_map(|listed| listed.manifest.ok())
                .filter(|manifest| manifest.node == self.node);
            own.next().map_or(Ok(0), |oldest| {
                prune_archive(&*self.store, &self.node, &oldest)
            })
        })
        .map_err(to_python)
    }

    /// Reads again, at so many bytes a second, what logs have that is not written to any more. Gives the file and the
    /// offset of each damage. `progress` gets the bytes of each segment, and ends it by False.
    fn verify_logs(
        &self,
        py: Python<'_>,
        bytes_per_second: u64,
        progress: Py<PyAny>,
    ) -> PyResult<Vec<(PathBuf, u64)>> {
        py.detach(|| {
            let mut told = |bytes: u64| {
                let go_on = |py: Python<'_>| progress.call1(py, (bytes,))?.extract(py);
                Python::attach(go_on).unwrap_or(false)
            };
            let pace = Pace::new(bytes_per_second);
            let mut damaged = Vec::new();
            for log in self.histories() {
                damaged.extend(log.verify(&pace, &mut told)?);
            }
            Ok::<_, SnapshotError>(damaged)
        })
        .map_err(to_python)
    }
}

impl Snapshotter {
    fn archive_begun(&self) -> MutexGuard<'_, Option<Archive>> {
        self.archive.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_in(&self, archive: &mut Archive) {
        let numbers = self.readers.iter().map(whole_number);
        if let Some(numbers) = numbers.collect() {
            archive.note(now_ms(), numbers);
        }
    }

    fn new_archive(&self) -> Archive {
        Archive::new(&self.node, self.generation)
    }

    fn archive_all(&self) -> Result<u64, SnapshotError> {
        let mut archive = self.archive_begun();
        let archive = archive.get_or_insert_with(|| self.new_archive());
        self.note_in(archive);
        archive.archive(&*self.store, &self.histories())
    }

    /// Archives what a snapshot is about to remove, where logs are archived.
    pub(super) fn archive_before_removal(&self) -> Result<(), SnapshotError> {
        let is_archiving = self.archive_begun().is_some();
        if is_archiving {
            self.archive_all()?;
        }
        Ok(())
    }

    pub(super) fn histories(&self) -> Vec<LogHistory> {
        let shards = 0..self.readers.len() as u32;
        shards.filter_map(|shard| self.log(shard)).collect()
    }
}

/// The nodes that have snapshots or archived logs in a store.
fn nodes(store: &dyn Store) -> Result<Vec<String>, SnapshotError> {
    let listed = list(store)?.into_iter();
    let manifests = listed.filter_map(|listed| listed.manifest.ok());
    let mut nodes: Vec<String> = manifests.map(|manifest| manifest.node).collect();
    nodes.extend(archived_nodes(store)?);
    nodes.sort();
    nodes.dedup();
    Ok(nodes)
}

/// The number of the last change of a shard, a short while between two transactions; `None` where it has not all of its
/// keys: that is no moment to come back to.
fn whole_number(shard: &ShardReader) -> Option<u64> {
    const TRIES: usize = 20;
    const PAUSE: Duration = Duration::from_micros(50);
    (0..TRIES).find_map(|_| {
        let number = shard.between_transactions(ShardReader::number);
        let number = number.filter(|_| shard.epoch() != 0);
        if number.is_none() {
            thread::sleep(PAUSE);
        }
        number
    })
}
