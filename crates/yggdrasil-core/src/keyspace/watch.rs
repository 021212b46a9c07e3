//! Which keys are watched by whom, and which watches a change has touched.

use std::collections::BTreeMap;

use super::types::{Millis, WatchToken};
use crate::hashing::{Seeded, SeededMap};

#[derive(Debug, Default)]
struct Watch {
    touched: bool,
    keys: Vec<(u8, Box<[u8]>)>,
    /// The first moment at which a key that was live when watched is no more.
    expire_at: Option<Millis>,
}

/// All watches of a shard.
#[derive(Debug)]
pub(super) struct Watches {
    /// Of the hashes of keys.
    seed: u64,
    by_token: SeededMap<WatchToken, Watch>,
    /// logical database -> key -> tokens
    by_key: BTreeMap<u8, SeededMap<Box<[u8]>, Vec<WatchToken>>>,
    /// Watches that were touched by changes which may be undone.
    unsure: Vec<WatchToken>,
}

impl Watches {
    /// No watches yet; `seed` is for hashes of keys.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            by_token: SeededMap::default(),
            by_key: BTreeMap::new(),
            unsure: Vec::new(),
        }
    }

    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_token.is_empty()
    }

    /// Watches a key; `expire_at` is its time of expiry if it is live and has one.
    pub(super) fn add(&mut self, db: u8, key: &[u8], token: WatchToken, expire_at: Option<Millis>) {
        let watch = self.by_token.entry(token).or_default();
        if watch
            .keys
            .iter()
            .any(|(watched_db, watched)| *watched_db == db && **watched == *key)
        {
            return;
        }
        watch.keys.push((db, key.into()));
        watch.expire_at = watch.expire_at.into_iter().chain(expire_at).min();
        self.by_key
            .entry(db)
            .or_insert_with(|| Seeded::map(self.seed))
            .entry(key.into())
            .or_default()
            .push(token);
    }

    pub(super) fn remove(&mut self, token: WatchToken) {
        let Some(watch) = self.by_token.remove(&token) else {
            return;
        };
        for (db, key) in watch.keys {
            let Some(keys) = self.by_key.get_mut(&db) else {
                continue;
            };
            if let Some(tokens) = keys.get_mut(&key) {
                tokens.retain(|other| *other != token);
                if tokens.is_empty() {
                    keys.remove(&key);
                }
            }
            if keys.is_empty() {
                self.by_key.remove(&db);
            }
        }
    }

    /// Marks the watches of a key that is changed, perhaps not for good.
    #[cold]
    pub(super) fn touch(&mut self, db: u8, key: &[u8], may_be_undone: bool) {
        let Some(tokens) = self.by_key.get(&db).and_then(|keys| keys.get(key)) else {
            return;
        };
        for token in tokens {
            if let Some(watch) = self.by_token.get_mut(token)
                && !std::mem::replace(&mut watch.touched, true)
                && may_be_undone
            {
                self.unsure.push(*token);
            }
        }
    }

    /// How many watches were touched by changes which may be undone.
    pub(super) fn unsure(&self) -> usize {
        self.unsure.len()
    }

    /// Has those that were touched since then be as they were.
    pub(super) fn undo_since(&mut self, unsure: usize) {
        for token in self.unsure.drain(unsure.min(self.unsure.len())..) {
            if let Some(watch) = self.by_token.get_mut(&token) {
                watch.touched = false;
            }
        }
    }

    /// Says that all of them are touched for good.
    pub(super) fn settle(&mut self) {
        self.unsure = Vec::new();
    }

    /// Keys of a database that are watched.
    pub(super) fn keys(&self, db: u8) -> Vec<Box<[u8]>> {
        self.by_key
            .get(&db)
            .map(|keys| keys.keys().cloned().collect())
            .unwrap_or_default()
    }

    pub(super) fn is_touched(&self, token: WatchToken, now: Millis) -> bool {
        self.by_token.get(&token).is_some_and(|watch| {
            watch.touched || watch.expire_at.is_some_and(|expire_at| expire_at <= now)
        })
    }
}
