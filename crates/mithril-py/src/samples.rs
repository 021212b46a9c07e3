//! Samples of pipelines: texts become tokens, and files of images pixels.

use std::sync::{Arc, Mutex};

use mithril_kernels::images;
use mithril_kernels::tokens::{Encoder, Merges};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyBytes, PyString};

use crate::buffer::Input;
use crate::errors::to_python;
use crate::values::{bounds, bytes_of, values};

/// An encoder of texts; it may be used by several threads.
#[pyclass(frozen, module = "mithril._kernels")]
pub struct TokenEncoder {
    fresh: Encoder,
    /// Encoders that no thread uses now, with what they remember.
    idle: Mutex<Vec<Encoder>>,
}

/// Tokens (4 bytes each) of texts one after the other, and where each text ends among them (8 bytes each).
type Tokens<'py> = (Bound<'py, PyBytes>, Bound<'py, PyBytes>);

#[pymethods]
impl TokenEncoder {
    /// An encoder with the token of each byte (4 bytes each), pairs with the token that they become (12 bytes, in the
    /// order in which they were learnt), and texts that are tokens of their own.
    #[new]
    fn new(byte_tokens: Input, pairs: Input, special: Vec<(String, u32)>) -> PyResult<Self> {
        let byte_tokens: Vec<u32> = values!(byte_tokens, u32)?.collect();
        let byte_tokens = byte_tokens
            .try_into()
            .map_err(|_| PyValueError::new_err("there are tokens of 256 bytes"))?;
        let pairs: Vec<u32> = values!(pairs, u32)?.collect();
        let (pairs, rest) = pairs.as_chunks::<3>();
        if !rest.is_empty() {
            return Err(PyValueError::new_err("a merge is of three tokens"));
        }
        let merges = Merges::new(byte_tokens, pairs).map_err(to_python)?;
        Ok(Self {
            fresh: Encoder::new(Arc::new(merges), special),
            idle: Mutex::default(),
        })
    }

    /// The tokens of strings, each followed by those of `end`.
    fn encode<'py>(
        &self,
        py: Python<'py>,
        texts: Vec<Bound<'py, PyString>>,
        end: Vec<u32>,
    ) -> PyResult<Tokens<'py>> {
        let texts = texts
            .into_iter()
            .map(PyBackedStr::try_from)
            .collect::<PyResult<Vec<_>>>()?;
        let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
        self.encoded(py, texts.iter().copied(), &end)
    }

    /// The tokens of the texts of an Arrow array (offsets, their width, data, the first text and the number of texts).
    fn encode_array<'py>(
        &self,
        py: Python<'py>,
        texts: (Input, usize, Input, usize, usize),
        end: Vec<u32>,
    ) -> PyResult<Tokens<'py>> {
        let (offsets, width, data, first, count) = texts;
        let data = data.as_slice();
        let bounds = bounds(&offsets, width, first, count, data.len())?;
        let texts = bounds
            .windows(2)
            .map(|pair| std::str::from_utf8(&data[pair[0]..pair[1]]))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| PyValueError::new_err("a text is not UTF-8"))?;
        self.encoded(py, texts.iter().copied(), &end)
    }
}

impl TokenEncoder {
    fn encoded<'py, 'text>(
        &self,
        py: Python<'py>,
        texts: impl Iterator<Item = &'text str> + Send,
        end: &[u32],
    ) -> PyResult<Tokens<'py>> {
        let (tokens, ends) = py.detach(|| {
            let mut encoder = self.take();
            let (mut tokens, mut ends) = (Vec::new(), Vec::new());
            for text in texts {
                encoder.encode(text, &mut tokens);
                tokens.extend_from_slice(end);
                ends.push(tokens.len() as u64);
            }
            self.give_back(encoder);
            (tokens, ends)
        });
        Ok((bytes_of!(py, tokens)?, bytes_of!(py, ends)?))
    }

    fn take(&self) -> Encoder {
        let idle = self.idle.lock().ok().and_then(|mut idle| idle.pop());
        idle.unwrap_or_else(|| self.fresh.clone())
    }

    fn give_back(&self, encoder: Encoder) {
        if let Ok(mut idle) = self.idle.lock() {
            idle.push(encoder);
        }
    }
}

/// The pixels of a JPEG file, three bytes each, with their height and width; in another size, `(height, width)`, where
/// one is given.
#[pyfunction]
#[pyo3(signature = (file, size=None))]
pub fn decode_jpeg<'py>(
    py: Python<'py>,
    file: Input,
    size: Option<(usize, usize)>,
) -> PyResult<(Bound<'py, PyBytes>, usize, usize)> {
    let size = size.map(|(height, width)| (width, height));
    let pixels = py
        .detach(|| images::decode_jpeg(file.as_slice(), size))
        .map_err(to_python)?;
    let bytes = PyBytes::new(py, &pixels.bytes);
    Ok((bytes, pixels.height, pixels.width))
}
