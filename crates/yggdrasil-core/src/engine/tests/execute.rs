//! Requests of Python commands while shards are reserved, rings are full, or workers die.

use super::{Node, SHAPE};
use crate::commands::{Arity, CommandId, Flags, Group, Keys, NewCommand, Run};
use crate::engine::{Engine, Event, Executor, SessionRef};
use crate::keyspace::slot::key_slot;
use crate::resp::ArgsBuffer;

/// A key of a shard.
fn key_of(shard: usize) -> Vec<u8> {
    let names = (0..).map(|number| format!("key{number}").into_bytes());
    let mut of_shard = names.filter(|name| SHAPE.shard_of_slot(key_slot(name)) == shard);
    of_shard.next().unwrap()
}

/// Adds a Python command that may write the key that it is given.
fn register(engine: &mut Engine) -> CommandId {
    let row = NewCommand {
        name: "test.write".to_owned(),
        arity: Arity::AtLeast(1),
        flags: Flags::WRITE,
        keys: Keys::None,
        group: Group::Server,
        run: Run::Python,
        summary: "A test.".to_owned(),
        since: "1.0.0".to_owned(),
        complexity: "O(1)".to_owned(),
        syntax: String::new(),
        tips: Vec::new(),
        key_uses: Vec::new(),
    };
    engine.register(row).unwrap()
}

fn node() -> Node {
    Node::start(&[
        ("maxclients", "100"),
        ("proto-max-bulk-len", "1000000"),
        ("client-query-buffer-limit", "1000000"),
        ("slowlog-log-slower-than", "-1"),
        ("maxmemory", "1000000000"),
        ("maxmemory-policy", "noeviction"),
    ])
}

impl Node {
    fn execute(&mut self, number: u64, worker: usize, args: &[&[u8]]) {
        let engine = &mut self.engines[worker];
        let command = engine
            .table
            .find(b"test.write")
            .unwrap_or_else(|| register(engine));
        let by = Executor {
            command,
            transaction: None,
            session: SessionRef {
                index: usize::MAX,
                client: 0,
            },
            user: None,
            db: 0,
        };
        let args: ArgsBuffer = args.iter().copied().collect();
        engine.execute_for(number, &by, &args.as_args());
    }

    fn executed_now(&mut self, worker: usize) -> usize {
        let events = self.engines[worker].take_events();
        let is_reply = |event: &Event| matches!(event, Event::Executed { .. });
        let count = events.iter().filter(|event| is_reply(event)).count();
        self.engines[worker].events = events;
        count
    }
}

#[test]
fn a_request_is_executed_where_its_keys_are() {
    let mut node = node();
    let (own, other) = (key_of(0), key_of(1));
    node.execute(1, 0, &[b"SET", &own, b"1"]);
    assert_eq!(node.executed_now(0), 1);
    node.execute(2, 0, &[b"INCR", &other]);
    assert_eq!(node.executed_now(0), 1);
    node.settle();
    node.execute(3, 0, &[b"MGET", &own, &other]);
    node.execute(4, 0, &[b"RENAME", &own, &other]);
    node.settle();
    node.execute(5, 0, &[b"GET", &other]);
    node.settle();
    let replies: Vec<_> = node.executed.iter().map(|(_, reply)| &reply[..]).collect();
    assert_eq!(
        replies,
        [
            &b"+OK\r\n"[..],
            b":1\r\n",
            b"*2\r\n$1\r\n1\r\n$1\r\n1\r\n",
            b"+OK\r\n",
            b"$1\r\n1\r\n"
        ]
    );
    assert!(node.engines.iter().all(Engine::is_drained));
}

#[test]
fn a_reserved_shard_is_waited_for() {
    let mut node = node();
    let (own, other) = (key_of(0), key_of(1));
    let client = node.connect(1);
    node.put(
        client,
        &super::encoded(&[b"MSET", &own, b"1", &other, b"1"]),
    );
    node.engines[1].take_ready(&mut Vec::new());
    node.engines[0].poll();
    assert!(node.engines[0].reserved.is_some());
    node.execute(1, 0, &[b"INCR", &own]);
    assert_eq!(node.executed_now(0), 0);
    node.settle();
    assert_eq!(node.executed, [(1, b":2\r\n".to_vec())]);
}

#[test]
fn a_full_ring_holds_requests_back() {
    let mut node = node();
    let other = key_of(1);
    let value = vec![b'v'; SHAPE.ring_bytes / 4];
    for number in 0..64 {
        node.execute(number, 0, &[b"SET", &other, &value]);
    }
    assert!(node.engines[0].delayed_executions.len() > 32);
    assert!(!node.engines[0].is_drained());
    node.settle();
    let numbers: Vec<_> = node.executed.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (0..64).collect::<Vec<_>>());
}

#[test]
fn a_request_to_a_worker_that_dies_gets_an_error() {
    let mut node = node();
    let (own, other) = (key_of(0), key_of(1));
    node.execute(1, 0, &[b"INCR", &other]);
    node.execute(2, 0, &[b"MSET", &own, b"1", &other, b"1"]);
    let _ = node.engines[0].control.next_incarnation(1);
    node.engines[0].poll();
    node.execute(3, 0, &[b"INCR", &own]);
    node.deliver(0);
    let errors = |reply: &[u8]| reply.starts_with(b"-ERR ");
    assert!(node.executed[..2].iter().all(|(_, reply)| errors(reply)));
    assert_eq!(node.executed[2], (3, b":1\r\n".to_vec()));
}

#[test]
fn a_change_of_many_elements_is_made_in_steps() {
    let mut node = node();
    let client = node.connect(0);
    for (number, shard) in [0, 1].into_iter().enumerate() {
        let key = key_of(shard);
        let scored = |index: usize| [b"1".to_vec(), index.to_string().into_bytes()];
        node.fill(client, b"ZADD", &key, |index| scored(index).to_vec());
        node.execute(number as u64, 0, &[b"ZREMRANGEBYRANK", &key, b"0", b"2999"]);
        assert_eq!(node.executed_now(0), 0);
        let mut rounds = 0;
        while node.executed.len() == number {
            node.deliver(0);
            node.engines[0].take_wakes();
            node.engines[1].poll();
            node.deliver(1);
            node.engines[1].take_wakes();
            node.engines[0].poll();
            rounds += 1;
        }
        assert!(rounds > 4, "{rounds} rounds");
        node.settle();
        assert_eq!(node.executed[number].1, b":3000\r\n");
        assert_eq!(node.ask(client, &[b"ZCARD", &key]), b":2000\r\n");
    }
}
