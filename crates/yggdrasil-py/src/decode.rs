//! RESP3 replies as Python values: the opposite of `convert`.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyList, PyString};

use crate::convert::{Members, Verbatim};
use crate::errors::{ReplyError, YggdrasilError};

/// Nesting of a reply at most.
const DEPTH_MAX: usize = 32;

/// The value of a whole reply; an error becomes [`ReplyError`].
pub fn value_of<'py>(py: Python<'py>, reply: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let mut decoder = Decoder { py, rest: reply };
    let value = decoder.value(0)?;
    if decoder.rest.is_empty() {
        Ok(value)
    } else {
        Err(unreadable())
    }
}

fn unreadable() -> PyErr {
    YggdrasilError::new_err("the reply to a request of a command is no RESP3")
}

struct Decoder<'py, 'a> {
    py: Python<'py>,
    rest: &'a [u8],
}

impl<'py, 'a> Decoder<'py, 'a> {
    fn line(&mut self) -> PyResult<(u8, &'a [u8])> {
        let end = self.rest.windows(2).position(|two| two == b"\r\n");
        let end = end.ok_or_else(unreadable)?;
        let (&kind, text) = self.rest[..end].split_first().ok_or_else(unreadable)?;
        self.rest = &self.rest[end + 2..];
        Ok((kind, text))
    }

    fn bytes(&mut self, count: usize) -> PyResult<&'a [u8]> {
        let (bytes, behind) = self.rest.split_at_checked(count).ok_or_else(unreadable)?;
        self.rest = behind.strip_prefix(b"\r\n").ok_or_else(unreadable)?;
        Ok(bytes)
    }

    fn values(&mut self, count: usize, depth: usize) -> PyResult<Vec<Bound<'py, PyAny>>> {
        // Each takes three bytes at least.
        if count > self.rest.len() / 3 {
            return Err(unreadable());
        }
        (0..count).map(|_| self.value(depth + 1)).collect()
    }

    fn value(&mut self, depth: usize) -> PyResult<Bound<'py, PyAny>> {
        if depth > DEPTH_MAX {
            return Err(unreadable());
        }
        let py = self.py;
        let (kind, text) = self.line()?;
        let text_of = || String::from_utf8_lossy(text);
        Ok(match kind {
            b'_' => py.None().into_bound(py),
            b'$' | b'*' if text == b"-1" => py.None().into_bound(py),
            b'+' => PyString::new(py, &text_of()).into_any(),
            b'-' => return Err(ReplyError::new_err(text_of().into_owned())),
            b':' | b'(' => py.get_type::<pyo3::types::PyInt>().call1((text_of(),))?,
            b'#' => PyBool::new(py, text == b"t").to_owned().into_any(),
            b',' => {
                let number = text_of().parse().map_err(|_| unreadable())?;
                PyFloat::new(py, number).into_any()
            }
            b'$' => PyBytes::new(py, self.bytes(number(text)?)?).into_any(),
            b'=' => self.verbatim(number(text)?)?,
            b'*' | b'>' => PyList::new(py, self.values(number(text)?, depth)?)?.into_any(),
            b'~' => {
                let members = self.values(number(text)?, depth)?;
                let members = members.into_iter().map(Bound::unbind).collect();
                Bound::new(py, Members::new(members))?.into_any()
            }
            b'%' => {
                let map = PyDict::new(py);
                let count = number(text)?.checked_mul(2).ok_or_else(unreadable)?;
                for pair in self.values(count, depth)?.chunks_exact(2) {
                    map.set_item(&pair[0], &pair[1])?;
                }
                map.into_any()
            }
            _ => return Err(unreadable()),
        })
    }

    fn verbatim(&mut self, count: usize) -> PyResult<Bound<'py, PyAny>> {
        let bytes = self.bytes(count)?;
        let text = String::from_utf8_lossy(bytes);
        let (format, text) = text.split_once(':').ok_or_else(unreadable)?;
        let verbatim = Verbatim::new(text.to_owned(), format.to_owned())?;
        Ok(Bound::new(self.py, verbatim)?.into_any())
    }
}

fn number(text: &[u8]) -> PyResult<usize> {
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(unreadable)
}
