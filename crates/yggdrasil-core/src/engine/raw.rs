//! Bytes that a Python command sends before its reply, such as a file.

use super::Engine;
use super::pending::SessionRef;

/// The state of a session that a command sends bytes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Raw {
    /// The bytes are taken; so many are not sent yet.
    Taken(usize),
    /// Replies to earlier requests are still due: nothing was taken.
    Early,
    /// The client has gone.
    Gone,
}

impl Engine {
    /// Sends bytes to the client of a command whose reply is still due.
    pub fn send_raw(&mut self, at: SessionRef, slot: u64, bytes: &[u8]) -> Raw {
        let Some(session) = self.session(at) else {
            return Raw::Gone;
        };
        let first = session.slots.opened() - session.slots.len() as u64;
        if first != slot {
            return Raw::Early;
        }
        session.output.buffer().extend_from_slice(bytes);
        let unsent = session.output.len();
        self.touch(at.index);
        Raw::Taken(unsent)
    }
}
