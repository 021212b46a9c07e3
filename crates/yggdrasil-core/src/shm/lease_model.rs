//! Every interleaving and every permitted reordering of leases, by loom: run by
//! `RUSTFLAGS="--cfg loom" cargo test --release -p yggdrasil-core loom_`.

use std::sync::atomic::Ordering::Relaxed;

use loom::sync::Arc;
use loom::sync::atomic::AtomicU64;
use loom::thread;

use super::lease::{look, protect, protected_run, release, slots_end};
use super::sequence::{announce, observe, publish, settle};

/// A bucket that names one run, two words of that run, and the page of one holder.
#[derive(Default)]
struct Memory {
    sequence: AtomicU64,
    named: AtomicU64,
    run: [AtomicU64; 2],
    end: AtomicU64,
    slots: [AtomicU64; 2],
}

const RUN: u64 = 7;
/// A run that nobody uses anew.
const OTHER: u64 = 8;

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
    protect(&memory.end, 1, &memory.slots[0], RUN);
    settle::<AtomicU64>();
    if memory.sequence.load(Relaxed) == seen {
        let first = [0, 1].map(|n| memory.run[n].load(Relaxed));
        thread::yield_now();
        let again = [0, 1].map(|n| memory.run[n].load(Relaxed));
        assert_eq!(first[0], first[1], "a leased run is whole");
        assert_eq!(first, again, "a leased run stays as it is");
    }
    release(&memory.end, 0, &memory.slots[0]);
}

/// As [`hold`], behind another run that is given back and held again meanwhile.
fn hold_behind_another(memory: &Memory) {
    protect(&memory.end, 1, &memory.slots[0], OTHER);
    let seen = observe(&memory.sequence);
    if seen & 1 == 1 || memory.named.load(Relaxed) != RUN {
        return;
    }
    protect(&memory.end, 2, &memory.slots[1], RUN);
    settle::<AtomicU64>();
    if memory.sequence.load(Relaxed) == seen {
        release(&memory.end, 2, &memory.slots[0]);
        protect(&memory.end, 2, &memory.slots[0], OTHER);
        let run = [0, 1].map(|n| memory.run[n].load(Relaxed));
        assert_eq!(run, [10, 10], "a leased run stays as it is");
    }
    release(&memory.end, 1, &memory.slots[1]);
}

fn is_leased(memory: &Memory) -> bool {
    let slots = memory.slots.iter().take(slots_end(&memory.end) as usize);
    slots.map(protected_run).any(|run| run == RUN)
}

fn reuse(memory: &Memory) {
    memory.run.iter().for_each(|word| word.store(99, Relaxed));
}

fn race(owner: fn(&Memory), holder: fn(&Memory)) {
    loom::model(move || {
        let shared = memory();
        let other = Arc::clone(&shared);
        let owning = thread::spawn(move || owner(&other));
        holder(&shared);
        owning.join().unwrap();
    });
}

fn reuse_what_is_free(memory: &Memory) {
    announce(&memory.sequence, 1);
    memory.named.store(0, Relaxed);
    publish(&memory.sequence, 2);
    look::<AtomicU64>();
    if !is_leased(memory) {
        reuse(memory);
    }
}

#[test]
fn loom_a_leased_run_is_not_reused() {
    race(reuse_what_is_free, hold);
}

#[test]
fn loom_a_leased_run_is_not_reused_while_others_come_and_go() {
    race(reuse_what_is_free, hold_behind_another);
}

#[test]
fn loom_a_run_in_limbo_is_reused_only_after_its_release() {
    let owner = |memory: &Memory| {
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
    };
    race(owner, hold);
}

#[test]
fn loom_a_leased_run_is_not_changed_in_place() {
    let owner = |memory: &Memory| {
        announce(&memory.sequence, 1);
        look::<AtomicU64>();
        if !is_leased(memory) {
            reuse(memory);
        }
        publish(&memory.sequence, 2);
    };
    race(owner, hold);
}
