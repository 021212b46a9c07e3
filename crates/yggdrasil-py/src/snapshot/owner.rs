//! The owner of a shard, asked through Python.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyIterator};
use yggdrasil_snapshot::{Change, Owner, SnapshotError, Visit};

/// The process of a shard's owner, as an object with the methods `entries` and `pins` knows it.
pub struct OwnerProcess<'a> {
    owners: &'a Py<PyAny>,
    shard: u32,
    databases: usize,
}

impl<'a> OwnerProcess<'a> {
    pub fn new(owners: &'a Py<PyAny>, shard: u32, databases: usize) -> Self {
        Self {
            owners,
            shard,
            databases,
        }
    }

    fn failed(&self, entries: usize) -> impl Fn(PyErr) -> SnapshotError {
        let shard = self.shard;
        move |error| SnapshotError::Owner {
            shard,
            entries,
            reason: error.to_string(),
        }
    }

    /// Hands on the records of an iterator; other threads of Python run while they are written.
    fn hand_on(
        &self,
        entries: usize,
        open: impl for<'py> FnOnce(&Bound<'py, PyAny>) -> PyResult<Bound<'py, PyIterator>>,
        visit: &mut Visit<'_>,
    ) -> Result<(), SnapshotError> {
        let failed = self.failed(entries);
        let records = Python::attach(|py| open(self.owners.bind(py)).map(Bound::unbind));
        let records = records.map_err(&failed)?;
        loop {
            let next = Python::attach(|py| -> PyResult<Option<(u64, Vec<u8>)>> {
                let Some(row) = records.bind(py).clone().next() else {
                    return Ok(None);
                };
                let (number, record): (u64, Bound<'_, PyBytes>) = row?.extract()?;
                Ok(Some((number, record.as_bytes().to_vec())))
            });
            let Some((number, record)) = next.map_err(&failed)? else {
                return Ok(());
            };
            visit(Change {
                number,
                record: &record,
            })?;
        }
    }
}

impl Owner for OwnerProcess<'_> {
    fn entries(
        &mut self,
        physical: u8,
        keys: &[Vec<u8>],
        visit: &mut Visit<'_>,
    ) -> Result<(), SnapshotError> {
        let shard = self.shard;
        self.hand_on(
            keys.len(),
            |owners| {
                let keys: Vec<_> = keys
                    .iter()
                    .map(|key| PyBytes::new(owners.py(), key))
                    .collect();
                let arguments = (shard, physical, keys);
                owners.call_method1("entries", arguments)?.try_iter()
            },
            visit,
        )
    }

    fn pins(&mut self, visit: &mut Visit<'_>) -> Result<(), SnapshotError> {
        let shard = self.shard;
        for physical in 0..self.databases {
            let arguments = (shard, physical);
            self.hand_on(
                0,
                |owners| owners.call_method1("pins", arguments)?.try_iter(),
                visit,
            )?;
        }
        Ok(())
    }
}
