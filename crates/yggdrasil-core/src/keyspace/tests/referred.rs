//! Values that the kernel refers to in the queue of a socket while their keys change.

use std::io::Read;
use std::os::unix::net::UnixStream;

use super::{Rig, key, shape};
use crate::keyspace::{Expiry, Lent, Shard, ShardShape, Value};
use crate::lease::Holders;
use crate::shm::Segment;

const NOW: u64 = 1_700_000_000_000;
/// What a socket holds at once, and no multiple of a page.
pub(super) const LEN: usize = 100_001;

pub(super) fn bytes(seed: u8) -> Vec<u8> {
    (0..LEN)
        .map(|n| (n as u8).wrapping_mul(31) ^ seed)
        .collect()
}

fn set(shard: &mut Shard, name: &[u8], value: &[u8]) {
    let stored = Value::Bytes(value);
    shard
        .set(&key(0, name), stored, Expiry::Clear, NOW)
        .unwrap();
}

fn value(shard: &mut Shard) -> Vec<u8> {
    match shard.find(&key(0, b"k"), NOW).unwrap().value {
        Value::Bytes(bytes) => bytes.to_vec(),
        Value::Int(_) => panic!("a long value is no number"),
    }
}

fn lend(shard: &mut Shard) -> Lent {
    let lender = shard.lender();
    match shard.find(&key(0, b"k"), NOW).unwrap().value {
        Value::Bytes(bytes) => lender.lend(bytes).unwrap(),
        Value::Int(_) => panic!("a long value is no number"),
    }
}

/// Counts readings of `k` until one is to go by reference; how many were copied. `None` where the system has huge
/// pages.
pub(super) fn copies(shard: &mut Shard) -> Option<usize> {
    (0..100).position(|_| {
        let lent = lend(shard);
        shard.refer(&lent.lease, lent.len)
    })
}

/// Sends `k` by reference into a socket that nobody reads from yet.
pub(super) fn send(shard: &mut Shard) -> UnixStream {
    let (sending, receiving) = UnixStream::pair().unwrap();
    let lent = lend(shard);
    assert!(shard.refer(&lent.lease, lent.len));
    let (mut offset, mut left) = (lent.offset, lent.len as usize);
    while left > 0 {
        let file = shard.file();
        left -= rustix::fs::sendfile(&sending, file, Some(&mut offset), left).unwrap();
    }
    receiving
}

/// Everything that changes the value of `k`, or takes it away.
const CHANGES: [fn(&mut Shard); 9] = [
    |shard| set(shard, b"k", &bytes(9)),
    |shard| set(shard, b"k", &bytes(9)[..60_000]),
    |shard| set(shard, b"k", b"small"),
    |shard| assert!(shard.remove(&key(0, b"k"), NOW)),
    |shard| {
        shard.clear_database(0);
    },
    |shard| {
        shard.write_range(&key(0, b"k"), 5, &[9; 10], NOW).unwrap();
    },
    |shard| {
        let range = shard.write_range(&key(0, b"k"), 4_000, &[9; 80_000], NOW);
        range.unwrap();
    },
    |shard| {
        shard.append(&key(0, b"k"), &[9; 10_000], NOW).unwrap();
        let range = shard.write_range(&key(0, b"k"), 90_000, &[9; 30_000], NOW);
        range.unwrap();
    },
    |shard| {
        shard.set_expiry(&key(0, b"k"), Some(NOW), NOW);
    },
];

#[test]
fn what_is_in_a_socket_stays_whatever_becomes_of_its_key() {
    for (number, change) in CHANGES.iter().enumerate() {
        let Rig { mut shard, .. } = Rig::roomy();
        set(&mut shard, b"k", &bytes(1));
        if copies(&mut shard).is_none() {
            return;
        }
        let mut socket = send(&mut shard);
        change(&mut shard);
        while shard.advance(NOW, 10_000) {}
        for n in 0..20 {
            set(&mut shard, &[n], &bytes(n));
        }
        shard.check_invariants();
        let mut received = vec![0; LEN];
        socket.read_exact(&mut received).unwrap();
        assert!(received == bytes(1), "change {number}");
    }
}

