//! Requests that are answered later: by the own shard or another one, in order, or never.

use super::{ClientId, Node, encoded};
use crate::engine::tests::staged::OPTIONS;

/// Keys of the shard of each worker.
const FIRST: &[u8] = b"{b}key";
const SECOND: &[u8] = b"{a}key";

/// A node with two clients at its first worker.
fn node() -> (Node, [ClientId; 2]) {
    let mut node = Node::start(&OPTIONS);
    let clients = [node.connect(0), node.connect(0)];
    assert_eq!(node.engines[0].shard_of(FIRST), 0);
    assert_eq!(node.engines[0].shard_of(SECOND), 1);
    (node, clients)
}

impl Node {
    fn waiting(&self) -> usize {
        self.engines.iter().map(|engine| engine.parked.len()).sum()
    }
}

#[test]
fn a_request_is_answered_when_its_key_has_changed() {
    for key in [FIRST, SECOND] {
        let (mut node, [waiter, writer]) = node();
        let behind = [encoded(&[b"AWAIT", key]), encoded(&[b"STRLEN", key])].concat();
        node.send(waiter, &behind, usize::MAX, false);
        assert_eq!(node.replies(waiter), b"");
        assert_eq!(node.waiting(), 1);
        assert_eq!(node.ask(writer, &[b"DEL", key]), b":0\r\n");
        assert_eq!(node.waiting(), 1);
        assert_eq!(node.ask(writer, &[b"SET", key, b"word"]), b"+OK\r\n");
        assert_eq!(node.replies(waiter), b"$4\r\nword\r\n:4\r\n");
        assert_eq!(node.waiting(), 0);
        assert_eq!(node.ask(waiter, &[b"AWAIT", key]), b"$4\r\nword\r\n");
    }
}

#[test]
fn inside_of_a_transaction_nothing_waits() {
    let (mut node, [client, _]) = node();
    let requests: [&[&[u8]]; 3] = [&[b"MULTI"], &[b"AWAIT", FIRST], &[b"AWAIT", SECOND]];
    for request in requests {
        assert!(node.ask(client, request).starts_with(b"+"));
    }
    assert_eq!(node.ask(client, &[b"EXEC"]), b"*2\r\n$-1\r\n$-1\r\n");
}

#[test]
fn a_transaction_wakes_when_it_has_ended() {
    let (mut node, [waiter, writer]) = node();
    node.send(waiter, &encoded(&[b"AWAIT", SECOND]), usize::MAX, false);
    let pairs: &[&[u8]] = &[b"MSET", FIRST, b"1", SECOND, b"2"];
    assert_eq!(node.ask(writer, pairs), b"+OK\r\n");
    assert_eq!(node.replies(waiter), b"$1\r\n2\r\n");
}

#[test]
fn nothing_waits_for_a_client_that_has_gone() {
    for key in [FIRST, SECOND] {
        let (mut node, [waiter, writer]) = node();
        node.send(waiter, &encoded(&[b"AWAIT", key]), usize::MAX, false);
        assert_eq!(node.waiting(), 1);
        node.reconnect(waiter);
        assert_eq!(node.waiting(), 0);
        assert_eq!(node.engines[0].tickets.len(), 0);
        assert_eq!(node.ask(writer, &[b"SET", key, b"word"]), b"+OK\r\n");
        assert_eq!(node.replies(waiter), b"");
    }
}
