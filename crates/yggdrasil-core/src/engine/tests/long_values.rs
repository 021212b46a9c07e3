//! Long values that come, break off, go and are cut short, against a model: what is seen of a key is always whole, and
//! nothing of what came to nothing is left.

use std::collections::HashMap;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::{ClientId, Node, SHAPE, encoded, now_ms};

const KEYS: u8 = 6;
const CONNECTIONS: u8 = 4;
const UPLOADS: u8 = 3;
const TIMEOUT_S: u64 = 60;
const LONGEST: usize = 700_000;

/// Values are parts of this; two that begin at different places have little in common.
static CONTENT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 1_u64;
    let bytes = (0..LONGEST + 256 * 64).map(|_| {
        state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
        (state >> 56) as u8
    });
    bytes.collect()
});

fn content(seed: u8, size: usize) -> &'static [u8] {
    &CONTENT[usize::from(seed) * 64..][..size]
}

/// How the bytes of a request arrive: in pieces of at most so many, where the engine offers them a place or not.
type Manner = (usize, bool);

#[derive(Clone, Copy, Debug)]
enum Condition {
    None,
    IfAbsent,
    IfPresent,
    /// A word that SET does not know.
    Wrong,
}

#[derive(Clone, Copy, Debug)]
enum Hash {
    None,
    Right,
    Wrong,
}

#[derive(Clone, Debug)]
enum Step {
    /// Begins to send a SET on a connection that has nothing under way.
    Set(u8, u8, u8, usize, Condition),
    /// The same for bytes at the end of a value, or at an offset.
    Write(u8, u8, u8, usize, Option<usize>),
    /// The same for the next part of an upload.
    Append(u8, u8, u8, usize),
    /// Sends a part of what is under way, in 256ths.
    Send(u8, u8, Manner),
    SendAll(u8, Manner),
    Disconnect(u8),
    HalfClose(u8),
    Begin(u8, u8, Option<usize>),
    Commit(u8, Hash),
    Abort(u8),
    Remove(u8),
    FlushAll,
    Wait(u64),
    Limit(u64),
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![2 => 0..100_usize, 2 => 10_000..66_000_usize, 6 => 66_000..LONGEST]
}

fn step() -> impl Strategy<Value = Step> {
    let key = || 0..KEYS;
    let on = || 0..CONNECTIONS;
    let upload = || 0..UPLOADS;
    let manner = || {
        (
            prop_oneof![1 => 1000..20_000_usize, 3 => 20_000..300_000_usize],
            any::<bool>(),
        )
    };
    let condition = prop_oneof![
        5 => Just(Condition::None),
        1 => Just(Condition::IfAbsent),
        1 => Just(Condition::IfPresent),
        1 => Just(Condition::Wrong),
    ];
    let hash = prop_oneof![2 => Just(Hash::None), 2 => Just(Hash::Right), 1 => Just(Hash::Wrong)];
    prop_oneof![
        10 => (on(), key(), any::<u8>(), size(), condition).prop_map(|(c, k, v, s, n)| Step::Set(c, k, v, s, n)),
        8 => (on(), upload(), any::<u8>(), size()).prop_map(|(c, u, v, s)| Step::Append(c, u, v, s)),
        8 => (on(), key(), any::<u8>(), size(), prop::option::of(0..100_000_usize))
            .prop_map(|(c, k, v, s, o)| Step::Write(c, k, v, s, o)),
        12 => (on(), any::<u8>(), manner()).prop_map(|(c, part, m)| Step::Send(c, part, m)),
        14 => (on(), manner()).prop_map(|(c, m)| Step::SendAll(c, m)),
        2 => on().prop_map(Step::Disconnect),
        2 => on().prop_map(Step::HalfClose),
        6 => (upload(), key(), prop::option::of(size())).prop_map(|(u, k, s)| Step::Begin(u, k, s)),
        4 => (upload(), hash).prop_map(|(u, h)| Step::Commit(u, h)),
        1 => upload().prop_map(Step::Abort),
        3 => key().prop_map(Step::Remove),
        1 => Just(Step::FlushAll),
        2 => (1..TIMEOUT_S * 700).prop_map(Step::Wait),
        2 => (1_500_000..6_000_000_u64).prop_map(Step::Limit),
    ]
}