#[test]
fn a_value_whose_pages_are_referred_to_changes_like_any_other() {
    let Rig { mut shard, .. } = Rig::roomy();
    set(&mut shard, b"k", &bytes(1));
    if copies(&mut shard).is_none() {
        return;
    }
    let mut expected = bytes(1);
    for (at, len) in [
        (0, 1),
        (4_000, 200),
        (8_192, 4_096),
        (50_000, 50_001),
        (99_999, 9_000),
    ] {
        let socket = send(&mut shard);
        let new = vec![at as u8; len];
        shard
            .write_range(&key(0, b"k"), at as u64, &new, NOW)
            .unwrap();
        expected.resize(expected.len().max(at + len), 0);
        expected[at..at + len].copy_from_slice(&new);
        assert!(value(&mut shard) == expected);
        shard.check_invariants();
        drop(socket);
    }
}

#[test]
fn a_value_is_copied_a_few_times_first_and_anew_after_it_was_written() {
    let Rig { mut shard, .. } = Rig::roomy();
    set(&mut shard, b"k", &bytes(1));
    let Some(first) = copies(&mut shard) else {
        return;
    };
    assert!((2..20).contains(&first));
    assert_eq!(copies(&mut shard), Some(0));
    set(&mut shard, b"k", &bytes(2));
    assert_eq!(copies(&mut shard), Some(first));
    // Parts count as what they are: a value of many pages is found by any of them.
    set(&mut shard, b"k", &vec![1; 1_000_000]);
    let part = |shard: &mut Shard| {
        let lender = shard.lender();
        let found = shard.find(&key(0, b"k"), NOW).unwrap().value;
        let Value::Bytes(bytes) = found else {
            panic!("a long value is no number");
        };
        let lent = lender.lend(&bytes[700_000..800_000]).unwrap();
        shard.refer(&lent.lease, lent.len)
    };
    let parts = (0..1_000).position(|_| part(&mut shard)).unwrap();
    assert!(parts >= 9 * first && parts <= 12 * first);
    shard.stop_referring();
    assert!(!part(&mut shard));
}

#[test]
fn the_memory_of_such_a_value_is_given_back_at_once_or_in_steps() {
    for (len, is_at_once) in [(LEN, true), (20_000_000, false)] {
        let segment = Segment::create("test", 1 << 36).unwrap();
        let shape = ShardShape {
            value_bytes_max: 1 << 30,
            ..shape(1 << 36, 1 << 32)
        };
        let mut shard = Shard::create(segment.own().unwrap(), shape).unwrap();
        set(&mut shard, b"first", b"1");
        let before = shard.memory().entries;
        set(&mut shard, b"k", &vec![7; len]);
        if copies(&mut shard).is_none() {
            return;
        }
        let least = segment.resident_bytes().unwrap() - len as u64;
        assert!(shard.remove(&key(0, b"k"), NOW));
        shard.check_invariants();
        assert_eq!(shard.memory().entries, before);
        assert_eq!(segment.resident_bytes().unwrap() <= least, is_at_once);
        // Nothing else gets what waits.
        set(&mut shard, b"other", &bytes(3));
        shard.check_invariants();
        assert!(shard.remove(&key(0, b"other"), NOW));
        while shard.advance(NOW, 10_000) {}
        shard.purge();
        shard.check_invariants();
        assert_eq!(shard.memory().entries, before);
        assert!(segment.resident_bytes().unwrap() <= least);
    }
}

#[test]
fn a_successor_gives_no_page_that_was_sent_another_use() {
    let Rig {
        mut shard,
        segment,
        shape,
        ..
    } = Rig::roomy();
    set(&mut shard, b"k", &bytes(1));
    if copies(&mut shard).is_none() {
        return;
    }
    let mut socket = send(&mut shard);
    drop(shard);
    let mapping = segment.own().unwrap();
    let mut shard = Shard::create_beside(Holders::default(), mapping, shape).unwrap();
    for n in 0..20 {
        set(&mut shard, &[n], &bytes(n));
    }
    let mut received = vec![0; LEN];
    socket.read_exact(&mut received).unwrap();
    assert!(received == bytes(1));
}
