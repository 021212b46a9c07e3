//! Deduplication.

use mithril_kernels::KernelError;
use mithril_kernels::dedup as kernels;
use mithril_kernels::dedup::{Form, Plan, Shingler, Unit};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::buffer::Input;
use crate::errors::to_python;
use crate::values::{bounds, bytes_of, values};

pub fn form(folded: bool) -> Form {
    if folded { Form::Folded } else { Form::Raw }
}

/// A signer of documents; it may be used by several threads.
#[pyclass(frozen, module = "mithril._kernels")]
pub struct DocumentSigner {
    signer: kernels::Signer,
}

/// Hashes (16 bytes a document), bands (8 bytes each, a document after the other), numbers of shingles (4 bytes), and
/// the shingles themselves (4 bytes).
type Signed<'py> = (
    Bound<'py, PyBytes>,
    Bound<'py, PyBytes>,
    Bound<'py, PyBytes>,
    Bound<'py, PyBytes>,
);

#[pymethods]
impl DocumentSigner {
    #[new]
    fn new(
        unit: &str,
        size: usize,
        folded: bool,
        bands: usize,
        rows: usize,
        seed: u64,
    ) -> PyResult<Self> {
        let unit = Unit::named(unit).ok_or_else(|| {
            PyValueError::new_err(format!(
                "shingles are of words, characters, bytes or tokens, not of {unit:?}"
            ))
        })?;
        let shingler = Shingler::new(unit, size).map_err(to_python)?;
        let plan = Plan::new(bands, rows).map_err(to_python)?;
        Ok(Self {
            signer: kernels::Signer::new(form(folded), shingler, plan, seed),
        })
    }

    /// Signs `count` texts of an Arrow array from `first` on.
    fn sign<'py>(
        &self,
        py: Python<'py>,
        offsets: Input,
        width: usize,
        data: Input,
        first: usize,
        count: usize,
    ) -> PyResult<Signed<'py>> {
        let bounds = bounds(&offsets, width, first, count, data.as_slice().len())?;
        let mut signer = self.signer.clone();
        let (mut hashes, mut sizes) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let (mut shingles, mut bands) = (Vec::new(), Vec::with_capacity(count * signer.bands()));
        py.detach(|| {
            let data = data.as_slice();
            for pair in bounds.windows(2) {
                let document = signer.sign(&data[pair[0]..pair[1]], &mut shingles, &mut bands);
                hashes.push(document.hash);
                sizes.push(u32::try_from(document.shingles).map_err(|_| {
                    KernelError::Parameter("a document has at most 4294967295 shingles")
                })?);
            }
            Ok(())
        })
        .map_err(to_python)?;
        Ok((
            bytes_of!(py, hashes)?,
            bytes_of!(py, bands)?,
            bytes_of!(py, sizes)?,
            bytes_of!(py, shingles)?,
        ))
    }

    /// Signs `count` texts of an Arrow array from `first` on, without their shingles: hashes, bands, numbers of shingles,
    /// and sketches of `values` bytes.
    fn sketch<'py>(
        &self,
        py: Python<'py>,
        texts: (Input, usize, Input, usize, usize),
        values: usize,
    ) -> PyResult<Signed<'py>> {
        let (offsets, width, data, first, count) = texts;
        let bounds = bounds(&offsets, width, first, count, data.as_slice().len())?;
        let mut signer = self.signer.clone();
        let (mut hashes, mut sizes) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let (mut sketches, mut bands) = (Vec::new(), Vec::with_capacity(count * signer.bands()));
        py.detach(|| {
            let (data, mut shingles) = (data.as_slice(), Vec::new());
            for pair in bounds.windows(2) {
                shingles.clear();
                let document = signer.sign(&data[pair[0]..pair[1]], &mut shingles, &mut bands);
                signer.sketch(values, &mut sketches);
                hashes.push(document.hash);
                sizes.push(u32::try_from(document.shingles).unwrap_or(u32::MAX));
            }
        });
        Ok((
            bytes_of!(py, hashes)?,
            bytes_of!(py, bands)?,
            bytes_of!(py, sizes)?,
            PyBytes::new(py, &sketches),
        ))
    }

    /// Hashes `count` texts of an Arrow array from `first` on: 16 bytes a document.
    fn hash<'py>(
        &self,
        py: Python<'py>,
        offsets: Input,
        width: usize,
        data: Input,
        first: usize,
        count: usize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let bounds = bounds(&offsets, width, first, count, data.as_slice().len())?;
        let mut signer = self.signer.clone();
        let hashes: Vec<u128> = py.detach(|| {
            let data = data.as_slice();
            bounds
                .windows(2)
                .map(|pair| signer.hash(&data[pair[0]..pair[1]]))
                .collect()
        });
        bytes_of!(py, hashes)
    }
}