/// A request that is being sent.
struct Sending {
    bytes: Vec<u8>,
    sent: usize,
    what: What,
    /// Whether there was ever another part of the same upload under way.
    is_shared: bool,
}

enum What {
    Set(u8, &'static [u8], Condition),
    Append(u8, &'static [u8]),
    Write(u8, &'static [u8], Option<usize>),
}

impl What {
    fn upload(&self) -> Option<u8> {
        match self {
            Self::Set(..) | Self::Write(..) => None,
            Self::Append(number, _) => Some(*number),
        }
    }
}

struct Upload {
    id: Vec<u8>,
    key: u8,
    content: Vec<u8>,
    /// When it last answered.
    active_at: u64,
    is_gone: bool,
}

struct Model {
    node: Node,
    /// Whether keys may go by themselves.
    evicts: bool,
    values: HashMap<u8, Vec<u8>>,
    uploads: HashMap<u8, Upload>,
    sending: HashMap<ClientId, Sending>,
    /// One client of each worker for requests that are sent whole.
    others: Vec<ClientId>,
}

fn name(key: u8) -> [u8; 4] {
    [b'k', b'e', b'y', b'0' + key]
}

fn text(reply: &[u8]) -> String {
    reply[..reply.len().min(200)].escape_ascii().to_string()
}

fn number(reply: &[u8]) -> Option<u64> {
    let digits = reply.strip_prefix(b":")?.strip_suffix(b"\r\n")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

impl Model {
    fn new(policy: &str, memory_limit: u64) -> Self {
        let memory_limit = memory_limit.to_string();
        let mut node = Node::start(&[
            ("maxclients", "100"),
            ("proto-max-bulk-len", "10000000"),
            ("client-query-buffer-limit", "10000000"),
            ("slowlog-log-slower-than", "-1"),
            ("maxmemory", &memory_limit),
            ("maxmemory-policy", policy),
            ("maxmemory-samples", "5"),
            ("stream-upload-timeout", &TIMEOUT_S.to_string()),
            ("stream-uploads-max", "100"),
            ("stream-upload-bytes-max", "100000000"),
        ]);
        for connection in 0..usize::from(CONNECTIONS) {
            node.connect(connection % SHAPE.shards);
        }
        let others = (0..SHAPE.shards).map(|worker| node.connect(worker));
        Self {
            others: others.collect(),
            evicts: policy != "noeviction",
            node,
            values: HashMap::new(),
            uploads: HashMap::new(),
            sending: HashMap::new(),
        }
    }

    fn ask(&mut self, args: &[&[u8]]) -> Vec<u8> {
        let client = self.others[args.iter().map(|arg| arg.len()).sum::<usize>() % 2];
        self.node.ask(client, args)
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Set(on, key, seed, size, condition) => {
                let (name, value) = (name(key), content(seed, size));
                let mut args: Vec<&[u8]> = vec![b"SET", &name, value];
                args.extend::<Option<&[u8]>>(match condition {
                    Condition::None => None,
                    Condition::IfAbsent => Some(b"NX"),
                    Condition::IfPresent => Some(b"XX"),
                    Condition::Wrong => Some(b"WRONG"),
                });
                self.begin_sending(on, &args, What::Set(key, value, condition));
            }
            Step::Write(on, key, seed, size, offset) => {
                let (name, bytes) = (name(key), content(seed, size));
                let digits = offset.map(|offset| offset.to_string());
                let args: Vec<&[u8]> = match &digits {
                    Some(digits) => vec![b"SETRANGE", &name, digits.as_bytes(), bytes],
                    None => vec![b"APPEND", &name, bytes],
                };
                self.begin_sending(on, &args, What::Write(key, bytes, offset));
            }
            Step::Append(on, number, seed, size) => {
                let Some(upload) = self.uploads.get(&number) else {
                    return;
                };
                let (id, bytes) = (upload.id.clone(), content(seed, size));
                let args: [&[u8]; 4] = [b"PUT_STREAM", b"APPEND", &id, bytes];
                self.begin_sending(on, &args, What::Append(number, bytes));
            }
            Step::Send(on, part, manner) => self.send(on, usize::from(part), manner),
            Step::SendAll(on, manner) => self.send(on, 256, manner),
            Step::Disconnect(on) => {
                self.sending.remove(&usize::from(on));
                self.node.reconnect(usize::from(on));
            }
            Step::HalfClose(on) => {
                self.sending.remove(&usize::from(on));
                self.node.end_input(usize::from(on));
                let reply = self.node.replies(usize::from(on));
                // It may have been refused before.
                assert!(
                    reply.is_empty() || reply.starts_with(b"-"),
                    "{}",
                    text(&reply)
                );
                self.node.reconnect(usize::from(on));
            }
            Step::Begin(number, key, hint) => self.begin(number, key, hint),
            Step::Commit(number, hash) => self.commit(number, hash),
            Step::Abort(number) => self.abort(number),
            Step::Remove(key) => {
                let reply = self.ask(&[b"DEL", &name(key)]);
                let was_there = self.values.remove(&key).is_some();
                let expected = format!(":{}\r\n", u8::from(was_there));
                assert!(reply == expected.as_bytes() || self.evicts && reply == b":0\r\n");
            }
            Step::FlushAll => {
                assert_eq!(self.ask(&[b"FLUSHALL"]), b"+OK\r\n");
                self.values.clear();
            }
            Step::Wait(ms) => self.node.wait(ms),
            Step::Limit(bytes) => {
                for engine in &mut self.node.engines {
                    engine.set_option("maxmemory", &bytes.to_string()).unwrap();
                }
            }
        }
    }

    fn begin_sending(&mut self, on: u8, args: &[&[u8]], what: What) {
        if self.sending.contains_key(&usize::from(on)) {
            return;
        }
        let mut sending = Sending {
            bytes: encoded(args),
            sent: 0,
            what,
            is_shared: false,
        };
        for other in self.sending.values_mut() {
            if sending.what.upload().is_some() && other.what.upload() == sending.what.upload() {
                (sending.is_shared, other.is_shared) = (true, true);
            }
        }
        self.sending.insert(usize::from(on), sending);
    }

    fn send(&mut self, on: u8, part: usize, (at_most, offered): Manner) {
        let on = usize::from(on);
        let Some(mut sending) = self.sending.remove(&on) else {
            return;
        };
        let rest = &sending.bytes[sending.sent..];
        // The end of a request is sent by itself: what has come before that must not count.
        let count = (rest.len() * part / 256).max(1);
        self.node.send(on, &rest[..count], at_most, offered);
        sending.sent += count;
        if sending.sent < sending.bytes.len() {
            self.sending.insert(on, sending);
            return;
        }
        let reply = self.node.replies(on);
        match sending.what {
            What::Set(key, value, condition) => self.set_answered(key, value, condition, &reply),
            What::Write(key, bytes, offset) => self.written(key, bytes, offset, &reply),
            What::Append(number, bytes) => {
                self.append_answered(number, bytes, sending.is_shared, &reply);
            }
        }
    }

    fn set_answered(&mut self, key: u8, value: &[u8], condition: Condition, reply: &[u8]) {
        let was_there = self.values.contains_key(&key);
        match (reply, condition) {
            (b"+OK\r\n", Condition::None) => {}
            (b"+OK\r\n", Condition::IfAbsent) => assert!(!was_there || self.evicts),
            (b"+OK\r\n", Condition::IfPresent) => assert!(was_there),
            (b"$-1\r\n", Condition::IfAbsent) => return assert!(was_there),
            (b"$-1\r\n", Condition::IfPresent) => return assert!(!was_there || self.evicts),
            (b"-ERR syntax error\r\n", Condition::Wrong) => return,
            _ => return assert!(reply.starts_with(b"-OOM "), "{}", text(reply)),
        }
        self.values.insert(key, value.to_vec());
    }

    fn written(&mut self, key: u8, bytes: &[u8], offset: Option<usize>, reply: &[u8]) {
        let Some(length) = number(reply) else {
            return assert!(reply.starts_with(b"-OOM "), "{}", text(reply));
        };
        let spliced = |mut value: Vec<u8>| {
            let at = offset.unwrap_or(value.len());
            if !bytes.is_empty() || offset.is_none() {
                value.resize(value.len().max(at + bytes.len()), 0);
                value[at..at + bytes.len()].copy_from_slice(bytes);
            }
            value
        };
        let before = self.values.get(&key).cloned().unwrap_or_default();
        let mut value = spliced(before);
        if self.evicts {
            // It may have been evicted while the bytes came.
            let alone = spliced(Vec::new());
            let reply = self.ask(&[b"GET", &name(key)]);
            if reply == [format!("${}\r\n", alone.len()).as_bytes(), &alone, b"\r\n"].concat() {
                value = alone;
            }
        }
        assert_eq!(value.len() as u64, length);
        if !value.is_empty() || offset.is_none() {
            self.values.insert(key, value);
        }
    }

    fn append_answered(&mut self, number: u8, bytes: &[u8], is_shared: bool, reply: &[u8]) {
        let Some(upload) = self.uploads.get_mut(&number) else {
            return assert!(reply.starts_with(b"-NOUPLOAD "), "{}", text(reply));
        };
        if let Some(length) = self::number(reply) {
            assert!(!upload.is_gone);
            upload.content.extend_from_slice(bytes);
            assert_eq!(length, upload.content.len() as u64);
            upload.active_at = now_ms();
        } else if reply.starts_with(b"-NOUPLOAD ") {
            upload.note_gone();
        } else if !(is_shared && reply.starts_with(b"-ERR another APPEND")) {
            assert!(reply.starts_with(b"-OOM "), "{}", text(reply));
        }
    }

    /// Whether a part of an upload may be arriving.
    fn is_receiving(&self, number: u8) -> bool {
        let mut sending = self.sending.values();
        sending.any(|sending| sending.what.upload() == Some(number))
    }

    fn begin(&mut self, number: u8, key: u8, hint: Option<usize>) {
        if self.is_receiving(number) || self.uploads.get(&number).is_some_and(|u| !u.is_gone) {
            return;
        }
        let hint = hint.map(|size| size.to_string());
        let name = name(key);
        let mut args: Vec<&[u8]> = vec![b"PUT_STREAM", b"BEGIN", &name];
        args.extend(hint.as_ref().map(|size| size.as_bytes()));
        let reply = self.ask(&args);
        match reply.strip_prefix(b"$16\r\n") {
            Some(id) => {
                let upload = Upload {
                    id: id[..16].to_vec(),
                    key,
                    content: Vec::new(),
                    active_at: now_ms(),
                    is_gone: false,
                };
                self.uploads.insert(number, upload);
            }
            None => assert!(reply.starts_with(b"-OOM "), "{}", text(&reply)),
        }
    }

    fn commit(&mut self, number: u8, hash: Hash) {
        let is_shared = self.is_receiving(number);
        let Some(upload) = self.uploads.get(&number) else {
            return;
        };
        let id = upload.id.clone();
        let mut args: Vec<&[u8]> = vec![b"PUT_STREAM", b"COMMIT", &id];
        let found = blake3::hash(&upload.content).to_hex();
        let digits = match hash {
            Hash::None => None,
            Hash::Right => Some(found.as_bytes()),
            Hash::Wrong => Some([b'0'; 64].as_slice()),
        };
        args.extend(digits);
        let reply = self.ask(&args);
        let Some(upload) = self.uploads.get_mut(&number) else {
            return;
        };
        if self::number(&reply).is_some() {
            assert!(!upload.is_gone && !matches!(hash, Hash::Wrong));
            self.values.insert(upload.key, upload.content.clone());
            upload.is_gone = true;
        } else if reply.starts_with(b"-NOUPLOAD ") {
            upload.note_gone();
        } else if reply.starts_with(b"-CHECKSUM ") {
            assert!(!upload.is_gone && matches!(hash, Hash::Wrong));
            upload.is_gone = true;
        } else if !(is_shared && reply.starts_with(b"-ERR another APPEND")) {
            assert!(reply.starts_with(b"-OOM "), "{}", text(&reply));
            upload.is_gone = true;
        }
    }

    fn abort(&mut self, number: u8) {
        let Some(id) = self.uploads.get(&number).map(|upload| upload.id.clone()) else {
            return;
        };
        let reply = self.ask(&[b"PUT_STREAM", b"ABORT", &id]);
        let Some(upload) = self.uploads.get_mut(&number) else {
            return;
        };
        if reply == b"+OK\r\n" {
            assert!(!upload.is_gone);
            upload.is_gone = true;
        } else {
            assert!(reply.starts_with(b"-NOUPLOAD "), "{}", text(&reply));
            upload.note_gone();
        }
    }

    fn check(&mut self) {
        for engine in &self.node.engines {
            engine.shard.check_invariants();
        }
        for key in 0..KEYS {
            let reply = self.ask(&[b"GET", &name(key)]);
            if reply == b"$-1\r\n" {
                let lost = self.values.remove(&key);
                assert!(lost.is_none() || self.evicts, "key {key} is lost");
                continue;
            }
            let value = self.values.get(&key).expect("a key that is there was set");
            let head = format!("${}\r\n", value.len());
            let rest = reply.strip_prefix(head.as_bytes()).unwrap_or_default();
            assert!(
                rest.strip_suffix(b"\r\n") == Some(value),
                "key {key}: {}",
                text(&reply)
            );
        }
        let recent = |upload: &Upload| upload.active_at + TIMEOUT_S * 1000 > now_ms();
        let all = self.uploads.values().filter(|upload| !upload.is_gone);
        if all.clone().all(recent) && !(0..UPLOADS).any(|number| self.is_receiving(number)) {
            let bytes = all.clone().map(|upload| upload.content.len() as u64);
            assert_eq!(self.uploads_there(), (all.count(), bytes.sum()));
        }
    }

    /// Uploads that the shards have, and their bytes.
    fn uploads_there(&self) -> (usize, u64) {
        let each = self
            .node
            .engines
            .iter()
            .map(|engine| engine.shard.uploads());
        each.fold((0, 0), |sum, (count, bytes)| (sum.0 + count, sum.1 + bytes))
    }

    /// Ends everything, after which nothing may be left.
    fn end(mut self) {
        for on in 0..CONNECTIONS {
            self.node.reconnect(usize::from(on));
        }
        self.sending.clear();
        self.check();
        self.node.wait(TIMEOUT_S * 1000 + 1);
        assert_eq!(self.uploads_there(), (0, 0));
        assert_eq!(self.ask(&[b"FLUSHALL"]), b"+OK\r\n");
        self.node.wait(1);
        for engine in &mut self.node.engines {
            engine.purge();
            engine.shard.check_invariants();
            let memory = engine.memory();
            assert_eq!((memory.entries, memory.live, memory.leased), (0, 0, 0));
            assert_eq!((engine.inbound.len(), engine.tickets.len()), (0, 0));
            assert!(engine.is_drained());
        }
    }
}

impl Upload {
    /// The node does not know it any more.
    fn note_gone(&mut self) {
        let is_idle = now_ms() > self.active_at + TIMEOUT_S * 1000;
        assert!(self.is_gone || is_idle, "an upload does not go by itself");
        self.is_gone = true;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    #[test]
    fn long_values_are_whole_or_not_there(
        policy in prop::sample::select(vec!["noeviction", "allkeys-lru", "tinylfu"]),
        limit in prop_oneof![1 => Just(0), 2 => 2_000_000..6_000_000_u64],
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut model = Model::new(policy, limit);
        for step in steps {
            model.apply(step);
            model.check();
        }
        model.end();
    }
}
