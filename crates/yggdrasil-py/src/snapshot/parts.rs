//! A large collection as a record in parts, so that no step of its owner takes long.

use std::cell::RefCell;

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use yggdrasil_core::keyspace::collection::Collection;
use yggdrasil_core::keyspace::collection::tree::Wreckage;

use crate::confined::Confined;
use crate::worker::{Worker, reserved};

/// Nodes that are freed in a step.
const FREED_AT_ONCE: usize = 1000;

enum State {
    Head(Vec<u8>, Collection),
    Elements(u64, Collection),
    /// What others have changed since is this copy's alone.
    Remains(Box<dyn Wreckage>),
    Done,
}

/// The record of an entry with a tree, as it was at one moment.
#[pyclass(frozen, module = "yggdrasil._core")]
pub struct RecordParts {
    #[pyo3(get)]
    number: u64,
    state: Confined<RefCell<State>>,
}

#[pymethods]
impl RecordParts {
    /// The next part, of about so many bytes; an empty one while the copy is given up, `None` at the end.
    fn next<'py>(&self, py: Python<'py>, bytes: usize) -> Option<Bound<'py, PyBytes>> {
        let mut state = self.state.borrow_mut();
        let mut part = Vec::new();
        *state = match std::mem::replace(&mut *state, State::Done) {
            State::Head(head, tree) => {
                part = head;
                State::Elements(0, tree)
            }
            State::Elements(position, tree) => {
                match tree.write_from(position, bytes.max(1), &mut part) {
                    Some(next) => State::Elements(next, tree),
                    None => State::Remains(tree.into_wreck()),
                }
            }
            State::Remains(mut remains) => {
                let (_, left) = remains.free(FREED_AT_ONCE);
                if left > 0 {
                    return None;
                }
                State::Remains(remains)
            }
            State::Done => return None,
        };
        Some(PyBytes::new(py, &part))
    }
}

#[pymethods]
impl Worker {
    /// The record of an entry of a physical database in parts; None for one without a tree. `BlockingIOError` while a
    /// transaction is changing the shard.
    fn record_parts(&self, physical: u8, key: &[u8]) -> PyResult<Option<RecordParts>> {
        let engine = self.engine.borrow();
        let shard = engine.settled().ok_or_else(reserved)?;
        let found = shard.tree_record_of(physical, key);
        Ok(found.map(|(number, head, tree)| RecordParts {
            number,
            state: Confined::new(RefCell::new(State::Head(head, tree))),
        }))
    }
}
