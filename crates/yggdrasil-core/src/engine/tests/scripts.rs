//! Scripts on several shards: what they hold, what they wait for, and how they end.

use super::{ClientId, Node, encoded};

const OPTIONS: [(&str, &str); 7] = [
    ("maxclients", "100"),
    ("proto-max-bulk-len", "10000"),
    ("client-query-buffer-limit", "10000"),
    ("slowlog-log-slower-than", "-1"),
    ("maxmemory", "1000000000"),
    ("maxmemory-policy", "noeviction"),
    ("busy-reply-threshold", "1000"),
];
/// Keys of the shard of each worker.
const FIRST: &[u8] = b"{b}key";
const SECOND: &[u8] = b"{a}key";
const NOTHING_RUNS: &[u8] = b"-NOTBUSY No scripts in execution right now.\r\n";
const ENDLESS: &[u8] = b"while true do end";

/// A node with a client at each worker.
fn node() -> (Node, [ClientId; 2]) {
    let mut node = Node::start(&OPTIONS);
    let clients = [node.connect(0), node.connect(1)];
    assert_eq!(node.engines[0].shard_of(FIRST), 0);
    assert_eq!(node.engines[0].shard_of(SECOND), 1);
    (node, clients)
}

impl Node {
    fn eval(&mut self, client: ClientId, body: &[u8], keys: &[&[u8]]) -> Vec<u8> {
        let count = keys.len().to_string();
        let request = [&[b"EVAL", body, count.as_bytes()][..], keys].concat();
        self.ask(client, &request)
    }

    /// Sends a request and lets the workers do so many rounds.
    fn begin(&mut self, client: ClientId, request: &[&[u8]], rounds: usize) {
        self.put(client, &encoded(request));
        self.rounds(rounds);
    }

    pub(super) fn rounds(&mut self, rounds: usize) {
        for _ in 0..rounds {
            for worker in 0..self.engines.len() {
                self.deliver(worker);
                let mut wakes = self.engines[worker].take_wakes();
                while wakes != 0 {
                    self.engines[wakes.trailing_zeros() as usize].poll();
                    wakes &= wakes - 1;
                }
            }
        }
    }

    fn running(&self) -> usize {
        self.engines
            .iter()
            .map(|engine| engine.scripts.running())
            .sum()
    }
}

#[test]
fn a_script_runs_where_its_keys_are() {
    let (mut node, clients) = node();
    for client in clients {
        for key in [FIRST, SECOND] {
            let body = b"redis.call('set', KEYS[1], 'x') return redis.call('get', KEYS[1])";
            assert_eq!(node.eval(client, body, &[key]), b"$1\r\nx\r\n");
        }
        let body = b"redis.call('set', KEYS[1], redis.call('get', KEYS[2])) return redis.call('mget', KEYS[1], KEYS[2])";
        let reply = node.eval(client, body, &[FIRST, SECOND]);
        assert_eq!(reply, b"*2\r\n$1\r\nx\r\n$1\r\nx\r\n");
    }
    assert_eq!(node.running(), 0);
}

#[test]
fn a_script_without_keys_finds_all_shards() {
    let (mut node, [client, _]) = node();
    let body = b"redis.call('set', '{b}key', 1) redis.call('set', '{a}key', 2) return redis.call('dbsize')";
    assert_eq!(node.eval(client, body, &[]), b":2\r\n");
    assert_eq!(
        node.eval(client, b"return redis.call('get', '{a}key')", &[]),
        b"$1\r\n2\r\n"
    );
}

#[test]
fn a_key_that_was_not_declared_is_found_before_the_first_write() {
    let (mut node, [client, _]) = node();
    node.ask(client, &[b"SET", SECOND, b"v"]);
    let body = b"local v = redis.call('get', '{a}key') redis.call('set', KEYS[1], v) return v";
    assert_eq!(node.eval(client, body, &[FIRST]), b"$1\r\nv\r\n");
    assert_eq!(node.ask(client, &[b"GET", FIRST]), b"$1\r\nv\r\n");
    // From now on it is known to want more.
    let body = b"redis.call('set', KEYS[1], 1) return redis.call('get', '{a}key')";
    for _ in 0..2 {
        assert_eq!(node.eval(client, body, &[FIRST]), b"$1\r\nv\r\n");
    }
    assert_eq!(node.running(), 0);
}

#[test]
fn a_script_over_shards_that_has_not_written_begins_again_with_all() {
    let mut node = Node::with_shards(3, &OPTIONS);
    let key_of = |node: &Node, shard| {
        let mut names = (0..).map(|number: u32| format!("key{number}").into_bytes());
        names
            .find(|name| node.engines[0].shard_of(name) == shard)
            .unwrap()
    };
    let keys = [0, 1, 2].map(|shard| key_of(&node, shard));
    let [first, second, third] = keys.each_ref().map(Vec::as_slice);
    for worker in 0..3 {
        let client = node.connect(worker);
        node.ask(client, &[b"SET", third, b"v"]);
        let tag = worker.to_string();
        let call = format!("redis.call('get', '{}')", String::from_utf8_lossy(third));
        let body =
            format!("local v = {call} redis.call('mset', KEYS[1], v, KEYS[2], {tag}) return v");
        let reply = node.eval(client, body.as_bytes(), &[first, second]);
        assert_eq!(reply, b"$1\r\nv\r\n");
        let reply = node.ask(client, &[b"MGET", first, second]);
        assert_eq!(
            reply,
            format!("*2\r\n$1\r\nv\r\n$1\r\n{tag}\r\n").into_bytes()
        );
        // In a transaction all steps begin again.
        let body = format!("redis.call('append', KEYS[1], 'w') return {call} .. {tag}");
        let count: &[u8] = b"2";
        let steps: [&[&[u8]]; 4] = [
            &[b"MULTI"],
            &[b"APPEND", first, b"+"],
            &[b"EVAL", body.as_bytes(), count, first, second],
            &[b"EXEC"],
        ];
        let replies: Vec<_> = steps.map(|step| node.ask(client, step)).to_vec();
        assert_eq!(
            String::from_utf8_lossy(&replies[3]),
            format!("*2\r\n:2\r\n$2\r\nv{tag}\r\n")
        );
        assert_eq!(node.ask(client, &[b"GET", first]), b"$3\r\nv+w\r\n");
    }
    assert_eq!(node.running(), 0);
}

