//! Libraries of functions, which an object of Python keeps.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use yggdrasil_core::script::LibraryStore;

/// An object with methods `read`, `replace` and `sync`.
pub(crate) struct PythonStore(Py<PyAny>);

impl PythonStore {
    pub(crate) fn new(object: Py<PyAny>) -> Self {
        Self(object)
    }
}

/// The text of what went wrong.
fn reason(py: Python<'_>, error: &PyErr) -> String {
    error.value(py).to_string()
}

impl LibraryStore for PythonStore {
    fn read(&self) -> Result<Option<Vec<u8>>, String> {
        Python::attach(|py| {
            let payload = self.0.call_method0(py, "read");
            payload
                .and_then(|payload| payload.extract(py))
                .map_err(|error| reason(py, &error))
        })
    }

    fn replace(&self, payload: &[u8]) -> Result<(), String> {
        Python::attach(|py| {
            let replaced = self
                .0
                .call_method1(py, "replace", (PyBytes::new(py, payload),));
            replaced.map(drop).map_err(|error| reason(py, &error))
        })
    }

    fn sync(&self) -> Result<(), String> {
        Python::attach(|py| {
            let synced = self.0.call_method0(py, "sync");
            synced.map(drop).map_err(|error| reason(py, &error))
        })
    }
}
