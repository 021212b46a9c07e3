//! Reading a node on the same machine through its shared memory.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::buffer::PyBuffer;
use pyo3::create_exception;
use pyo3::exceptions::{PyBufferError, PyKeyError, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::{PyBytes, PyList, PyString};
use yggdrasil_near::{self as near, NearError as Error, Options, View};

use crate::errors::YggdrasilError;

create_exception!(
    yggdrasil._core,
    NearError,
    YggdrasilError,
    "A read through shared memory has no answer; a worker may have one."
);
create_exception!(
    yggdrasil._core,
    NearUnavailableError,
    NearError,
    "The node cannot be read now: it restarts, or it has cut this process off. The next read connects anew."
);
create_exception!(
    yggdrasil._core,
    NearRefusedError,
    NearError,
    "The node does not let this process read, or not this key."
);
create_exception!(
    yggdrasil._core,
    NearKindError,
    NearError,
    "The value is no string, which is all that can be read through shared memory."
);
create_exception!(
    yggdrasil._core,
    NearBufferError,
    NearError,
    "The value does not fit. Attributes: needed and given, in bytes."
);

/// Copies of more bytes than this let other threads of Python run.
const COPY_ALONE_BYTES: usize = 256 * 1024;

fn to_python(py: Python<'_>, error: Error) -> PyErr {
    let text = error.to_string();
    match error {
        Error::Unavailable(_) | Error::Busy { .. } => NearUnavailableError::new_err(text),
        Error::Refused(_) => NearRefusedError::new_err(text),
        Error::OtherKind => NearKindError::new_err(text),
        Error::TooManyViews { .. } => NearError::new_err(text),
        Error::BufferTooSmall { needed, given } => {
            let error = NearBufferError::new_err(text);
            let value = error.value(py);
            let set = value
                .setattr("needed", needed)
                .and_then(|()| value.setattr("given", given));
            set.err().unwrap_or(error)
        }
    }
}

/// A key as bytes; text is encoded as UTF-8.
fn key_bytes<'k>(key: &'k Bound<'_, PyAny>) -> PyResult<&'k [u8]> {
    if let Ok(bytes) = key.cast::<PyBytes>() {
        return Ok(bytes.as_bytes());
    }
    if let Ok(text) = key.cast::<PyString>() {
        return Ok(text.to_str()?.as_bytes());
    }
    Err(PyTypeError::new_err("a key is bytes or str"))
}

/// Reads strings of a node on the same machine through its shared memory.
#[pyclass(frozen, module = "yggdrasil._core")]
pub struct NearReader {
    reader: Mutex<near::NearReader>,
    patience: Duration,
}

impl NearReader {
    /// The reader; another thread may have it while it waits for the node.
    fn reader(&self, py: Python<'_>) -> MutexGuard<'_, near::NearReader> {
        self.reader
            .lock_py_attached(py)
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads at once where that is possible; else waits for the shard, while other threads of Python run.
    #[inline]
    fn read<T: Send>(
        &self,
        py: Python<'_>,
        mut read: impl FnMut(&mut near::NearReader) -> Result<T, Error> + Send,
    ) -> PyResult<T> {
        let mut reader = self.reader(py);
        match read(&mut reader) {
            Err(Error::Busy { .. }) if !self.patience.is_zero() => {}
            result => return result.map_err(|error| to_python(py, error)),
        }
        drop(reader);
        let result = py.detach(|| {
            let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
            reader.set_patience(self.patience);
            let result = read(&mut reader);
            reader.set_patience(Duration::ZERO);
            result
        });
        result.map_err(|error| to_python(py, error))
    }

    /// Holds a value, or copies it if it is small.
    fn held(&self, py: Python<'_>, key: &[u8]) -> PyResult<Option<View>> {
        self.read(py, |reader| reader.view(key))
    }
}

#[pymethods]
impl NearReader {
    #[new]
    #[pyo3(signature = (url, *, username = None, password = None, db = 0, patience = 1.0))]
    fn new(
        py: Python<'_>,
        url: &str,
        username: Option<String>,
        password: Option<String>,
        db: u8,
        patience: f64,
    ) -> PyResult<Self> {
        let patience = Duration::try_from_secs_f64(patience)
            .map_err(|_| PyValueError::new_err("patience is a number of seconds from 0"))?;
        let path = url.strip_prefix("unix://").unwrap_or(url);
        if path.is_empty() || path.contains("://") {
            return Err(PyValueError::new_err(format!(
                "'{url}' is neither a path nor unix:// and a path"
            )));
        }
        let options = Options {
            username,
            password,
            db,
            patience: Duration::ZERO,
        };
        let reader = py
            .detach(|| near::NearReader::connect(path, &options))
            .map_err(|error| to_python(py, error))?;
        Ok(Self {
            reader: Mutex::new(reader),
            patience,
        })
    }

    /// The value of a key, or None.
    fn get<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let key = key_bytes(key)?;
        let mut reader = self.reader(py);
        match reader.get_small(key) {
            Ok(near::Small::Value(value)) => return Ok(Some(PyBytes::new(py, value))),
            Ok(near::Small::Missing) => return Ok(None),
            Ok(near::Small::Large) | Err(Error::Busy { .. }) => {}
            Err(error) => return Err(to_python(py, error)),
        }
        drop(reader);
        let view = self.held(py, key)?;
        view.map(|view| copied(py, &view)).transpose()
    }

    /// The values of several keys, each for itself.
    fn mget<'py>(
        &self,
        py: Python<'py>,
        keys: Vec<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyList>> {
        let keys = keys.iter().map(key_bytes).collect::<PyResult<Vec<_>>>()?;
        let values = PyList::empty(py);
        let mut next = 0;
        while next < keys.len() {
            let mut appended = Ok(());
            let mut reader = self.reader(py);
            let read = reader.mget_with(&keys[next..], |_, value| {
                if appended.is_ok() {
                    appended = values.append(value.map(|value| PyBytes::new(py, value)));
                    next += 1;
                }
            });
            drop(reader);
            appended?;
            match read {
                Ok(()) => {}
                // One of the keys has to be waited for.
                Err(Error::Busy { .. }) => {
                    let view = self.held(py, keys[next])?;
                    values.append(view.map(|view| copied(py, &view)).transpose()?)?;
                    next += 1;
                }
                Err(error) => return Err(to_python(py, error)),
            }
        }
        Ok(values)
    }

    /// Copies a value to the beginning of a buffer; its length, or None.
    fn get_into(
        &self,
        py: Python<'_>,
        key: &Bound<'_, PyAny>,
        buffer: &Bound<'_, PyAny>,
    ) -> PyResult<Option<usize>> {
        let key = key_bytes(key)?;
        let target = match PyBuffer::<u8>::get(buffer) {
            Ok(target) => target,
            Err(_) => PyBuffer::<u8>::get(&as_bytes(buffer)?)?,
        };
        if target.readonly() || !target.is_c_contiguous() {
            return Err(PyBufferError::new_err(
                "the buffer is not writable and contiguous",
            ));
        }
        let out: &mut [u8] = if target.item_count() == 0 {
            &mut []
        } else {
            let start = target.buf_ptr().cast::<u8>();
            // SAFETY: `target` keeps the memory in place and its owner from resizing it. That nobody else touches it
            // meanwhile is for the caller to see to, as with every function of Python that fills a buffer.
            unsafe { std::slice::from_raw_parts_mut(start, target.item_count()) }
        };
        let mut reader = self.reader(py);
        match reader.get_small_into(key, out) {
            Ok(near::SmallInto::Copied(bytes)) => return Ok(Some(bytes)),
            Ok(near::SmallInto::Missing) => return Ok(None),
            Ok(near::SmallInto::Large) | Err(Error::Busy { .. }) => {}
            Err(error) => return Err(to_python(py, error)),
        }
        drop(reader);
        let Some(view) = self.held(py, key)? else {
            return Ok(None);
        };
        let (needed, given) = (view.len(), out.len());
        if needed > given {
            let (needed, given) = (needed as u64, given as u64);
            return Err(to_python(py, Error::BufferTooSmall { needed, given }));
        }
        let mut copy = || out[..needed].copy_from_slice(&view);
        if needed > COPY_ALONE_BYTES {
            py.detach(copy);
        } else {
            copy();
        }
        view.check().map_err(|error| to_python(py, error))?;
        Ok(Some(needed))
    }

    /// A value where it is.
    fn view(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<NearView> {
        match self.held(py, key_bytes(key)?)? {
            Some(view) => Ok(NearView {
                nbytes: view.len(),
                version: view.version(),
                state: Mutex::new(State {
                    view: Some(view),
                    exports: 0,
                    closing: false,
                }),
            }),
            None => Err(PyKeyError::new_err(key.clone().unbind())),
        }
    }

    /// The database that is read.
    #[getter]
    fn db(&self, py: Python<'_>) -> u8 {
        self.reader(py).db()
    }

    /// Whether a key exists, of whatever kind.
    fn exists(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        let key = key_bytes(key)?;
        self.read(py, |reader| reader.exists(key))
    }
}

fn copied<'py>(py: Python<'py>, view: &View) -> PyResult<Bound<'py, PyBytes>> {
    let bytes = PyBytes::new(py, view);
    view.check().map_err(|error| to_python(py, error))?;
    Ok(bytes)
}

/// A buffer of any item type as one of bytes; a TypeError where bytes would be written over Python objects.
fn as_bytes<'py>(buffer: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = buffer.py();
    let memory = py
        .import("builtins")?
        .getattr("memoryview")?
        .call1((buffer,))?;
    let format: String = memory.getattr("format")?.extract()?;
    if refers_to_objects(&format) {
        return Err(PyTypeError::new_err(
            "the buffer refers to Python objects; give one of numbers or bytes",
        ));
    }
    memory.call_method1("cast", ("B",))
}

