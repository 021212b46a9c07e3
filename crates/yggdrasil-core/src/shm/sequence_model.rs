//! Every interleaving and every permitted reordering of the sequence protocol, by loom: run by
//! `RUSTFLAGS="--cfg loom" cargo test --release -p yggdrasil-core loom_`.

use std::sync::atomic::Ordering::{self, Relaxed};

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, fence};
use loom::thread;

use super::sequence::{AtomicWord, announce, observe, publish, settle, switch};

impl AtomicWord for AtomicU64 {
    fn load(&self, ordering: Ordering) -> u64 {
        AtomicU64::load(self, ordering)
    }

    fn store(&self, value: u64, ordering: Ordering) {
        AtomicU64::store(self, value, ordering);
    }

    fn swap(&self, value: u64, ordering: Ordering) -> u64 {
        AtomicU64::swap(self, value, ordering)
    }

    fn fence(ordering: Ordering) {
        fence(ordering);
    }
}

/// A few words of shared memory.
fn memory<const N: usize>(contents: [u64; N]) -> Arc<[AtomicU64; N]> {
    Arc::new(contents.map(AtomicU64::new))
}

fn load(word: &AtomicU64) -> u64 {
    AtomicU64::load(word, Relaxed)
}

fn store(word: &AtomicU64, value: u64) {
    AtomicU64::store(word, value, Relaxed);
}

/// Runs a writer and a reader against each other.
fn race<const N: usize>(
    contents: [u64; N],
    writer: fn(&[AtomicU64; N]),
    reader: fn(&[AtomicU64; N]),
) {
    loom::model(move || {
        let shared = memory(contents);
        let other = Arc::clone(&shared);
        let writing = thread::spawn(move || writer(&other));
        reader(&shared);
        writing.join().unwrap();
    });
}

/// Reads one bucket as a reader does: the values seen between two equal, even sequence numbers.
fn read_under<const N: usize>(
    memory: &[AtomicU64; N],
    sequence: usize,
    read: impl Fn(&[AtomicU64; N]) -> [u64; 2],
) -> Option<(u64, [u64; 2])> {
    let seen = observe(&memory[sequence]);
    if seen & 1 == 1 {
        return None;
    }
    let values = read(memory);
    settle::<AtomicU64>();
    (load(&memory[sequence]) == seen).then_some((seen, values))
}

#[test]
fn loom_an_entry_overwritten_in_place_is_never_torn() {
    // sequence, two words of the entry
    race(
        [0, 10, 10],
        |memory| {
            for round in 0..2 {
                announce(&memory[0], 2 * round + 1);
                store(&memory[1], 11 + round);
                store(&memory[2], 11 + round);
                publish(&memory[0], 2 * round + 2);
            }
        },
        |memory| {
            if let Some((seen, [a, b])) =
                read_under(memory, 0, |memory| [load(&memory[1]), load(&memory[2])])
            {
                assert_eq!((a, b), (10 + seen / 2, 10 + seen / 2));
            }
        },
    );
}

#[test]
fn loom_a_replaced_entry_is_not_read_after_its_memory_is_reused() {
    // sequence, ref (3 or 5), old entry at 3 and 4, new entry at 5 and 6
    race(
        [0, 3, 0, 10, 10, 0, 0],
        |memory| {
            store(&memory[5], 20);
            store(&memory[6], 20);
            announce(&memory[0], 1);
            store(&memory[1], 5);
            publish(&memory[0], 2);
            // The old slot goes to another bucket at once.
            store(&memory[3], 99);
            store(&memory[4], 99);
        },
        |memory| {
            let read = |memory: &[AtomicU64; 7]| {
                let at = load(&memory[1]) as usize;
                [load(&memory[at]), load(&memory[at + 1])]
            };
            if let Some((seen, values)) = read_under(memory, 0, read) {
                assert_eq!(values, if seen == 0 { [10, 10] } else { [20, 20] });
            }
        },
    );
}

