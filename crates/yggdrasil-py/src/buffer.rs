//! The memory that uvloop reads into, as a Python object with the buffer protocol.
#![allow(unsafe_code)]

use std::cell::{Cell, UnsafeCell};
use std::ffi::c_int;

use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::confined::Confined;

/// Bytes of the buffer that all connections of a worker share.
const SHARED_BYTES: usize = 64 * 1024;

/// Either the shared receive buffer, or for one read the free end of a session's input, or pages of the arena.
///
/// uvloop asks for it, reads, and reports, without anything else running between: one object serves all connections.
#[pyclass(frozen)]
pub struct ReceiveBuffer {
    state: Confined<Memory>,
}

struct Memory {
    shared: UnsafeCell<Box<[u8]>>,
    /// The free end of a session's input, for the next read.
    lent: Cell<Option<(*mut u8, usize)>>,
    /// What is lent are pages of the arena.
    pages: Cell<bool>,
}

/// Where a read went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadTarget {
    Shared,
    /// The free end of a session's input.
    Input,
    /// Pages of the arena, with so much room.
    Pages {
        room: usize,
    },
}

impl ReceiveBuffer {
    pub fn new() -> Self {
        let shared = UnsafeCell::new(vec![0; SHARED_BYTES].into_boxed_slice());
        Self {
            state: Confined::new(Memory {
                shared,
                lent: Cell::new(None),
                pages: Cell::new(false),
            }),
        }
    }

    /// The next read goes to the shared buffer.
    pub fn use_shared(&self) {
        self.state.lent.set(None);
    }

    /// The next read goes to the free capacity of `input`, which is not touched before [`ReceiveBuffer::claim`].
    pub fn lend(&self, input: &mut Vec<u8>) {
        let free = input.spare_capacity_mut();
        self.state
            .lent
            .set(Some((free.as_mut_ptr().cast(), free.len())));
        self.state.pages.set(false);
    }

    /// The next read goes to pages of the arena: `len` bytes from `start` on, which are the session's until the read
    /// is reported.
    pub fn lend_pages(&self, start: *mut u8, len: usize) {
        self.state.lent.set(Some((start, len)));
        self.state.pages.set(true);
    }

    /// Where the last read went.
    pub fn target(&self) -> ReadTarget {
        match self.state.lent.get() {
            None => ReadTarget::Shared,
            Some((_, len)) if self.state.pages.get() => ReadTarget::Pages { room: len },
            Some(_) => ReadTarget::Input,
        }
    }

    /// Makes the bytes of the last read part of `input`, to whose free capacity they went. False when it is not that
    /// input: then nothing is done.
    pub fn claim(&self, input: &mut Vec<u8>, bytes: usize) -> bool {
        let free = input.spare_capacity_mut();
        let (start, capacity) = (free.as_mut_ptr().cast::<u8>(), free.len());
        if self.state.lent.take() != Some((start, capacity)) || bytes > capacity {
            return false;
        }
        let len = input.len() + bytes;
        // SAFETY: the capacity is there by the check above, and the reader has filled its first `bytes` bytes.
        unsafe { input.set_len(len) };
        true
    }

    /// The first `bytes` bytes of the shared buffer.
    pub fn received(&self, bytes: usize) -> &[u8] {
        // SAFETY: only uvloop writes, between asking for the buffer and reporting; this borrow ends before it asks
        // again, because everything runs on the one thread of the loop.
        let shared = unsafe { &*self.state.shared.get() };
        &shared[..bytes.min(shared.len())]
    }
}

#[pymethods]
impl ReceiveBuffer {
    #[allow(
        clippy::missing_safety_doc,
        reason = "called by Python's buffer protocol only"
    )]
    // SAFETY: Python's buffer protocol passes a view to fill, which is checked; the signature is the one it asks for.
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        if view.is_null() {
            return Err(PyBufferError::new_err("no view to fill"));
        }
        let buffer = slf.get();
        let (start, len) = buffer.state.lent.get().unwrap_or_else(|| {
            // SAFETY: no borrow of the bytes is alive, see `received`.
            let shared = unsafe { &mut *buffer.state.shared.get() };
            (shared.as_mut_ptr(), shared.len())
        });
        // SAFETY: `view` is not null, the object lives as long as the view holds it, and the memory is `len` bytes.
        let filled = unsafe {
            ffi::PyBuffer_FillInfo(
                view,
                slf.as_ptr(),
                start.cast(),
                len as ffi::Py_ssize_t,
                0,
                flags,
            )
        };
        if filled == 0 {
            Ok(())
        } else {
            Err(PyErr::fetch(slf.py()))
        }
    }

    // SAFETY: touches nothing; the signature is the one that the buffer protocol asks for.
    unsafe fn __releasebuffer__(&self, _view: *mut ffi::Py_buffer) {}
}
