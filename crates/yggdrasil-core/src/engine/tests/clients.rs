//! What is told of the clients of a worker, and what becomes of the requests of those that leave or want no replies.

use super::{ClientId, Node, START_MS, encoded};
use crate::commands::{Arity, Flags, Group, Keys, NewCommand, Run};
use crate::engine::{ClientFilter, Event, Page};
use crate::stats::Counter;

/// Keys of the shards of worker 0 and worker 1.
const OWN: &[u8] = b"{b}key";
const OTHER: &[u8] = b"{a}key";

fn node(options: &[(&str, &str)]) -> Node {
    let mut all = vec![
        ("maxclients", "100"),
        ("proto-max-bulk-len", "1000000"),
        ("client-query-buffer-limit", "1000000"),
        ("slowlog-log-slower-than", "-1"),
        ("slowlog-max-len", "100"),
        ("maxmemory", "1000000000"),
        ("maxmemory-policy", "noeviction"),
    ];
    all.extend(options);
    let mut node = Node::start(&all);
    for engine in &mut node.engines {
        engine.register(python("wait", Flags::BLOCKING)).unwrap();
        engine.register(python("debug", Flags::PROTECTED)).unwrap();
    }
    node
}

fn python(name: &str, flags: Flags) -> NewCommand {
    NewCommand {
        name: name.to_owned(),
        arity: Arity::AtLeast(1),
        flags,
        keys: Keys::None,
        group: Group::Server,
        run: Run::Python,
        summary: "A test.".to_owned(),
        since: "8.0.0".to_owned(),
        complexity: "O(1)".to_owned(),
        syntax: String::new(),
        tips: Vec::new(),
        key_uses: Vec::new(),
    }
}

impl Node {
    /// Sends requests in one piece and gives their replies.
    fn ask_all(&mut self, id: ClientId, requests: &[&[&[u8]]]) -> Vec<u8> {
        let bytes: Vec<u8> = requests.iter().flat_map(|args| encoded(args)).collect();
        self.send(id, &bytes, usize::MAX, false);
        self.replies(id)
    }

    pub(super) fn is_dropped(&mut self, id: ClientId) -> bool {
        let client = &self.clients[id];
        self.engines[client.worker].is_dropped(client.at)
    }

    fn count(&self, worker: usize, counter: Counter) -> u64 {
        self.engines[worker].stats.get(counter)
    }
}

#[test]
fn a_write_that_a_pause_holds_is_not_done_when_its_client_has_left() {
    for (args, key) in [
        (vec![&b"SET"[..], OWN, b"held"], OWN),
        (vec![b"SET", OTHER, b"held"], OTHER),
        (vec![b"MSET", OWN, b"held", OTHER, b"held"], OTHER),
    ] {
        let mut node = node(&[]);
        let (leaving, staying) = (node.connect(0), node.connect(0));
        node.engines[0].pause(START_MS + 1000, true);
        assert_eq!(node.ask(leaving, &args), b"");
        assert_eq!(node.ask(staying, &[b"SET", b"{b}other", b"v"]), b"");
        node.end_input(leaving);
        assert!(node.is_dropped(leaving));
        node.wait(1001);
        assert_eq!(node.replies(staying), b"+OK\r\n");
        assert_eq!(node.ask(staying, &[b"GET", key]), b"$-1\r\n");
    }
}

#[test]
fn a_client_that_leaves_while_it_is_blocked_is_not_waited_for() {
    let mut node = node(&[]);
    let id = node.connect(0);
    node.put(id, &encoded(&[b"WAIT", b"1", b"0"]));
    let at = node.clients[id].at;
    let engine = &mut node.engines[0];
    engine.take_ready(&mut Vec::new());
    let events = engine.take_events();
    assert!(matches!(events[..], [Event::Command { session, .. }] if session == at));
    let (_, listed) = engine.clients(&ClientFilter::default(), Page::ALL);
    assert_eq!(listed[0].flags, "b");
    assert!(engine.end_input(at), "the driver closes what is dropped");
    assert!(engine.is_dropped(at));
    engine.close(at);
    assert_eq!(node.count(0, Counter::ConnectedClients), 0);
    assert_eq!(node.count(0, Counter::BlockedClients), 0);
    assert_eq!(node.count(0, Counter::SessionBytes), 0);
}

