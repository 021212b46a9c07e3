//! What maxmemory leaves for keys, and what is given back of what a worker took for requests.

use super::{Node, encoded};
use crate::stats::Counter;

/// Keys of the shards of worker 0 and worker 1.
const OWN: &[u8] = b"{b}key";
const OTHER: &[u8] = b"{a}key";
const LIMIT: u64 = 100 << 20;
const MIB: u64 = 1 << 20;

fn node() -> Node {
    Node::start(&[
        ("maxclients", "100"),
        ("proto-max-bulk-len", "1000000"),
        ("client-query-buffer-limit", "100000000"),
        ("slowlog-log-slower-than", "-1"),
        ("maxmemory", &LIMIT.to_string()),
        ("maxmemory-policy", "noeviction"),
    ])
}

#[test]
fn what_is_free_on_the_heap_is_room_for_keys() {
    let mut node = node();
    let engine = &mut node.engines[0];
    engine.note_heap(50 * MIB, 0);
    let room = engine.memory().limit;
    engine.note_heap(70 * MIB, 0);
    assert_eq!(engine.memory().limit, room - 20 * MIB);
    assert_eq!(engine.heap().1, 0);
    engine.note_heap(70 * MIB, 15 * MIB);
    assert_eq!(engine.memory().limit, room - 5 * MIB);
    engine.note_heap(50 * MIB, 0);
    assert_eq!(engine.memory().limit, room);
}

#[test]
fn where_the_room_went_is_told() {
    let mut node = node();
    node.engines[0].note_heap(50 * MIB, 0);
    let before = node.engines[0].heap().0;
    node.engines[0].note_heap(70 * MIB, 15 * MIB);
    node.wait(100);
    let engine = &node.engines[0];
    assert_eq!(engine.heap(), (before + 20 * MIB, 15 * MIB));
    let told = |counter| engine.stats.get(counter);
    assert_eq!(told(Counter::MemoryHeap), before + 20 * MIB);
    assert_eq!(told(Counter::MemoryHeapFree), 15 * MIB);
    assert_eq!(told(Counter::MemoryRoom), engine.memory().limit);
}

#[test]
fn more_free_bytes_than_the_heap_has_grown_by_make_no_room() {
    let mut node = node();
    let engine = &mut node.engines[0];
    engine.note_heap(50 * MIB, 40 * MIB);
    let room = engine.memory().limit;
    engine.note_heap(45 * MIB, 45 * MIB);
    assert_eq!(engine.memory().limit, room);
    assert!(room <= LIMIT);
}

#[test]
fn a_long_transaction_leaves_no_memory_behind() {
    let mut node = node();
    let id = node.connect(0);
    let mut bytes = encoded(&[b"MULTI"]);
    for _ in 0..5000 {
        bytes.extend(encoded(&[b"SET", OWN, b"v"]));
        bytes.extend(encoded(&[b"SET", OTHER, b"v"]));
    }
    bytes.extend(encoded(&[b"EXEC"]));
    node.send(id, &bytes, usize::MAX, false);
    assert!(node.replies(id).ends_with(b"+OK\r\n+OK\r\n"));
    let kept = |node: &Node| node.engines[0].gathers.capacity();
    assert!(kept(&node) >= 5000, "{}", kept(&node));
    node.wait(2000);
    assert!(kept(&node) <= 1024, "{}", kept(&node));
    // What comes later finds its way.
    assert_eq!(node.ask(id, &[b"MSET", OWN, b"1", OTHER, b"2"]), b"+OK\r\n");
}

#[test]
fn clients_stay_where_they_are_when_others_have_gone() {
    let mut node = Node::start(&[
        ("maxclients", "5000"),
        ("proto-max-bulk-len", "1000000"),
        ("client-query-buffer-limit", "1000000"),
        ("slowlog-log-slower-than", "-1"),
        ("maxmemory", "0"),
        ("maxmemory-policy", "noeviction"),
    ]);
    let ids: Vec<_> = (0..3000).map(|_| node.connect(0)).collect();
    let stays = ids[700];
    for id in ids.iter().filter(|id| **id != stays) {
        let client = &node.clients[*id];
        node.engines[0].close(client.at);
    }
    node.wait(2000);
    assert!(node.engines[0].sessions.capacity() < 1024);
    assert_eq!(node.ask(stays, &[b"ECHO", b"here"]), b"$4\r\nhere\r\n");
}
