//! What clients keep of their reads is told to be stale, whatever comes in between, and in whatever order workers run.

use std::collections::{HashMap, VecDeque};

use super::simulation::reply_end;
use super::{ClientId, NOW_MS, Node, encoded};
use crate::engine::{Caching, Redirect, Tracking};
use crate::random::Random;

const SHARDS: usize = 3;
const KEYS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "{a}g", "{b}h"];

fn node(options: &[(&'static str, &'static str)]) -> Node {
    let fixed = [
        ("maxclients", "100"),
        ("proto-max-bulk-len", "1000000"),
        ("client-query-buffer-limit", "1000000"),
        ("slowlog-log-slower-than", "-1"),
        ("maxmemory", "1000000000"),
        ("maxmemory-policy", "noeviction"),
    ];
    Node::with_shards(SHARDS, &[&fixed[..], options].concat())
}

impl Node {
    /// A client of RESP3 that is told when what it keeps is stale.
    fn connect_tracking(&mut self, worker: usize, tracking: Tracking) -> ClientId {
        let id = self.connect(worker);
        self.ask(id, &[b"HELLO", b"3"]);
        let at = self.clients[id].at;
        self.engines[worker].start_tracking(at, tracking);
        self.engines
            .iter_mut()
            .for_each(|engine| engine.hear_broadcasts());
        id
    }
}

/// The replies that a client waits for.
enum Expected {
    /// Of no interest.
    Other,
    Values(Vec<&'static str>),
}

/// A client that keeps what it reads.
struct Keeper {
    id: ClientId,
    expected: VecDeque<Expected>,
    kept: HashMap<String, Vec<u8>>,
}

impl Keeper {
    fn read(&mut self, node: &mut Node, random: &mut Random) {
        let key = |random: &mut Random| KEYS[(random.draw() % KEYS.len() as u64) as usize];
        let (a, b) = (key(random), key(random));
        let requests = match random.draw() % 6 {
            0 => {
                self.expected.push_back(Expected::Values(vec![a, b]));
                encoded(&[b"MGET", a.as_bytes(), b.as_bytes()])
            }
            1 => {
                (0..3).for_each(|_| self.expected.push_back(Expected::Other));
                self.expected.push_back(Expected::Values(vec![a, b]));
                let steps = [a, b].map(|key| encoded(&[b"GET", key.as_bytes()]));
                [encoded(&[b"MULTI"]), steps.concat(), encoded(&[b"EXEC"])].concat()
            }
            2 => {
                self.expected.push_back(Expected::Values(vec![a, b]));
                let body = "local function get(key) return redis.call('GET', key) end \
                            return {get(ARGV[1]), get(ARGV[2])}";
                let declared = &[a, b][..(random.draw() % 3) as usize];
                let count = declared.len().to_string();
                let words = [&["EVAL", body, &count], declared, &[a, b]].concat();
                encoded(&words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>())
            }
            3 => {
                (0..3).for_each(|_| self.expected.push_back(Expected::Other));
                self.expected.push_back(Expected::Values(vec![a, b]));
                let body = b"return redis.call('MGET', KEYS[1])[1]";
                let steps = [a, b].map(|key| encoded(&[b"EVAL_RO", body, b"1", key.as_bytes()]));
                [encoded(&[b"MULTI"]), steps.concat(), encoded(&[b"EXEC"])].concat()
            }
            _ => {
                self.expected.push_back(Expected::Values(vec![a]));
                encoded(&[b"GET", a.as_bytes()])
            }
        };
        node.put(self.id, &requests);
    }

