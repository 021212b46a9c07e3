//! Scripts, and transactions with scripts, that begin again with more shards than their keys tell: nobody notices.

use super::{ClientId, Node, encoded};
use crate::engine::tracking::{Caching, Tracking};
use crate::keyspace::EventClasses;

const OPTIONS: [(&str, &str); 6] = [
    ("maxclients", "100"),
    ("proto-max-bulk-len", "10000"),
    ("client-query-buffer-limit", "10000"),
    ("slowlog-log-slower-than", "-1"),
    ("maxmemory", "1000000000"),
    ("maxmemory-policy", "noeviction"),
];
const SHARDS: usize = 3;

/// A node with a client at each worker, and a key of each shard.
fn node() -> (Node, [ClientId; SHARDS], [Vec<u8>; SHARDS]) {
    let mut node = Node::with_shards(SHARDS, &OPTIONS);
    let clients = [0, 1, 2].map(|worker| node.connect(worker));
    let keys = [0, 1, 2].map(|shard| {
        let mut names = (0..).map(|number: u32| format!("key{number}").into_bytes());
        names
            .find(|name| node.engines[0].shard_of(name) == shard)
            .expect("there is a key of each shard")
    });
    (node, clients, keys)
}

/// Lets a client keep what it reads.
fn track(node: &mut Node, id: ClientId, caching: Caching, prefixes: Vec<Box<[u8]>>) {
    let (worker, at) = (node.clients[id].worker, node.clients[id].at);
    let tracking = Tracking {
        caching,
        prefixes,
        ..Tracking::default()
    };
    node.engines[worker].start_tracking(at, tracking);
}

/// A script with the word `OTHER` for the key that it does not declare.
fn script(body: &str, other: &[u8]) -> Vec<u8> {
    let other = String::from_utf8_lossy(other);
    body.replace("OTHER", &format!("'{other}'")).into_bytes()
}

/// Calls a function for each way in which a script may run: from each worker, with keys of one shard and of two, by
/// itself and as the second step of EXEC. Its last argument executes a script and gives its reply.
fn in_all_ways(
    mut check: impl FnMut(&mut Node, usize, &[Vec<u8>; SHARDS], &dyn Fn(&mut Node, &str) -> Vec<u8>),
) {
    for worker in 0..SHARDS {
        for declared in [1, 2] {
            for in_exec in [false, true] {
                let (mut node, clients, keys) = node();
                let client = clients[worker];
                let given: Vec<&[u8]> = keys[..declared].iter().map(Vec::as_slice).collect();
                let count = declared.to_string().into_bytes();
                let run = |node: &mut Node, body: &str| {
                    let body = script(body, &keys[2]);
                    let eval = [&[b"EVAL", body.as_slice(), count.as_slice()], &given[..]].concat();
                    if !in_exec {
                        return node.ask(client, &eval);
                    }
                    let steps = [
                        &[&b"MULTI"[..]][..],
                        &[b"INCR", &keys[0]],
                        &eval,
                        &[b"EXEC"],
                    ];
                    let bytes: Vec<u8> = steps.into_iter().flat_map(encoded).collect();
                    node.send(client, &bytes, usize::MAX, false);
                    let replies = node.replies(client);
                    let head = b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n";
                    let reply = replies.strip_prefix(head);
                    let reply = reply.unwrap_or_else(|| panic!("{}", replies.escape_ascii()));
                    reply.to_vec()
                };
                check(&mut node, worker, &keys, &run);
                assert!(
                    node.engines
                        .iter()
                        .all(|engine| engine.scripts.running() == 0 && engine.saved.is_empty())
                );
            }
        }
    }
}

#[test]
fn what_it_had_written_is_written_once() {
    in_all_ways(|node, worker, keys, run| {
        let client = node.connect(worker);
        node.ask(client, &[b"SET", &keys[2], b"v"]);
        let body = "redis.call('RPUSH', '{' .. KEYS[1] .. '}list', 'a', 'b') \
                    for i = 1, 3e3 do end \
                    if #KEYS > 1 then redis.call('INCR', KEYS[2]) end \
                    redis.call('APPEND', OTHER, 'w') \
                    return redis.call('GET', OTHER)";
        assert_eq!(run(node, body), b"$2\r\nvw\r\n");
        let list = [b"{", keys[0].as_slice(), b"}list"].concat();
        assert_eq!(node.ask(client, &[b"LLEN", &list]), b":2\r\n");
        assert_eq!(node.ask(client, &[b"GET", &keys[2]]), b"$2\r\nvw\r\n");
    });
}

