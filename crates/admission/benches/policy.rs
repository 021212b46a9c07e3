//! Cost of the policy per operation: `cargo bench -p yggdrasil-admission -- [KEYS]`.
//!
//! The store is an array, so that what is measured is the policy and one miss of the cache an entry that it looks at.

use std::hint::black_box;
use std::time::{Duration, Instant};

use yggdrasil_admission::{Entries, Found, Policy, Slot, Tag};

/// Operations of a round; the best round counts, since nothing makes a round faster than it is.
const OPERATIONS: u64 = 100_000;
const ROUNDS: u64 = 40;

/// Direct-mapped: two keys of one place push each other out.
struct Store {
    entries: Vec<(u64, Tag)>,
}

impl Store {
    fn place(&self, low_bits: u64) -> usize {
        (low_bits & (self.entries.len() as u64 - 1)) as usize
    }
}

impl Entries for Store {
    type Place = usize;

    fn find(&self, slot: Slot) -> Option<Found<usize>> {
        let place = self.place(slot.low_bits());
        let (hash, tag) = self.entries[place];
        (slot.has_hash(hash) && slot.has_generation(tag)).then_some(Found {
            place,
            tag,
            cost: 100,
            pinned: false,
        })
    }

    fn set_tag(&mut self, place: usize, tag: Tag) {
        self.entries[place].1 = tag;
    }
}

fn hash_of(key: u64) -> u64 {
    let mixed = (key + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

fn main() {
    let keys = std::env::args()
        .skip(1)
        .find_map(|argument| argument.parse::<u64>().ok())
        .unwrap_or(1_000_000);
    let mut store = Store {
        entries: vec![(0, Tag::NONE); (keys as usize * 8).next_power_of_two()],
    };
    let mut policy = Policy::new();
    let mut next = 0;
    let mut insert = |policy: &mut Policy, store: &mut Store| {
        let hash = hash_of(next);
        next += 1;
        let place = store.place(hash);
        let (before, tag) = store.entries[place];
        if tag != Tag::NONE {
            policy.on_remove(before, 0, tag, 100);
        }
        store.entries[place] = (hash, policy.on_insert(hash, 0, 100));
        policy.tidy(store, 2);
    };
    for _ in 0..keys {
        insert(&mut policy, &mut store);
    }
    let full = policy.bytes();
    let set = best(|| {
        while policy.bytes() >= full {
            if let Some(victim) = policy.evict(&mut store) {
                store.entries[victim.place].1 = Tag::NONE;
            }
        }
        insert(&mut policy, &mut store);
    });
    let live: Vec<usize> = (0..store.entries.len())
        .filter(|place| store.entries[*place].1 != Tag::NONE)
        .collect();
    let mut at = 0;
    let hit = best(|| {
        at = (at + 7_919) % live.len();
        let (hash, tag) = store.entries[live[at]];
        store.entries[live[at]].1 = policy.on_hit(hash, 0, tag, 100);
    });
    println!("{keys} keys, ns per operation");
    println!("new key into a full cache  {set:>6.1}");
    println!("hit                        {hit:>6.1}");
    println!(
        "bytes a key                {:>6.1}",
        policy.memory() as f64 / policy.keys() as f64
    );
}

fn best(mut operation: impl FnMut()) -> f64 {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..OPERATIONS {
            operation();
        }
        best = best.min(start.elapsed());
    }
    black_box(best).as_nanos() as f64 / OPERATIONS as f64
}
