//! An engine of one worker with one client, without sockets.

use yggdrasil_core::control::{Control, NodeShape};
use yggdrasil_core::engine::{Clock, Engine, Listener, Options, Parts, Peer, SessionRef};
use yggdrasil_core::keyspace::{Shard, ShardReader, ShardShape};
use yggdrasil_core::lease::Holders;
use yggdrasil_core::shm::Segment;

const SHAPE: NodeShape = NodeShape {
    shards: 1,
    arena_bytes: 1 << 34,
    ring_bytes: 1 << 16,
    databases: 16,
    hash_seed: 1,
};

/// A node of so many workers, of which one is there: its keys have the tag `{b}`, where there are two.
pub fn engine_of(shards: usize) -> (Engine, SessionRef) {
    let node = NodeShape { shards, ..SHAPE };
    let control = Control::open(Control::create(&node).unwrap(), node).unwrap();
    let arenas: Vec<Segment> = (0..shards)
        .map(|_| Segment::create("bench", SHAPE.arena_bytes).unwrap())
        .collect();
    let mut options = Options::unset();
    for (name, value) in [
        ("maxclients", "100"),
        ("proto-max-bulk-len", "536870912"),
        ("client-query-buffer-limit", "1073741824"),
        ("slowlog-log-slower-than", "10000"),
        ("maxmemory", "1099511627776"),
        ("maxmemory-policy", "noeviction"),
    ] {
        options.set(name, value).unwrap();
    }
    let shape = ShardShape {
        databases: SHAPE.databases as u16,
        segment_bytes: SHAPE.arena_bytes,
        memory_limit: options.memory_limit,
        hash_seed: SHAPE.hash_seed,
        value_bytes_max: SHAPE.arena_bytes,
    };
    let made = |shard: usize| {
        let holders = Holders::new(shard, (0..shards).map(|worker| control.lease_page(worker)));
        Shard::create_beside(holders, arenas[shard].own().unwrap(), shape.clone()).unwrap()
    };
    let mut all: Vec<Shard> = (0..shards).map(made).collect();
    let reader = |shard: usize| {
        let arena = arenas[shard].read().unwrap();
        (shard != 0).then(|| ShardReader::open(arena, &shape).unwrap())
    };
    let readers = (0..shards).map(reader).collect();
    let shard = all.swap_remove(0);
    let mut engine = Engine::new(Parts {
        shard_index: 0,
        control,
        shard,
        readers,
        options,
        clock: Clock {
            unix_ms: || 1_700_000_000_000,
            unix_us: || 1_700_000_000_000_000,
            ticks: || 0,
            ns_per_tick: 1 << 32,
        },
    });
    let client = engine.open(&Peer {
        address: "127.0.0.1:1".into(),
        local_address: "127.0.0.1:2".into(),
        descriptor: -1,
        listener: Listener::Common,
        secure: false,
    });
    (engine, client.unwrap())
}
