//! Users of the node and what they were denied, for ACL.

use std::borrow::Cow;

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict};
use yggdrasil_core::acl::{Denial, Selector, User, Users};
use yggdrasil_core::commands::{CommandError, Registry};
use yggdrasil_core::engine::{DenialEntry, UsersChange};
use yggdrasil_core::resp::ArgsBuffer;

use crate::errors::{ReplyError, YggdrasilError, to_python};
use crate::worker::Worker;

/// What a near reader does, as commands.
const NEAR_COMMANDS: [&[u8]; 3] = [b"get", b"mget", b"exists"];

/// The rules about commands, keys and channels.
type SelectorRules<'py> = (String, Bound<'py, PyBytes>, Bound<'py, PyBytes>);

fn selector_rules<'py>(py: Python<'py>, selector: &Selector) -> SelectorRules<'py> {
    (
        selector.command_rules(),
        PyBytes::new(py, &selector.key_rules()),
        PyBytes::new(py, &selector.channel_rules()),
    )
}

fn denial_dict<'py>(py: Python<'py>, entry: &DenialEntry) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("id", entry.id)?;
    dict.set_item("count", entry.count)?;
    dict.set_item("reason", entry.what.name())?;
    dict.set_item("context", entry.context.name())?;
    dict.set_item("object", PyBytes::new(py, &entry.object))?;
    dict.set_item("user", PyBytes::new(py, &entry.user))?;
    dict.set_item("created_ms", entry.created_ms)?;
    dict.set_item("updated_ms", entry.updated_ms)?;
    dict.set_item("client", &entry.client)?;
    Ok(dict)
}

fn shown(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// Says what of a request a user may not do, as ACL DRYRUN does.
fn explain(user: &User, command: &str, denial: Denial, args: &ArgsBuffer) -> String {
    let (name, args) = (shown(user.name()), args.as_args());
    let (what, place) = match denial {
        Denial::Command => {
            return format!("User {name} has no permissions to run the '{command}' command");
        }
        Denial::Key(place) => ("key", place),
        Denial::Channel(place) => ("channel", place),
    };
    let object = shown(args.at(place));
    format!("User {name} has no permissions to access the '{object}' {what}")
}

/// The beginnings of the keys that a user of a list may read through shared memory; nothing for all keys. ReplyError
/// where the password is wrong, or without one where there is no such user.
#[pyfunction]
#[pyo3(signature = (list, name, password))]
pub fn readable_prefixes(
    list: &[u8],
    name: &[u8],
    password: Option<&[u8]>,
) -> PyResult<Option<Vec<Vec<u8>>>> {
    let table = Registry::new();
    let users = Users::known_of(&table, list);
    let users = users.map_err(|error| YggdrasilError::new_err(error.to_string()))?;
    let user = match password {
        Some(password) => users.log_in(name, password),
        None => users.get(name).cloned(),
    };
    let Some(user) = user else {
        return Err(ReplyError::new_err("wrong user or password"));
    };
    let commands = NEAR_COMMANDS.iter().filter_map(|name| table.find(name));
    let commands: Vec<_> = commands.collect();
    let prefixes = user.readable_prefixes(&commands);
    Ok(prefixes.map(|prefixes| prefixes.into_iter().map(<[u8]>::to_vec).collect()))
}

#[pymethods]
impl Worker {
    /// Changes users of this worker: "set" with a name and rules, "delete" with names, or "load" with a list of users
    /// and the name of where it comes from. How many were removed. `client_id` is who asked for it.
    #[pyo3(signature = (change, arguments, client_id = None))]
    fn change_users(
        &self,
        py: Python<'_>,
        change: &str,
        arguments: Vec<PyBackedBytes>,
        client_id: Option<u64>,
    ) -> PyResult<usize> {
        let words: Vec<&[u8]> = arguments.iter().map(AsRef::as_ref).collect();
        let origin;
        let change = match (change, &words[..]) {
            ("set", [name, rules @ ..]) => UsersChange::Set { name, rules },
            ("delete", names) => UsersChange::Remove { names },
            ("load", [list, name]) => {
                origin = shown(name).into_owned();
                UsersChange::Load {
                    list,
                    origin: &origin,
                }
            }
            (other, _) => return Err(to_python(format!("{other:?} is no change of users"))),
        };
        let changed = self.engine.borrow_mut().change_users(&change, client_id);
        self.settle(py)?;
        changed.map_err(|error| YggdrasilError::new_err(error.to_string()))
    }

    /// The name and the line of each user, by their names.
    fn users<'py>(&self, py: Python<'py>) -> Vec<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
        let engine = self.engine.borrow();
        let users = engine.users().iter();
        users
            .map(|user| {
                let (name, line) = (user.name(), user.line());
                (PyBytes::new(py, name), PyBytes::new(py, &line))
            })
            .collect()
    }

    /// A user: flags, hashes of passwords, and the rules of its selectors about commands, keys and channels.
    fn user<'py>(&self, py: Python<'py>, name: &[u8]) -> PyResult<Option<Bound<'py, PyDict>>> {
        let engine = self.engine.borrow();
        let Some(user) = engine.users().get(name) else {
            return Ok(None);
        };
        let dict = PyDict::new(py);
        dict.set_item("flags", user.flags().collect::<Vec<_>>())?;
        dict.set_item("passwords", user.passwords().collect::<Vec<_>>())?;
        let selectors = user.selectors().iter();
        let rules: Vec<_> = selectors
            .map(|selector| selector_rules(py, selector))
            .collect();
        dict.set_item("selectors", rules)?;
        Ok(Some(dict))
    }

    /// Says what of a request a user may not do; nothing where all of it is allowed.
    fn dry_run(&self, name: &[u8], args: Vec<Vec<u8>>) -> PyResult<Option<String>> {
        let engine = self.engine.borrow();
        let refused = |text: String| Err(ReplyError::new_err(text));
        let Some(user) = engine.users().get(name) else {
            return refused(format!("ERR User '{}' not found", shown(name)));
        };
        let args: ArgsBuffer = args.iter().map(Vec::as_slice).collect();
        let table = engine.table();
        let command = match table.lookup(&args.as_args()) {
            Ok(command) => command,
            Err(error @ CommandError::WrongArity(_)) => return refused(error.to_string()),
            Err(_) => {
                let name = shown(args.as_args().at(0)).into_owned();
                return refused(format!("ERR Command '{name}' not found"));
            }
        };
        let row = table.spec(command);
        let denial = user.check(command, row, &args.as_args()).err();
        Ok(denial.map(|denial| explain(user, row.name, denial, &args)))
    }

    /// What users were denied on this worker, the latest first.
    fn denials<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let entries = self.engine.borrow().denials();
        entries.iter().map(|entry| denial_dict(py, entry)).collect()
    }

    /// Forgets them.
    fn forget_denials(&self) {
        self.engine.borrow_mut().forget_denials();
    }
}
