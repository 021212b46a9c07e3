//! Values in buffers, and texts in the buffers of Arrow arrays.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::buffer::Input;

/// Little-endian values of a buffer, in whose alignment nothing is assumed.
macro_rules! values {
    ($buffer:expr, $type:ty) => {{
        const BYTES: usize = size_of::<$type>();
        let (values, rest) = $buffer.as_slice().as_chunks::<BYTES>();
        if rest.is_empty() {
            Ok(values.iter().map(|&bytes| <$type>::from_le_bytes(bytes)))
        } else {
            Err(PyValueError::new_err(concat!(
                "the buffer does not have whole values of ",
                stringify!($type)
            )))
        }
    }};
}

/// Values as Python bytes, little-endian.
macro_rules! bytes_of {
    ($py:expr, $values:expr) => {{
        let values = $values.as_slice();
        $crate::buffer::new_bytes($py, size_of_val(values), |target| {
            for values in values.chunks($crate::values::CHUNK) {
                let mut bytes = [[0; _]; $crate::values::CHUNK];
                for (bytes, value) in bytes.iter_mut().zip(values) {
                    *bytes = value.to_le_bytes();
                }
                target.push(bytes[..values.len()].as_flattened());
            }
        })
    }};
}

/// Values that become bytes together.
pub(crate) const CHUNK: usize = 256;

pub(crate) use bytes_of;
pub(crate) use values;

/// Bounds of the texts of an Arrow array: `count` + 1 offsets of 4 or 8 bytes.
pub fn bounds(
    offsets: &Input,
    width: usize,
    first: usize,
    count: usize,
    length: usize,
) -> PyResult<Vec<usize>> {
    let mut found: Vec<usize> = match width {
        4 => values!(offsets, u32)?
            .skip(first)
            .take(count + 1)
            .map(|offset| offset as usize)
            .collect(),
        8 => values!(offsets, u64)?
            .skip(first)
            .take(count + 1)
            .map(|offset| usize::try_from(offset).unwrap_or(usize::MAX))
            .collect(),
        _ => return Err(PyValueError::new_err("offsets have 4 or 8 bytes")),
    };
    if count == 0 {
        found.truncate(1);
        return Ok(found);
    }
    let ordered = found.windows(2).all(|pair| pair[0] <= pair[1]);
    if found.len() != count + 1 || !ordered || found.last().is_some_and(|&end| end > length) {
        return Err(PyValueError::new_err(
            "the offsets do not lie in order within the data",
        ));
    }
    Ok(found)
}
