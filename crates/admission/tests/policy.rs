//! The policy over a store that is nothing but a map.

use std::collections::HashMap;

use proptest::prelude::*;
use yggdrasil_admission::{Entries, Found, Policy, Slot, Tag};

#[derive(Clone, Copy, Debug)]
struct Entry {
    tag: Tag,
    cost: u64,
    pinned: bool,
}

#[derive(Default)]
struct Store {
    entries: HashMap<u64, Entry>,
    /// The hashes that have a slot's bits.
    hashes: HashMap<(u64, u8), Vec<u64>>,
}

impl Entries for Store {
    type Place = u64;

    fn find(&self, slot: Slot) -> Option<Found<u64>> {
        let hashes = self.hashes.get(&(slot.low_bits(), slot.high_bits()))?;
        hashes.iter().find_map(|hash| {
            let entry = self.entries.get(hash)?;
            let fits = slot.has_hash(*hash) && slot.has_generation(entry.tag);
            fits.then_some(Found {
                place: *hash,
                tag: entry.tag,
                cost: entry.cost,
                pinned: entry.pinned,
            })
        })
    }

    fn set_tag(&mut self, hash: u64, tag: Tag) {
        self.entries.get_mut(&hash).unwrap().tag = tag;
    }
}

#[derive(Default)]
struct Cache {
    policy: Policy,
    store: Store,
}

