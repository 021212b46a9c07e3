//! Every interleaving and every permitted reordering of a ring's positions, by loom: run by
//! `RUSTFLAGS="--cfg loom" cargo test --release -p yggdrasil-core loom_`.

use std::sync::atomic::Ordering::Relaxed;

use loom::sync::atomic::AtomicU64;
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use super::positions::{give_back, has_room, publish, request_wake, waiting, woke};

const CAPACITY: u64 = 2;

/// A ring of words, and the eventfds of both sides.
#[derive(Default)]
struct Ring {
    tail: AtomicU64,
    head: AtomicU64,
    starved: AtomicU64,
    data: [AtomicU64; CAPACITY as usize],
    consumer_woken: AtomicU64,
    consumer_event: Event,
    producer_event: Event,
}

/// An eventfd. A wake-up that is lost is a deadlock, which loom reports.
#[derive(Default)]
struct Event {
    written: Mutex<bool>,
    changed: Condvar,
}

impl Event {
    fn write(&self) {
        *self.written.lock().unwrap() = true;
        self.changed.notify_one();
    }

    fn sleep(&self) {
        let mut written = self.written.lock().unwrap();
        while !*written {
            written = self.changed.wait(written).unwrap();
        }
        *written = false;
    }
}

fn produce(ring: &Ring, count: u64) {
    let mut head_seen = 0;
    for written in 0..count {
        while !has_room(
            &ring.head,
            &ring.starved,
            written,
            1,
            CAPACITY,
            &mut head_seen,
        ) {
            ring.producer_event.sleep();
        }
        ring.data[(written % CAPACITY) as usize].store(written + 1, Relaxed);
        publish(&ring.tail, written + 1);
        if request_wake(&ring.consumer_woken) {
            ring.consumer_event.write();
        }
    }
}

fn consume(ring: &Ring, count: u64) {
    let mut head = 0;
    while head < count {
        ring.consumer_event.sleep();
        woke(&ring.consumer_woken);
        let found = waiting(&ring.tail, head, CAPACITY);
        for position in head..head + found {
            let value = ring.data[(position % CAPACITY) as usize].load(Relaxed);
            assert_eq!(
                value,
                position + 1,
                "a word was read before it was written, or after it was overwritten"
            );
        }
        head += found;
        if found > 0 && give_back(&ring.head, &ring.starved, head) {
            ring.producer_event.write();
        }
    }
}

fn check(count: u64) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(move || {
        let ring = Arc::new(Ring::default());
        let other = Arc::clone(&ring);
        let producing = thread::spawn(move || produce(&other, count));
        consume(&ring, count);
        producing.join().unwrap();
    });
}

#[test]
fn loom_a_sleeper_finds_what_it_was_woken_for() {
    check(2);
}

#[test]
fn loom_a_full_ring_goes_on_when_there_is_room() {
    check(3);
}
