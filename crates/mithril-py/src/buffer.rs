//! Memory of Python objects as slices, for as long as the buffer is held.
#![allow(unsafe_code)]

use std::mem::{MaybeUninit, take};
use std::slice;

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// Bytes to read from: any contiguous buffer of bytes.
pub struct Input(PyBuffer<u8>);

/// Bytes to write to: a contiguous and writable buffer of bytes.
pub struct Output(PyBuffer<u8>);

/// The part of new Python bytes that has not been written yet.
pub struct Unwritten<'a>(&'a mut [MaybeUninit<u8>]);

impl Unwritten<'_> {
    /// Writes the next bytes. Panics where there is no room for them.
    pub fn push(&mut self, bytes: &[u8]) {
        let (place, rest) = take(&mut self.0).split_at_mut(bytes.len());
        for (place, &byte) in place.iter_mut().zip(bytes) {
            place.write(byte);
        }
        self.0 = rest;
    }
}

/// Python bytes of a length, all of which `write` writes: zeros first, as pyo3 has them, would be written for nothing.
/// Panics where some are missing.
pub fn new_bytes<'py>(
    py: Python<'py>,
    length: usize,
    write: impl FnOnce(&mut Unwritten<'_>),
) -> PyResult<Bound<'py, PyBytes>> {
    let size = length.try_into()?;
    // SAFETY: without a source the object has so many bytes, which nobody has written, and nobody else knows it.
    let object = unsafe { ffi::PyBytes_FromStringAndSize(std::ptr::null(), size) };
    // SAFETY: the reference is new, or null with an error set.
    let object = unsafe { Bound::from_owned_ptr_or_err(py, object) }?;
    // SAFETY: the object is bytes, whose memory lives as long as it.
    let start = unsafe { ffi::PyBytes_AsString(object.as_ptr()) };
    // SAFETY: there are `length` bytes from here on, which nobody else reads or writes before this returns.
    let target = unsafe { slice::from_raw_parts_mut(start.cast(), length) };
    let mut unwritten = Unwritten(target);
    write(&mut unwritten);
    assert!(unwritten.0.is_empty(), "all bytes are written");
    Ok(object.cast_into()?)
}

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
