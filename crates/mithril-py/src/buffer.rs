//! Memory of Python objects as slices, for as long as the buffer is held.
#![allow(unsafe_code)]

use std::slice;

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyBufferError;
use pyo3::prelude::*;

/// Bytes to read from: any contiguous buffer of bytes.
pub struct Input(PyBuffer<u8>);

/// Bytes to write to: a contiguous and writable buffer of bytes.
pub struct Output(PyBuffer<u8>);

fn contiguous(object: &Bound<'_, PyAny>) -> PyResult<PyBuffer<u8>> {
    let buffer = PyBuffer::<u8>::get(object)?;
    if !buffer.is_c_contiguous() {
        return Err(PyBufferError::new_err(
            "the buffer is not contiguous; give a contiguous view of bytes",
        ));
    }
    Ok(buffer)
}

impl Input {
    pub fn as_slice(&self) -> &[u8] {
        if self.0.len_bytes() == 0 {
            return &[];
        }
        // SAFETY: the buffer is contiguous, has so many bytes and is held by `self`. As for every reader of the buffer
        // protocol, the caller does not write to it meanwhile; a write would change the bytes read, which are checked.
        unsafe { slice::from_raw_parts(self.0.buf_ptr().cast(), self.0.len_bytes()) }
    }
}

impl Output {
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        if self.0.len_bytes() == 0 {
            return &mut [];
        }
        // SAFETY: the buffer is writable and contiguous, has so many bytes and is held by `self`, which is borrowed
        // mutably. The caller gives the kernels memory that it does not use meanwhile.
        unsafe { slice::from_raw_parts_mut(self.0.buf_ptr().cast(), self.0.len_bytes()) }
    }
}

impl<'py> FromPyObject<'_, 'py> for Input {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        contiguous(&object).map(Self)
    }
}

impl<'py> FromPyObject<'_, 'py> for Output {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let buffer = contiguous(&object)?;
        if buffer.readonly() {
            return Err(PyBufferError::new_err(
                "the target is read-only; give a writable buffer",
            ));
        }
        Ok(Self(buffer))
    }
}