#[test]
fn every_worker_knows_a_script_by_its_hash() {
    let (mut node, [one, other]) = node();
    let sha = b"e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
    assert!(
        node.ask(one, &[b"EVALSHA", sha, b"0"])
            .starts_with(b"-NOSCRIPT")
    );
    assert_eq!(node.eval(one, b"return 1", &[]), b":1\r\n");
    let sha = crate::script::sha1_hex_of(b"return 1");
    assert_eq!(node.ask(other, &[b"EVALSHA", &sha, b"0"]), b":1\r\n");
    for key in [FIRST, SECOND] {
        assert_eq!(node.ask(other, &[b"EVALSHA", &sha, b"1", key]), b":1\r\n");
    }
    let sha = node.ask(other, &[b"SCRIPT", b"LOAD", b"return 2"])[5..45].to_vec();
    assert_eq!(node.ask(one, &[b"EVALSHA", &sha, b"0"]), b":2\r\n");
    assert_eq!(
        node.ask(one, &[b"SCRIPT", b"EXISTS", &sha]),
        b"*1\r\n:1\r\n"
    );
    assert_eq!(node.ask(one, &[b"SCRIPT", b"FLUSH"]), b"+OK\r\n");
    for client in [one, other] {
        assert!(
            node.ask(client, &[b"EVALSHA", &sha, b"0"])
                .starts_with(b"-NOSCRIPT")
        );
    }
}

#[test]
fn others_are_served_while_a_script_runs_and_told_when_it_takes_long() {
    for key in [FIRST, SECOND] {
        let (mut node, [client, other]) = node();
        node.begin(client, &[b"EVAL", ENDLESS, b"1", key], 4);
        let free = if key == FIRST { SECOND } else { FIRST };
        node.begin(other, &[b"SET", free, b"v"], 2);
        assert_eq!(node.replies(other), b"+OK\r\n");
        node.begin(other, &[b"SET", key, b"v"], 4);
        assert_eq!(node.replies(other), b"");
        super::NOW_MS.set(super::NOW_MS.get() + 2000);
        node.rounds(6);
        assert!(node.replies(other).starts_with(b"-BUSY "));
        node.begin(other, &[b"GET", key], 4);
        assert!(node.replies(other).starts_with(b"-BUSY "));
        node.begin(other, &[b"PING"], 2);
        assert_eq!(node.replies(other), b"+PONG\r\n");
        node.begin(other, &[b"SCRIPT", b"KILL"], 6);
        assert_eq!(node.replies(other), b"+OK\r\n");
        assert!(
            node.replies(client)
                .starts_with(b"-ERR Script killed by user with SCRIPT KILL... script: ")
        );
        assert_eq!(node.ask(other, &[b"SET", key, b"v"]), b"+OK\r\n");
        assert_eq!(node.ask(other, &[b"SCRIPT", b"KILL"]), NOTHING_RUNS);
        assert_eq!(node.running(), 0);
    }
}

#[test]
fn a_script_that_has_written_is_not_killed() {
    let (mut node, [client, other]) = node();
    let body = b"redis.call('set', KEYS[1], 1) for i = 1, 3e4 do end return 'done'";
    node.begin(client, &[b"EVAL", body, b"1", FIRST], 3);
    node.begin(other, &[b"SCRIPT", b"KILL"], 3);
    assert!(node.replies(other).starts_with(b"-UNKILLABLE "));
    node.settle();
    assert_eq!(node.replies(client), b"$4\r\ndone\r\n");
}

#[test]
fn a_client_that_leaves_does_not_end_its_script() {
    let (mut node, [client, other]) = node();
    let body = b"for i = 1, 1e4 do end redis.call('set', KEYS[1], 'late')";
    node.begin(client, &[b"EVAL", body, b"1", FIRST], 2);
    node.reconnect(client);
    assert_eq!(node.ask(other, &[b"GET", FIRST]), b"$4\r\nlate\r\n");
}

#[test]
fn scripts_wake_who_waits() {
    let (mut node, [client, other]) = node();
    node.send(other, &encoded(&[b"AWAIT", FIRST]), usize::MAX, false);
    node.eval(
        client,
        b"redis.call('set', KEYS[1], 'w') return 1",
        &[FIRST],
    );
    assert_eq!(node.replies(other), b"$1\r\nw\r\n");
    assert_eq!(
        node.eval(client, b"return redis.call('await', KEYS[1])", &[SECOND]),
        b"$-1\r\n"
    );
}

#[test]
fn a_pipeline_keeps_its_order_around_scripts() {
    let (mut node, [client, _]) = node();
    let body = b"for i = 1, 5e3 do end return redis.call('incr', KEYS[1])";
    let mut requests = Vec::new();
    for key in [FIRST, SECOND, FIRST] {
        requests.extend(encoded(&[b"EVAL", body, b"1", key]));
        requests.extend(encoded(&[b"INCR", key]));
    }
    node.send(client, &requests, usize::MAX, false);
    assert_eq!(
        node.replies(client),
        b":1\r\n:2\r\n:1\r\n:2\r\n:3\r\n:4\r\n"
    );
}