#[test]
fn a_client_that_has_sent_its_last_byte_gets_the_replies_that_are_due() {
    let mut node = node(&[]);
    let id = node.connect(0);
    let mut bytes = encoded(&[b"MSET", OWN, b"1", OTHER, b"2"]);
    bytes.extend(encoded(&[b"GET", OTHER]));
    node.put(id, &bytes);
    node.end_input(id);
    assert_eq!(node.replies(id), b"+OK\r\n$1\r\n2\r\n");
    assert!(!node.is_dropped(id));
}

#[test]
fn a_blocked_client_that_is_not_read_from_is_looked_for() {
    let mut node = node(&[]);
    let id = node.connect(0);
    let mut bytes = encoded(&[b"WAIT", b"1", b"0"]);
    bytes.extend(encoded(&[b"SET", OWN, &[b'x'; 100_000]]));
    node.put(id, &bytes);
    let at = node.clients[id].at;
    let engine = &mut node.engines[0];
    engine.take_ready(&mut Vec::new());
    let events = engine.take_events();
    assert!(matches!(
        events[..],
        [Event::Command { .. }, Event::Reading { on: false, .. }]
    ));
    engine.tick();
    let events = engine.take_events();
    assert!(matches!(events[..], [Event::LookForEnd { session }] if session == at));
}

#[test]
fn client_reply_off_inside_a_transaction_silences_what_follows() {
    for key in [OWN, OTHER] {
        let mut node = node(&[]);
        let id = node.connect(0);
        let queued = b"+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n";
        let off = node.ask_all(
            id,
            &[
                &[b"MULTI"],
                &[b"SET", key, b"1"],
                &[b"CLIENT", b"REPLY", b"OFF"],
                &[b"SET", key, b"2"],
                &[b"MSET", OWN, b"3", OTHER, b"3"],
                &[b"GET", key],
                &[b"EXEC"],
                &[b"PING"],
            ],
        );
        assert_eq!(off, [&queued[..], b"*5\r\n+OK\r\n"].concat());
        assert_eq!(node.ask(id, &[b"CLIENT", b"REPLY", b"ON"]), b"+OK\r\n");
        assert_eq!(node.ask(id, &[b"GET", key]), b"$1\r\n3\r\n");
    }
}

#[test]
fn client_reply_on_inside_a_transaction_ends_the_silence_there() {
    let mut node = node(&[]);
    let id = node.connect(0);
    let replies = node.ask_all(
        id,
        &[
            &[b"CLIENT", b"REPLY", b"OFF"],
            &[b"MULTI"],
            &[b"SET", OTHER, b"1"],
            &[b"CLIENT", b"REPLY", b"ON"],
            &[b"GET", OTHER],
            &[b"EXEC"],
            &[b"PING"],
        ],
    );
    assert_eq!(replies, b"+OK\r\n$1\r\n1\r\n+PONG\r\n");
}

#[test]
fn exec_is_silent_behind_client_reply_skip() {
    let mut node = node(&[]);
    let id = node.connect(0);
    let replies = node.ask_all(
        id,
        &[
            &[b"MULTI"],
            &[b"SET", OWN, b"1"],
            &[b"SET", OTHER, b"1"],
            &[b"CLIENT", b"REPLY", b"SKIP"],
            &[b"EXEC"],
            &[b"PING"],
            &[b"PING"],
        ],
    );
    // SKIP was queued: it is the request behind EXEC that is silent.
    let queued = b"+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n";
    assert_eq!(
        replies,
        [&queued[..], b"*3\r\n+OK\r\n+OK\r\n+PONG\r\n"].concat()
    );
}