fn hash_of(key: u64) -> u64 {
    let mixed = (key + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

impl Cache {
    fn has(&self, key: u64) -> bool {
        self.store.entries.contains_key(&hash_of(key))
    }

    /// Reads a key. Tells whether it was there.
    fn get(&mut self, key: u64) -> bool {
        let hash = hash_of(key);
        let Some(entry) = self.store.entries.get_mut(&hash) else {
            return false;
        };
        entry.tag = self.policy.on_hit(hash, 0, entry.tag, entry.cost);
        true
    }

    fn set(&mut self, key: u64, cost: u64) {
        let hash = hash_of(key);
        if let Some(entry) = self.store.entries.get_mut(&hash) {
            self.policy.on_resize(entry.tag, entry.cost, cost);
            entry.cost = cost;
            entry.tag = self.policy.on_hit(hash, 0, entry.tag, cost);
            return;
        }
        let tag = self.policy.on_insert(hash, 0, cost);
        self.add(hash, tag, cost);
        self.policy.tidy(&mut self.store, 2);
    }

    fn add(&mut self, hash: u64, tag: Tag, cost: u64) {
        let entry = Entry {
            tag,
            cost,
            pinned: false,
        };
        let bits = (hash & 0xfff_ffff, (hash >> 56) as u8);
        let hashes = self.store.hashes.entry(bits).or_default();
        if !hashes.contains(&hash) {
            hashes.push(hash);
        }
        self.store.entries.insert(hash, entry);
    }

    fn remove(&mut self, key: u64) {
        let hash = hash_of(key);
        if let Some(entry) = self.store.entries.remove(&hash) {
            self.policy.on_remove(hash, 0, entry.tag, entry.cost);
        }
    }

    /// Evicts until so many bytes are left.
    fn shrink(&mut self, bytes: u64) {
        while self.policy.bytes() > bytes {
            if let Some(victim) = self.policy.evict(&mut self.store) {
                let entry = self
                    .store
                    .entries
                    .remove(&victim.place)
                    .expect("it is alive");
                assert!(!entry.pinned);
                assert_eq!(entry.cost, victim.cost);
            }
        }
    }

    fn check(&self) {
        let costs: u64 = self.store.entries.values().map(|entry| entry.cost).sum();
        assert_eq!(self.policy.bytes(), costs);
        assert_eq!(self.policy.keys(), self.store.entries.len());
    }
}

/// What the policy takes for no keys at all: a chunk of the sketch, and the miniature simulations of a small cache.
const FIXED_BYTES: usize = 128 * 1024;
/// The miniature simulations of a large one.
const MINIATURES_BYTES: usize = 1024 * 1024;

#[derive(Clone, Debug)]
enum Step {
    Get(u64),
    Set(u64, u64),
    Remove(u64),
    Pin(u64, bool),
    Shrink(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..60u64;
    prop_oneof![
        6 => key.clone().prop_map(Step::Get),
        6 => (key.clone(), 1..2_000u64).prop_map(|(key, cost)| Step::Set(key, cost)),
        2 => key.clone().prop_map(Step::Remove),
        1 => (key, any::<bool>()).prop_map(|(key, pinned)| Step::Pin(key, pinned)),
        3 => (0..20_000u64).prop_map(Step::Shrink),
    ]
}

proptest! {
    #[test]
    fn the_books_are_right_whatever_happens(steps in prop::collection::vec(step(), 1..400)) {
        let mut cache = Cache::default();
        for step in steps {
            match step {
                Step::Get(key) => {
                    let there = cache.has(key);
                    prop_assert_eq!(cache.get(key), there);
                }
                Step::Set(key, cost) => cache.set(key, cost),
                Step::Remove(key) => cache.remove(key),
                Step::Pin(key, pinned) => {
                    if let Some(entry) = cache.store.entries.get_mut(&hash_of(key)) {
                        entry.pinned = pinned;
                    }
                }
                Step::Shrink(bytes) => {
                    let pinned: u64 = cache.store.entries.values().filter(|entry| entry.pinned).map(|entry| entry.cost).sum();
                    cache.shrink(bytes.max(pinned));
                }
            }
            cache.check();
        }
        cache.store.entries.values_mut().for_each(|entry| entry.pinned = false);
        cache.shrink(0);
        cache.check();
        prop_assert_eq!(cache.policy.keys(), 0);
    }
}

/// The steps of a generator that repeats from its seed.
fn numbers(seed: u64) -> impl Iterator<Item = u64> {
    (seed * 1_000_000..).map(|n| hash_of(n) >> 11)
}

#[test]
fn the_policy_takes_at_most_twelve_bytes_a_key() {
    let mut cache = Cache::default();
    let keys = 400_000;
    for key in 0..keys {
        cache.set(key, 100);
    }
    let filled = cache.policy.memory();
    assert!(filled <= MINIATURES_BYTES + 12 * keys as usize, "{filled}");
    // Deletions leave slots behind, evictions move them about.
    for (turn, number) in numbers(1).take(1_000_000).enumerate() {
        let key = keys + turn as u64;
        match number % 3 {
            0 => cache.remove(number / 3 % key),
            _ => {
                cache.shrink(100 * (keys - 1));
                cache.set(key, 100);
            }
        }
        cache.get(number / 7 % key);
        let bytes = cache.policy.memory();
        assert!(
            bytes <= MINIATURES_BYTES + 12 * keys as usize,
            "{turn}: {bytes}"
        );
    }
    cache.shrink(0);
    for _ in 0..3 * keys {
        cache.set(1, 1);
        cache.remove(1);
    }
    let empty = cache.policy.memory();
    assert!(empty <= 2 * MINIATURES_BYTES, "{empty}");
}

#[test]
fn what_the_policy_takes_besides_is_a_small_share_of_any_cache() {
    for keys in [100, 1_000, 10_000, 50_000, 200_000] {
        let mut cache = Cache::default();
        for number in numbers(keys).take(4 * keys as usize) {
            cache.shrink(100 * (keys - 1));
            cache.set(number % (3 * keys), 100);
        }
        let bytes = cache.policy.memory();
        let share = (100 * keys / 64) as usize;
        assert!(
            bytes <= FIXED_BYTES + 12 * keys as usize + share,
            "{keys}: {bytes}"
        );
    }
}

#[test]
fn a_new_key_stays_until_others_have_come() {
    let mut cache = Cache::default();
    for round in 0..5 {
        for key in 0..1_000 {
            cache.set(key, 1);
            assert!(cache.get(key) && cache.get(key), "{round}");
        }
    }
    for key in 1_000..50_000 {
        cache.shrink(999);
        cache.set(key, 1);
        assert!(cache.has(key));
        // The smallest window is 1%, and evictions take its oldest.
        assert!(cache.has(key - 5));
    }
}

#[test]
fn what_is_used_again_and_again_survives_a_scan() {
    let mut cache = Cache::default();
    let mut hits = 0;
    // Between two uses of a hot key come more others than fit: a queue of any kind would miss each time.
    for turn in 0..30_000 {
        for key in [turn % 500, 10_000 + 2 * turn, 10_001 + 2 * turn] {
            if cache.get(key) {
                hits += u64::from(turn >= 20_000);
            } else {
                cache.shrink(999);
                cache.set(key, 1);
            }
        }
    }
    let counters = cache.policy.counters();
    assert!(hits >= 9_500, "{hits} {counters:?}");
    assert!(counters.rejected > 30_000, "{counters:?}");
    assert!(counters.window_share < 512, "{counters:?}");
}

#[test]
fn a_part_of_a_loop_that_does_not_fit_is_kept() {
    let mut cache = Cache::default();
    let mut hits = [0; 10];
    for (round, hits) in hits.iter_mut().enumerate() {
        for key in 0..2_000 {
            if cache.get(key) {
                *hits += 1;
            } else {
                cache.shrink(999);
                cache.set(key, 1);
            }
        }
        // What filled the cache at first stays in the main part: the first return finds most of it.
        assert!(round == 0 || *hits >= 700, "{round}: {hits}");
    }
}

#[test]
fn a_part_of_a_long_loop_is_kept_though_what_comes_was_used_as_often() {
    let mut cache = Cache::default();
    let mut hits = [0; 12];
    // When a turn comes to what is there, everything else has come once more than that.
    for hits in &mut hits {
        for key in 0..10_000 {
            if cache.get(key) {
                *hits += 1;
            } else {
                cache.shrink(499);
                cache.set(key, 1);
            }
        }
    }
    assert!(hits[6..].iter().all(|hits| *hits >= 400), "{hits:?}");
}

#[test]
fn a_cache_that_fills_again_is_as_a_new_one() {
    let mut cache = Cache::default();
    let mut fill = || {
        for key in 0..1_000 {
            cache.set(key, 1);
        }
        let window = cache.policy.counters().window_bytes;
        cache.shrink(0);
        window
    };
    let windows = [fill(), fill(), fill()];
    assert!(windows.iter().all(|bytes| *bytes <= 110), "{windows:?}");
}

#[test]
fn what_was_stored_before_is_taken_over() {
    let mut cache = Cache::default();
    for key in 0..1_000 {
        cache.add(hash_of(key), Tag::NONE, 10);
    }
    // A use takes an entry over by itself.
    assert!(cache.get(7) && cache.get(7));
    for key in (0..1_000).filter(|key| *key != 7) {
        let hash = hash_of(key);
        let tag = cache.policy.adopt(hash, 0, 10);
        cache.store.set_tag(hash, tag);
    }
    cache.check();
    cache.shrink(5_000);
    cache.check();
    assert_eq!(cache.policy.keys(), 500);
}

#[test]
fn the_same_calls_give_the_same_decisions() {
    let run = || {
        let mut cache = Cache::default();
        for number in numbers(2).take(100_000) {
            let key = number % (1 + number / 64 % 5_000);
            if !cache.get(key) {
                cache.shrink(99_000);
                cache.set(key, 1 + number % 500);
            }
        }
        let mut left: Vec<u64> = cache.store.entries.into_keys().collect();
        left.sort_unstable();
        (left, cache.policy.counters())
    };
    assert_eq!(run(), run());
}