/// Bands and rows for a threshold.
#[pyfunction]
pub fn plan_bands(threshold: f64, values: usize, recall: f64) -> PyResult<(usize, usize)> {
    let plan = Plan::choose(threshold, values, recall).map_err(to_python)?;
    Ok((plan.bands, plan.rows))
}

/// The probability that documents of a similarity are compared.
#[pyfunction]
pub fn collision_probability(bands: usize, rows: usize, similarity: f64) -> PyResult<f64> {
    let plan = Plan::new(bands, rows).map_err(to_python)?;
    Ok(kernels::collision_probability(plan, similarity))
}

/// A collector of links between documents.
#[pyclass(module = "mithril._kernels")]
pub struct DocumentLinks {
    links: Option<kernels::Links>,
}

#[pymethods]
impl DocumentLinks {
    /// A collector that holds `pending` new pairs, or as many as it has, before it removes repeats.
    #[new]
    fn new(pending: usize) -> Self {
        Self {
            links: Some(kernels::Links::new(pending)),
        }
    }

    /// Adds the links of one band: the hashes (8 bytes) of all documents, and the numbers (4 bytes), which rise, of
    /// those that count.
    fn add(&mut self, py: Python<'_>, hashes: Input, documents: Input) -> PyResult<()> {
        let links = self.links.as_mut().ok_or_else(taken)?;
        let documents: Vec<u32> = values!(documents, u32)?.collect();
        let (hashes, _) = hashes.as_slice().as_chunks::<8>();
        py.detach(|| links.add(hashes, &documents))
            .map_err(to_python)
    }

    /// Takes the links out: 8 bytes each, the later document in the lower half.
    fn take<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let links = self.links.take().ok_or_else(taken)?;
        let pairs = py.detach(|| links.finish());
        bytes_of!(py, pairs)
    }
}

fn taken() -> PyErr {
    PyValueError::new_err("the links have been taken")
}

/// True similarities (8 bytes) of pairs (twice 4 bytes: indices of documents). Document i has `sizes[i]` shingles from
/// `starts[i]` on in `shingles`. A similarity below `least` may be given as 0.
#[pyfunction]
pub fn similarities<'py>(
    py: Python<'py>,
    shingles: Input,
    starts: Input,
    sizes: Input,
    pairs: Input,
    least: f64,
) -> PyResult<Bound<'py, PyBytes>> {
    let starts: Vec<u64> = values!(starts, u64)?.collect();
    let sizes: Vec<u32> = values!(sizes, u32)?.collect();
    let pairs = values!(pairs, u64)?;
    let (shingles, _) = shingles.as_slice().as_chunks::<4>();
    let found = py
        .detach(|| {
            let mut sets = kernels::Sets::default();
            for (&start, &size) in starts.iter().zip(&sizes) {
                let set = usize::try_from(start)
                    .ok()
                    .and_then(|start| shingles.get(start..start.checked_add(size as usize)?))
                    .ok_or(KernelError::Parameter(
                        "a set does not lie within the shingles",
                    ))?;
                sets.push(set.iter().map(|&bytes| u32::from_le_bytes(bytes)));
            }
            let mut compare = |pair: u64| sets.jaccard((pair >> 32) as u32, pair as u32, least);
            pairs
                .map(&mut compare)
                .collect::<Result<Vec<f64>, KernelError>>()
        })
        .map_err(to_python)?;
    bytes_of!(py, found)
}

/// For each hash (16 bytes) the number (4 bytes) of the first document with the same one.
#[pyfunction]
pub fn first_equal<'py>(py: Python<'py>, hashes: Input) -> PyResult<Bound<'py, PyBytes>> {
    let (hashes, _) = hashes.as_slice().as_chunks::<16>();
    let firsts = py
        .detach(|| kernels::first_equal(hashes))
        .map_err(to_python)?;
    bytes_of!(py, firsts)
}

/// The first document (4 bytes) of the cluster of each of `documents` documents, joined by pairs (twice 4 bytes).
#[pyfunction]
pub fn clusters<'py>(
    py: Python<'py>,
    documents: u32,
    pairs: Input,
) -> PyResult<Bound<'py, PyBytes>> {
    let pairs = values!(pairs, u64)?;
    let roots = py
        .detach(|| {
            let mut clusters = kernels::Clusters::new(documents);
            for pair in pairs {
                clusters.join(pair as u32, (pair >> 32) as u32)?;
            }
            Ok(clusters.roots())
        })
        .map_err(to_python)?;
    bytes_of!(py, roots)
}
