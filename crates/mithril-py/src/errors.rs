//! The error of the kernels.

use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;

create_exception!(
    mithril._kernels,
    KernelError,
    PyException,
    "Bytes that the kernels cannot encode or decode."
);

/// An error of the kernels as a Python exception.
pub fn to_python(error: mithril_kernels::KernelError) -> PyErr {
    KernelError::new_err(error.to_string())
}
