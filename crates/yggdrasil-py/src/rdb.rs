//! Files of Redis, entry by entry.

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use yggdrasil_rdb::{Item, Limits, Reader};

use crate::errors::to_python;

/// A part of a file of Redis.
#[pyclass(frozen, module = "yggdrasil._core")]
pub struct RdbItem {
    /// entry, library, note or skipped.
    #[pyo3(get)]
    kind: &'static str,
    #[pyo3(get)]
    db: u64,
    /// The key of an entry, the name of a note.
    #[pyo3(get)]
    key: Py<PyBytes>,
    /// The payload of an entry, the source of a library, the value of a note, the name of a module.
    #[pyo3(get)]
    value: Py<PyBytes>,
    /// Unix time in milliseconds; `None` for never.
    #[pyo3(get)]
    expire_at: Option<i64>,
    #[pyo3(get)]
    idle: Option<u64>,
    #[pyo3(get)]
    frequency: Option<u8>,
}

impl RdbItem {
    fn new(py: Python<'_>, item: Item) -> Self {
        let plain = |kind, db, key: &[u8], value: &[u8]| Self {
            kind,
            db,
            key: PyBytes::new(py, key).unbind(),
            value: PyBytes::new(py, value).unbind(),
            expire_at: None,
            idle: None,
            frequency: None,
        };
        match item {
            Item::Entry(entry) => Self {
                expire_at: entry.expire_at,
                idle: entry.idle,
                frequency: entry.frequency,
                ..plain("entry", entry.db, &entry.key, &entry.payload)
            },
            Item::Library(code) => plain("library", 0, b"", &code),
            Item::Note { name, value } => plain("note", 0, &name, &value),
            Item::Skipped(skipped) => {
                let (db, key) = skipped.key.unwrap_or_default();
                plain("skipped", db, &key, skipped.module.as_bytes())
            }
        }
    }
}

/// A file of Redis that is read from its beginning to its end.
#[pyclass(frozen, module = "yggdrasil._core")]
pub struct RdbReader {
    reader: Mutex<Reader<File>>,
}

#[pymethods]
impl RdbReader {
    /// Reads the head of a file. No value may have more than so many bytes there.
    #[new]
    fn new(py: Python<'_>, path: PathBuf, value_bytes_max: u64, databases: u64) -> PyResult<Self> {
        let limits = Limits {
            value_bytes: value_bytes_max,
            databases,
        };
        let opened = py.detach(|| {
            let file = File::open(&path).map_err(to_python)?;
            Reader::open(file, limits).map_err(to_python)
        });
        Ok(Self {
            reader: Mutex::new(opened?),
        })
    }

    /// Up to so many items, of about so many bytes; none at the end.
    fn read(&self, py: Python<'_>, count: usize, bytes: usize) -> PyResult<Vec<RdbItem>> {
        let items = py.detach(|| {
            let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
            let (mut items, mut taken) = (Vec::new(), 0);
            while items.len() < count && taken < bytes {
                let Some(item) = reader.next() else {
                    break;
                };
                let item = item.map_err(to_python)?;
                if let Item::Entry(entry) = &item {
                    taken += entry.payload.len();
                }
                items.push(item);
            }
            Ok::<_, PyErr>(items)
        })?;
        Ok(items
            .into_iter()
            .map(|item| RdbItem::new(py, item))
            .collect())
    }

    /// The version of the file, and bytes read so far.
    fn progress(&self) -> (u32, u64) {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        (reader.version(), reader.offset())
    }
}
