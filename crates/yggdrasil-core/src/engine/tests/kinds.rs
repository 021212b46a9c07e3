//! Values of other kinds than strings, asked for at their owner and at another worker.

use super::Node;
use crate::keyspace::collection::set::put_add;
use crate::keyspace::{Expiry, Key, Kind, Value, hash_key};
use crate::stats::Counter;

/// Keys of the shards of worker 0 and worker 1.
const KEYS: [&[u8]; 2] = [b"{b}key", b"{a}key"];
const WRONG_TYPE: &[u8] = b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";

fn node(kind: Kind, value: Value<'_>) -> Node {
    let mut node = Node::start(&[
        ("maxclients", "100"),
        ("proto-max-bulk-len", "1000000"),
        ("client-query-buffer-limit", "1000000"),
        ("slowlog-log-slower-than", "-1"),
        ("maxmemory", "1000000000"),
        ("maxmemory-policy", "noeviction"),
    ]);
    for (engine, bytes) in node.engines.iter_mut().zip(KEYS) {
        let key = Key {
            db: 0,
            hash: hash_key(super::SHAPE.hash_seed, bytes),
            bytes,
        };
        let put = engine.shard.put(&key, kind, value, Expiry::Clear, 0);
        assert_eq!(put, Ok(false));
    }
    node
}

#[test]
fn a_packed_value_is_known_for_what_it_is_from_everywhere() {
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::String) {
        let mut node = node(kind, Value::Bytes(b"packed"));
        let client = node.connect(0);
        for key in KEYS {
            for command in [&b"GET"[..], b"STRLEN", b"GETDEL", b"INCR"] {
                assert_eq!(node.ask(client, &[command, key]), WRONG_TYPE);
            }
            let name = format!("+{}\r\n", kind.type_name());
            assert_eq!(node.ask(client, &[b"TYPE", key]), name.as_bytes());
            assert_eq!(node.ask(client, &[b"MGET", key]), b"*1\r\n$-1\r\n");
        }
    }
}

#[test]
fn what_only_the_owner_finds_is_asked_of_the_owner() {
    let ops = (0..300).fold(Vec::new(), |mut ops, number: u32| {
        put_add(&mut ops, format!("member {number}").as_bytes());
        ops
    });
    for value in [Value::Written(&ops), Value::Absent(b"place")] {
        let mut node = node(Kind::Set, value);
        let client = node.connect(0);
        for key in KEYS {
            assert_eq!(node.ask(client, &[b"TYPE", key]), b"+set\r\n");
            assert_eq!(node.ask(client, &[b"GET", key]), WRONG_TYPE);
        }
        let retries = node.engines[0].stats.get(Counter::CrossShardRetries);
        assert_eq!(retries, 0);
    }
}

#[test]
fn a_renamed_value_keeps_its_kind_in_its_shard_and_in_another() {
    let mut node = node(Kind::Stream, Value::Bytes(b"packed"));
    let client = node.connect(0);
    for (from, to) in [
        (KEYS[0], &b"{b}new"[..]),
        (KEYS[1], b"{b}newer"),
        (b"{b}new", b"{a}new"),
    ] {
        assert_eq!(node.ask(client, &[b"RENAME", from, to]), b"+OK\r\n");
        assert_eq!(node.ask(client, &[b"TYPE", to]), b"+stream\r\n");
    }
}
