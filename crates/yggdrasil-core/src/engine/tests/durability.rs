//! Replies that wait for a log, and the marks that it gets. Its disk is as fast as a test wants.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use super::staged::OPTIONS;
use super::{ClientId, Node, encoded};
use crate::engine::{AckChoice, Log, LogStatus, Pressure};
use crate::keyspace::{ChangeListener, KeyspaceError, Mark, Millis, Record};
use crate::namespaces::Namespaces;
use crate::stats::Counter;

/// Keys of the shards of worker 0 and 1.
const OWN: &[u8] = b"{b}key";
const OTHER: &[u8] = b"{a}key";

/// A log that remembers numbers alone.
#[derive(Default, Debug)]
struct Numbers {
    written: Cell<u64>,
    durable: Cell<u64>,
    demands: Cell<u32>,
    /// What is written is durable as soon as that is demanded.
    is_direct: Cell<bool>,
    /// Begins, ends and decisions, by their first letters.
    marks: RefCell<String>,
    /// A coordinator that is asked for has decided.
    has_decided: Cell<bool>,
    /// The lowest number that the last decision that was asked for can have.
    since: Cell<u64>,
    pressure: Cell<Pressure>,
    /// The error for which nothing is taken.
    errno: Cell<i32>,
}

#[derive(Clone, Debug)]
struct TestLog(Rc<Numbers>);

impl TestLog {
    /// Has all that is written made durable.
    fn flush(&self) {
        self.0.durable.set(self.0.written.get());
    }

    fn marks(&self) -> String {
        self.0.marks.take()
    }
}

impl ChangeListener for TestLog {
    fn reserve(&mut self, _: u64) -> Result<(), KeyspaceError> {
        match self.0.errno.get() {
            0 => Ok(()),
            errno => Err(KeyspaceError::LogFailed { errno }),
        }
    }

    fn mark(&mut self, number: u64, mark: &Mark<'_>) {
        let letter = match mark {
            Mark::Begin { .. } => 'B',
            Mark::Whole => 'W',
            Mark::Released => 'R',
            Mark::Undone => 'U',
            Mark::Decided { .. } => {
                self.0.written.set(number);
                'D'
            }
        };
        self.0.marks.borrow_mut().push(letter);
    }

    fn changed(&mut self, number: u64, _: &Record<'_>) {
        self.0.written.set(number);
    }
}

impl Log for TestLog {
    fn durable(&self) -> u64 {
        self.0.durable.get()
    }

    fn run(&self) -> u64 {
        1
    }

    fn demand(&self) {
        self.0.demands.set(self.0.demands.get() + 1);
        if self.0.is_direct.get() {
            self.flush();
        }
    }

    fn must_be_durable(&self, ack: AckChoice) -> u64 {
        match ack {
            AckChoice::Sync => self.0.written.get(),
            AckChoice::Default | AckChoice::Fast => 0,
        }
    }

    fn has_decided(&self, _: usize, _: u64, since: u64) -> bool {
        self.0.since.set(since);
        self.0.has_decided.get()
    }

    fn status(&self) -> LogStatus {
        LogStatus {
            errno: self.0.errno.get(),
            ..LogStatus::default()
        }
    }

    fn set_namespaces(&mut self, _: Arc<Namespaces>) {}

    fn work(&mut self, _: Millis) {}

    fn pressure(&self) -> Pressure {
        self.0.pressure.get()
    }
}

/// Lets the disk of a worker be behind, or not.
fn press(node: &mut Node, logs: &[TestLog], worker: usize, pressure: Pressure) {
    logs[worker].0.pressure.set(pressure);
    node.engines[worker].poll();
    node.settle();
}

/// A node whose workers keep logs, and a client of worker 0.
fn node() -> (Node, Vec<TestLog>, ClientId) {
    let mut node = Node::start(&OPTIONS);
    let logs: Vec<TestLog> = node
        .engines
        .iter()
        .map(|_| TestLog(Rc::default()))
        .collect();
    for (engine, log) in node.engines.iter_mut().zip(&logs) {
        let number = engine.shard.number();
        log.0.durable.set(number);
        engine.begin_log(number, Box::new(log.clone()), Box::new(log.clone()));
    }
    let client = node.connect(0);
    assert_eq!(node.ask(client, &[b"CLIENT", b"ACK", b"SYNC"]), b"+OK\r\n");
    (node, logs, client)
}

fn flush(node: &mut Node, log: &TestLog, worker: usize) {
    log.flush();
    node.engines[worker].poll();
    node.settle();
}

