//! Shards that are being filled, or follow another node's: what they answer, to whomever.

use super::{ClientId, Node};
use crate::engine::ShardState;
use crate::keyspace::ShardReader;

/// Keys of the shard of each worker.
const FIRST: &[u8] = b"{b}key";
const SECOND: &[u8] = b"{a}key";
const LOADING: &[u8] = b"-LOADING Yggdrasil is loading the dataset in memory\r\n";
const MISCONF: &[u8] = b"-MISCONF shard 1 is not there: its log is damaged\r\n";
const READ_ONLY: &[u8] = b"-READONLY You can't write against a read only replica.\r\n";

/// A node whose second shard is in this state, with a client at each worker.
fn node(state: ShardState) -> (Node, [ClientId; 2]) {
    node_with(state, "fast")
}

fn node_with(state: ShardState, ack: &str) -> (Node, [ClientId; 2]) {
    let mut node = Node::start(&[
        ("maxclients", "100"),
        ("proto-max-bulk-len", "1000000"),
        ("client-query-buffer-limit", "1000000"),
        ("slowlog-log-slower-than", "-1"),
        ("maxmemory", "1000000000"),
        ("maxmemory-policy", "noeviction"),
        ("ack", ack),
        ("namespaces", ""),
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
    let is_read_by_others = |node: &Node| {
        let reader = node.engines[0].readers[1].as_ref();
        let number = reader.and_then(|reader| reader.between_transactions(ShardReader::number));
        number.is_some()
    };
    assert!(!is_read_by_others(&node));
    node.engines[1].set_shard_state(ShardState::Serving);
    assert_eq!(node.ask(other, &[b"GET", SECOND]), b"$1\r\n1\r\n");
    assert!(is_read_by_others(&node));
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

/// The same node, whose second shard could not be filled.
fn node_without_shard() -> (Node, [ClientId; 2]) {
    let (mut node, clients) = node(ShardState::Loading);
    node.engines[1].fail_shard("shard 1 is not there: its log is damaged");
    (node, clients)
}

#[test]
fn a_worker_without_its_shard_serves_the_others() {
    for (mut node, [_, own]) in [node(ShardState::Loading), node_without_shard()] {
        assert_eq!(node.ask(own, &[b"SET", FIRST, b"2"]), b"+OK\r\n");
        let long = vec![b'x'; 100_000];
        assert_eq!(node.ask(own, &[b"SET", b"{b}long", &long]), b"+OK\r\n");
        assert_eq!(node.ask(own, &[b"STRLEN", b"{b}long"]), b":100000\r\n");
        assert_eq!(
            node.ask(own, &[b"MGET", FIRST, b"{b}none"]),
            b"*2\r\n$1\r\n2\r\n$-1\r\n"
        );
        assert_eq!(
            node.ask(own, &[b"MSET", FIRST, b"3", b"{b}other", b"4"]),
            b"+OK\r\n"
        );
        assert_eq!(
            node.ask(own, &[b"RENAME", b"{b}other", b"{b}new"]),
            b"+OK\r\n"
        );
        let script = b"return redis.call('incr', KEYS[1])";
        assert_eq!(node.ask(own, &[b"EVAL", script, b"1", FIRST]), b":4\r\n");
        assert_eq!(node.ask(own, &[b"EVAL", b"return 7", b"0"]), b":7\r\n");
        assert_eq!(node.ask(own, &[b"PING"]), b"+PONG\r\n");
        assert_eq!(node.ask(own, &[b"PUBLISH", b"c", b"m"]), b":0\r\n");
    }
}

#[test]
fn what_needs_a_shard_that_is_not_there_is_refused_as_a_whole_with_the_reason() {
    let (mut node, clients) = node_without_shard();
    let script = b"redis.call('set', KEYS[1], '2') return redis.call('set', ARGV[1], '2')";
    for client in clients {
        let requests: [&[&[u8]]; 8] = [
            &[b"GET", SECOND],
            &[b"SET", SECOND, b"2"],
            &[b"SET", SECOND, &[b'x'; 100_000]],
            &[b"MSET", FIRST, b"2", SECOND, b"2"],
            &[b"MGET", FIRST, SECOND],
            &[b"DBSIZE"],
            &[b"FLUSHALL"],
            &[b"EVAL", script, b"1", FIRST, SECOND],
        ];
        for request in requests {
            let reply = node.ask(client, request);
            let name = String::from_utf8_lossy(request[0]).into_owned();
            assert_eq!(reply, MISCONF, "{name} of {client}");
        }
        assert_eq!(node.ask(client, &[b"EXISTS", FIRST]), b":0\r\n");
    }
    for request in [
        &[b"MULTI" as &[u8]] as &[&[u8]],
        &[b"SET", FIRST, b"2"],
        &[b"SET", SECOND, b"2"],
    ] {
        assert!(node.ask(clients[0], request).starts_with(b"+"));
    }
    let refused = b"-EXECABORT Transaction discarded because of: MISCONF shard 1 is not there: its log is damaged\r\n";
    assert_eq!(node.ask(clients[0], &[b"EXEC"]), refused);
    assert_eq!(node.ask(clients[0], &[b"EXISTS", FIRST]), b":0\r\n");
}

#[test]
fn a_transaction_is_not_coordinated_without_a_log_for_its_decision() {
    for (ack, fails) in [("fast", false), ("fast", true), ("none", false)] {
        let (mut node, [_, own]) = node_with(ShardState::Loading, ack);
        if fails {
            node.engines[1].fail_shard("shard 1 is not there");
        }
        node.ask(own, &[b"MULTI"]);
        node.ask(own, &[b"SET", FIRST, b"2"]);
        let reply = node.ask(own, &[b"EXEC"]);
        match (ack, fails) {
            ("none", _) => assert_eq!(reply, b"*1\r\n+OK\r\n", "nothing is kept"),
            (_, false) => assert_eq!(reply, LOADING),
            (_, true) => assert!(reply.starts_with(b"-EXECABORT Transaction discarded")),
        }
        node.ask(own, &[b"MULTI"]);
        node.ask(own, &[b"GET", FIRST]);
        let reply = node.ask(own, &[b"EXEC"]);
        assert!(reply.starts_with(b"*1\r\n$"), "what only reads needs none");
    }
}

#[test]
fn what_needs_no_shard_is_refused_while_none_is_there() {
    let (mut node, clients) = node(ShardState::Loading);
    node.engines[0].set_shard_state(ShardState::Loading);
    for client in clients {
        assert_eq!(node.ask(client, &[b"PING"]), LOADING);
        assert_eq!(node.ask(client, &[b"ECHO", b"x"]), b"$1\r\nx\r\n");
    }
    node.engines[0].set_shard_state(ShardState::Serving);
    for client in clients {
        assert_eq!(node.ask(client, &[b"PING"]), b"+PONG\r\n");
    }
}

#[test]
fn a_shard_that_could_not_be_filled_is_filled_later() {
    let (mut node, clients) = node_without_shard();
    node.engines[1].set_shard_state(ShardState::Loading);
    for client in clients {
        assert_eq!(node.ask(client, &[b"GET", SECOND]), LOADING);
    }
    node.engines[1].set_shard_state(ShardState::Serving);
    for client in clients {
        assert_eq!(node.ask(client, &[b"GET", SECOND]), b"$1\r\n1\r\n");
    }
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
