//! Requests that are answered later: by the own shard or another one, in order, or never.

use super::{ClientId, Node, encoded};
use crate::engine::tests::staged::OPTIONS;
use crate::stats::Counter;

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

    fn blocked(&self) -> u64 {
        let engines = self.engines.iter();
        let all = engines.map(|engine| engine.stats.get(Counter::BlockedClients));
        all.fold(0, u64::wrapping_add)
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

/// A key of each shard.
const BOTH: [&[u8]; 2] = [FIRST, SECOND];

fn pushed(node: &mut Node, client: ClientId, key: &[u8], elements: &[&[u8]]) {
    let request = [&[&b"RPUSH"[..], key], elements].concat();
    assert!(node.ask(client, &request).starts_with(b":"));
}

fn popped(key: &[u8], element: &[u8]) -> Vec<u8> {
    encoded(&[key, element])
}

#[test]
fn who_came_first_is_served_first_wherever_the_keys_are() {
    for key in BOTH {
        let mut node = Node::start(&OPTIONS);
        // Clients of both workers, which wait for this key alone or for keys of both shards.
        let waiters: Vec<ClientId> = (0..8).map(|number| node.connect(number % 2)).collect();
        for (number, waiter) in waiters.iter().enumerate() {
            let other = if key == FIRST { SECOND } else { FIRST };
            let request: &[&[u8]] = match number % 4 {
                0 | 1 => &[b"BLPOP", key, b"0"],
                2 => &[b"BRPOP", other, key, b"0"],
                _ => &[b"BLPOP", key, other, b"0"],
            };
            node.send(*waiter, &encoded(request), usize::MAX, false);
        }
        let writer = node.connect(0);
        for (number, waiter) in waiters.iter().enumerate() {
            let element = [b'0' + number as u8];
            pushed(&mut node, writer, key, &[&element]);
            assert_eq!(node.replies(*waiter), popped(key, &element));
        }
        assert_eq!(node.waiting(), 0);
        assert!(node.engines.iter().all(|engine| engine.spreads.is_empty()));
        assert_eq!(node.ask(writer, &[b"EXISTS", FIRST, SECOND]), b":0\r\n");
    }
}

#[test]
fn a_client_counts_as_blocked_when_its_place_in_the_order_is_taken() {
    for request in [
        &[&b"BLPOP"[..], FIRST, b"0"][..],
        &[b"BLPOP", SECOND, b"0"],
        &[b"BLPOP", SECOND, FIRST, b"0"],
    ] {
        let (mut node, [waiter, writer]) = node();
        node.put(waiter, &encoded(request));
        // The round ends, and no other worker has looked into its ring.
        node.deliver(0);
        assert_eq!(node.blocked(), node.waiting() as u64, "{request:?}");
        node.settle();
        assert_eq!(node.blocked(), 1);
        pushed(&mut node, writer, request[1], &[b"a", b"b"]);
        assert_eq!(node.replies(waiter), popped(request[1], b"a"));
        assert_eq!(node.blocked(), 0);
        assert_eq!(node.ask(waiter, request), popped(request[1], b"b"));
        assert_eq!(node.blocked(), 0);
        node.send(waiter, &encoded(request), usize::MAX, false);
        assert_eq!(node.blocked(), 1);
        node.reconnect(waiter);
        assert_eq!(node.blocked(), 0);
    }
}

#[test]
fn each_element_is_for_one_client() {
    for key in BOTH {
        let mut node = Node::start(&OPTIONS);
        let waiters: Vec<ClientId> = (0..5).map(|number| node.connect(number % 2)).collect();
        for waiter in &waiters {
            let request = encoded(&[b"BLPOP", FIRST, SECOND, b"0"]);
            node.send(*waiter, &request, usize::MAX, false);
        }
        let writer = node.connect(1);
        pushed(&mut node, writer, key, &[b"a", b"b", b"c"]);
        let replies: Vec<_> = waiters.iter().map(|waiter| node.replies(*waiter)).collect();
        let expected = [&b"a"[..], b"b", b"c"].map(|element| popped(key, element));
        assert_eq!(replies[..3], expected);
        assert!(replies[3..].iter().all(Vec::is_empty));
        pushed(&mut node, writer, FIRST, &[b"d"]);
        pushed(&mut node, writer, SECOND, &[b"e"]);
        assert_eq!(node.replies(waiters[3]), popped(FIRST, b"d"));
        assert_eq!(node.replies(waiters[4]), popped(SECOND, b"e"));
    }
}

#[test]
fn a_client_that_has_gone_takes_nothing_with_it() {
    for request in [
        &[&b"BLPOP"[..], FIRST, b"0"][..],
        &[b"BLPOP", SECOND, b"0"],
        &[b"BLPOP", SECOND, FIRST, b"0"],
        &[b"BLMOVE", FIRST, SECOND, b"LEFT", b"LEFT", b"0"],
        &[b"BLMOVE", SECOND, FIRST, b"LEFT", b"LEFT", b"0"],
    ] {
        let (mut node, [waiter, writer]) = node();
        node.send(waiter, &encoded(request), usize::MAX, false);
        assert!(node.waiting() > 0);
        node.reconnect(waiter);
        assert_eq!(node.waiting(), 0, "{request:?}");
        let engine = &node.engines[0];
        assert!(engine.spreads.is_empty() && engine.tickets.len() == 0);
        for key in BOTH {
            pushed(&mut node, writer, key, &[b"a"]);
            assert_eq!(node.ask(writer, &[b"LLEN", key]), b":1\r\n");
        }
        assert_eq!(node.replies(waiter), b"");
    }
}

#[test]
fn time_ends_a_wait() {
    for (request, other) in [
        (&[&b"BLPOP"[..], FIRST, b"0.5"][..], FIRST),
        (&[b"BLPOP", SECOND, b"0.5"], SECOND),
        (&[b"BLPOP", SECOND, FIRST, b"0.5"], FIRST),
        (&[b"BLMOVE", FIRST, SECOND, b"LEFT", b"LEFT", b"0.5"], FIRST),
    ] {
        let (mut node, [waiter, writer]) = node();
        node.send(waiter, &encoded(request), usize::MAX, false);
        node.wait(499);
        assert_eq!(node.replies(waiter), b"");
        node.wait(1);
        assert_eq!(node.replies(waiter), b"*-1\r\n", "{request:?}");
        assert_eq!(node.waiting(), 0);
        pushed(&mut node, writer, other, &[b"a"]);
        assert_eq!(node.ask(waiter, &[b"PING"]), b"+PONG\r\n");
        // One that was served in time is not ended later.
        node.send(waiter, &encoded(request), usize::MAX, false);
        assert!(!node.replies(waiter).is_empty());
        node.wait(1000);
        assert_eq!(node.replies(waiter), b"");
        let mut engines = node.engines.iter();
        assert!(engines.all(|engine| engine.deadlines.is_empty()));
    }
}

#[test]
fn a_client_is_let_go_on_with_or_without_an_error() {
    for request in [
        &[&b"BLPOP"[..], FIRST, b"0"][..],
        &[b"BLPOP", SECOND, b"0"],
        &[b"BLPOP", SECOND, FIRST, b"0"],
    ] {
        for (with_error, reply) in [
            (false, &b"*-1\r\n"[..]),
            (true, b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n"),
        ] {
            let (mut node, [waiter, _]) = node();
            let id = node.clients[waiter].at.client;
            assert!(!node.engines[0].unblock(id, with_error));
            node.send(waiter, &encoded(request), usize::MAX, false);
            assert!(node.engines[0].unblock(id, with_error));
            node.settle();
            assert_eq!(node.replies(waiter), reply);
            assert_eq!(node.waiting(), 0);
            assert!(!node.engines[0].unblock(id, with_error));
        }
    }
}

#[test]
fn a_value_of_another_kind_ends_no_wait() {
    for request in [
        &[&b"BLPOP"[..], FIRST, b"0"][..],
        &[b"BLPOP", SECOND, b"0"],
        &[b"BLPOP", SECOND, FIRST, b"0"],
    ] {
        let (mut node, [waiter, writer]) = node();
        node.send(waiter, &encoded(request), usize::MAX, false);
        for key in BOTH {
            assert_eq!(node.ask(writer, &[b"SET", key, b"word"]), b"+OK\r\n");
            assert_eq!(node.ask(writer, &[b"DEL", key]), b":1\r\n");
            assert_eq!(node.ask(writer, &[b"SADD", key, b"member"]), b":1\r\n");
            assert_eq!(node.ask(writer, &[b"DEL", key]), b":1\r\n");
        }
        assert_eq!(node.replies(waiter), b"");
        pushed(&mut node, writer, request[1], &[b"a"]);
        assert_eq!(node.replies(waiter), popped(request[1], b"a"));
    }
}

#[test]
fn what_moves_on_serves_the_next_who_waits() {
    let (mut node, [first, second]) = node();
    let third = node.connect(1);
    let moves: [(ClientId, &[&[u8]]); 2] = [
        (first, &[b"BLMOVE", FIRST, SECOND, b"LEFT", b"RIGHT", b"0"]),
        (second, &[b"BLMOVE", SECOND, FIRST, b"LEFT", b"RIGHT", b"0"]),
    ];
    for (client, request) in moves {
        node.send(client, &encoded(request), usize::MAX, false);
    }
    node.send(third, &encoded(&[b"BLPOP", FIRST, b"0"]), usize::MAX, false);
    let writer = node.connect(1);
    pushed(&mut node, writer, FIRST, &[b"a"]);
    assert_eq!(node.replies(first), b"$1\r\na\r\n");
    assert_eq!(node.replies(second), b"$1\r\na\r\n");
    assert_eq!(node.replies(third), popped(FIRST, b"a"));
    assert_eq!(node.ask(writer, &[b"EXISTS", FIRST, SECOND]), b":0\r\n");
}

#[test]
fn a_move_that_finds_no_memory_loses_nothing() {
    let (mut node, [client, writer]) = node();
    pushed(&mut node, writer, FIRST, &[&[b'x'; 9000]]);
    assert_eq!(node.ask(writer, &[b"SET", SECOND, b"word"]), b"+OK\r\n");
    let request: &[&[u8]] = &[b"BLMOVE", FIRST, SECOND, b"LEFT", b"LEFT", b"0"];
    assert!(node.ask(client, request).starts_with(b"-WRONGTYPE"));
    assert_eq!(node.ask(writer, &[b"DEL", SECOND]), b":1\r\n");
    // Enough for what the request says, and too little for what it moves.
    let limit = node.engines[1].shard.memory().used + 4000;
    node.engines[1].shard.set_memory_limit(limit);
    assert!(node.ask(client, request).starts_with(b"-OOM"));
    assert_eq!(node.ask(writer, &[b"LLEN", FIRST]), b":1\r\n");
    node.engines[1].shard.set_memory_limit(u64::MAX);
    assert!(node.ask(client, request).starts_with(b"$9000"));
    assert_eq!(node.ask(writer, &[b"LLEN", SECOND]), b":1\r\n");
}
