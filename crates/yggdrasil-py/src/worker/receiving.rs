//! From sockets into the engine.

use pyo3::prelude::*;
use yggdrasil_core::engine::{Room, SessionRef};

use super::{SLICE_BYTES, Worker};
use crate::buffer::{ReadTarget, ReceiveBuffer};

impl Worker {
    pub(crate) fn buffer_for<'py>(
        &self,
        py: Python<'py>,
        at: Option<SessionRef>,
    ) -> Bound<'py, ReceiveBuffer> {
        let buffer = self.buffer.get_or_init(|| {
            Py::new(py, ReceiveBuffer::new()).expect("there is memory for the receive buffer")
        });
        let mut engine = self.engine.borrow_mut();
        match at.and_then(|at| engine.input_room(at, SLICE_BYTES as u64)) {
            Some(Room::Input(input)) if input.capacity() > input.len() => buffer.get().lend(input),
            Some(Room::Pages(start, len)) => buffer.get().lend_pages(start, len),
            _ => buffer.get().use_shared(),
        }
        buffer.bind(py).clone()
    }

    pub(crate) fn received(&self, py: Python<'_>, at: SessionRef, bytes: usize) -> PyResult<()> {
        let Some(buffer) = self.buffer.get() else {
            return Ok(());
        };
        let target = buffer.get().target();
        {
            let mut engine = self.engine.borrow_mut();
            match target {
                ReadTarget::Shared => engine.receive(at, buffer.get().received(bytes)),
                ReadTarget::Pages { .. } => engine.received_into_pages(at, bytes),
                ReadTarget::Input => {
                    let claimed = match engine.input_room(at, 0) {
                        Some(Room::Input(input)) => buffer.get().claim(input, bytes),
                        _ => false,
                    };
                    if claimed {
                        engine.received_into_input(at, bytes);
                    }
                }
            }
        }
        if target == (ReadTarget::Pages { room: bytes }) {
            // There is more: others have their turn first.
            self.rest(py, at)?;
        } else if self.engine.borrow().is_quiet() {
            return Ok(());
        }
        self.settle_soon(py)
    }

    /// Does not read from a client before the next round.
    fn rest(&self, py: Python<'_>, at: SessionRef) -> PyResult<()> {
        if let Some(connection) = self.connection_of(py, at) {
            connection.get().set_resting(py, true)?;
            self.resting.borrow_mut().push(at);
        }
        Ok(())
    }

    pub(super) fn end_rest(&self, py: Python<'_>) -> PyResult<()> {
        for at in self.resting.take() {
            if let Some(connection) = self.connection_of(py, at) {
                connection.get().set_resting(py, false)?;
            }
        }
        Ok(())
    }
}
