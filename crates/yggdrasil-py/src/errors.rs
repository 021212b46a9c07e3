//! Errors of the binding: one root, `YggdrasilError`, beside those of the system.

use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyOSError};
use pyo3::prelude::*;

create_exception!(
    yggdrasil._core,
    YggdrasilError,
    PyException,
    "Root of all errors of Yggdrasil."
);
create_exception!(
    yggdrasil._core,
    ConfigError,
    YggdrasilError,
    "An option has a value that it cannot have."
);
create_exception!(
    yggdrasil._core,
    ReplyError,
    YggdrasilError,
    "Raised by a command: its text is the error reply."
);
create_exception!(
    yggdrasil._core,
    DamageError,
    PyOSError,
    "A log or a snapshot is not as it was written."
);

/// Any error of the engine as a Python exception.
pub fn to_python(error: impl std::fmt::Display) -> PyErr {
    YggdrasilError::new_err(error.to_string())
}

/// A refused option as a Python exception.
pub fn to_config_error(error: impl std::fmt::Display) -> PyErr {
    ConfigError::new_err(error.to_string())
}
