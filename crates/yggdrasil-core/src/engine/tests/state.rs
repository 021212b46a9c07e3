//! Shards that are being filled, or follow another node's: what they answer, to whomever.

use super::{ClientId, Node};
use crate::engine::ShardState;

/// Keys of the shard of each worker.
const FIRST: &[u8] = b"{b}key";
const SECOND: &[u8] = b"{a}key";
const LOADING: &[u8] = b"-LOADING Yggdrasil is loading the dataset in memory\r\n";
const READ_ONLY: &[u8] = b"-READONLY You can't write against a read only replica.\r\n";

/// A node whose second shard is in this state, with a client at each worker.
fn node(state: ShardState) -> (Node, [ClientId; 2]) {
    let mut node = Node::start(&[
        ("maxclients", "100"),
        ("proto-max-bulk-len", "1000000"),
        ("client-query-buffer-limit", "1000000"),
        ("slowlog-log-slower-than", "-1"),
        ("maxmemory", "1000000000"),
        ("maxmemory-policy", "noeviction"),
    ]);
    let clients = [node.connect(0), node.connect(1)];
    assert_eq!(node.engines[0].shard_of(FIRST), 0);
    assert_eq!(node.engines[0].shard_of(SECOND), 1);
    assert_eq!(node.ask(clients[1], &[b"SET", SECOND, b"1"]), b"+OK\r\n");
    node.engines[1].set_shard_state(state);
    (node, clients)
}

#[test]
fn a_shard_that_is_being_filled_answers_nothing_about_keys() {
    let (mut node, [other, own]) = node(ShardState::Loading);
    assert_eq!(node.ask(own, &[b"GET", SECOND]), LOADING);
    assert_eq!(node.ask(own, &[b"ECHO", b"x"]), b"$1\r\nx\r\n");
    for client in [other, own] {
        assert_eq!(node.ask(client, &[b"SET", SECOND, b"2"]), LOADING);
        assert_eq!(
            node.ask(client, &[b"SET", SECOND, &[b'x'; 100_000]]),
            LOADING
        );
    }
    assert_eq!(node.ask(other, &[b"SET", FIRST, b"2"]), b"+OK\r\n");
    node.engines[1].set_shard_state(ShardState::Serving);
    assert_eq!(node.ask(other, &[b"GET", SECOND]), b"$1\r\n1\r\n");
}

#[test]
fn a_transaction_over_a_shard_that_is_being_filled_changes_nothing() {
    let (mut node, [other, _]) = node(ShardState::Loading);
    let pairs: &[&[u8]] = &[b"MSET", FIRST, b"2", SECOND, b"2"];
    assert_eq!(node.ask(other, pairs), LOADING);
    let requests: [&[&[u8]]; 3] = [&[b"MULTI"], &[b"SET", FIRST, b"2"], &[b"SET", SECOND, b"2"]];
    for request in requests {
        assert!(node.ask(other, request).starts_with(b"+"));
    }
    assert_eq!(node.ask(other, &[b"EXEC"]), LOADING);
    assert_eq!(node.ask(other, &[b"GET", FIRST]), b"$-1\r\n");
}

#[test]
fn a_shard_that_follows_another_is_read_and_not_written() {
    let (mut node, clients) = node(ShardState::Following);
    for client in clients {
        assert_eq!(node.ask(client, &[b"GET", SECOND]), b"$1\r\n1\r\n");
        assert_eq!(node.ask(client, &[b"SET", SECOND, b"2"]), READ_ONLY);
        assert_eq!(
            node.ask(client, &[b"MSET", FIRST, b"2", SECOND, b"2"]),
            READ_ONLY
        );
        assert_eq!(node.ask(client, &[b"RENAME", SECOND, FIRST]), READ_ONLY);
    }
    assert_eq!(node.ask(clients[0], &[b"EXISTS", FIRST]), b":0\r\n");
}
