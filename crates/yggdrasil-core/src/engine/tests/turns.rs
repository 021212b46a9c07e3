//! Clients that send much at once, and others beside them.

use super::*;

const OPTIONS: [(&str, &str); 5] = [
    ("maxclients", "100"),
    ("proto-max-bulk-len", "10000"),
    ("client-query-buffer-limit", "1000000"),
    ("maxmemory", "1000000000"),
    ("maxmemory-policy", "noeviction"),
];

const COMMANDS: usize = 60;
const MEMBERS: usize = 100;

/// A pipeline of commands that each add [`MEMBERS`] to a set.
fn pipeline(key: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for command in 0..COMMANDS {
        let of = |member| format!("{}", command * MEMBERS + member).into_bytes();
        let members: Vec<Vec<u8>> = (0..MEMBERS).map(of).collect();
        let mut args = vec![&b"sadd"[..], key];
        args.extend(members.iter().map(Vec::as_slice));
        bytes.extend(encoded(&args));
    }
    bytes
}

#[test]
fn a_round_executes_a_part_of_a_long_pipeline() {
    let mut node = Node::with_shards(1, &OPTIONS);
    let (busy, busier, other) = (node.connect(0), node.connect(0), node.connect(0));
    node.put(busy, &pipeline(b"one"));
    node.put(busier, &pipeline(b"two"));
    node.put(other, &encoded(&[b"ping"]));
    let (mut rounds, mut replies) = (0, [Vec::new(), Vec::new()]);
    while replies
        .iter()
        .any(|of| of.len() < COMMANDS * b":100\r\n".len())
    {
        rounds += 1;
        node.deliver(0);
        assert_eq!(node.replies(other), b"+PONG\r\n", "round {rounds}");
        node.put(other, &encoded(&[b"ping"]));
        let came: usize = [busy, busier]
            .iter()
            .zip(&mut replies)
            .map(|(client, all)| {
                let new = node.replies(*client);
                all.extend_from_slice(&new);
                new.len() / b":100\r\n".len()
            })
            .sum();
        // At the first round, both have what was executed when it came.
        assert!(came <= 9, "{came} commands in round {rounds}");
    }
    assert!(rounds >= 2 * COMMANDS / 4, "{rounds} rounds");
    assert!(replies.iter().all(|of| *of == b":100\r\n".repeat(COMMANDS)));
    node.settle();
    assert!(node.engines[0].is_drained());
}

#[test]
fn a_client_that_has_ended_gets_what_it_asked_for() {
    let mut node = Node::with_shards(1, &OPTIONS);
    let (client, silent) = (node.connect(0), node.connect(0));
    node.ask(silent, &[b"client", b"reply", b"off"]);
    node.put(client, &pipeline(b"one"));
    node.put(silent, &pipeline(b"two"));
    assert!(!node.engines[0].steps.turns.is_empty());
    node.end_input(client);
    node.end_input(silent);
    assert_eq!(node.replies(client), b":100\r\n".repeat(COMMANDS));
    for id in [client, silent] {
        let at = node.clients[id].at;
        assert!(node.engines[0].is_closing(at));
    }
    let asking = node.connect(0);
    assert_eq!(node.ask(asking, &[b"scard", b"two"]), b":6000\r\n");
}

#[test]
fn a_short_pipeline_has_no_turns() {
    let mut node = Node::with_shards(1, &OPTIONS);
    let client = node.connect(0);
    let requests: Vec<u8> = (0..255)
        .flat_map(|index: i32| encoded(&[b"set", index.to_string().as_bytes(), b"value"]))
        .collect();
    node.put(client, &requests);
    assert!(node.engines[0].steps.turns.is_empty());
}