#[test]
fn loom_a_key_is_found_while_its_bucket_is_split() {
    // state (number of buckets), sequences of buckets 0 and 1, their contents
    race(
        [1, 0, 0, 7, 0],
        |memory| {
            announce(&memory[1], 1);
            store(&memory[4], 7);
            store(&memory[3], 0);
            switch(&memory[0], 2);
            publish(&memory[1], 2);
        },
        |memory| {
            let buckets = observe(&memory[0]);
            let home = if buckets == 1 { 0 } else { 1 };
            let read = |memory: &[AtomicU64; 5]| [load(&memory[3 + home]), 0];
            let Some((_, [found, _])) = read_under(memory, 1 + home, read) else {
                return;
            };
            if load(&memory[0]) == buckets {
                assert_eq!(found, 7);
            }
        },
    );
}

#[test]
fn loom_a_key_is_found_while_its_bucket_is_merged() {
    // state (2 buckets, then 1), sequences, contents; the page of bucket 1 is reused at once
    race(
        [2, 0, 0, 0, 7],
        |memory| {
            announce(&memory[1], 1);
            switch(&memory[0], 1);
            store(&memory[3], 7);
            publish(&memory[1], 2);
            store(&memory[4], 99);
            store(&memory[2], 98);
        },
        |memory| {
            let buckets = observe(&memory[0]);
            let home = if buckets == 1 { 0 } else { 1 };
            let read = |memory: &[AtomicU64; 5]| [load(&memory[3 + home]), 0];
            let Some((_, [found, _])) = read_under(memory, 1 + home, read) else {
                return;
            };
            if load(&memory[0]) == buckets {
                assert_eq!(found, 7);
            }
        },
    );
}

#[test]
fn loom_a_cleared_database_is_not_read_after_its_memory_is_reused() {
    // state, sequence of its bucket, entry; clearing changes no bucket
    race(
        [1, 0, 7, 7],
        |memory| {
            switch(&memory[0], 2);
            store(&memory[2], 99);
            store(&memory[3], 99);
        },
        |memory| {
            let state = observe(&memory[0]);
            let read = |memory: &[AtomicU64; 4]| [load(&memory[2]), load(&memory[3])];
            let Some((_, values)) = read_under(memory, 1, read) else {
                return;
            };
            if state == 1 && load(&memory[0]) == state {
                assert_eq!(values, [7, 7]);
            }
        },
    );
}

#[test]
fn loom_a_transaction_is_seen_whole() {
    // txn_seq and value of two shards; the two reads are checked together at the end, as those of MGET are
    race(
        [0, 1, 0, 1],
        |memory| {
            announce(&memory[0], 1);
            announce(&memory[2], 1);
            store(&memory[1], 2);
            store(&memory[3], 2);
            publish(&memory[0], 2);
            publish(&memory[2], 2);
        },
        |memory| {
            let (first, second) = (observe(&memory[0]), observe(&memory[2]));
            if first & 1 == 1 || second & 1 == 1 {
                return;
            }
            let values = (load(&memory[1]), load(&memory[3]));
            settle::<AtomicU64>();
            if (load(&memory[0]), load(&memory[2])) == (first, second) {
                assert_eq!(values.0, values.1);
            }
        },
    );
}

#[test]
fn loom_single_reads_see_a_transaction_in_order() {
    // A client that has seen the new value of one shard does not get the old one of the other afterwards.
    race(
        [0, 1, 0, 1],
        |memory| {
            announce(&memory[0], 1);
            announce(&memory[2], 1);
            store(&memory[1], 2);
            store(&memory[3], 2);
            publish(&memory[0], 2);
            publish(&memory[2], 2);
        },
        |memory| {
            let first = read_under(memory, 0, |memory| [load(&memory[1]), 0]);
            let second = read_under(memory, 2, |memory| [load(&memory[3]), 0]);
            if let (Some((_, [first, _])), Some((_, [second, _]))) = (first, second) {
                assert!(second >= first);
            }
        },
    );
}
