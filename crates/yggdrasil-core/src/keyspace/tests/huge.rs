//! Huge pages change nothing but where bytes lie.

use std::time::{Duration, Instant};

use super::{Rig, key};
use crate::keyspace::{Expiry, Looked, Value};

const NOW: u64 = 1_000;
const KEYS: u64 = 60_000;
const PATIENCE: Duration = Duration::from_secs(30);

/// True where this kernel puts shared memory into huge pages when it is asked to (Linux 6.1).
fn can_collapse() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release
        .split(['.', '-'])
        .map(|part| part.parse().unwrap_or(0));
    let version: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let setting = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";
    let setting = std::fs::read_to_string(setting).unwrap_or_else(|_| "[deny]".into());
    version >= (6, 1) && !setting.contains("[deny]")
}

fn value(number: u64) -> Vec<u8> {
    vec![number as u8; 200]
}

fn check(rig: &Rig, number: u64) {
    let name = number.to_le_bytes();
    let mut scratch = Vec::new();
    let found = rig.reader.look_up(&key(0, &name), NOW, &mut scratch);
    assert!(matches!(found, Looked::Hit(info) if info.len == 200));
    assert_eq!(scratch[..200], value(number));
}

#[test]
fn full_parts_move_into_huge_pages_and_out_again() {
    let mut rig = Rig::roomy();
    for number in 0..KEYS {
        let (name, value) = (number.to_le_bytes(), value(number));
        rig.shard
            .set(&key(0, &name), Value::Bytes(&value), Expiry::Clear, NOW)
            .unwrap();
        if number % 1000 == 0 {
            check(&rig, number);
        }
    }
    let resident = rig.segment.resident_bytes().unwrap();
    rig.shard.set_huge_pages(true);
    let begin = Instant::now();
    while can_collapse() && rig.shard.memory().huge < resident / 2 && begin.elapsed() < PATIENCE {
        rig.shard.advance(NOW, 100);
        std::thread::yield_now();
    }
    assert_eq!(rig.shard.memory().huge >= resident / 2, can_collapse());
    assert_eq!(rig.segment.resident_bytes().unwrap(), resident);
    (0..KEYS).for_each(|number| check(&rig, number));
    for number in (0..KEYS).filter(|number| number % 10 != 0) {
        assert!(rig.shard.remove(&key(0, &number.to_le_bytes()), NOW));
    }
    rig.shard.purge();
    while rig.shard.advance(NOW, 1000) {}
    rig.shard.purge();
    rig.shard.check_invariants();
    assert!(rig.segment.resident_bytes().unwrap() < resident / 4);
    assert!(rig.shard.memory().huge < resident / 4);
    (0..KEYS).step_by(10).for_each(|number| check(&rig, number));
    assert!(rig.shard.set_huge_pages(false));
    assert_eq!(rig.shard.memory().huge, 0);
}
