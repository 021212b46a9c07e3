//! Behaviour of owner and readers, against an obvious model and in the large.

mod behaviour;
mod collections;
mod corruption;
mod drafts;
mod eviction;
mod fields;
mod huge;
mod kinds;
mod leases;
mod lists;
mod model;
mod sweep;

use super::{Collection, Key, Kind, Packing, Shard, ShardReader, ShardShape, hash_key};
use crate::keyspace::collection::set::put_add;
use crate::shm::Segment;

pub(super) const SEED: u64 = 0x5eed;

pub(super) fn shape(segment_bytes: u64, memory_limit: u64) -> ShardShape {
    ShardShape {
        databases: 4,
        segment_bytes,
        memory_limit,
        hash_seed: SEED,
        value_bytes_max: 1 << 20,
    }
}

/// A shard, a reader of it, and the segment of both.
pub(super) struct Rig {
    pub(super) segment: Segment,
    pub(super) shape: ShardShape,
    pub(super) shard: Shard,
    pub(super) reader: ShardReader,
}

impl Rig {
    pub(super) fn new(segment_bytes: u64, memory_limit: u64) -> Self {
        Self::of(shape(segment_bytes, memory_limit))
    }

    pub(super) fn of(shape: ShardShape) -> Self {
        let segment = Segment::create("test", shape.segment_bytes).unwrap();
        let shard = Shard::create(segment.own().unwrap(), shape.clone()).unwrap();
        let reader = ShardReader::open(segment.read().unwrap(), &shape).unwrap();
        Self {
            segment,
            shape,
            shard,
            reader,
        }
    }

    pub(super) fn roomy() -> Self {
        Self::new(1 << 36, 1 << 32)
    }
}

pub(super) fn key(db: u8, bytes: &[u8]) -> Key<'_> {
    Key {
        db,
        hash: hash_key(SEED, bytes),
        bytes,
    }
}

/// A set that is too large to be packed.
fn large_set() -> Collection {
    let members = (0..500_u32).map(|number| format!("member {number}"));
    let mut ops = Vec::new();
    members.for_each(|member| put_add(&mut ops, member.as_bytes()));
    Collection::written(Kind::Set, &ops, &Packing::default()).expect("sets have members")
}
