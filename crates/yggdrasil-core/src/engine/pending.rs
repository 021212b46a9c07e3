//! What this worker waits for: tickets of messages to other workers, and replies that are put together from parts.

use slab::Slab;

use super::output::Tail;
use super::script_queries::{KILLED, NOTHING_RUNS};
use super::spare::Spare;
use super::spread::SpreadId;
use crate::commands::Join;

/// A session, safe against the reuse of its index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionRef {
    /// Index in the engine's slab.
    pub index: usize,
    /// Client id: never used twice.
    pub client: u64,
}

/// Who gets the reply of another worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waiter {
    /// A reply slot of a session.
    Slot { session: SessionRef, slot: u64 },
    /// One part of a gathered reply.
    Part { gather: usize, part: usize },
    /// A transaction whose next shard is reserved.
    Reserved { transaction: usize },
    /// A call from Python.
    Call { call: u64 },
    /// A request of a Python command.
    Execution { execution: u64 },
    /// A request that waits at several shards.
    Spread { spread: SpreadId },
    /// A script that has sent a request.
    Script { script: usize },
    /// A reply that waits for changes to be durable.
    Acknowledged { index: usize },
    /// A session whose reply another worker makes in steps.
    Rest { session: SessionRef },
    /// A group of changes of several shards that may not be durable everywhere.
    Settled { group: u64 },
}

struct Pending {
    waiter: Waiter,
    serial: u32,
    target: usize,
    incarnation: u32,
}

/// Tickets that are out.
#[derive(Default)]
pub struct Tickets {
    pending: Slab<Pending>,
    serial: u32,
}

impl Tickets {
    /// Gives back what is kept of the time when most tickets were out.
    pub fn give_back(&mut self) {
        self.pending.give_back();
    }

    /// Gives out a ticket for a message to the worker `target` of that incarnation.
    pub fn issue(&mut self, waiter: Waiter, target: usize, incarnation: u32) -> u64 {
        self.serial = self.serial.wrapping_add(1);
        let index = self.pending.insert(Pending {
            waiter,
            serial: self.serial,
            target,
            incarnation,
        });
        index as u64 | u64::from(self.serial) << 32
    }

    /// Takes a ticket back; `None` for one that is unknown or was already taken back.
    pub fn redeem(&mut self, ticket: u64) -> Option<Waiter> {
        let index = (ticket & u64::from(u32::MAX)) as usize;
        let known = self.pending.get(index)?;
        (u64::from(known.serial) == ticket >> 32).then(|| self.pending.remove(index).waiter)
    }

    /// Takes back all tickets that went to an earlier incarnation of `target`.
    pub fn redeem_lost(&mut self, target: usize, incarnation: u32) -> Vec<Waiter> {
        let lost: Vec<usize> = self
            .pending
            .iter()
            .filter(|(_, pending)| pending.target == target && pending.incarnation != incarnation)
            .map(|(index, _)| index)
            .collect();
        lost.into_iter()
            .map(|index| self.pending.remove(index).waiter)
            .collect()
    }

    /// Who waits for a ticket that is out.
    pub fn waiter(&self, ticket: u64) -> Option<Waiter> {
        let known = self.pending.get((ticket & u64::from(u32::MAX)) as usize)?;
        (u64::from(known.serial) == ticket >> 32).then_some(known.waiter)
    }

    /// Tickets that are out.
    pub fn len(&self) -> usize {
        self.pending.len()
    }
}

/// Who gets a gathered reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Receiver {
    /// A reply slot of a session.
    Slot { session: SessionRef, slot: u64 },
    /// The next step of a transaction.
    Transaction(usize),
}

/// A reply in the making.
pub struct Gather {
    /// How the parts become one reply.
    pub join: Join,
    /// For [`Join::InOrder`]: the part that holds the reply of each key, in the order of the keys. For [`Join::Any`]:
    /// the part to look at first.
    pub order: Vec<u8>,
    /// The parts that are there.
    pub parts: Vec<Option<Vec<u8>>>,
    /// What is made later of the reply, of one with a single part.
    pub tail: Option<Tail>,
    /// Who gets it.
    pub receiver: Receiver,
}

impl Gather {
    /// A gather of `parts` parts.
    pub fn new(join: Join, order: Vec<u8>, parts: usize, receiver: Receiver) -> Self {
        Self {
            join,
            order,
            parts: vec![None; parts],
            tail: None,
            receiver,
        }
    }

    /// True when all parts are there.
    pub fn is_complete(&self) -> bool {
        self.parts.iter().all(Option::is_some)
    }

    /// The parts as they came.
    pub fn into_parts(self) -> Vec<Vec<u8>> {
        self.parts.into_iter().flatten().collect()
    }

    /// The reply. An error in any part is the reply.
    pub fn finish(self) -> Vec<u8> {
        let parts: Vec<Vec<u8>> = self.parts.into_iter().flatten().collect();
        join_replies(self.join, &self.order, parts)
    }
}

