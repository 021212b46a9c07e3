//! Entries of a shard while it changes.

mod common;

use std::collections::HashMap;

use yggdrasil_core::keyspace::Record;
use yggdrasil_snapshot::{Progress, Unowned, entries};

use common::{NOW, Rig, SEED, key};

const KEYS: u32 = 6_000;
const KEPT: u32 = 1_000;

/// A shard that shrinks puts buckets together, of which a scan has seen one already.
#[test]
fn each_entry_is_met_once_while_buckets_are_put_together() {
    let mut rig = Rig::new();
    for n in 0..KEYS {
        rig.set(0, &n.to_le_bytes(), b"value");
    }
    let (shard, reader) = (&mut rig.shard, &rig.reader);
    let mut met: HashMap<Vec<u8>, u32> = HashMap::new();
    let mut gone = KEPT..KEYS;
    let progress = Progress::default();
    entries(0, reader, SEED, &mut Unowned(0), &progress, &mut |change| {
        let record = Record::decode(change.record).unwrap();
        *met.entry(record.key.to_vec()).or_default() += 1;
        if met.len() > 500 {
            for n in gone.by_ref().take(20) {
                shard.remove(&key(0, &n.to_le_bytes()), NOW);
            }
            shard.advance(NOW, 100);
        }
        Ok(())
    })
    .unwrap();
    assert!(gone.is_empty());
    assert!(met.values().all(|times| *times == 1));
    let kept = (0..KEPT).filter(|n| met.contains_key(&n.to_le_bytes()[..]));
    assert_eq!(kept.count() as u32, KEPT);
}
