//! Texts of Arrow arrays.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::buffer::{Input, Unwritten, new_bytes};
use crate::values::bounds;

/// The texts of an Arrow array that are kept, where `kept` has a byte for each: their offsets, of the width that they had,
/// and their bytes.
#[pyfunction]
pub fn keep_texts<'py>(
    py: Python<'py>,
    texts: (Input, usize, Input, usize, usize),
    kept: Input,
) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
    let (offsets, width, data, first, count) = texts;
    let (data, kept) = (data.as_slice(), kept.as_slice());
    if kept.len() != count {
        return Err(PyValueError::new_err("there is one verdict for each text"));
    }
    let bounds = bounds(&offsets, width, first, count, data.len())?;
    let mut ends = Vec::with_capacity((count + 1) * width);
    let mut length = 0;
    ends.extend_from_slice(&usize::to_le_bytes(length)[..width]);
    for (pair, _) in bounds.windows(2).zip(kept).filter(|&(_, &kept)| kept != 0) {
        length += pair[1] - pair[0];
        ends.extend_from_slice(&usize::to_le_bytes(length)[..width]);
    }
    let bytes = new_bytes(py, length, |target| {
        py.detach(|| copy(data, &bounds, kept, target));
    })?;
    Ok((PyBytes::new(py, &ends), bytes))
}

/// Copies the texts that are kept, those that follow each other at once.
fn copy(data: &[u8], bounds: &[usize], kept: &[u8], target: &mut Unwritten<'_>) {
    let mut start = 0;
    for run in kept.chunk_by(|left, right| (*left == 0) == (*right == 0)) {
        let end = start + run.len();
        if run[0] != 0 {
            target.push(&data[bounds[start]..bounds[end]]);
        }
        start = end;
    }
}
