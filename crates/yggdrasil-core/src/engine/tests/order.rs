//! What a client is told is of one moment, and of none before what it was told already.

use super::{Client, ClientId, NOW_MS, Node, encoded};

/// Keys of the shards of worker 0 and worker 1.
const OWN: &[u8] = b"{b}key";
const OTHER: &[u8] = b"{a}key";

fn node() -> Node {
    let node = Node::start(&[
        ("maxclients", "100"),
        ("proto-max-bulk-len", "1000000"),
        ("client-query-buffer-limit", "1000000"),
        ("slowlog-log-slower-than", "-1"),
        ("maxmemory", "1000000000"),
        ("maxmemory-policy", "noeviction"),
    ]);
    assert_eq!(node.engines[0].shard_of(OWN), 0);
    assert_eq!(node.engines[0].shard_of(OTHER), 1);
    node
}

impl Node {
    /// Ends a round of one worker: what its clients have sent is executed, as far as nobody else is needed.
    fn end_round(&mut self, worker: usize) {
        self.engines[worker].take_ready(&mut Vec::new());
    }

    /// Has a client's request executed by its worker alone.
    fn execute_alone(&mut self, id: ClientId, args: &[&[u8]]) {
        let Client { worker, .. } = self.clients[id];
        self.put(id, &encoded(args));
        self.end_round(worker);
    }
}

/// A request over `OWN` keys that do not exist, but for those that are named, each with its place.
fn list<'a>(command: &'a [u8], len: usize, named: &[(usize, &'a [u8])]) -> Vec<&'a [u8]> {
    let mut args = vec![&b"{b}none"[..]; len + 1];
    args[0] = command;
    for (place, name) in named {
        args[place + 1] = name;
    }
    args
}

#[test]
fn a_read_behind_a_read_of_all_shards_that_is_under_way_does_not_pass_it() {
    let mut node = node();
    let (writer, reader) = (node.connect(0), node.connect(1));
    // Shard 0 is reserved, and the other is asked for.
    let (own, other) = (
        encoded(&[b"SET", OWN, b"1"]),
        encoded(&[b"SET", OTHER, b"1"]),
    );
    let (multi, exec) = (encoded(&[b"MULTI"]), encoded(&[b"EXEC"]));
    node.put(writer, &[multi, own, other, exec].concat());
    node.end_round(0);
    node.put(
        reader,
        &[encoded(&[b"DBSIZE"]), encoded(&[b"GET", OTHER])].concat(),
    );
    node.settle();
    let replies = node.replies(reader);
    let (none, all) = (&b":0\r\n$-1\r\n"[..], &b":2\r\n$1\r\n1\r\n"[..]);
    // DBSIZE need not be of one moment, but what it has seen stays.
    let grown: [&[u8]; 3] = [b":0\r\n$1\r\n1\r\n", b":1\r\n$1\r\n1\r\n", all];
    assert!(
        replies == none || grown.contains(&&replies[..]),
        "{replies:?}"
    );
}

#[test]
fn a_read_of_all_shards_does_not_pass_a_read_that_is_under_way() {
    let mut node = node();
    let (writer, reader) = (node.connect(0), node.connect(1));
    let (own, other) = (
        encoded(&[b"SET", OWN, b"1"]),
        encoded(&[b"SET", OTHER, b"1"]),
    );
    let (multi, exec) = (encoded(&[b"MULTI"]), encoded(&[b"EXEC"]));
    node.put(writer, &[multi, own, other, exec].concat());
    node.end_round(0);
    node.put(
        reader,
        &[encoded(&[b"GET", OWN]), encoded(&[b"DBSIZE"])].concat(),
    );
    node.settle();
    let replies = node.replies(reader);
    let told: [&[u8]; 2] = [b"$-1\r\n:0\r\n", b"$1\r\n1\r\n:2\r\n"];
    assert!(told.contains(&&replies[..]), "{replies:?}");
}

#[test]
fn a_key_that_goes_from_name_to_name_is_found_under_one_of_them() {
    const A: &[u8] = b"{b}a";
    const Z: &[u8] = b"{b}z";
    let mut node = node();
    let (reader, writer) = (node.connect(0), node.connect(0));
    node.ask(writer, &[b"SET", Z, b"1"]);
    // Read 512 at a time: the first name in the second step, the other in the third.
    node.execute_alone(reader, &list(b"EXISTS", 1025, &[(600, A), (1024, Z)]));
    node.engines[0].step();
    node.engines[0].step();
    for [from, to] in [[Z, A], [A, Z], [Z, A]] {
        node.execute_alone(writer, &[b"RENAME", from, to]);
        node.engines[0].step();
    }
    node.settle();
    assert_eq!(node.replies(reader), b":1\r\n");
}

#[test]
fn a_value_that_expires_is_not_told_together_with_what_came_after_it() {
    const LATER: &[u8] = b"{b}later";
    let mut node = node();
    let (reader, writer) = (node.connect(0), node.connect(0));
    node.ask(writer, &[b"SET", OTHER, b"old", b"PX", b"1000"]);
    node.execute_alone(reader, &list(b"MGET", 600, &[(0, OTHER), (599, LATER)]));
    node.engines[0].step();
    NOW_MS.set(NOW_MS.get() + 1000);
    node.execute_alone(writer, &[b"GET", OTHER]);
    node.execute_alone(writer, &[b"SET", LATER, b"new"]);
    node.settle();
    let replies = node.replies(reader);
    assert!(replies.starts_with(b"*600\r\n$-1\r\n"), "{replies:?}");
    assert!(replies.ends_with(b"$3\r\nnew\r\n"), "{replies:?}");
}

#[test]
fn a_request_that_has_to_wait_is_counted_and_shown_once() {
    let mut node = node();
    let (monitor, client) = (node.connect(0), node.connect(0));
    assert_eq!(node.ask(monitor, &[b"MONITOR"]), b"+OK\r\n");
    let requests = [encoded(&[b"SET", OTHER, b"1"]), encoded(&[b"SELECT", b"1"])];
    node.send(client, &requests.concat(), usize::MAX, false);
    assert_eq!(node.replies(client), b"+OK\r\n+OK\r\n");
    let shown = String::from_utf8(node.replies(monitor)).unwrap();
    assert_eq!(shown.matches("SELECT").count(), 1, "{shown}");
    assert_eq!(shown.matches("SET").count(), 1, "{shown}");
    let session = &node.engines[0].sessions[node.clients[client].at.index];
    assert_eq!(session.commands, 2);
}
