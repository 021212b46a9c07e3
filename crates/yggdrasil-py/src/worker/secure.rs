//! Into the transport of TLS, which encrypts what it is given.

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use yggdrasil_core::engine::SessionRef;

use super::{SLICE_BYTES, Worker, close_if_over};
use crate::connection::Connection;

/// Bytes that the transport is given at once: some records of 16 KB.
const PIECE_BYTES: usize = 64 * 1024;

impl Worker {
    /// Gives the transport a session's output piece by piece: a slice now, the next one when all others had their turn.
    /// Long values are copied here, a piece at a time, since they have to be encrypted.
    pub(super) fn flush_secure(
        &self,
        py: Python<'_>,
        at: SessionRef,
        connection: &Connection,
    ) -> PyResult<()> {
        if self.unfinished.borrow().contains(&at) {
            // Its turn comes.
            return Ok(());
        }
        let mut left = SLICE_BYTES.min(self.round_left.get());
        loop {
            if left == 0 {
                self.unfinished.borrow_mut().push_back(at);
                return self.settle_soon(py);
            }
            let Some(piece) = self.next_piece(py, at, left.min(PIECE_BYTES)) else {
                return close_if_over(py, self.engine.borrow_mut(), at, connection);
            };
            let bytes = piece.as_bytes().len();
            left = left.saturating_sub(bytes);
            self.round_left
                .set(self.round_left.get().saturating_sub(bytes));
            self.engine.borrow_mut().sent(at, bytes, false);
            if !connection.hand_over(piece)? {
                return Ok(());
            }
            self.engine.borrow_mut().sent(at, 0, true);
        }
    }

    /// The next bytes of a session's output; `None` when there are none.
    fn next_piece<'py>(
        &self,
        py: Python<'py>,
        at: SessionRef,
        at_most: usize,
    ) -> Option<Bound<'py, PyBytes>> {
        let mut engine = self.engine.borrow_mut();
        if engine.has_views(at) {
            let copied = engine.unsent_copy(at, at_most);
            return (!copied.is_empty()).then(|| PyBytes::new(py, &copied));
        }
        let unsent = engine.unsent(at);
        let piece = &unsent[..unsent.len().min(at_most)];
        (!piece.is_empty()).then(|| PyBytes::new(py, piece))
    }
}
