//! Python values as RESP replies.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};
use yggdrasil_core::resp::{Protocol, Reply};

use crate::errors::{ReplyError, YggdrasilError};

/// Nesting of a reply at most.
const DEPTH_MAX: usize = 32;

/// A text that clients show as it is (RESP3 verbatim string).
#[pyclass(frozen, module = "yggdrasil._core")]
pub struct Verbatim {
    #[pyo3(get)]
    text: String,
    #[pyo3(get)]
    format: String,
}

#[pymethods]
impl Verbatim {
    #[new]
    #[pyo3(
        signature = (text, format = "txt".to_owned()),
        text_signature = "(text, format='txt')"
    )]
    pub(crate) fn new(text: String, format: String) -> PyResult<Self> {
        if format.len() != 3 {
            return Err(YggdrasilError::new_err(format!(
                "format is {format:?}, expected three letters"
            )));
        }
        Ok(Self { text, format })
    }
}

/// A set (RESP3). Unlike a set of Python it has an order, and its members may be lists and maps.
#[pyclass(frozen, module = "yggdrasil._core")]
pub struct Members {
    members: Vec<Py<PyAny>>,
}

#[pymethods]
impl Members {
    #[new]
    pub(crate) fn new(members: Vec<Py<PyAny>>) -> Self {
        Self { members }
    }
}

/// The whole reply of a Python command: what it returned, or the error it raised.
pub fn reply_of(py: Python<'_>, result: PyResult<Bound<'_, PyAny>>, protocol: Protocol) -> Vec<u8> {
    let mut out = Vec::new();
    let mut reply = Reply::new(&mut out, protocol);
    let written = result.and_then(|value| write_value(&mut reply, &value, 0));
    if let Err(error) = written {
        reply.rewind(0);
        let text = error.value(py).to_string();
        if error.is_instance_of::<ReplyError>(py) {
            reply.error(&text);
        } else {
            let kind = error
                .get_type(py)
                .name()
                .map_or_else(|_| "error".to_owned(), |name| name.to_string());
            reply.error(&format!(
                "ERR internal error, the command was not completed: {kind}: {text}"
            ));
        }
    }
    out
}

fn write_value(reply: &mut Reply<'_>, value: &Bound<'_, PyAny>, depth: usize) -> PyResult<()> {
    if depth > DEPTH_MAX {
        return Err(YggdrasilError::new_err("a reply is nested too deeply"));
    }
    if value.is_none() {
        reply.null();
    } else if let Ok(flag) = value.cast::<PyBool>() {
        reply.boolean(flag.is_true());
    } else if let Ok(bytes) = value.cast::<PyBytes>() {
        reply.bulk(bytes.as_bytes());
    } else if let Ok(text) = value.cast::<PyString>() {
        reply.simple(&text.to_string_lossy());
    } else if let Ok(number) = value.cast::<PyInt>() {
        match number.extract::<i64>() {
            Ok(number) => reply.int(number),
            Err(_) => reply.big_number(&number.to_string()),
        }
    } else if let Ok(number) = value.cast::<PyFloat>() {
        reply.double(number.value());
    } else if let Ok(list) = value.cast::<PyList>() {
        reply.array(list.len());
        list.iter()
            .try_for_each(|item| write_value(reply, &item, depth + 1))?;
    } else if let Ok(tuple) = value.cast::<PyTuple>() {
        reply.array(tuple.len());
        tuple
            .iter()
            .try_for_each(|item| write_value(reply, &item, depth + 1))?;
    } else if let Ok(map) = value.cast::<PyDict>() {
        reply.map(map.len());
        for (key, item) in map.iter() {
            write_value(reply, &key, depth + 1)?;
            write_value(reply, &item, depth + 1)?;
        }
    } else if let Ok(members) = value.cast::<Members>() {
        let members = &members.get().members;
        reply.set(members.len());
        members
            .iter()
            .try_for_each(|item| write_value(reply, item.bind(value.py()), depth + 1))?;
    } else if let Ok(verbatim) = value.cast::<Verbatim>() {
        let verbatim = verbatim.get();
        let format = verbatim.format.as_bytes();
        reply.verbatim([format[0], format[1], format[2]], verbatim.text.as_bytes());
    } else {
        let kind = value.get_type().name()?;
        return Err(YggdrasilError::new_err(format!(
            "a command returned a {kind}, which is no reply"
        )));
    }
    Ok(())
}
