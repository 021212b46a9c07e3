//! Rows of the command table, from and to Python.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use yggdrasil_core::commands::syntax::{Argument, parse as parse_syntax};
use yggdrasil_core::commands::{Arity, CommandSpec, Flags, Group, Keys, NewCommand, Registry, Run};

use crate::errors::{YggdrasilError, to_python};

fn field<'py, T: for<'a> FromPyObject<'a, 'py>>(
    row: &Bound<'py, PyDict>,
    name: &str,
) -> PyResult<T> {
    let value = row
        .get_item(name)?
        .ok_or_else(|| YggdrasilError::new_err(format!("a command's row lacks {name:?}")))?;
    value.extract().map_err(|_| {
        YggdrasilError::new_err(format!("a command's row has a wrong {name:?}: {value}"))
    })
}

/// A row as Python writes it: name, arity (Redis's signed number), flags, group, summary, since, complexity, syntax,
/// tips, key_uses, and optionally first_key, last_key, step, and container or help.
pub fn new_command(row: &Bound<'_, PyDict>) -> PyResult<NewCommand> {
    let name: String = field(row, "name")?;
    let arity: i32 = field(row, "arity")?;
    let count = u16::try_from(arity.unsigned_abs()).map_err(to_python)?;
    let mut flags = Vec::new();
    for flag in field::<Vec<String>>(row, "flags")? {
        flags.push(
            Flags::named(&flag)
                .ok_or_else(|| to_python(format!("command {name}: unknown flag {flag:?}")))?,
        );
    }
    let group: String = field(row, "group")?;
    let group = Group::named(&group).ok_or_else(|| {
        to_python(format!(
            "command {name}: group {group:?}: 1 to 32 characters of one line without ':' are allowed"
        ))
    })?;
    let keys = match row.get_item("first_key")? {
        None => Keys::None,
        Some(first) => Keys::At {
            first: first.extract()?,
            last: field::<i16>(row, "last_key")?,
            step: field::<u16>(row, "step")?,
        },
    };
    let is = |name: &str| -> PyResult<bool> {
        row.get_item(name)?
            .map_or(Ok(false), |flag| flag.is_truthy())
    };
    let keys = if is("migrated_keys")? {
        Keys::Migrated
    } else {
        keys
    };
    Ok(NewCommand {
        arity: if arity < 0 {
            Arity::AtLeast(count)
        } else {
            Arity::Exact(count)
        },
        flags: Flags::of(&flags),
        keys,
        group,
        run: if is("container")? {
            Run::Container
        } else if is("help")? {
            Run::Help
        } else {
            Run::Python
        },
        summary: field(row, "summary")?,
        since: field(row, "since")?,
        complexity: field(row, "complexity")?,
        syntax: field(row, "syntax")?,
        tips: field(row, "tips")?,
        key_uses: field(row, "key_uses")?,
        name,
    })
}

fn argument_dict<'py>(py: Python<'py>, argument: &Argument) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("name", &argument.name)?;
    dict.set_item("type", argument.kind.name())?;
    if let Some(token) = &argument.token {
        dict.set_item("token", token)?;
    }
    let mut flags = Vec::new();
    if argument.optional {
        flags.push("optional");
    }
    if argument.multiple {
        flags.push("multiple");
    }
    dict.set_item("flags", flags)?;
    if !argument.arguments.is_empty() {
        let inner = argument
            .arguments
            .iter()
            .map(|inner| argument_dict(py, inner));
        dict.set_item(
            "arguments",
            PyList::new(py, inner.collect::<PyResult<Vec<_>>>()?)?,
        )?;
    }
    Ok(dict)
}

/// Keys that only a request tells the places of: where the search for them begins (an index, or a word from an index
/// on), and whether a number of keys stands there.
fn moving_keys(keys: Keys) -> Option<(u16, Option<&'static str>, bool)> {
    match keys {
        Keys::Counted { count_at, .. } => Some((count_at, None, true)),
        Keys::After { word, from } => Some((from, Some(word), false)),
        Keys::None
        | Keys::At { .. }
        | Keys::Before { .. }
        | Keys::FromTo
        | Keys::Sort
        | Keys::ToFrom
        | Keys::FirstAndBehind { .. }
        | Keys::IntoFirst { .. }
        | Keys::Migrated => None,
    }
}

/// Words behind which a key may stand, and the place from which on they are sought.
fn key_words(keys: Keys) -> (u16, &'static [&'static str]) {
    match keys {
        Keys::FirstAndBehind { words, from } => (from, words),
        _ => (0, &[]),
    }
}

fn row_dict<'py>(py: Python<'py>, spec: &CommandSpec) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("name", spec.name)?;
    dict.set_item("arity", spec.arity.number())?;
    dict.set_item("flags", spec.flags.names().collect::<Vec<_>>())?;
    let (first, last, step) = spec.keys.triple();
    dict.set_item("first_key", first)?;
    dict.set_item("last_key", last)?;
    dict.set_item("step", step)?;
    dict.set_item("moving_keys", moving_keys(spec.keys))?;
    dict.set_item("key_words", key_words(spec.keys))?;
    dict.set_item("migrated_keys", spec.keys == Keys::Migrated)?;
    dict.set_item("sorted_keys", spec.keys == Keys::Sort)?;
    dict.set_item("acl_categories", spec.acl_categories())?;
    dict.set_item("tips", spec.docs.tips)?;
    let uses = spec.uses_of_keys().iter().map(|uses| uses.to_vec());
    dict.set_item("key_uses", uses.collect::<Vec<_>>())?;
    dict.set_item("group", spec.group.name())?;
    dict.set_item("summary", spec.docs.summary)?;
    dict.set_item("since", spec.docs.since)?;
    dict.set_item("complexity", spec.docs.complexity)?;
    dict.set_item("syntax", spec.docs.syntax)?;
    dict.set_item("container", matches!(spec.run, Run::Container))?;
    let arguments = parse_syntax(spec.docs.syntax).map_err(to_python)?;
    let arguments = arguments
        .iter()
        .map(|argument| argument_dict(py, argument))
        .collect::<PyResult<Vec<_>>>()?;
    dict.set_item("arguments", PyList::new(py, arguments)?)?;
    Ok(dict)
}

/// The commands that are written in Rust.
#[pyfunction]
pub fn engine_commands(py: Python<'_>) -> PyResult<Bound<'_, PyList>> {
    rows(py, &Registry::new())
}

/// All rows of a command table; subcommands have names like "client|list".
pub fn rows<'py>(py: Python<'py>, registry: &Registry) -> PyResult<Bound<'py, PyList>> {
    let rows = registry
        .iter()
        .map(|(_, spec)| row_dict(py, spec))
        .collect::<PyResult<Vec<_>>>()?;
    PyList::new(py, rows)
}
