//! Clients that keep what they have read, and which of it is no more as it was.

use std::sync::Arc;

use crate::hashing::{Seeded, SeededMap};

/// A client that keeps what it reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tracker {
    /// The worker that it is connected to.
    pub worker: usize,
    pub client: u64,
}

/// A key that was changed, and those who may keep what it was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stale {
    /// `None` for all keys.
    pub key: Option<Arc<[u8]>>,
    pub trackers: Vec<Tracker>,
    /// The client that has changed it; 0 for time, want of memory, and whoever is not known.
    pub author: u64,
}

/// The clients that have read each key since it was last changed, whatever its database.
#[derive(Debug)]
pub(super) struct Tracking {
    places: SeededMap<Arc<[u8]>, usize>,
    entries: Vec<(Arc<[u8]>, Vec<Tracker>)>,
    /// Trackers of all entries.
    items: u64,
    /// Entries at most; 0 for no limit.
    keys_max: usize,
    /// All changes are to be known.
    hears_all: bool,
    author: u64,
    stale: Vec<Stale>,
    /// Changes that were asked for and may be undone: nobody hears of them before they count.
    unsure: Vec<Stale>,
    /// Undertakings under way whose changes may be undone.
    undertakings: usize,
    /// Where the next entry is forgotten that there is no room for.
    hand: usize,
}