#[test]
fn monitor_inside_a_transaction_is_refused_when_it_runs() {
    let mut node = node(&[]);
    let id = node.connect(0);
    let replies = node.ask_all(id, &[&[b"MULTI"], &[b"MONITOR"], &[b"PING"], &[b"EXEC"]]);
    let refused = b"*2\r\n-ERR MONITOR isn't allowed for DENY BLOCKING client\r\n+PONG\r\n";
    assert_eq!(
        replies,
        [&b"+OK\r\n+QUEUED\r\n+QUEUED\r\n"[..], refused].concat()
    );
    assert_eq!(node.count(0, Counter::MonitorClients), 0);
    assert_eq!(node.ask(id, &[b"PING"]), b"+PONG\r\n");
}

#[test]
fn a_protected_command_is_refused_when_it_is_queued() {
    for (allowed, is_refused) in [("no", true), ("local", false), ("yes", false)] {
        let mut node = node(&[("enable-debug-command", allowed)]);
        let id = node.connect(0);
        let replies = node.ask_all(id, &[&[b"MULTI"], &[b"DEBUG"], &[b"DISCARD"]]);
        assert_eq!(
            replies.starts_with(b"+OK\r\n-ERR DEBUG command not allowed."),
            is_refused
        );
        if is_refused {
            let replies = node.ask_all(id, &[&[b"MULTI"], &[b"DEBUG"], &[b"EXEC"]]);
            let aborted = b"-EXECABORT Transaction discarded because of previous errors.\r\n";
            assert!(replies.ends_with(aborted));
            let replies = node.ask(id, &[b"DEBUG"]);
            assert!(replies.starts_with(b"-ERR DEBUG command not allowed."));
        }
    }
}

#[test]
fn the_slow_log_has_one_order_for_all_workers() {
    let mut node = node(&[("slowlog-log-slower-than", "0")]);
    node.wait(1);
    let clients = [node.connect(0), node.connect(1)];
    for (round, id) in clients.into_iter().cycle().take(10).enumerate() {
        node.ask(id, &[b"ECHO", round.to_string().as_bytes()]);
    }
    let mut logged: Vec<(u64, Vec<u8>)> = node
        .engines
        .iter()
        .flat_map(|engine| engine.slowlog())
        .map(|entry| (entry.id, entry.args[1].clone()))
        .collect();
    logged.sort();
    let rounds: Vec<Vec<u8>> = (0..10)
        .map(|round| round.to_string().into_bytes())
        .collect();
    assert_eq!(
        logged
            .iter()
            .map(|(_, arg)| arg.clone())
            .collect::<Vec<_>>(),
        rounds
    );
    logged.dedup_by_key(|(id, _)| *id);
    assert_eq!(logged.len(), 10);
}

#[test]
fn the_longest_event_is_told_when_it_is_not_kept_any_more() {
    let mut node = node(&[]);
    node.wait(1);
    node.engines[0].note_latency("command", 9000);
    for _ in 0..200 {
        node.wait(1000);
        node.engines[0].note_latency("command", 5);
    }
    let histories = node.engines[0].latency();
    let [("command", history)] = &histories[..] else {
        panic!("{histories:?}");
    };
    assert_eq!((history.longest, history.events.len()), (9000, 160));
    assert!(history.events.iter().all(|event| event.milliseconds == 5));
}

