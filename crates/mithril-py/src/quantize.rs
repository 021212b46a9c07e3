//! Quantization.

use mithril_kernels::quantize as kernels;
use mithril_kernels::quantize::Bits;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::buffer::{Input, Output};
use crate::chunk::element_named;
use crate::errors::to_python;

fn width(bits: u32) -> PyResult<Bits> {
    Bits::new(bits)
        .ok_or_else(|| PyValueError::new_err(format!("codes have 8 or 4 bits, not {bits}")))
}

/// Payload, largest error, and largest error as a share of the largest element of its group.
#[pyfunction]
pub fn quantize<'py>(
    py: Python<'py>,
    element: &str,
    bits: u32,
    group: usize,
    data: Input,
) -> PyResult<(Bound<'py, PyBytes>, f64, f64)> {
    let (element, bits) = (element_named(element)?, width(bits)?);
    let quantized = py
        .detach(|| kernels::quantize(element, bits, group, data.as_slice()))
        .map_err(to_python)?;
    Ok((
        PyBytes::new(py, &quantized.payload),
        quantized.error_max,
        quantized.relative_error_max,
    ))
}

/// Writes the elements of a payload into `target`.
#[pyfunction]
pub fn dequantize(
    py: Python<'_>,
    element: &str,
    bits: u32,
    group: usize,
    payload: Input,
    mut target: Output,
) -> PyResult<()> {
    let (element, bits) = (element_named(element)?, width(bits)?);
    py.detach(|| {
        kernels::dequantize(
            element,
            bits,
            group,
            payload.as_slice(),
            target.as_mut_slice(),
        )
    })
    .map_err(to_python)
}
