//! A store whose methods are Python's.

use std::io;
use std::time::Duration;

use pyo3::exceptions::PyFileNotFoundError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use yggdrasil_snapshot::{Store, Stored};

/// An object with the methods `get`, `put`, `list` and `remove`.
pub struct Objects {
    object: Py<PyAny>,
}

impl Objects {
    pub fn new(object: Py<PyAny>) -> Self {
        Self { object }
    }

    fn call<T>(
        &self,
        work: impl for<'py> FnOnce(&Bound<'py, PyAny>) -> PyResult<T>,
    ) -> io::Result<T> {
        Python::attach(|py| {
            work(self.object.bind(py)).map_err(|error| {
                let kind = if error.is_instance_of::<PyFileNotFoundError>(py) {
                    io::ErrorKind::NotFound
                } else {
                    io::ErrorKind::Other
                };
                io::Error::new(kind, error.value(py).to_string())
            })
        })
    }
}

impl Store for Objects {
    fn get(&self, name: &str, limit: u64) -> io::Result<Vec<u8>> {
        let bytes: Option<Vec<u8>> =
            self.call(|object| object.call_method1("get", (name, limit))?.extract())?;
        let too_long = || io::Error::new(io::ErrorKind::InvalidData, "longer than it may be");
        bytes.ok_or_else(too_long)
    }

    fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.call(|object| {
            let bytes = PyBytes::new(object.py(), bytes);
            object.call_method1("put", (name, bytes)).map(drop)
        })
    }

    /// An object store has what it has confirmed.
    fn settle(&self) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, part: &str) -> io::Result<Vec<Stored>> {
        let rows: Vec<(String, u64, f64)> =
            self.call(|object| object.call_method1("list", (part,))?.extract())?;
        let stored = rows.into_iter().map(|(name, bytes, age_s)| Stored {
            name,
            bytes,
            age: Duration::try_from_secs_f64(age_s).ok(),
        });
        Ok(stored.collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.call(|object| object.call_method1("remove", (name,)).map(drop))
    }
}