#[test]
fn events_messages_and_stale_keys_are_told_once() {
    in_all_ways(|node, worker, keys, run| {
        for engine in &mut node.engines {
            engine.options.event_classes = EventClasses::from_letters("EAm").expect("letters");
            engine.apply_event_classes();
        }
        let hearers: Vec<_> = (0..SHARDS).map(|worker| node.connect(worker)).collect();
        for hearer in &hearers {
            node.ask(*hearer, &[b"HELLO", b"3"]);
            node.ask(*hearer, &[b"SUBSCRIBE", b"channel"]);
            node.ask(*hearer, &[b"PSUBSCRIBE", b"__keyevent*"]);
            let prefixes = vec![b"key".as_slice().into()];
            track(node, *hearer, Caching::Broadcast, prefixes);
        }
        for engine in &mut node.engines {
            engine.hear_broadcasts();
        }
        let reader = node.connect(worker);
        node.ask(reader, &[b"HELLO", b"3"]);
        track(node, reader, Caching::All, Vec::new());
        node.ask(reader, &[b"GET", &keys[0]]);
        for hearer in &hearers {
            node.replies(*hearer);
        }
        let body = "redis.call('GET', '{' .. KEYS[1] .. '}none') redis.call('SET', KEYS[1], 'x') \
                    local heard = redis.call('PUBLISH', 'channel', 'hello') \
                    redis.call('SET', OTHER, 'y') return heard";
        assert_eq!(run(node, body), b":3\r\n");
        let changed = |heard: &str, key: &[u8]| {
            let name = String::from_utf8_lossy(key);
            let told = format!("invalidate\r\n*1\r\n${}\r\n{name}\r\n", name.len());
            heard.matches(&told).count()
        };
        for hearer in hearers {
            let heard = node.replies(hearer);
            let heard = String::from_utf8_lossy(&heard);
            assert_eq!(heard.matches("hello").count(), 1, "{heard}");
            assert_eq!(heard.matches(":keymiss\r\n").count(), 1, "{heard}");
            assert_eq!(heard.matches(":set\r\n").count(), 2, "{heard}");
            assert_eq!(changed(&heard, &keys[2]), 1, "{heard}");
        }
        let heard = node.replies(reader);
        let heard = String::from_utf8_lossy(&heard);
        assert_eq!(changed(&heard, &keys[0]), 1, "{heard}");
    });
}

#[test]
fn a_watch_of_what_was_undone_is_not_touched() {
    let (mut node, [client, other, _], keys) = node();
    // At its second run it finds that it has nothing to write.
    let body = "if redis.call('TIME')[2] ~= ARGV[1] then redis.call('SET', KEYS[1], 'ghost') end \
                redis.call('GET', OTHER) \
                return redis.call('GET', KEYS[1])";
    let body = script(body, &keys[2]);
    let watching = node.connect(0);
    node.ask(watching, &[b"WATCH", &keys[0]]);
    node.ask(client, &[b"WATCH", &keys[0]]);
    node.ask(client, &[b"MULTI"]);
    node.ask(client, &[b"EVAL", &body, b"1", &keys[0], b"x"]);
    // Its own watch is no obstacle to the second run.
    assert_eq!(node.ask(client, &[b"EXEC"]), b"*1\r\n$5\r\nghost\r\n");
    node.ask(watching, &[b"MULTI"]);
    node.ask(watching, &[b"PING"]);
    assert_eq!(node.ask(watching, &[b"EXEC"]), b"*-1\r\n");
    node.ask(other, &[b"DEL", &keys[0]]);
}

#[test]
fn time_and_random_numbers_are_those_of_the_first_run() {
    in_all_ways(|node, _, keys, run| {
        let client = node.connect(0);
        let number = "return tostring(math.random())";
        let expected = {
            let mut other = Node::with_shards(SHARDS, &OPTIONS);
            let client = other.connect(0);
            other.ask(client, &[b"EVAL", number.as_bytes(), b"0"])
        };
        let body = "redis.call('SET', KEYS[1], math.random()) redis.call('GET', OTHER) \
                    return redis.call('GET', KEYS[1])";
        let reply = run(node, body);
        let digits = |reply: &[u8]| {
            let text = String::from_utf8_lossy(reply).into_owned();
            let value: f64 = text
                .lines()
                .nth(1)
                .expect("a bulk")
                .parse()
                .expect("a number");
            value
        };
        assert!((digits(&reply) - digits(&expected)).abs() < 1e-9);
        let body = "local before = redis.call('TIME') for i = 1, 5e3 do end \
                    redis.call('SET', KEYS[1], before[2]) redis.call('GET', OTHER) \
                    local now = redis.call('TIME') \
                    return tostring(before[1] == now[1] and before[2] == now[2])";
        node.ask(client, &[b"DEL", &keys[0]]);
        assert_eq!(run(node, body), b"$4\r\ntrue\r\n");
    });
}

#[test]
fn steps_of_a_transaction_before_the_script_are_made_once() {
    let (mut node, [client, ..], keys) = node();
    let subscriber = node.connect(1);
    node.ask(subscriber, &[b"SUBSCRIBE", b"channel"]);
    let body = script("return redis.call('INCR', OTHER)", &keys[2]);
    let steps: [&[&[u8]]; 8] = [
        &[b"MULTI"],
        &[b"PUBLISH", b"channel", b"hello"],
        &[b"SELECT", b"3"],
        &[b"INCR", &keys[0]],
        &[b"CLIENT", b"REPLY", b"OFF"],
        &[b"CLIENT", b"REPLY", b"ON"],
        &[b"EVAL", &body, b"1", &keys[0]],
        &[b"EXEC"],
    ];
    let bytes: Vec<u8> = steps.into_iter().flat_map(encoded).collect();
    node.send(client, &bytes, usize::MAX, false);
    let replies = node.replies(client);
    let text = String::from_utf8_lossy(&replies);
    assert!(text.contains("*6\r\n:1\r\n+OK\r\n:1\r\n"), "{text}");
    assert!(text.ends_with("+OK\r\n:1\r\n"), "{text}");
    let heard = node.replies(subscriber);
    assert_eq!(String::from_utf8_lossy(&heard).matches("hello").count(), 1);
    assert_eq!(
        node.ask(client, &[b"MGET", &keys[0], &keys[2]]),
        b"*2\r\n$1\r\n1\r\n$1\r\n1\r\n"
    );
    node.ask(client, &[b"SELECT", b"0"]);
    assert_eq!(node.ask(client, &[b"DBSIZE"]), b":0\r\n");
}