#[test]
fn a_reply_waits_for_its_change_and_others_do_not() {
    let (mut node, logs, client) = node();
    let fast = node.connect(0);
    let requests = [
        encoded(&[b"SET", OWN, b"1"]),
        encoded(&[b"SET", OWN, b"2"]),
        encoded(&[b"GET", OWN]),
    ];
    node.put(client, &encoded(&[b"PING"]));
    node.put(client, &requests.concat());
    node.settle();
    assert_eq!(node.replies(client), b"+PONG\r\n");
    assert_eq!(node.ask(fast, &[b"SET", OWN, b"3"]), b"+OK\r\n");
    assert_eq!(logs[0].0.demands.get(), 1, "one demand for a round");
    flush(&mut node, &logs[0], 0);
    assert_eq!(node.replies(client), b"+OK\r\n+OK\r\n$1\r\n2\r\n");
    assert_eq!(
        node.ask(client, &[b"CLIENT", b"ACK", b"DEFAULT"]),
        b"+OK\r\n"
    );
    assert_eq!(node.ask(client, &[b"SET", OWN, b"4"]), b"+OK\r\n");
}

#[test]
fn long_values_keep_their_place_behind_a_gate() {
    let (mut node, logs, client) = node();
    let long = vec![b'x'; 9_000];
    node.put(client, &encoded(&[b"SET", OWN, &long]));
    node.put(client, &encoded(&[b"GETSET", OWN, b"short"]));
    node.put(client, &encoded(&[b"GET", OWN]));
    node.settle();
    assert_eq!(node.replies(client), b"");
    flush(&mut node, &logs[0], 0);
    let expected = [b"+OK\r\n$9000\r\n", &long[..], b"\r\n$5\r\nshort\r\n"].concat();
    assert!(node.replies(client) == expected);
}

#[test]
fn a_connection_that_ends_gets_what_waits_first() {
    let (mut node, logs, client) = node();
    node.put(client, &encoded(&[b"SET", OWN, b"1"]));
    node.put(client, &encoded(&[b"QUIT"]));
    node.settle();
    let at = node.clients[client].at;
    assert!(!node.engines[0].is_closing(at));
    flush(&mut node, &logs[0], 0);
    assert_eq!(node.replies(client), b"+OK\r\n+OK\r\n");
}

#[test]
fn an_owner_keeps_the_replies_to_other_workers_until_they_are_durable() {
    let (mut node, logs, client) = node();
    node.put(client, &encoded(&[b"SET", OTHER, b"1"]));
    node.put(client, &encoded(&[b"SET", OWN, b"2"]));
    node.settle();
    flush(&mut node, &logs[0], 0);
    assert_eq!(node.replies(client), b"");
    flush(&mut node, &logs[1], 1);
    assert_eq!(node.replies(client), b"+OK\r\n+OK\r\n");
}

#[test]
fn a_transaction_waits_for_all_its_shards_and_is_decided_before_they_are_released() {
    let (mut node, logs, client) = node();
    node.put(client, &encoded(&[b"MSET", OWN, b"1", OTHER, b"2"]));
    node.settle();
    assert_eq!([logs[0].marks(), logs[1].marks()], ["BDR", "BR"]);
    assert_eq!(node.replies(client), b"");
    flush(&mut node, &logs[1], 1);
    assert_eq!(node.replies(client), b"");
    flush(&mut node, &logs[0], 0);
    node.settle();
    assert_eq!(node.replies(client), b"+OK\r\n");
}

#[test]
fn a_coordinator_remembers_its_last_decision_about_each_shard() {
    let (mut node, logs, client) = node();
    for log in &logs {
        log.0.is_direct.set(true);
    }
    let request = [&b"MSET"[..], OWN, b"1", OTHER, b"2"];
    assert_eq!(node.ask(client, &request), b"+OK\r\n");
    let engine = &mut node.engines[0];
    let tag = engine.next_tag() - 1;
    assert!(engine.has_decided(tag, 1));
    assert!(!engine.has_decided(tag + 1, 1));
    let of_predecessor = tag & ((1 << 40) - 1);
    for is_there in [false, true] {
        logs[0].0.has_decided.set(is_there);
        assert_eq!(engine.has_decided(of_predecessor, 1), is_there);
    }
}

