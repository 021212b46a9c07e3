//! Requests that wait until a key changes, in the order in which they came.

use std::collections::{BTreeSet, VecDeque};

use super::types::Key;
use crate::hashing::{Seeded, SeededMap};

/// The number of a waiting request, chosen by the engine: who came later has a higher one.
pub type WaitToken = u64;

/// A key that has changed, and from which of those who wait for it on it is to be looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReadyKey {
    pub db: u8,
    pub bytes: Box<[u8]>,
    pub from: WaitToken,
}

/// Those who wait for one key.
#[derive(Debug, Default)]
struct Queue {
    tokens: BTreeSet<WaitToken>,
    /// Those of them who want to know that the key is gone.
    removals: BTreeSet<WaitToken>,
    /// From where on the key is to be looked at, if it is among those that are ready.
    ready_from: Option<WaitToken>,
}

#[derive(Debug)]
pub(super) struct Waiting {
    /// Of the hashes of keys.
    seed: u64,
    /// By logical database.
    keys: Vec<SeededMap<Box<[u8]>, Queue>>,
    /// Keys that somebody waits for.
    len: usize,
    /// Those of them whose removal somebody waits for.
    removals: usize,
    /// Keys to be looked at, each once, in the order in which they changed.
    ready: VecDeque<(u8, Box<[u8]>)>,
}