/// Whether items of this format of a buffer refer to Python objects: then nothing may be written over them.
#[pyfunction]
pub fn refers_to_objects(item_format: &str) -> bool {
    // Names of fields stand between colons.
    item_format
        .split(':')
        .step_by(2)
        .any(|types| types.contains('O'))
}

/// A value where it is: a buffer that can only be read.
#[pyclass(frozen, module = "yggdrasil._core")]
pub struct NearView {
    nbytes: usize,
    version: u64,
    state: Mutex<State>,
}

struct State {
    view: Option<View>,
    /// Buffers that others have of it.
    exports: usize,
    /// It ends with the last of them.
    closing: bool,
}

impl NearView {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl NearView {
    /// Length of the value in bytes.
    #[getter]
    fn nbytes(&self) -> usize {
        self.nbytes
    }

    fn __len__(&self) -> usize {
        self.nbytes
    }

    /// Version of the value.
    #[getter]
    fn version(&self) -> u64 {
        self.version
    }

    /// Whether the bytes are those of the value for sure.
    #[getter]
    fn valid(&self) -> bool {
        self.state().view.as_ref().is_some_and(View::is_valid)
    }

    /// A memoryview of the bytes.
    #[getter]
    fn memory<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let memoryview = slf.py().import("builtins")?.getattr("memoryview")?;
        memoryview.call1((slf,))
    }

