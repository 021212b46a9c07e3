//! Requests of several clients in one round: whatever is executed together is executed in the order in which it came.

use proptest::prelude::*;

use super::{ClientId, Node, encoded};

/// A key of the shard of worker 0, as the clients of these tests are its own.
const OWN: &[u8] = b"{b}key";
const OTHER: &[u8] = b"{a}key";
const CLIENTS: usize = 3;

/// Options of a node with memory enough.
pub(super) const OPTIONS: [(&str, &str); 6] = [
    ("maxclients", "100"),
    ("proto-max-bulk-len", "10000"),
    ("client-query-buffer-limit", "10000"),
    ("slowlog-log-slower-than", "-1"),
    ("maxmemory", "1000000000"),
    ("maxmemory-policy", "noeviction"),
];

fn node() -> (Node, [ClientId; CLIENTS]) {
    let mut node = Node::start(&OPTIONS);
    let clients = std::array::from_fn(|_| node.connect(0));
    assert_eq!(node.engines[0].shard_of(OWN), 0);
    assert_eq!(node.engines[0].shard_of(OTHER), 1);
    (node, clients)
}

fn append(bytes: &[u8]) -> Vec<u8> {
    encoded(&[b"APPEND", OWN, bytes])
}

#[test]
fn requests_wait_for_the_end_of_the_round_and_run_in_order() {
    let (mut node, [a, b, _]) = node();
    node.put(a, &encoded(&[b"SET", OWN, b"1"]));
    node.put(b, &encoded(&[b"INCR", OWN]));
    assert!(!node.engines[0].is_quiet());
    assert_eq!(node.engines[0].shard.len(0), 0);
    node.put(a, &encoded(&[b"INCR", OWN]));
    node.settle();
    assert_eq!(node.replies(a), b"+OK\r\n:3\r\n");
    assert_eq!(node.replies(b), b":2\r\n");
    assert!(node.engines[0].is_quiet());
}

#[test]
fn what_a_client_sent_before_it_left_is_executed() {
    let (mut node, [a, b, _]) = node();
    node.put(a, &append(b"x"));
    node.reconnect(a);
    node.put(b, &append(b"y"));
    node.end_input(b);
    assert_eq!(node.replies(b), b":2\r\n");
    assert_eq!(node.ask(a, &[b"GET", OWN]), b"$2\r\nxy\r\n");
}

#[test]
fn a_client_that_is_killed_in_the_round_is_not_served() {
    let (mut node, [a, b, _]) = node();
    node.put(b, &append(b"x"));
    let victim = node.clients[b].at.client;
    assert!(node.engines[0].kill_client(victim, true));
    node.settle();
    assert_eq!(node.replies(b), b"");
    assert_eq!(node.ask(a, &[b"EXISTS", OWN]), b":0\r\n");
}

#[test]
fn what_stands_behind_a_request_under_way_is_kept() {
    let (mut node, [a, b, _]) = node();
    let both = encoded(&[b"MSET", OWN, b"1", OTHER, b"2"]);
    node.put(a, &[both, append(b"x"), append(b"y")].concat());
    node.put(b, &append(b"z"));
    node.settle();
    let (a, b) = (node.replies(a), node.replies(b));
    // The transaction is under way while the other client's request is executed, before or after it.
    assert!(
        a.starts_with(b"+OK\r\n:") && b.starts_with(b":"),
        "{a:?} {b:?}"
    );
    assert_eq!(a.iter().filter(|byte| **byte == b':').count(), 2, "{a:?}");
}

#[test]
fn a_request_that_is_none_is_refused_in_its_turn() {
    let (mut node, [a, b, c]) = node();
    node.put(a, &append(b"x"));
    node.put(b, &[append(b"y"), b"*1\r\n!\r\n".to_vec()].concat());
    node.put(c, b"\r\nstrlen {b}key\r\n");
    node.settle();
    assert_eq!(node.replies(a), b":1\r\n");
    let refused = node.replies(b);
    assert!(
        refused.starts_with(b":2\r\n-ERR Protocol error"),
        "{refused:?}"
    );
    assert_eq!(node.replies(c), b":2\r\n");
}

#[test]
fn there_is_no_end_to_what_a_round_may_bring() {
    let (mut node, clients) = node();
    for number in 0..1000 {
        node.put(clients[number % CLIENTS], &append(b"x"));
    }
    node.settle();
    let reader = node.connect(0);
    assert_eq!(node.ask(reader, &[b"STRLEN", OWN]), b":1000\r\n");
    assert!(node.replies(clients[0]).ends_with(b":1000\r\n"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Each client appends its marks, in requests that are cut anywhere. What is whole counts from then on.
    #[test]
    fn requests_are_executed_in_the_order_in_which_they_became_whole(
        steps in prop::collection::vec((0..CLIENTS, 1..6_usize, 1..200_usize, any::<bool>()), 1..60),
    ) {
        let (mut node, clients) = node();
        let mut expected = Vec::new();
        let mut under_way: [(Vec<u8>, Vec<usize>); CLIENTS] = Default::default();
        let mut counts = [0; CLIENTS];
        for (client, requests, cut, ends) in steps {
            let (bytes, whole_at) = &mut under_way[client];
            for _ in 0..requests {
                bytes.extend(append(&[b'a' + client as u8]));
                whole_at.push(bytes.len());
            }
            let cut = cut.min(bytes.len());
            node.put(clients[client], &bytes[..cut]);
            bytes.drain(..cut);
            let whole = whole_at.iter().filter(|end| **end <= cut).count();
            expected.extend(std::iter::repeat_n(b'a' + client as u8, whole));
            counts[client] += whole;
            *whole_at = whole_at[whole..].iter().map(|end| end - cut).collect();
            if ends {
                node.settle();
            }
        }
        node.settle();
        for (client, count) in clients.into_iter().zip(counts) {
            let replies = node.replies(client);
            prop_assert_eq!(replies.iter().filter(|byte| **byte == b':').count(), count);
        }
        let reader = node.connect(0);
        let found = node.ask(reader, &[b"GET", OWN]);
        let expected = format!("${}\r\n{}\r\n", expected.len(), String::from_utf8(expected).unwrap());
        let expected = if expected.starts_with("$0") { "$-1\r\n".into() } else { expected };
        prop_assert_eq!(String::from_utf8(found).unwrap(), expected);
    }
}