impl Tracking {
    /// Nobody has read a key yet; `seed` is for hashes of keys.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            places: Seeded::map(seed),
            entries: Vec::new(),
            items: 0,
            keys_max: 0,
            hears_all: false,
            author: 0,
            stale: Vec::new(),
            unsure: Vec::new(),
            undertakings: 0,
            hand: 0,
        }
    }

    #[inline(always)]
    pub(super) fn is_idle(&self) -> bool {
        self.entries.is_empty() && !self.hears_all
    }

    /// Numbers of keys and of their trackers.
    pub(super) fn sizes(&self) -> (u64, u64) {
        (self.entries.len() as u64, self.items)
    }

    pub(super) fn hear_all(&mut self, on: bool) {
        self.hears_all = on;
    }

    pub(super) fn set_limit(&mut self, keys_max: usize) {
        self.keys_max = keys_max;
        self.make_room();
    }

    pub(super) fn set_author(&mut self, author: u64) {
        self.author = author;
    }

    /// A client has read a key.
    pub(super) fn add(&mut self, key: &[u8], tracker: Tracker) {
        let place = match self.places.get(key) {
            Some(place) => *place,
            None => {
                let key: Arc<[u8]> = key.into();
                self.places.insert(Arc::clone(&key), self.entries.len());
                self.entries.push((key, Vec::new()));
                self.entries.len() - 1
            }
        };
        let trackers = &mut self.entries[place].1;
        if !trackers.contains(&tracker) {
            trackers.push(tracker);
            self.items += 1;
        }
        self.make_room();
    }

    fn make_room(&mut self) {
        // Any step that is no divisor of the size goes through all places.
        const STEP: usize = 7919;
        while self.keys_max != 0 && self.entries.len() > self.keys_max {
            self.hand = (self.hand + STEP) % self.entries.len();
            let (key, trackers) = self.remove_at(self.hand);
            self.stale.push(Stale {
                key: Some(key),
                trackers,
                author: 0,
            });
        }
    }

    fn remove_at(&mut self, place: usize) -> (Arc<[u8]>, Vec<Tracker>) {
        let (key, trackers) = self.entries.swap_remove(place);
        self.places.remove(&key);
        if let Some((moved, _)) = self.entries.get(place) {
            self.places.insert(Arc::clone(moved), place);
        }
        self.items -= trackers.len() as u64;
        (key, trackers)
    }

    /// A key is changed; `asked` where a client has asked for that.
    pub(super) fn note(&mut self, key: &[u8], asked: bool) {
        let author = if asked { self.author } else { 0 };
        let (key, trackers) = match self.places.get(key) {
            Some(place) => self.remove_at(*place),
            None if self.hears_all => (key.into(), Vec::new()),
            None => return,
        };
        let told = if asked && self.undertakings > 0 {
            &mut self.unsure
        } else {
            &mut self.stale
        };
        told.push(Stale {
            key: Some(key),
            trackers,
            author,
        });
    }

    /// Begins changes of which nobody hears before they count; how many there are already.
    pub(super) fn begin_unsure(&mut self) -> usize {
        self.undertakings += 1;
        self.unsure.len()
    }

    /// Ends them. Those that were undone since a number of changes leave readers as they were.
    pub(super) fn end_unsure(&mut self, since: usize, counts: bool) {
        self.undertakings -= 1;
        if !counts {
            for undone in self.unsure.split_off(since) {
                let Some(key) = &undone.key else { continue };
                for tracker in undone.trackers {
                    self.add(key, tracker);
                }
            }
        }
        if self.undertakings == 0 {
            self.stale.append(&mut self.unsure);
        }
    }

    /// All keys may be others.
    pub(super) fn note_all(&mut self) {
        self.places.clear();
        self.entries.clear();
        self.items = 0;
        self.stale.push(Stale {
            key: None,
            trackers: Vec::new(),
            author: 0,
        });
    }

    #[inline(always)]
    pub(super) fn has_stale(&self) -> bool {
        !self.stale.is_empty()
    }

    pub(super) fn take_stale(&mut self) -> Vec<Stale> {
        std::mem::take(&mut self.stale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracker(client: u64) -> Tracker {
        Tracker { worker: 0, client }
    }

    fn keys(stale: &[Stale]) -> Vec<&[u8]> {
        let keys = stale.iter().filter_map(|stale| stale.key.as_deref());
        keys.collect()
    }

    #[test]
    fn who_has_read_a_key_is_named_once() {
        let mut tracking = Tracking::new(1);
        for client in [1, 2, 1] {
            tracking.add(b"a", tracker(client));
        }
        tracking.add(b"b", tracker(1));
        assert_eq!(tracking.sizes(), (2, 3));
        tracking.set_author(9);
        tracking.note(b"a", true);
        tracking.note(b"a", true);
        tracking.note(b"b", false);
        let stale = tracking.take_stale();
        assert_eq!(keys(&stale), [b"a", b"b"]);
        assert_eq!(stale[0].trackers, [tracker(1), tracker(2)]);
        assert_eq!((stale[0].author, stale[1].author), (9, 0));
        assert_eq!((tracking.sizes(), tracking.is_idle()), ((0, 0), true));
    }

    #[test]
    fn changes_that_are_undone_leave_readers_as_they_were() {
        let mut tracking = Tracking::new(1);
        for key in [b"a", b"b", b"c"] {
            tracking.add(key, tracker(1));
        }
        let outer = tracking.begin_unsure();
        tracking.note(b"a", true);
        let inner = tracking.begin_unsure();
        tracking.note(b"b", true);
        tracking.note(b"c", false);
        tracking.end_unsure(inner, false);
        assert_eq!(tracking.sizes().0, 1);
        assert_eq!(keys(&tracking.take_stale()), [b"c"]);
        tracking.end_unsure(outer, true);
        assert_eq!(keys(&tracking.take_stale()), [b"a"]);
        tracking.note(b"b", true);
        assert_eq!(keys(&tracking.take_stale()), [b"b"]);
    }

    #[test]
    fn keys_beyond_the_limit_are_forgotten_aloud() {
        let mut tracking = Tracking::new(1);
        tracking.set_limit(10);
        for key in 0..30_u8 {
            tracking.add(&[key], tracker(1));
        }
        let stale = tracking.take_stale();
        assert_eq!((tracking.sizes().0, stale.len()), (10, 20));
        let mut all: Vec<_> = keys(&stale).iter().map(|key| key[0]).collect();
        all.extend(tracking.places.keys().map(|key| key[0]));
        all.sort_unstable();
        assert!(all.into_iter().eq(0..30), "each is there or was told");
    }

    #[test]
    fn who_hears_all_hears_of_keys_that_nobody_has_read() {
        let mut tracking = Tracking::new(1);
        tracking.note(b"a", true);
        assert!(!tracking.has_stale());
        tracking.hear_all(true);
        tracking.note(b"a", true);
        tracking.note_all();
        let stale = tracking.take_stale();
        assert_eq!((keys(&stale), stale.len()), (vec![&b"a"[..]], 2));
    }
}