#[test]
fn pages_have_each_client_once() {
    let mut node = node(&[]);
    let ids: Vec<ClientId> = (0..10).map(|_| node.connect(0)).collect();
    for id in [ids[0], ids[4], ids[9]] {
        let client = &node.clients[id];
        node.engines[client.worker].close(client.at);
    }
    let skipped = node.clients[ids[5]].at.client;
    let filter = ClientFilter {
        except: Some(skipped),
        ..ClientFilter::default()
    };
    let (mut found, mut next) = (Vec::new(), Some(0));
    while let Some(from) = next {
        let (after, page) = node.engines[0].clients(&filter, Page { from, places: 3 });
        assert!(page.len() <= 3);
        found.extend(page.iter().map(|client| client.id));
        next = after;
    }
    let wanted: Vec<u64> = [1, 2, 3, 6, 7, 8]
        .map(|place| node.clients[ids[place]].at.client)
        .to_vec();
    assert_eq!(found, wanted);
    let (next, killed) = node.engines[0].kill_clients(&filter, Page::ALL);
    assert_eq!((next, killed), (None, 6));
    assert!(node.is_dropped(ids[1]) && !node.is_dropped(ids[5]));
}

#[test]
fn what_clients_hold_is_counted() {
    let mut node = node(&[]);
    let (one, other) = (node.connect(0), node.connect(0));
    let idle = node.count(0, Counter::SessionBytes);
    assert!(idle > 0);
    node.ask(one, &[b"WATCH", OWN, OTHER]);
    assert_eq!(node.count(0, Counter::WatchedKeys), 2);
    // A request that does not end, of 20,000 bytes.
    node.send(other, b"*2\r\n$4\r\nECHO\r\n$30000\r\n", usize::MAX, false);
    node.send(other, &[b'x'; 20_000], usize::MAX, false);
    node.wait(100);
    assert!(node.count(0, Counter::SessionBytes) >= idle + 20_000);
    assert!(node.count(0, Counter::RecentInputMax) >= 20_000);
    node.reconnect(other);
    node.reconnect(one);
    node.wait(100);
    assert_eq!(node.count(0, Counter::SessionBytes), idle);
    assert_eq!(node.count(0, Counter::WatchedKeys), 0);
    assert!(node.count(0, Counter::RecentInputMax) >= 20_000);
    node.wait(10_000);
    assert_eq!(node.count(0, Counter::RecentInputMax), 0);
}

#[test]
fn replies_take_no_memory_of_a_client_that_has_read_them() {
    let mut node = node(&[]);
    let id = node.connect(0);
    node.ask(id, &[b"ECHO", &[b'x'; 10_000]]);
    let (_, listed) = node.engines[0].clients(&ClientFilter::default(), Page::ALL);
    assert_eq!(listed[0].output_memory_bytes, 0);
    assert!(listed[0].line(0).contains(" obl=0 oll=0 omem=0 "));
}

#[test]
fn reads_of_a_client_that_wants_so_are_no_uses() {
    let mut node = node(&[("maxmemory-policy", "allkeys-lru")]);
    let asker = node.connect(0);
    for key in [OWN, OTHER] {
        node.ask(asker, &[b"SET", key, b"v"]);
    }
    let idle = |node: &mut Node, key| {
        let reply = node.ask(asker, &[b"OBJECT", b"IDLETIME", key]);
        let digits = std::str::from_utf8(&reply[1..reply.len() - 2]).unwrap();
        digits.parse::<u64>().unwrap()
    };
    node.wait(500_000);
    for worker in 0..2 {
        let reader = node.connect(worker);
        node.ask(reader, &[b"CLIENT", b"NO-TOUCH", b"ON"]);
        let reads: [&[&[u8]]; 6] = [
            &[b"GET", OWN],
            &[b"GET", OTHER],
            &[b"MGET", OWN, OTHER],
            &[b"LCS", OWN, OTHER],
            &[b"GETRANGE", OTHER, b"0", b"1"],
            &[b"PFCOUNT", b"{a}none"],
        ];
        reads.iter().for_each(|read| drop(node.ask(reader, read)));
        node.wait(1000);
        assert!([OWN, OTHER].iter().all(|key| idle(&mut node, key) >= 400));
    }
    let reader = node.connect(0);
    node.ask(reader, &[b"MGET", OWN, OTHER]);
    node.wait(1000);
    assert!([OWN, OTHER].iter().all(|key| idle(&mut node, key) < 400));
}
