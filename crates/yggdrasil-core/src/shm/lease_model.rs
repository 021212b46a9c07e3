//! Every interleaving and every permitted reordering of leases, by loom: run by
//! `RUSTFLAGS="--cfg loom" cargo test --release -p yggdrasil-core loom_`.

use std::sync::atomic::Ordering::Relaxed;

use loom::sync::Arc;
use loom::sync::atomic::AtomicU64;
use loom::thread;

use super::lease::{active_runs, look, protect, protected_run, release};
use super::sequence::{announce, observe, publish, settle};

/// A bucket that names one run, two words of that run, and the page of one holder.
#[derive(Default)]
struct Memory {
    sequence: AtomicU64,
    named: AtomicU64,
    run: [AtomicU64; 2],
    active: AtomicU64,
    slot: AtomicU64,
}

const RUN: u64 = 7;

fn memory() -> Arc<Memory> {
    let memory = Memory::default();
    memory.named.store(RUN, Relaxed);
    memory.run.iter().for_each(|word| word.store(10, Relaxed));
    Arc::new(memory)
}

/// Takes a lease and looks at the run twice, with time in between.
fn hold(memory: &Memory) {
    let seen = observe(&memory.sequence);
    if seen & 1 == 1 || memory.named.load(Relaxed) != RUN {
        return;
    }
    protect(&memory.active, 1, &memory.slot, RUN);
    settle::<AtomicU64>();
    if memory.sequence.load(Relaxed) == seen {
        let first = [0, 1].map(|n| memory.run[n].load(Relaxed));
        thread::yield_now();
        let again = [0, 1].map(|n| memory.run[n].load(Relaxed));
        assert_eq!(first[0], first[1], "a leased run is whole");
        assert_eq!(first, again, "a leased run stays as it is");
    }
    release(&memory.active, 0, &memory.slot);
}

fn is_leased(memory: &Memory) -> bool {
    active_runs(&memory.active) != 0 && protected_run(&memory.slot) == RUN
}

fn reuse(memory: &Memory) {
    memory.run.iter().for_each(|word| word.store(99, Relaxed));
}

fn race(owner: fn(&Memory)) {
    loom::model(move || {
        let shared = memory();
        let other = Arc::clone(&shared);
        let owning = thread::spawn(move || owner(&other));
        hold(&shared);
        owning.join().unwrap();
    });
}

#[test]
fn loom_a_leased_run_is_not_reused() {
    race(|memory| {
        announce(&memory.sequence, 1);
        memory.named.store(0, Relaxed);
        publish(&memory.sequence, 2);
        look::<AtomicU64>();
        if !is_leased(memory) {
            reuse(memory);
        }
    });
}

#[test]
fn loom_a_run_in_limbo_is_reused_only_after_its_release() {
    race(|memory| {
        announce(&memory.sequence, 1);
        memory.named.store(0, Relaxed);
        publish(&memory.sequence, 2);
        look::<AtomicU64>();
        for _ in 0..2 {
            if !is_leased(memory) {
                reuse(memory);
                return;
            }
            thread::yield_now();
        }
    });
}

#[test]
fn loom_a_leased_run_is_not_changed_in_place() {
    race(|memory| {
        announce(&memory.sequence, 1);
        look::<AtomicU64>();
        if !is_leased(memory) {
            reuse(memory);
        }
        publish(&memory.sequence, 2);
    });
}
