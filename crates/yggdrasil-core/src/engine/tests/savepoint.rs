//! A command over shards that one of them refuses changes none of them.

use super::{ClientId, Node, encoded};
use crate::keyspace::EventClasses;

/// Keys of the shards of worker 0 and worker 1.
const OWN: &[u8] = b"{b}key";
const OTHER: &[u8] = b"{a}key";

/// A node whose worker 1 stores nothing more, while worker 0 has room, and a client of this worker.
fn half_full(worker: usize) -> (Node, ClientId) {
    let mut node = Node::start(&[
        ("maxclients", "100"),
        ("proto-max-bulk-len", "1000000"),
        ("client-query-buffer-limit", "100000000"),
        ("slowlog-log-slower-than", "-1"),
        ("maxmemory", "0"),
        ("maxmemory-policy", "noeviction"),
    ]);
    let id = node.connect(worker);
    assert_eq!(node.ask(id, &[b"SET", OWN, b"mine"]), b"+OK\r\n");
    assert_eq!(node.ask(id, &[b"SADD", b"{b}set", b"one"]), b":1\r\n");
    assert_eq!(node.ask(id, &[b"SET", OTHER, b"yours"]), b"+OK\r\n");
    let shard = &mut node.engines[1].shard;
    let used = shard.memory().used;
    shard.set_memory_limit(used);
    (node, id)
}

fn is_unchanged(node: &mut Node, id: ClientId) {
    assert_eq!(
        node.ask(id, &[b"MGET", OWN, OTHER, b"{b}new", b"{a}new"]),
        b"*4\r\n$4\r\nmine\r\n$5\r\nyours\r\n$-1\r\n$-1\r\n"
    );
    assert_eq!(node.ask(id, &[b"SCARD", b"{b}set"]), b":1\r\n");
    assert_eq!(node.ask(id, &[b"DBSIZE"]), b":3\r\n");
}

#[test]
fn a_refused_command_over_shards_changes_nothing() {
    for worker in [0, 1] {
        let (mut node, id) = half_full(worker);
        let long = vec![b'x'; 500_000];
        for request in [
            vec![
                b"MSET".as_slice(),
                OWN,
                b"1",
                b"{b}new",
                b"1",
                OTHER,
                b"1",
                b"{a}new",
                &long,
            ],
            vec![b"MSETNX", b"{b}new", b"1", b"{a}new", &long],
            vec![b"SMOVE", b"{b}set", b"{a}new", b"one"],
            vec![b"RENAME", b"{b}set", b"{a}new"],
        ] {
            if request[0] == b"RENAME" {
                node.engines[1].shard.set_memory_limit(0);
            }
            let reply = node.ask(id, &request);
            assert!(reply.starts_with(b"-OOM"), "{}", reply.escape_ascii());
            is_unchanged(&mut node, id);
        }
    }
}

#[test]
fn a_refused_step_of_a_transaction_changes_nothing_and_the_others_count() {
    for worker in [0, 1] {
        let (mut node, id) = half_full(worker);
        let long = vec![b'x'; 500_000];
        let mut bytes = Vec::new();
        for request in [
            vec![b"MULTI".as_slice()],
            vec![b"APPEND", OWN, b"+"],
            vec![b"MSET", OWN, b"1", OTHER, &long],
            vec![b"STRLEN", OWN],
            vec![b"DEL", OTHER],
            vec![b"MSET", OWN, b"2", OTHER, b"2"],
            vec![b"EXEC"],
        ] {
            bytes.extend(encoded(&request));
        }
        node.send(id, &bytes, usize::MAX, false);
        let replies = node.replies(id);
        let text = String::from_utf8_lossy(&replies);
        assert!(text.contains("*5\r\n:5\r\n-OOM"), "{text}");
        assert!(text.ends_with("\r\n:5\r\n:1\r\n+OK\r\n"), "{text}");
        assert_eq!(
            node.ask(id, &[b"MGET", OWN, OTHER]),
            b"*2\r\n$1\r\n2\r\n$1\r\n2\r\n"
        );
    }
}

#[test]
fn what_is_undone_is_not_told_and_the_rest_is_told_in_order() {
    for worker in [0, 1] {
        let (mut node, id) = half_full(worker);
        for engine in &mut node.engines {
            engine.options.event_classes = EventClasses::from_letters("EA").expect("letters");
            engine.apply_event_classes();
        }
        let subscriber = node.connect(worker);
        node.ask(subscriber, &[b"PSUBSCRIBE", b"__keyevent*"]);
        let long = vec![b'x'; 500_000];
        let mut bytes = Vec::new();
        for request in [
            vec![b"MULTI".as_slice()],
            vec![b"DEL", OTHER],
            vec![b"APPEND", OWN, b"+"],
            vec![b"MSET", b"{b}new", b"1", b"{a}new", &long],
            vec![b"SET", OTHER, b"2"],
            vec![b"SADD", b"{b}set", b"two"],
            vec![b"EXEC"],
        ] {
            bytes.extend(encoded(&request));
        }
        node.send(id, &bytes, usize::MAX, false);
        let heard = node.replies(subscriber);
        let text = String::from_utf8_lossy(&heard);
        let told: Vec<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix("__keyevent@0__:"))
            .collect();
        assert_eq!(told, ["del", "append", "set", "sadd"], "{text}");
    }
}