fn join_replies(join: Join, order: &[u8], mut parts: Vec<Vec<u8>>) -> Vec<u8> {
    if join == Join::Killed {
        let ended = parts.iter().position(|part| part == KILLED);
        let refused = || parts.iter().position(|part| part != NOTHING_RUNS);
        let said = ended.or_else(refused).unwrap_or(0);
        return parts.swap_remove(said);
    }
    if let Some(error) = parts.iter().position(|part| part.first() == Some(&b'-')) {
        return parts.swap_remove(error);
    }
    match join {
        _ if parts.len() == 1 => parts.remove(0),
        Join::Killed => Vec::new(),
        Join::Sum => {
            let sum: i64 = parts.iter().map(|part| parse_header(part).0).sum();
            format!(":{sum}\r\n").into_bytes()
        }
        Join::AllOk => b"+OK\r\n".to_vec(),
        Join::Any => {
            let preferred = order.first().copied().unwrap_or_default();
            parts.rotate_left(usize::from(preferred));
            let found = parts.iter().position(|part| !is_null(part));
            parts.swap_remove(found.unwrap_or(0))
        }
        Join::Concat => {
            let headers: Vec<_> = parts.iter().map(|part| parse_header(part)).collect();
            let count: i64 = headers.iter().map(|header| header.0).sum();
            let mut reply = format!("*{count}\r\n").into_bytes();
            for (part, header) in parts.iter().zip(&headers) {
                reply.extend_from_slice(&part[header.1..]);
            }
            reply
        }
        Join::InOrder => {
            let mut rest: Vec<&[u8]> = parts
                .iter()
                .map(|part| &part[parse_header(part).1..])
                .collect();
            let mut reply = format!("*{}\r\n", order.len()).into_bytes();
            for &part in order {
                let rest = &mut rest[part as usize];
                let (element, behind) = rest.split_at(element_bytes(rest));
                reply.extend_from_slice(element);
                *rest = behind;
            }
            reply
        }
    }
}

fn is_null(reply: &[u8]) -> bool {
    matches!(reply, b"$-1\r\n" | b"_\r\n")
}

/// The number in the first line of a reply that this program made, and the bytes of that line.
fn parse_header(reply: &[u8]) -> (i64, usize) {
    let end = memchr::memchr(b'\n', reply).map_or(reply.len(), |at| at + 1);
    let digits = reply.get(1..end.saturating_sub(2)).unwrap_or_default();
    let number = std::str::from_utf8(digits)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    (number, end)
}

/// Bytes of the bulk string or null at the start of `reply`.
fn element_bytes(reply: &[u8]) -> usize {
    let (length, header) = parse_header(reply);
    let whole = if reply.first() == Some(&b'$') && length >= 0 {
        header + length as usize + 2
    } else {
        header
    };
    whole.min(reply.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(texts: &[&str]) -> Vec<Vec<u8>> {
        texts.iter().map(|text| text.as_bytes().to_vec()).collect()
    }

    #[test]
    fn sums_and_concatenations_are_joined() {
        assert_eq!(
            join_replies(Join::Sum, &[], parts(&[":2\r\n", ":40\r\n"])),
            b":42\r\n"
        );
        let keys = join_replies(
            Join::Concat,
            &[],
            parts(&["*1\r\n$1\r\na\r\n", "*0\r\n", "*1\r\n$1\r\nb\r\n"]),
        );
        assert_eq!(keys, b"*2\r\n$1\r\na\r\n$1\r\nb\r\n");
    }

    #[test]
    fn values_come_in_the_order_of_their_keys() {
        let values = parts(&["*2\r\n$1\r\na\r\n$-1\r\n", "*1\r\n$4\r\n$3\r\n\r\n"]);
        assert_eq!(
            join_replies(Join::InOrder, &[0, 1, 0], values),
            b"*3\r\n$1\r\na\r\n$4\r\n$3\r\n\r\n$-1\r\n"
        );
    }

    #[test]
    fn any_reply_is_taken_that_is_not_null() {
        let replies = parts(&["$1\r\na\r\n", "$-1\r\n", "$1\r\nc\r\n"]);
        assert_eq!(
            join_replies(Join::Any, &[0], replies.clone()),
            b"$1\r\na\r\n"
        );
        assert_eq!(join_replies(Join::Any, &[1], replies), b"$1\r\nc\r\n");
        assert_eq!(
            join_replies(Join::Any, &[1], parts(&["_\r\n", "_\r\n"])),
            b"_\r\n"
        );
    }

    #[test]
    fn an_error_in_one_part_is_the_reply() {
        assert_eq!(
            join_replies(Join::AllOk, &[], parts(&["+OK\r\n", "-OOM no\r\n"])),
            b"-OOM no\r\n"
        );
    }

    #[test]
    fn a_ticket_is_redeemed_once() {
        let mut tickets = Tickets::default();
        let waiter = Waiter::Call { call: 7 };
        let ticket = tickets.issue(waiter, 1, 1);
        assert_eq!(tickets.redeem(ticket), Some(waiter));
        assert_eq!(tickets.redeem(ticket), None);
        let lost = tickets.issue(waiter, 1, 1);
        tickets.issue(waiter, 2, 1);
        assert_eq!(tickets.redeem_lost(1, 2), vec![waiter]);
        assert_eq!(tickets.redeem(lost), None);
        assert_eq!(tickets.len(), 1);
    }
}
