//! Chunks.

use std::cell::RefCell;

use mithril_kernels::block::Scratch;
use mithril_kernels::chunk::{self, Base, Fingerprint, HASH_BYTES, Hash, Header};
use mithril_kernels::{Element, Level};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::buffer::{Input, Output};
use crate::errors::to_python;

thread_local! {
    /// Memory of the coders: some hundred kilobytes that a thread keeps from call to call.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

pub fn element_named(name: &str) -> PyResult<Element> {
    Element::from_name(name).ok_or_else(|| {
        let known: Vec<&str> = Element::all().map(|(_, name)| name).collect();
        PyValueError::new_err(format!(
            "{name:?} is no type of elements; there are {}",
            known.join(", ")
        ))
    })
}

fn hash_of(bytes: &[u8]) -> PyResult<Hash> {
    bytes.try_into().map_err(|_| {
        PyValueError::new_err(format!(
            "a root has {HASH_BYTES} bytes, not {}",
            bytes.len()
        ))
    })
}

/// The names of all types of elements.
#[pyfunction]
pub fn elements() -> Vec<&'static str> {
    Element::all().map(|(_, name)| name).collect()
}

/// Bytes of an element.
#[pyfunction]
pub fn element_size(element: &str) -> PyResult<usize> {
    element_named(element).map(Element::size)
}

/// The vector instructions in use.
#[pyfunction]
pub fn simd_level() -> &'static str {
    Level::best().name()
}

/// The root of a chunk, and the hashes of its blocks one after the other.
#[pyfunction]
pub fn fingerprint<'py>(
    py: Python<'py>,
    element: &str,
    block_bytes: usize,
    data: Input,
) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
    let element = element_named(element)?;
    let print = py
        .detach(|| chunk::fingerprint(element, block_bytes, data.as_slice()))
        .map_err(to_python)?;
    Ok((
        PyBytes::new(py, &print.root),
        PyBytes::new(py, print.blocks.as_flattened()),
    ))
}

/// A chunk of `data`, as a delta to `base` where that is given.
#[pyfunction]
#[pyo3(signature = (element, block_bytes, data, root, hashes, base=None, base_root=None))]
#[expect(
    clippy::too_many_arguments,
    reason = "the parameters are named in Python"
)]
pub fn encode<'py>(
    py: Python<'py>,
    element: &str,
    block_bytes: usize,
    data: Input,
    root: &[u8],
    hashes: &[u8],
    base: Option<Input>,
    base_root: Option<&[u8]>,
) -> PyResult<Bound<'py, PyBytes>> {
    let element = element_named(element)?;
    let (blocks, rest) = hashes.as_chunks::<HASH_BYTES>();
    if !rest.is_empty() {
        return Err(PyValueError::new_err("hashes have 32 bytes each"));
    }
    let print = Fingerprint {
        root: hash_of(root)?,
        blocks: blocks.to_vec(),
    };
    let base_root = base_root.map(hash_of).transpose()?;
    let encoded = py
        .detach(|| {
            let base = pair(base.as_ref(), base_root.as_ref());
            SCRATCH.with_borrow_mut(|scratch| {
                chunk::encode(
                    scratch,
                    Level::best(),
                    element,
                    block_bytes,
                    data.as_slice(),
                    &print,
                    base,
                )
            })
        })
        .map_err(to_python)?;
    Ok(PyBytes::new(py, &encoded))
}

fn pair<'a>(base: Option<&'a Input>, root: Option<&'a Hash>) -> Option<Base<'a>> {
    let raw = base?.as_slice();
    Some(Base { raw, root: root? })
}

/// Bytes of the header of a chunk of so many bytes.
#[pyfunction]
pub fn header_bytes(block_bytes: usize, raw_bytes: u64) -> u64 {
    chunk::header_bytes_for(block_bytes, raw_bytes)
}

/// The header of a chunk: checked when it is made.
#[pyclass(frozen)]
pub struct ChunkHeader {
    header: Header,
}

#[pymethods]
impl ChunkHeader {
    #[new]
    fn new(data: Input) -> PyResult<Self> {
        Header::parse(data.as_slice())
            .map(|header| Self { header })
            .map_err(to_python)
    }

    #[getter]
    fn element(&self) -> &'static str {
        self.header.element.name()
    }

    #[getter]
    fn block_bytes(&self) -> usize {
        self.header.block_bytes
    }

    #[getter]
    fn raw_bytes(&self) -> usize {
        self.header.raw_bytes
    }

    #[getter]
    fn blocks(&self) -> usize {
        self.header.blocks()
    }

    #[getter]
    fn header_bytes(&self) -> usize {
        self.header.bytes()
    }

    #[getter]
    fn stored_bytes(&self) -> u64 {
        self.header.bytes() as u64 + self.header.offsets().last().copied().unwrap_or(0)
    }

    #[getter]
    fn root<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.header.root)
    }

    #[getter]
    fn base_root<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.header.base_root.map(|root| PyBytes::new(py, &root))
    }

    /// Start and end of the stored bytes of a run of blocks, counted from the start of the chunk.
    fn stored_range(&self, first: usize, end: usize) -> PyResult<(u64, u64)> {
        if first > end || end > self.header.blocks() {
            return Err(PyValueError::new_err(format!(
                "the chunk has {} blocks, not {first} to {end}",
                self.header.blocks()
            )));
        }
        let start = self.header.bytes() as u64;
        Ok((
            start + self.header.offsets()[first],
            start + self.header.offsets()[end],
        ))
    }
}

/// Decodes a run of blocks from their stored bytes into `target`, and checks their hashes.
#[pyfunction]
#[pyo3(signature = (header, first, end, stored, target, base=None, base_root=None))]
#[expect(
    clippy::too_many_arguments,
    reason = "the parameters are named in Python"
)]
pub fn decode(
    py: Python<'_>,
    header: &ChunkHeader,
    first: usize,
    end: usize,
    stored: Input,
    mut target: Output,
    base: Option<Input>,
    base_root: Option<&[u8]>,
) -> PyResult<()> {
    let base_root = base_root.map(hash_of).transpose()?;
    let header = &header.header;
    py.detach(|| {
        let base = pair(base.as_ref(), base_root.as_ref());
        SCRATCH.with_borrow_mut(|scratch| {
            header.decode(
                scratch,
                Level::best(),
                first..end,
                stored.as_slice(),
                base,
                target.as_mut_slice(),
            )
        })
    })
    .map_err(to_python)
}
