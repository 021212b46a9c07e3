//! Bytes of connections by TLS: decrypted before the engine gets them, encrypted after it has given them.

use pyo3::prelude::*;
use yggdrasil_core::engine::SessionRef;

use super::{SLICE_BYTES, Worker, close_if_over};
use crate::connection::Connection;
use crate::socket;

/// Bytes that are encrypted at once: some records of 16 KB, which wait in memory where the socket takes no more.
const PIECE_BYTES: usize = 64 * 1024;

impl Worker {
    /// Decrypts what was read into the shared buffer, and gives it to the engine.
    pub(crate) fn received_secure(
        &self,
        connection: &Bound<'_, Connection>,
        bytes: usize,
    ) -> PyResult<()> {
        let py = connection.py();
        let this = connection.get();
        let Some(buffer) = self.buffer.get() else {
            return Ok(());
        };
        let mut rest = buffer.get().received(bytes);
        while !rest.is_empty() {
            let came = match &mut *this.tls() {
                Some(tls) => tls.take(&mut rest),
                None => return Ok(()),
            };
            this.push_encrypted(py)?;
            let Ok(came) = came else {
                return this.close(py);
            };
            if came.is_open {
                self.give_decrypted(connection)?;
            }
            if came.is_end {
                return self.end_secure(py, this);
            }
        }
        if self.engine.borrow().is_quiet() {
            return Ok(());
        }
        self.settle_soon(py)
    }

    /// Gives the engine what was decrypted; the first time it opens the session.
    fn give_decrypted(&self, connection: &Bound<'_, Connection>) -> PyResult<()> {
        let this = connection.get();
        if this.at().is_none() {
            Connection::open_secure(connection)?;
        }
        if let Some(at) = this.at()
            && let Some(tls) = &mut *this.tls()
        {
            let mut engine = self.engine.borrow_mut();
            tls.read(|decrypted| engine.receive(at, decrypted));
        }
        Ok(())
    }

    /// The client has said that it sends no more: what it has asked for is answered.
    fn end_secure(&self, py: Python<'_>, connection: &Connection) -> PyResult<()> {
        let keeps = match connection.at() {
            Some(at) => self.ended(py, at)?,
            None => false,
        };
        if keeps { Ok(()) } else { connection.close(py) }
    }

    /// Encrypts a session's output piece by piece, and sends it as far as the socket takes it: a slice now, the next one
    /// when all others had their turn. Long values are read where they lie.
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
            let bytes = self.encrypt_next(at, connection, left.min(PIECE_BYTES));
            if bytes == 0 {
                return close_if_over(py, self.engine.borrow_mut(), at, connection);
            }
            left = left.saturating_sub(bytes);
            self.round_left
                .set(self.round_left.get().saturating_sub(bytes));
            let is_held = connection.push_encrypted(py)?;
            self.engine.borrow_mut().sent(at, bytes, !is_held);
            if is_held {
                return Ok(());
            }
        }
    }

    /// Encrypts about so many bytes of a session's output; how many it were.
    fn encrypt_next(&self, at: SessionRef, connection: &Connection, at_most: usize) -> usize {
        let mut tls = connection.tls();
        let Some(tls) = &mut *tls else { return 0 };
        let mut engine = self.engine.borrow_mut();
        if engine.has_views(at) {
            let unsent = engine.unsent_pieces(at, at_most);
            socket::each_piece(&unsent, |piece| tls.write(piece));
            return unsent.len();
        }
        let unsent = engine.unsent(at);
        let piece = &unsent[..unsent.len().min(at_most)];
        tls.write(piece);
        piece.len()
    }
}