#[test]
fn a_decision_is_looked_for_from_where_its_coordinator_was() {
    for has_decided in [false, true] {
        let (mut node, logs, client) = node();
        logs[0].0.is_direct.set(true);
        for _ in 0..5 {
            assert_eq!(node.ask(client, &[b"SET", OWN, b"0"]), b"+OK\r\n");
        }
        node.put(client, &encoded(&[b"MSET", OWN, b"1", OTHER, b"2"]));
        node.deliver(0);
        node.engines[1].poll();
        assert!(node.engines[1].reserved.is_some());
        let _ = node.engines[1].control.next_incarnation(0);
        logs[1].0.has_decided.set(has_decided);
        node.engines[1].poll();
        assert!(node.engines[1].reserved.is_none());
        assert_eq!(logs[1].0.since.get(), node.engines[0].shard.number());
        assert!(logs[1].0.since.get() >= 5);
        let end = if has_decided { "BR" } else { "BU" };
        assert_eq!(logs[1].marks(), end);
    }
}

#[test]
fn what_stands_behind_a_group_waits_until_that_is_durable_everywhere() {
    let (mut node, logs, client) = node();
    let fast = node.connect(1);
    assert_eq!(
        node.ask(fast, &[b"MSET", OWN, b"1", OTHER, b"2"]),
        b"+OK\r\n"
    );
    node.put(client, &encoded(&[b"APPEND", OWN, b"2"]));
    node.settle();
    flush(&mut node, &logs[0], 0);
    assert_eq!(node.replies(client), b"");
    flush(&mut node, &logs[1], 1);
    node.settle();
    assert_eq!(node.replies(client), b":2\r\n");
}

#[test]
fn several_keys_of_one_shard_are_a_group_of_their_own() {
    let (mut node, logs, client) = node();
    node.put(client, &encoded(&[b"MSET", OWN, b"1", b"{b}more", b"2"]));
    node.put(client, &encoded(&[b"SET", OWN, b"3"]));
    node.settle();
    assert_eq!(logs[0].marks(), "BW");
}

#[test]
fn writers_wait_while_the_disk_is_behind_and_readers_do_not() {
    let (mut node, logs, _) = node();
    let [writer, other, reader] = [0, 1, 0].map(|worker| node.connect(worker));
    assert_eq!(node.ask(writer, &[b"SET", OWN, b"1"]), b"+OK\r\n");
    press(&mut node, &logs, 0, Pressure::Flush);
    assert!(logs[0].0.demands.get() > 0, "it is flushed ahead of time");
    assert_eq!(node.ask(writer, &[b"SET", OWN, b"2"]), b"+OK\r\n");
    press(&mut node, &logs, 0, Pressure::Wait);
    node.put(writer, &encoded(&[b"INCR", OWN]));
    node.put(writer, &encoded(&[b"GET", OWN]));
    node.put(other, &encoded(&[b"INCR", OWN]));
    node.put(other, &encoded(&[b"GET", OWN]));
    node.settle();
    assert_eq!(node.replies(writer), b"");
    assert_eq!(node.replies(other), b"");
    assert_eq!(node.ask(reader, &[b"GET", OWN]), b"$1\r\n2\r\n");
    assert_eq!(
        node.ask(reader, &[b"SET", OTHER, b"1"]),
        b"+OK\r\n",
        "its own log is not behind"
    );
    press(&mut node, &logs, 0, Pressure::None);
    let mut replies = [node.replies(writer), node.replies(other)];
    replies.sort();
    assert_eq!(
        replies,
        [b":3\r\n$1\r\n3\r\n".to_vec(), b":4\r\n$1\r\n4\r\n".to_vec()]
    );
    assert_eq!(node.engines[0].stats.get(Counter::LogWaits), 2);
}

#[test]
fn what_the_log_has_nothing_of_does_not_wait_for_its_disk() {
    let (mut node, logs, _) = node();
    let writer = node.connect(0);
    let (no, own) = (hex(b"{b}no"), hex(OWN));
    node.engines[0]
        .set_option("namespaces", &format!("none:0:{no} fast:1:{own}"))
        .expect("two namespaces");
    press(&mut node, &logs, 0, Pressure::Wait);
    assert_eq!(node.ask(writer, &[b"SET", b"{b}no", b"1"]), b"+OK\r\n");
    assert_eq!(node.ask(writer, &[b"MULTI"]), b"+OK\r\n");
    assert_eq!(node.ask(writer, &[b"SET", b"{b}no", b"2"]), b"+QUEUED\r\n");
    assert_eq!(node.ask(writer, &[b"EXEC"]), b"*1\r\n+OK\r\n");
    assert_eq!(node.ask(writer, &[b"MULTI"]), b"+OK\r\n");
    assert_eq!(node.ask(writer, &[b"SET", OWN, b"2"]), b"+QUEUED\r\n");
    assert_eq!(node.ask(writer, &[b"EXEC"]), b"");
    press(&mut node, &logs, 0, Pressure::None);
    assert_eq!(node.replies(writer), b"*1\r\n+OK\r\n");
}