impl Waiting {
    /// Nobody waits yet; `seed` is for hashes of keys.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            keys: Vec::new(),
            len: 0,
            removals: 0,
            ready: VecDeque::new(),
        }
    }

    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Numbers of keys that somebody waits for, and of those whose removal is waited for.
    pub(super) fn sizes(&self) -> (u64, u64) {
        (self.len as u64, self.removals as u64)
    }

    #[inline(always)]
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    fn queue(&mut self, db: u8, key: &[u8]) -> Option<&mut Queue> {
        self.keys.get_mut(usize::from(db))?.get_mut(key)
    }

    /// Lets a token wait for a change of a key, and for its removal where that is wanted.
    pub(super) fn add(&mut self, key: &Key<'_>, token: WaitToken, removal: bool) {
        let db = usize::from(key.db);
        if self.keys.len() <= db {
            self.keys.resize_with(db + 1, || Seeded::map(self.seed));
        }
        let keys = &mut self.keys[db];
        let before = keys.len();
        let queue = keys.entry(key.bytes.into()).or_default();
        queue.tokens.insert(token);
        if removal {
            self.removals += usize::from(queue.removals.is_empty());
            queue.removals.insert(token);
        }
        self.len += keys.len() - before;
    }

    /// Forgets a token that waits for a key.
    pub(super) fn remove(&mut self, db: u8, key: &[u8], token: WaitToken) {
        let Some(queue) = self.queue(db, key) else {
            return;
        };
        queue.tokens.remove(&token);
        let was_last_removal = queue.removals.remove(&token) && queue.removals.is_empty();
        let is_over = queue.tokens.is_empty();
        self.removals -= usize::from(was_last_removal);
        if is_over {
            let keys = &mut self.keys[usize::from(db)];
            keys.remove(key);
            if keys.is_empty() {
                *keys = Seeded::map(self.seed);
            }
            self.len -= 1;
        }
    }

    /// A key has changed.
    pub(super) fn note(&mut self, db: u8, key: &[u8]) {
        self.note_from(db, key, 0);
    }

    /// A key is to be looked at, from a token on.
    pub(super) fn note_from(&mut self, db: u8, key: &[u8], from: WaitToken) {
        let Some(queue) = self.queue(db, key) else {
            return;
        };
        let before = queue.ready_from;
        queue.ready_from = Some(before.map_or(from, |before| before.min(from)));
        if before.is_none() {
            self.ready.push_back((db, key.into()));
        }
    }

    /// A key is gone: it is to be looked at if somebody waits for that.
    pub(super) fn note_removal(&mut self, db: u8, key: &[u8]) {
        if self
            .queue(db, key)
            .is_some_and(|queue| !queue.removals.is_empty())
        {
            self.note(db, key);
        }
    }

    /// Any key may have changed.
    pub(super) fn note_all(&mut self) {
        let mut all: Vec<(WaitToken, u8, Box<[u8]>)> = Vec::new();
        for (db, keys) in (0..).zip(&self.keys) {
            let firsts = keys.iter().filter_map(|(key, queue)| {
                let first = queue.tokens.first()?;
                Some((*first, db, key.clone()))
            });
            all.extend(firsts);
        }
        all.sort_unstable();
        for (_, db, key) in all {
            self.note(db, &key);
        }
    }

    /// The next key to be looked at.
    pub(super) fn take_ready(&mut self) -> Option<ReadyKey> {
        while let Some((db, bytes)) = self.ready.pop_front() {
            // Nobody may wait for it any more.
            let queue = self.queue(db, &bytes);
            if let Some(from) = queue.and_then(|queue| queue.ready_from.take()) {
                return Some(ReadyKey { db, bytes, from });
            }
        }
        None
    }

    /// The first token from one on that waits for a key; of a key that is missing, one that waits for its removal.
    pub(super) fn next(&self, ready: &ReadyKey, is_missing: bool) -> Option<WaitToken> {
        let queue = self.keys.get(usize::from(ready.db))?.get(&ready.bytes)?;
        let tokens = if is_missing {
            &queue.removals
        } else {
            &queue.tokens
        };
        tokens.range(ready.from..).next().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(bytes: &[u8]) -> Key<'_> {
        Key {
            db: 3,
            hash: 0,
            bytes,
        }
    }

    fn ready(bytes: &[u8], from: WaitToken) -> ReadyKey {
        ReadyKey {
            db: 3,
            bytes: bytes.into(),
            from,
        }
    }

    #[test]
    fn keys_are_ready_once_in_the_order_of_their_changes() {
        let mut waiting = Waiting::new(1);
        for (bytes, token) in [(&b"a"[..], 7), (b"b", 5), (b"b", 9)] {
            waiting.add(&key(bytes), token, false);
        }
        waiting.note_from(3, b"b", 8);
        waiting.note(3, b"a");
        waiting.note_from(3, b"b", 6);
        waiting.note(3, b"c");
        waiting.note(2, b"a");
        assert_eq!(waiting.take_ready(), Some(ready(b"b", 6)));
        assert_eq!(waiting.take_ready(), Some(ready(b"a", 0)));
        assert_eq!(waiting.take_ready(), None);
        waiting.note_all();
        assert_eq!(waiting.take_ready(), Some(ready(b"b", 0)));
        waiting.remove(3, b"a", 7);
        assert_eq!(waiting.take_ready(), None);
        assert!(!waiting.is_empty() && !waiting.has_ready());
        waiting.remove(3, b"b", 5);
        waiting.remove(3, b"b", 9);
        assert!(waiting.is_empty());
    }

    #[test]
    fn tokens_come_in_order_and_removals_only_for_those_who_want_them() {
        let mut waiting = Waiting::new(1);
        for (token, removal) in [(4, false), (2, true), (6, true)] {
            waiting.add(&key(b"a"), token, removal);
        }
        assert_eq!(waiting.sizes(), (1, 1));
        let next = |from, is_missing| waiting.next(&ready(b"a", from), is_missing);
        assert_eq!(
            [0, 3, 5, 7].map(|from| next(from, false)),
            [Some(2), Some(4), Some(6), None]
        );
        assert_eq!(
            [0, 3, 7].map(|from| next(from, true)),
            [Some(2), Some(6), None]
        );
        waiting.note_removal(3, b"a");
        assert!(waiting.has_ready());
        for (token, sizes) in [(2, (1, 1)), (6, (1, 0)), (4, (0, 0))] {
            waiting.remove(3, b"a", token);
            assert_eq!(waiting.sizes(), sizes);
        }
        let mut waiting = Waiting::new(1);
        waiting.add(&key(b"a"), 1, false);
        waiting.note_removal(3, b"a");
        assert!(!waiting.has_ready());
    }
}