    /// Lets the value go, as soon as no buffer of it is left.
    fn release(&self) {
        let mut state = self.state();
        state.closing = true;
        if state.exports == 0 {
            state.view = None;
        }
    }

    fn __enter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        if slf.get().state().closing {
            return Err(PyValueError::new_err("this view was released"));
        }
        Ok(slf)
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, _exception: &Bound<'_, pyo3::types::PyTuple>) -> PyResult<()> {
        let valid = self.valid();
        self.release();
        if valid {
            return Ok(());
        }
        Err(NearUnavailableError::new_err(
            "the node has taken the memory of this view back: the bytes may have been others",
        ))
    }

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
        let mut state = slf.get().state();
        let bytes: &[u8] = match &state.view {
            Some(held) if !state.closing => held,
            _ => return Err(PyBufferError::new_err("this view was released")),
        };
        const READ_ONLY: c_int = 1;
        // SAFETY: `view` is not null, the object lives as long as the buffer holds it, and the memory is held until
        // the last buffer is released.
        let filled = unsafe {
            ffi::PyBuffer_FillInfo(
                view,
                slf.as_ptr(),
                bytes.as_ptr().cast_mut().cast(),
                bytes.len() as ffi::Py_ssize_t,
                READ_ONLY,
                flags,
            )
        };
        if filled != 0 {
            return Err(PyErr::fetch(slf.py()));
        }
        state.exports += 1;
        Ok(())
    }

    // SAFETY: touches no raw memory; the signature is the one that the buffer protocol asks for.
    unsafe fn __releasebuffer__(&self, _view: *mut ffi::Py_buffer) {
        let mut state = self.state();
        state.exports -= 1;
        if state.closing && state.exports == 0 {
            state.view = None;
        }
    }
}