#[test]
fn a_transaction_over_shards_waits_at_the_shard_whose_disk_is_behind() {
    let (mut node, logs, _) = node();
    let [one, two] = [0, 0].map(|worker| node.connect(worker));
    press(&mut node, &logs, 1, Pressure::Wait);
    node.put(one, &encoded(&[b"MSET", OWN, b"1", OTHER, b"2"]));
    node.put(two, &encoded(&[b"SET", OWN, b"3"]));
    // It keeps what it has reserved.
    for _ in 0..4 {
        for worker in 0..2 {
            node.engines[worker].poll();
            node.deliver(worker);
        }
    }
    assert!(node.engines[0].reserved.is_some());
    assert_eq!(node.replies(one), b"");
    press(&mut node, &logs, 1, Pressure::None);
    assert_eq!(node.replies(one), b"+OK\r\n");
    assert_eq!(node.replies(two), b"+OK\r\n");
    assert_eq!(node.ask(one, &[b"GET", OWN]), b"$1\r\n3\r\n");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_log_that_is_durable_at_once_keeps_nobody_waiting() {
    let (mut node, logs, client) = node();
    for log in &logs {
        log.0.is_direct.set(true);
    }
    let requests = [
        encoded(&[b"SET", OWN, b"1"]),
        encoded(&[b"INCR", OTHER]),
        encoded(&[b"MSET", OWN, b"2", OTHER, b"7"]),
        encoded(&[b"INCR", OWN]),
    ];
    node.put(client, &requests.concat());
    node.settle();
    assert_eq!(node.replies(client), b"+OK\r\n:1\r\n+OK\r\n:3\r\n");
    let demands: u32 = logs.iter().map(|log| log.0.demands.get()).sum();
    assert!(demands >= 2, "the logs of both shards were asked");
}

#[test]
fn a_script_is_answered_when_what_it_has_written_is_durable() {
    let body = b"for _, key in ipairs(KEYS) do redis.call('set', key, 1) end return 7";
    for keys in [&[OWN][..], &[OTHER], &[OWN, OTHER]] {
        let (mut node, logs, client) = node();
        let count = keys.len().to_string();
        let request = [&[b"EVAL", &body[..], count.as_bytes()][..], keys].concat();
        node.put(client, &encoded(&request));
        node.settle();
        assert_eq!(node.replies(client), b"", "{} keys", keys.len());
        for (worker, log) in logs.iter().enumerate() {
            flush(&mut node, log, worker);
            node.settle();
        }
        assert_eq!(node.replies(client), b":7\r\n");
    }
}

#[test]
fn a_group_of_the_own_shard_alone_holds_nothing_back() {
    let (mut node, logs, client) = node();
    for request in [
        &[&b"MULTI"[..]][..],
        &[b"SET", OWN, b"1"],
        &[b"GET", OTHER],
        &[b"EXEC"],
    ] {
        node.put(client, &encoded(request));
    }
    node.settle();
    flush(&mut node, &logs[0], 0);
    node.settle();
    let queued = b"+OK\r\n+QUEUED\r\n+QUEUED\r\n";
    let replies = [&queued[..], b"*2\r\n+OK\r\n$-1\r\n"].concat();
    assert_eq!(node.replies(client), replies);
    node.put(client, &encoded(&[b"SET", OWN, b"2"]));
    node.settle();
    flush(&mut node, &logs[0], 0);
    assert_eq!(node.replies(client), b"+OK\r\n");
}

#[test]
fn a_transaction_is_refused_as_a_whole_where_one_log_has_failed() {
    for failed in [0, 1] {
        let (mut node, logs, client) = node();
        for log in &logs {
            log.0.is_direct.set(true);
        }
        node.ask(client, &[b"MSET", OWN, b"1", OTHER, b"1"]);
        logs[failed].0.errno.set(5);
        let exec = |node: &mut Node, steps: &[&[&[u8]]]| {
            let steps = steps.iter().copied().map(encoded);
            let bytes = [
                encoded(&[b"MULTI"]),
                steps.collect::<Vec<_>>().concat(),
                encoded(&[b"EXEC"]),
            ];
            let bytes = bytes.concat();
            node.send(client, &bytes, usize::MAX, false);
            let replies = node.replies(client);
            String::from_utf8_lossy(&replies).into_owned()
        };
        let incr: &[u8] = b"return redis.call('INCR', KEYS[1])";
        for last in [
            &[b"INCR", [OWN, OTHER][failed]][..],
            &[b"EVAL", incr, b"1", [OWN, OTHER][failed]],
            &[b"FLUSHALL"],
        ] {
            let replies = exec(&mut node, &[&[b"INCR", [OTHER, OWN][failed]], last]);
            let text =
                "-EXECABORT Transaction discarded because of: MISCONF Errors writing to the log: ";
            let reply = replies.rsplit("QUEUED\r\n").next().unwrap_or_default();
            assert!(reply.starts_with(text), "{replies}");
            assert_eq!(
                node.ask(client, &[b"MGET", OWN, OTHER]),
                b"*2\r\n$1\r\n1\r\n$1\r\n1\r\n"
            );
        }
        // What needs nothing of that log goes on.
        let replies = exec(
            &mut node,
            &[
                &[b"INCR", [OTHER, OWN][failed]],
                &[b"GET", [OWN, OTHER][failed]],
            ],
        );
        assert!(replies.ends_with("*2\r\n:2\r\n$1\r\n1\r\n"), "{replies}");
        logs[failed].0.errno.set(0);
        let replies = exec(&mut node, &[&[b"INCR", OWN], &[b"INCR", OTHER]]);
        assert!(replies.contains("*2\r\n"), "{replies}");
    }
}

#[test]
fn a_request_on_several_shards_is_refused_as_a_whole_where_one_log_has_failed() {
    let script: &[u8] = b"for _, key in ipairs(KEYS) do redis.call('SET', key, 2) end";
    for failed in [0, 1] {
        let (mut node, logs, client) = node();
        for log in &logs {
            log.0.is_direct.set(true);
        }
        let pairs: &[&[u8]] = &[b"MSET", OWN, b"1", OTHER, b"1"];
        assert_eq!(node.ask(client, pairs), b"+OK\r\n");
        logs[failed].0.errno.set(5);
        let requests: &[&[&[u8]]] = &[
            &[b"MSET", OWN, b"2", OTHER, b"2"],
            &[b"DEL", OWN, OTHER],
            &[b"UNLINK", OTHER, OWN],
            &[b"RENAME", OWN, OTHER],
            &[b"EVAL", script, b"2", OWN, OTHER],
            &[b"FLUSHDB"],
            &[b"FLUSHALL"],
        ];
        for request in requests {
            let reply = node.ask(client, request);
            let reply = String::from_utf8_lossy(&reply);
            let text = "-MISCONF Errors writing to the log: ";
            assert!(reply.starts_with(text), "{failed}: {reply}");
            assert_eq!(
                node.ask(client, &[b"MGET", OWN, OTHER]),
                b"*2\r\n$1\r\n1\r\n$1\r\n1\r\n",
                "{failed}, after {reply}"
            );
        }
        logs[failed].0.errno.set(0);
        let pairs: &[&[u8]] = &[b"MSET", OWN, b"3", OTHER, b"3"];
        assert_eq!(node.ask(client, pairs), b"+OK\r\n");
    }
}

#[test]
fn a_removal_in_steps_that_has_begun_is_made_whole_though_the_log_fails() {
    for key in [OWN, OTHER] {
        let (mut node, logs, client) = node();
        for log in &logs {
            log.0.is_direct.set(true);
        }
        for number in 0..50 {
            let members: Vec<_> = (0..100)
                .map(|at| format!("{}", number * 100 + at))
                .collect();
            let mut request = vec![b"ZADD".as_slice(), key];
            request.extend(members.iter().flat_map(|member| [b"1", member.as_bytes()]));
            node.ask(client, &request);
        }
        let request = encoded(&[b"ZREMRANGEBYRANK", key, b"0", b"3999"]);
        node.put(client, &request);
        let owner = node
            .engines
            .iter()
            .position(|engine| engine.shard_of(key) == engine.me);
        let owner = owner.expect("an owner");
        while !node.engines[owner].has_steps() {
            for worker in 0..2 {
                node.deliver(worker);
                node.engines[worker].poll();
            }
        }
        logs[owner].0.errno.set(5);
        node.settle();
        assert_eq!(node.replies(client), b":4000\r\n");
        assert_eq!(node.ask(client, &[b"ZCARD", key]), b":1000\r\n");
        let refused = node.ask(client, &[b"ZREMRANGEBYRANK", key, b"0", b"0"]);
        assert!(refused.starts_with(b"-MISCONF"));
    }
}
