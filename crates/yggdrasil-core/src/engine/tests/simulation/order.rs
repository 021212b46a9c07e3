//! Looks for an order of all requests in which a model gives the replies that clients got (Wing and Gong 1993).

use std::collections::HashSet;
use std::fmt;

use super::elements;
use super::model::{Model, Operation};
use super::workload::KEYS;

/// One operation, with when it was asked for and answered.
#[derive(Debug)]
pub(super) struct Happened {
    pub client: usize,
    pub resp3: bool,
    pub operation: Operation,
    pub reads_only: bool,
    /// When all of it had been sent; never for one that was cut off.
    pub invoked: Option<u64>,
    /// When the last of its replies came.
    pub replied: Option<u64>,
    pub replies: Vec<u8>,
}

impl fmt::Display for Happened {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |bytes: &[u8]| bytes[..bytes.len().min(24)].escape_ascii().to_string();
        let request = |command: &Vec<Vec<u8>>| {
            let words: Vec<_> = command.iter().map(|word| short(word)).collect();
            words.join(" ")
        };
        let requests: Vec<_> = self.operation.requests().iter().map(request).collect();
        let (requests, replies) = (requests.join("; "), &self.replies);
        let replies = replies[..replies.len().min(120)].escape_ascii();
        let (invoked, replied) = (self.invoked, self.replied);
        write!(
            to,
            "client {} at {invoked:?}..{replied:?}: {requests} -> {replies}",
            self.client
        )
    }
}

/// The search gives up after so many steps: then it says nothing.
const STEPS_MAX: usize = 300_000;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Explained,
    Impossible,
    /// Too much to look through.
    Undecided,
}

/// The operations that must come before each, as bits.
fn predecessors(all: &[Happened]) -> Vec<u64> {
    let comes_before = |(a_at, a): (usize, &Happened), (b_at, b): (usize, &Happened)| {
        let ended = a.replied.zip(b.invoked).is_some_and(|(a, b)| a < b);
        let in_turn = a.client == b.client
            && a_at < b_at
            && (a.reads_only && b.reads_only || shares_key(&a.operation, &b.operation));
        ended || in_turn
    };
    let of = |b: (usize, &Happened)| {
        let before = all.iter().enumerate().filter(|a| comes_before(*a, b));
        before.fold(0, |bits, (at, _)| bits | 1 << at)
    };
    all.iter().enumerate().map(of).collect()
}

fn shares_key(a: &Operation, b: &Operation) -> bool {
    let keys = |operation: &Operation| -> Vec<Vec<u8>> {
        let words = operation.commands().iter();
        let words = words.flat_map(|command| command[1..].iter());
        let is_key = |word: &&Vec<u8>| {
            KEYS.iter().any(|key| key.as_bytes() == word.as_slice()) || elements::is_key(word)
        };
        words.filter(is_key).cloned().collect()
    };
    let all = |operation: &Operation| {
        let mut commands = operation.commands().iter();
        commands.any(|command| command[0] == b"FLUSHALL" || command[0] == b"WATCH")
            || matches!(operation, Operation::Multi(_))
    };
    let (of_a, of_b) = (keys(a), keys(b));
    all(a) || all(b) || of_a.iter().any(|key| of_b.contains(key))
}

/// Looks for an order of the operations, at most 64, that gives their replies.
pub(super) fn explain(all: &[Happened]) -> Verdict {
    assert!(all.len() <= 64, "a bit stands for an operation");
    let before = predecessors(all);
    let answered = all.iter().enumerate();
    let answered = answered
        .filter(|(_, happened)| happened.replied.is_some())
        .fold(0_u64, |bits, (at, _)| bits | 1 << at);
    let mut by_end: Vec<usize> = (0..all.len())
        .filter(|at| all[*at].invoked.is_some())
        .collect();
    by_end.sort_by_key(|at| std::cmp::Reverse(all[*at].replied.unwrap_or(u64::MAX)));
    let mut seen = HashSet::new();
    let mut open = vec![(0_u64, Model::default())];
    while let Some((done, model)) = open.pop() {
        if done & answered == answered {
            return Verdict::Explained;
        }
        if !seen.insert((done, model.fingerprint())) {
            continue;
        }
        if seen.len() > STEPS_MAX {
            return Verdict::Undecided;
        }
        for &at in &by_end {
            // What never ran keeps nothing from running.
            let waits_for = before[at] & answered & !done;
            if done & 1 << at != 0 || waits_for != 0 {
                continue;
            }
            let happened = &all[at];
            let mut next = model.clone();
            let reply = next.apply(happened.client, &happened.operation, happened.resp3);
            if happened.replied.is_none() || reply == happened.replies {
                open.push((done | 1 << at, next));
            }
        }
    }
    Verdict::Impossible
}

/// The operations without whose reply there would be an order.
pub(super) fn suspects(all: &mut [Happened]) -> Vec<usize> {
    let mut found = Vec::new();
    for at in 0..all.len() {
        let replied = all[at].replied.take();
        if explain(all) == Verdict::Explained {
            found.push(at);
        }
        all[at].replied = replied;
    }
    found
}