    /// Takes what has come.
    fn hear(&mut self, node: &mut Node) {
        let bytes = node.replies(self.id);
        let mut at = 0;
        while at < bytes.len() {
            let end = reply_end(&bytes, at).expect("whole replies are sent");
            let one = &bytes[at..end];
            at = end;
            if one.starts_with(b">") {
                self.forget(one);
                continue;
            }
            if let Some(Expected::Values(keys)) = self.expected.pop_front() {
                let values = if keys.len() == 1 {
                    vec![one]
                } else {
                    items(one)
                };
                assert_eq!(values.len(), keys.len(), "{}", String::from_utf8_lossy(one));
                for (key, value) in keys.into_iter().zip(values) {
                    self.kept.insert(key.into(), value.to_vec());
                }
            }
        }
    }

    fn forget(&mut self, push: &[u8]) {
        let parts = items(push);
        assert_eq!(parts[0], b"$10\r\ninvalidate\r\n");
        if parts[1] == b"_\r\n" {
            self.kept.clear();
            return;
        }
        for key in items(parts[1]) {
            let text = String::from_utf8_lossy(key);
            let name = text.split("\r\n").nth(1).unwrap_or_default();
            self.kept.remove(name);
        }
    }
}

/// The items of an array or a push.
fn items(bytes: &[u8]) -> Vec<&[u8]> {
    let mut at = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let mut items = Vec::new();
    while at < bytes.len() {
        let end = reply_end(bytes, at).unwrap();
        items.push(&bytes[at..end]);
        at = end;
    }
    items
}

fn write(random: &mut Random, number: u64) -> Vec<u8> {
    let key = |random: &mut Random| KEYS[(random.draw() % KEYS.len() as u64) as usize].as_bytes();
    let (a, b) = (key(random), key(random));
    let value = number.to_string();
    let value = value.as_bytes();
    match random.draw() % 12 {
        0 => encoded(&[b"DEL", a, b]),
        1 => encoded(&[b"MSET", a, value, b, value]),
        2 => encoded(&[b"PEXPIRE", a, b"20"]),
        3 => encoded(&[b"RENAME", a, b]),
        4 => encoded(&[b"COPY", a, b, b"REPLACE"]),
        5 if random.draw().is_multiple_of(8) => encoded(&[b"FLUSHALL"]),
        6 => {
            let steps = [a, b].map(|key| encoded(&[b"SET", key, value]));
            [encoded(&[b"MULTI"]), steps.concat(), encoded(&[b"EXEC"])].concat()
        }
        _ => encoded(&[b"SET", a, value]),
    }
}

/// A node with clients that keep what they read, and others that write.
struct World {
    node: Node,
    keepers: Vec<Keeper>,
    writers: Vec<ClientId>,
    /// Workers that are to be woken, as bits.
    wakes: u64,
}

impl World {
    fn new(options: &[(&'static str, &'static str)]) -> Self {
        let mut node = node(options);
        let broadcast = || Tracking {
            caching: Caching::Broadcast,
            prefixes: vec![(*b"").into()],
            ..Tracking::default()
        };
        let keepers = (0..2 * SHARDS).map(|number| {
            let tracking = if number % 3 == 2 {
                broadcast()
            } else {
                Tracking::default()
            };
            Keeper {
                id: node.connect_tracking(number % SHARDS, tracking),
                expected: VecDeque::new(),
                kept: HashMap::new(),
            }
        });
        let keepers = keepers.collect();
        let writers = (0..SHARDS).map(|worker| node.connect(worker)).collect();
        Self {
            node,
            keepers,
            writers,
            wakes: 0,
        }
    }

    fn step(&mut self, random: &mut Random, number: u64) {
        let node = &mut self.node;
        let worker = (random.draw() % SHARDS as u64) as usize;
        match random.draw() % 8 {
            0..=2 => {
                let at = (random.draw() % self.keepers.len() as u64) as usize;
                self.keepers[at].read(node, random);
            }
            3 => node.put(self.writers[worker], &write(random, number)),
            4 => NOW_MS.set(NOW_MS.get() + random.draw() % 10),
            5 => {
                node.engines[worker].tick();
            }
            6 => {
                node.deliver(worker);
            }
            _ if self.wakes & 1 << worker != 0 => {
                self.wakes &= !(1 << worker);
                node.engines[worker].poll();
            }
            _ => {}
        }
        for engine in &mut node.engines {
            self.wakes |= engine.take_wakes();
        }
        self.hear();
    }

