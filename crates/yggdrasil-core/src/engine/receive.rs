//! Bytes from clients: taken, kept until they are executed, and held back from those who send too fast.

use super::pending::SessionRef;
use super::session::Wait;
use super::{Engine, Event, KEEP_BUFFER_BYTES};
use crate::stats::Counter;

/// Received batches after which the reports of other readers are looked at: their rings hold a few hundred.
const BATCHES_PER_REPORT: u32 = 64;
/// What is longer waits behind those who wait for their turns.
const LONG_INPUT_BYTES: usize = 4 * 1024;

impl Engine {
    /// Takes bytes that a client sent.
    pub fn receive(&mut self, at: SessionRef, bytes: &[u8]) {
        if self.stage(at, bytes) {
            return;
        }
        // Among them may be what this client sent before.
        self.run_staged();
        self.read_clock();
        self.count_batch();
        self.stats.add(Counter::InputBytes, bytes.len() as u64);
        let now = self.now;
        let Some(session) = self.session(at) else {
            return;
        };
        session.active_at = now;
        session.input_total += bytes.len() as u64;
        if session.closing {
            return;
        }
        let taken = if session.wait == Wait::None {
            self.feed_incoming(at.index, bytes)
        } else {
            0
        };
        let bytes = &bytes[taken..];
        if bytes.is_empty() && self.is_receiving(at.index) {
            self.settle();
            return;
        }
        let session = &mut self.sessions[at.index];
        let is_first = session.wait == Wait::None && session.input.is_empty();
        if is_first && bytes.len() > LONG_INPUT_BYTES && !self.steps.turns.is_empty() {
            self.keep_input(at.index, bytes);
            self.suspend(at.index, Wait::Turn);
        } else if is_first {
            let consumed = self.execute_input(at.index, bytes);
            self.keep_input(at.index, &bytes[consumed..]);
        } else {
            let session = &mut self.sessions[at.index];
            session.input.extend_from_slice(bytes);
            if session.wait == Wait::None {
                self.run_buffered(at.index);
            }
        }
        self.check_query_buffer(at.index);
        self.settle();
    }

    /// The driver has put `bytes` more bytes into the session's input.
    pub fn received_into_input(&mut self, at: SessionRef, bytes: usize) {
        self.run_staged();
        self.read_clock();
        self.stats.add(Counter::InputBytes, bytes as u64);
        let now = self.now;
        let Some(session) = self.session(at) else {
            return;
        };
        session.active_at = now;
        session.input_total += bytes as u64;
        session.input_wanted = session.input_wanted.saturating_sub(bytes);
        if session.input_wanted == 0 && session.wait == Wait::None && !session.closing {
            self.run_buffered(at.index);
        }
        self.check_query_buffer(at.index);
        self.settle();
    }

    pub(super) fn count_batch(&mut self) {
        self.batches = self.batches.wrapping_add(1);
        if self.batches.is_multiple_of(BATCHES_PER_REPORT) {
            self.note_reported_uses();
        }
    }

    pub(super) fn keep_input(&mut self, index: usize, rest: &[u8]) {
        let Some(session) = self.sessions.get_mut(index) else {
            return;
        };
        if !rest.is_empty() && !session.closing {
            session
                .input
                .reserve_exact(rest.len() + session.input_wanted.min(self.options.bulk_bytes_max));
            session.input.extend_from_slice(rest);
        }
    }

    /// Executes what a session has received and not executed.
    pub(super) fn run_buffered(&mut self, index: usize) {
        let mut input = std::mem::take(&mut self.sessions[index].input);
        if self.is_receiving(index) {
            let taken = self.feed_incoming(index, &input);
            input.drain(..taken);
            let session = &mut self.sessions[index];
            // What stands before a long argument that is complete now.
            session.input.append(&mut input);
            if session.wait != Wait::None || self.is_receiving(index) {
                self.drop_cut_off(index);
                self.pace_reading(index);
                return;
            }
            input = std::mem::take(&mut self.sessions[index].input);
        }
        let consumed = self.execute_input(index, &input);
        let Some(session) = self.sessions.get_mut(index) else {
            return;
        };
        let begun = std::mem::take(&mut session.input);
        if !begun.is_empty() {
            // All was taken, and this is what stands around a long argument that is arriving.
            input = begun;
        } else if consumed == input.len() {
            input.clear();
            if input.capacity() > KEEP_BUFFER_BYTES {
                input = Vec::new();
            }
        } else if consumed > 0 {
            input.drain(..consumed);
        }
        input.reserve(session.input_wanted.min(self.options.bulk_bytes_max));
        session.input = input;
        self.drop_cut_off(index);
        self.pace_reading(index);
    }

    /// Stops reading from a client that is far ahead of what can be executed, and starts again.
    pub(super) fn pace_reading(&mut self, index: usize) {
        if !self.sessions.contains(index) {
            return;
        }
        let is_ahead = self.is_ahead_of_log(index);
        let session = &mut self.sessions[index];
        let waits = session.wait != Wait::None && session.input.len() > 4 * KEEP_BUFFER_BYTES;
        let full = waits || is_ahead;
        if full != session.reading_stopped {
            session.reading_stopped = full;
            let event = Event::Reading {
                session: session.at,
                on: !full,
            };
            self.events.push(event);
        }
    }

    pub(super) fn check_query_buffer(&mut self, index: usize) {
        self.pace_reading(index);
        let Some(session) = self.sessions.get_mut(index) else {
            return;
        };
        if session.input.len() > self.options.query_buffer_bytes_max {
            self.stats.add(Counter::InputLimitDisconnects, 1);
            self.close_after_output(index);
        }
    }

    /// Closes a connection once its output is sent.
    pub(super) fn close_after_output(&mut self, index: usize) {
        self.drop_incoming(index);
        let session = &mut self.sessions[index];
        session.closing = true;
        session.input = Vec::new();
        self.touch(index);
    }

    /// Closes a connection at once: what is held for its client will never be read.
    pub(super) fn drop_session(&mut self, index: usize) {
        let session = &mut self.sessions[index];
        session.dropped = true;
        session.output.clear();
        self.close_after_output(index);
    }
}
