//! Short requests that one round of the event loop brought, executed together.
//!
//! A client that sends one request at a time gives nothing to prefetch: the request would wait for its own cache lines.
//! So the requests of all clients are parsed as they come, the index lines of their keys are asked for, and they are
//! executed when the sockets have been read, just before the replies leave (as those of one pipeline are, see
//! `dispatch`).

use super::Engine;
use super::dispatch::Plan;
use super::pending::SessionRef;
use super::session::Wait;
use crate::resp::{Limits, Parsed, Parser, Requests};
use crate::stats::Counter;

/// Bytes that are staged of one client: with more the copy is not worth it,
const BYTES_EACH: usize = 1024;
/// and so many requests are executed at once: a pipeline gains nothing by others.
const PIPELINE: usize = 8;
/// Requests after which those that wait are executed: what was asked for must still be in the cache then.
const REQUESTS: usize = 128;

/// What is parsed and not executed.
#[derive(Default)]
pub(super) struct Staged {
    bytes: Vec<u8>,
    requests: Requests,
    plans: Vec<Plan>,
    parts: Vec<Part>,
}

/// What came from one client: up to there in the bytes, and among the requests.
struct Part {
    at: SessionRef,
    bytes_end: usize,
    requests_end: usize,
}

impl Staged {
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.requests.clear();
        self.plans.clear();
        self.parts.clear();
    }
}

impl Engine {
    /// Takes whole requests that are to be executed at the end of the round. False where they are not whole, or gain
    /// nothing by waiting.
    pub(super) fn stage(&mut self, at: SessionRef, bytes: &[u8]) -> bool {
        if bytes.len() > BYTES_EACH {
            return false;
        }
        if self.staged.requests.len() >= REQUESTS {
            self.run_staged();
        }
        let Some(session) = self.session(at) else {
            return false;
        };
        let is_plain = session.wait == Wait::None
            && session.input.is_empty()
            && session.incoming.is_none()
            && !session.closing
            && !session.staged
            && !session.gates.is_held();
        if !is_plain || !self.parse_staged(bytes) {
            return false;
        }
        let db = self.sessions[at.index].db;
        let first = self.staged.plans.len();
        for request in first..self.staged.requests.len() {
            let args = self.staged.requests.args(request, &self.staged.bytes);
            let plan = self.plan_ahead(&args, db);
            self.staged.plans.push(plan);
        }
        self.staged.parts.push(Part {
            at,
            bytes_end: self.staged.bytes.len(),
            requests_end: self.staged.requests.len(),
        });
        self.stats.add(Counter::InputBytes, bytes.len() as u64);
        let session = &mut self.sessions[at.index];
        session.staged = true;
        session.input_total += bytes.len() as u64;
        if self.staged.requests.len() - first >= PIPELINE {
            self.run_staged();
        }
        true
    }

    /// Parses whole requests, nothing else, behind those that are staged.
    fn parse_staged(&mut self, bytes: &[u8]) -> bool {
        let limits = Limits {
            bulk_bytes_max: self.options.bulk_bytes_max,
            ..Limits::default()
        };
        let Staged {
            bytes: staged,
            requests,
            ..
        } = &mut self.staged;
        let (bytes_before, requests_before) = (staged.len(), requests.len());
        staged.extend_from_slice(bytes);
        let (mut parser, mut start) = (Parser::default(), bytes_before);
        while start < staged.len() {
            if parser.next(staged, &mut start, &limits, requests) != Ok(Parsed::Request) {
                staged.truncate(bytes_before);
                requests.truncate(requests_before);
                return false;
            }
        }
        true
    }

    /// Executes what waits for the end of the round.
    pub(super) fn run_staged(&mut self) {
        if self.staged.is_empty() {
            return;
        }
        self.read_clock();
        // Their memory is kept; nothing is staged while they are executed.
        let mut staged = std::mem::take(&mut self.staged);
        self.prefetch_entries(&staged.plans);
        if staged.plans.iter().any(|plan| plan.element_at != 0) {
            self.prefetch_elements(&staged.bytes, &staged.requests, &staged.plans);
        }
        let (mut start, mut first) = (0, 0);
        // They are so few that all have their turns at once.
        let mut short = usize::MAX;
        for part in &staged.parts {
            let bytes = start..part.bytes_end;
            let requests = first..part.requests_end;
            (start, first) = (part.bytes_end, part.requests_end);
            self.count_batch();
            let now = self.now;
            let Some(session) = self.session(part.at) else {
                continue;
            };
            session.staged = false;
            session.active_at = now;
            if session.closing {
                continue;
            }
            let index = part.at.index;
            let input = &staged.bytes[..part.bytes_end];
            let stopped = self
                .execute_planned(
                    index,
                    input,
                    &staged.requests,
                    &staged.plans,
                    requests,
                    &mut short,
                )
                .unwrap_or(bytes.end);
            self.keep_input(index, &input[stopped..]);
            self.check_query_buffer(index);
        }
        staged.clear();
        self.staged = staged;
        self.settle();
    }
}