    fn hear(&mut self) {
        let node = &mut self.node;
        self.keepers.iter_mut().for_each(|keeper| keeper.hear(node));
    }

    /// Delivers all that is under way.
    fn end(&mut self) {
        let engines = self.node.engines.iter_mut();
        engines.for_each(|engine| engine.poll());
        self.node.settle();
        self.node.wait(0);
        self.hear();
    }
}

fn run(seed: u64, options: &[(&'static str, &'static str)]) {
    let mut random = Random::new(seed);
    let mut world = World::new(options);
    (0..400).for_each(|number| world.step(&mut random, number));
    world.end();
    let World { node, keepers, .. } = &mut world;
    let asker = node.connect(0);
    node.ask(asker, &[b"HELLO", b"3"]);
    for key in KEYS {
        let now = node.ask(asker, &[b"GET", key.as_bytes()]);
        for (number, keeper) in keepers.iter().enumerate() {
            assert!(
                keeper.expected.is_empty(),
                "seed {seed}: a reply is missing"
            );
            if let Some(kept) = keeper.kept.get(key) {
                let text = String::from_utf8_lossy;
                let (kept, now) = (text(kept), text(&now));
                assert_eq!(kept, now, "seed {seed}: keeper {number}, key {key}");
            }
        }
    }
}

#[test]
fn nothing_that_is_kept_stays_stale() {
    (0..150).for_each(|seed| run(seed, &[]));
}

#[test]
fn nothing_stays_stale_where_few_keys_are_remembered() {
    (0..50).for_each(|seed| run(seed, &[("tracking-table-max-keys", "6")]));
}

#[test]
fn what_expires_is_told() {
    let mut node = node(&[]);
    let (writer, reader) = (
        node.connect(0),
        node.connect_tracking(1, Tracking::default()),
    );
    for key in KEYS {
        node.ask(writer, &[b"SET", key.as_bytes(), b"v", b"PX", b"50"]);
        node.ask(reader, &[b"GET", key.as_bytes()]);
    }
    node.wait(100);
    let told = node.replies(reader);
    let text = String::from_utf8_lossy(&told);
    assert_eq!(text.matches("invalidate").count(), KEYS.len(), "{text}");
    let tracked = node.engines.iter().map(|engine| engine.shard.tracked());
    assert!(tracked.eq([(0, 0); SHARDS]));
}

#[test]
fn another_client_hears_on_whatever_worker_it_is() {
    for hearing_worker in 0..SHARDS {
        let mut node = node(&[]);
        let (writer, hearer) = (node.connect(0), node.connect(hearing_worker));
        node.ask(hearer, &[b"SUBSCRIBE", b"__redis__:invalidate"]);
        let redirect = Redirect {
            worker: hearing_worker,
            session: node.clients[hearer].at,
        };
        let tracking = Tracking {
            redirect: Some(redirect),
            ..Tracking::default()
        };
        let reader = node.connect_tracking(1, tracking);
        for key in KEYS {
            node.ask(reader, &[b"GET", key.as_bytes()]);
            node.ask(writer, &[b"SET", key.as_bytes(), b"v"]);
            let expected = format!(
                "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*1\r\n${}\r\n{key}\r\n",
                key.len()
            );
            assert_eq!(node.replies(hearer), expected.as_bytes());
        }
        node.ask(writer, &[b"FLUSHALL"]);
        let all = b"*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n$-1\r\n";
        assert_eq!(node.replies(hearer), all);
        node.ask(reader, &[b"GET", b"a"]);
        node.reconnect(hearer);
        node.ask(writer, &[b"SET", b"a", b"w"]);
        let broken = node.replies(reader);
        assert!(broken.starts_with(b">2\r\n$21\r\ntracking-redir-broken\r\n:"));
    }
}
