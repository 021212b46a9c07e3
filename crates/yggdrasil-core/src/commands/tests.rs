//! Whole commands on one shard: what Redis cannot show. The replies that it gives are in `tests/transcripts`.

use super::handler::{InSteps, KeyLimits, ShardContext};
use super::scan;
use super::{EXPIRE_AT_MAX, Keys, Registry};
use crate::keyspace::{
    ChangeListener, Expiry, Key, KeyspaceError, Kind, Record, Shard, ShardShape, Value, hash_key,
};
use crate::random::Random;
use crate::resp::{ArgsBuffer, Limits, Parser, Protocol, Reply, Requests};
use crate::script::Scripts;
use crate::shm::Segment;

const SEED: u64 = 7;
const NOW: u64 = 1_750_000_000_000;

/// A client of a node with one shard, whose clock stands still unless it is moved.
struct Node {
    shard: Shard,
    registry: Registry,
    limits: KeyLimits,
    now: u64,
    shard_index: u16,
    shard_count: u16,
}

impl Node {
    fn new() -> Self {
        Self::with_memory(64 << 20)
    }

    fn with_memory(memory_limit: u64) -> Self {
        let shape = ShardShape {
            databases: 16,
            segment_bytes: 4 << 30,
            memory_limit,
            hash_seed: SEED,
            value_bytes_max: 512 << 20,
        };
        let segment = Segment::create("commands", shape.segment_bytes).unwrap();
        Self {
            shard: Shard::create(segment.own().unwrap(), shape).unwrap(),
            registry: Registry::new(),
            limits: KeyLimits::default(),
            now: NOW,
            shard_index: 0,
            shard_count: 1,
        }
    }

    fn run(&mut self, request: &ArgsBuffer) -> Vec<u8> {
        let args = request.as_args();
        let mut out = Vec::new();
        let mut reply = Reply::new(&mut out, Protocol::Resp2);
        let outcome = self.registry.lookup(&args).and_then(|id| {
            let spec = self.registry.spec(id);
            spec.check_steps(&args)?;
            let mut context = ShardContext {
                shard: &mut self.shard,
                db: 0,
                now: self.now,
                hash_seed: SEED,
                first_key_hash: None,
                limits: &self.limits,
                may_wait: false,
                waits: None,
                in_steps: InSteps::AtOnce,
                random: &mut Random::new(12345),
                scripts: &mut Scripts::new(0),
                shard_index: self.shard_index,
                shard_count: self.shard_count,
                reads: false,
                untouched: false,
                hits: 0,
                misses: 0,
            };
            spec.run_on_shard(&mut context, &args, &mut reply)
        });
        if let Err(error) = outcome {
            error.write(&mut reply);
        }
        self.shard.check_invariants();
        out
    }

    /// The reply to a line as one would type it.
    fn ask(&mut self, line: &str) -> String {
        let reply = self.run(&words(line));
        String::from_utf8(reply)
            .unwrap()
            .trim_end()
            .replace("\r\n", " ")
    }
}

fn words(line: &str) -> ArgsBuffer {
    if line.len() > INLINE_BYTES {
        return line.split(' ').map(str::as_bytes).collect();
    }
    let mut requests = Requests::new();
    let input = format!("{line}\n").into_bytes();
    Parser::new()
        .next(&input, &mut 0, &Limits::default(), &mut requests)
        .unwrap();
    requests.args(0, &input).into()
}

#[test]
fn a_field_that_has_expired_is_new_when_it_is_set() {
    for others in [0, 600] {
        let mut node = Node::new();
        for other in 0..others {
            assert_eq!(node.ask(&format!("HSET h other:{other} 0")), ":1");
        }
        assert_eq!(node.ask("HSET h a 1 b 2 c 3"), ":3");
        assert_eq!(node.ask("HPEXPIRE h 100 FIELDS 2 a b"), "*2 :1 :1");
        node.now += 100;
        assert_eq!(node.ask("HSET h a 1 a 2 c 3 d 4"), ":2");
        assert_eq!(node.ask("HSET h a 3 c 4"), ":0");
        assert_eq!(node.ask("HMGET h a b c d"), "*4 $1 3 $-1 $1 4 $1 4");
    }
}

#[test]
fn keys_expire() {
    let mut node = Node::new();
    assert_eq!(node.ask("SET a 1 PX 1500"), "+OK");
    assert_eq!(node.ask("PTTL a"), ":1500");
    node.now += 600;
    assert_eq!(node.ask("TTL a"), ":1");
    assert_eq!(node.ask("PTTL a"), ":900");
    node.now += 899;
    assert_eq!(node.ask("GET a"), "$1 1");
    assert_eq!(node.ask("TTL a"), ":0");
    node.now += 1;
    assert_eq!(node.ask("GET a"), "$-1");
    assert_eq!(node.ask("SET a 2 XX"), "$-1");
    assert_eq!(node.ask("SET a 2 NX"), "+OK");
    assert_eq!(node.ask("TTL a"), ":-1");
}

#[test]
fn no_time_is_too_late() {
    let mut node = Node::new();
    assert_eq!(node.ask("SET a 1 PXAT 9223372036854775807"), "+OK");
    assert_eq!(node.ask("PEXPIRETIME a"), format!(":{EXPIRE_AT_MAX}"));
    assert_eq!(node.ask("PEXPIREAT a 9223372036854775807"), ":1");
    assert_eq!(node.ask("PTTL a"), format!(":{}", EXPIRE_AT_MAX - NOW));
}

#[test]
fn idle_time_is_counted_from_the_last_use() {
    let mut node = Node::new();
    node.ask("SET a 1");
    node.now += 10_000;
    for line in ["TYPE a", "TTL a", "EXISTS a", "OBJECT ENCODING a"] {
        node.ask(line);
    }
    assert_eq!(node.ask("OBJECT IDLETIME a"), ":10");
    assert_eq!(node.ask("TOUCH a"), ":1");
    assert_eq!(node.ask("OBJECT IDLETIME a"), ":0");
    node.now += 5_000;
    node.ask("GET a");
    assert_eq!(node.ask("OBJECT IDLETIME a"), ":0");
}

#[test]
fn without_memory_writes_are_refused_and_change_nothing() {
    let mut node = Node::with_memory(8 << 20);
    let value = "x".repeat(60_000);
    assert_eq!(node.ask("SET a 1"), "+OK");
    let refused = "-OOM command not allowed when used memory > 'maxmemory'.";
    let filled = (0..1000).find(|number| node.ask(&format!("SET {number} {value}")) == refused);
    assert!(filled.is_some_and(|number| number > 2));
    for line in ["SET a", "APPEND a", "GETSET a", "SETRANGE a 0", "MSETNX b"] {
        assert_eq!(node.ask(&format!("{line} {value}")), refused, "{line}");
    }
    assert_eq!(node.ask(&format!("SET a {value} GET")), refused);
    assert_eq!(node.ask("GET a"), "$1 1");
    assert_eq!(node.ask("DEL 0 1"), ":2");
    assert_eq!(node.ask(&format!("SET a {value}")), "+OK");
}

#[test]
fn a_scan_visits_all_shards() {
    let mut node = Node::new();
    for number in 0..1000 {
        node.ask(&format!("SET key{number} {number}"));
    }
    (node.shard_index, node.shard_count) = (1, 3);
    let mut cursor = (1u64 << 40).to_string();
    let mut seen = std::collections::BTreeSet::new();
    loop {
        assert_eq!(
            scan::shard_of(&words(&format!("SCAN {cursor}")).as_args(), 3),
            Ok(1)
        );
        let reply = node.ask(&format!("SCAN {cursor} COUNT 50"));
        let parts: Vec<_> = reply.split(' ').collect();
        seen.extend(
            parts
                .iter()
                .filter(|part| part.starts_with("key"))
                .map(|key| key.to_string()),
        );
        cursor = parts[2].to_owned();
        if cursor == (2u64 << 40).to_string() {
            break;
        }
    }
    assert_eq!(seen.len(), 1000);
    // The last shard ends it, and knows a cursor that is none of its own.
    node.shard_index = 2;
    assert!(
        node.ask(&format!("SCAN {cursor} COUNT 2000"))
            .starts_with("*2 $1 0 *1000 ")
    );
    assert_eq!(node.ask("SCAN 18446744073709551615"), "*2 $1 0 *0");
    assert_eq!(
        scan::shard_of(&words("SCAN 18446744073709551615").as_args(), 3),
        Ok(2)
    );
    assert!(scan::shard_of(&words("SCAN x").as_args(), 3).is_err());
}

#[test]
fn all_keys_are_found_by_keys() {
    let mut node = Node::new();
    for number in 0..20_000 {
        let bytes = format!("key{number}");
        let key = Key {
            db: 0,
            hash: hash_key(SEED, bytes.as_bytes()),
            bytes: bytes.as_bytes(),
        };
        node.shard
            .set(&key, Value::Int(number), Expiry::Clear, NOW)
            .unwrap();
    }
    assert!(node.ask("KEYS *").starts_with("*20000 "));
    assert!(node.ask("KEYS key1999?").starts_with("*10 "));
    assert_eq!(node.ask("DBSIZE"), ":20000");
}

#[test]
fn strings_have_a_longest() {
    let mut node = Node::new();
    node.limits.string_bytes_max = 10;
    let refused = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)";
    assert_eq!(node.ask("SET a 12345678"), "+OK");
    assert_eq!(node.ask("APPEND a 12"), ":10");
    assert_eq!(node.ask("APPEND a 3"), refused);
    assert_eq!(node.ask("SETRANGE a 9 xy"), refused);
    assert_eq!(node.ask("SETRANGE a 9 x"), ":10");
    assert!(node.ask("LCS a a").starts_with("-ERR Insufficient memory"));
}

#[test]
fn help_lists_the_subcommands() {
    let node = Node::new();
    let mut out = Vec::new();
    node.registry
        .write_help("object", &mut Reply::new(&mut out, Protocol::Resp2));
    let text = String::from_utf8(out).unwrap();
    assert!(text.starts_with("*13\r\n+OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:\r\n+ENCODING <key>\r\n+    "));
    assert!(text.contains("\r\n+HELP\r\n"));
}

/// Puts a value of any kind under a key.
fn put(node: &mut Node, key: &[u8], kind: Kind, value: Value<'_>) {
    let key = Key {
        db: 0,
        hash: hash_key(SEED, key),
        bytes: key,
    };
    let put = node.shard.put(&key, kind, value, Expiry::Clear, NOW);
    assert!(put.is_ok());
}

#[test]
fn every_row_that_needs_a_string_refuses_what_is_none() {
    let mut node = Node::new();
    let rows: Vec<_> = node.registry.iter().map(|(_, spec)| spec).collect();
    let mut refused = 0;
    for spec in rows.iter().filter(|spec| spec.needs == Some(Kind::String)) {
        put(&mut node, b"k", Kind::Hash, Value::Bytes(b"packed"));
        let count = spec.arity.number().unsigned_abs() as usize;
        let mut request = vec!["1"; count.max(2)];
        request[0] = spec.name;
        let Keys::At { first, .. } = spec.keys else {
            continue;
        };
        request[usize::from(first)] = "k";
        let reply = node.ask(&request.join(" "));
        let expected = "-WRONGTYPE Operation against a key holding the wrong kind of value";
        assert_eq!(reply, expected, "{request:?}");
        assert_eq!(node.ask("TYPE k"), "+hash");
        refused += 1;
    }
    assert!(refused >= 15);
}

#[test]
fn kinds_and_encodings_are_told() {
    let mut node = Node::new();
    for (kind, name, encoding) in [
        (Kind::List, "list", "listpack"),
        (Kind::Set, "set", "listpack"),
        (Kind::SortedSet, "zset", "listpack"),
        (Kind::Hash, "hash", "listpack"),
        (Kind::Stream, "stream", "stream"),
        (Kind::Vector, "vectorset", "raw"),
    ] {
        put(&mut node, name.as_bytes(), kind, Value::Bytes(b"packed"));
        assert_eq!(node.ask(&format!("TYPE {name}")), format!("+{name}"));
        let expected = format!("${} {encoding}", encoding.len());
        assert_eq!(node.ask(&format!("OBJECT ENCODING {name}")), expected);
        let scanned = node.ask(&format!("SCAN 0 COUNT 1000 TYPE {name}"));
        assert_eq!(scanned, format!("*2 $1 0 *1 ${} {name}", name.len()));
        if kind == Kind::Vector {
            let dumped = node.ask(&format!("DUMP {name}"));
            assert!(dumped.starts_with(&format!("-ERR values of type {name} have no DUMP")));
        }
        assert_eq!(node.ask(&format!("MGET {name}")), "*1 $-1");
        assert_eq!(node.ask(&format!("COPY {name} copy REPLACE")), ":1");
        assert_eq!(node.ask("TYPE copy"), format!("+{name}"));
        assert_eq!(node.ask(&format!("RENAME copy {name}2")), "+OK");
        assert_eq!(node.ask(&format!("MOVE {name}2 1")), ":1");
        assert_eq!(node.ask(&format!("SET {name} v")), "+OK");
        assert_eq!(node.ask(&format!("TYPE {name}")), "+string");
    }
    put(&mut node, b"gone", Kind::String, Value::Absent(b"place"));
    assert!(
        node.ask("GET gone")
            .starts_with("-ERR the value of the key is not in memory")
    );
    assert!(
        node.ask("LCS gone list")
            .starts_with("-ERR the value of the key is not in memory")
    );
    put(&mut node, b"gone", Kind::Hash, Value::Bytes(b"packed"));
    assert!(
        node.ask("LCS gone list")
            .starts_with("-ERR The specified keys must contain")
    );
}

#[test]
fn a_command_over_several_keys_changes_all_or_none_of_them() {
    for command in ["MSET", "MSETNX"] {
        let mut node = Node::with_memory(8 << 20);
        let value = "x".repeat(60_000);
        let refused = "-OOM command not allowed when used memory > 'maxmemory'.";
        let filled = (0..1000).find(|number| node.ask(&format!("SET {number} {value}")) == refused);
        assert!(filled.is_some_and(|number| number > 20));
        assert_eq!(node.ask("DEL 0 1 2"), ":3");
        let kept: Vec<_> = match command {
            "MSET" => (0..3).map(|number| format!("kept{number}")).collect(),
            _ => Vec::new(),
        };
        for key in &kept {
            assert_eq!(node.ask(&format!("SET {key} 17 PX 5000")), "+OK");
        }
        if let Some(key) = kept.first() {
            assert_eq!(node.ask(&format!("PIN {key} PX 1000")), ":1");
        }
        let before = node.ask("DBSIZE");
        let names = kept
            .iter()
            .cloned()
            .chain((0..8).map(|n| format!("new{n}")));
        let pairs: Vec<_> = names.map(|name| format!("{name} {value}")).collect();
        let request = format!("{command} {}", pairs.join(" "));
        let request: ArgsBuffer = request.split(' ').map(str::as_bytes).collect();
        let reply = node.run(&request);
        assert_eq!(reply.trim_ascii_end(), refused.as_bytes());
        assert_eq!(node.ask("DBSIZE"), before);
        for key in &kept {
            assert_eq!(node.ask(&format!("GET {key}")), "$2 17");
            assert_eq!(node.ask(&format!("PTTL {key}")), ":5000");
        }
        if let Some(key) = kept.first() {
            assert_eq!(node.ask(&format!("OBJECT PIN {key}")), ":1000");
            assert_eq!(node.ask(&format!("UNPIN {key}")), ":1");
        }
        for number in 0..8 {
            assert_eq!(node.ask(&format!("EXISTS new{number}")), ":0");
        }
        let two = format!("{command} new1 {0} new2 {0}", &value[..20_000]);
        assert!(["+OK", ":1"].contains(&node.ask(&two).as_str()));
    }
}

/// Lines up to this length may be quoted; longer ones only have blanks between their words.
const INLINE_BYTES: usize = 50_000;

/// A log whose disk is full when so many bytes are kept.
#[derive(Debug)]
struct FullLog(u64);

impl ChangeListener for FullLog {
    fn reserve(&mut self, bytes: u64) -> Result<(), KeyspaceError> {
        match self.0.checked_sub(bytes) {
            Some(left) => {
                self.0 = left;
                Ok(())
            }
            None => Err(KeyspaceError::LogFull { bytes }),
        }
    }

    fn changed(&mut self, _: u64, _: &Record<'_>) {}
}

#[test]
fn without_room_for_its_record_no_write_is_done() {
    let mut node = Node::new();
    for line in ["MSET a 1 b 2 c 3", "PEXPIRE c 1000", "PIN a"] {
        assert!(!node.ask(line).starts_with('-'));
    }
    node.shard.set_listener(Some(Box::new(FullLog(0))));
    let number = node.shard.number();
    for line in [
        "SET a 2",
        "SET new 1",
        "SETEX a 10 1",
        "APPEND a 1",
        "SETRANGE a 0 7",
        "INCR b",
        "GETSET a 7",
        "GETDEL a",
        "GETEX a PX 500",
        "MSET a 2 b 2",
        "MSETNX x 1 y 2",
        "DEL a b",
        "UNLINK a",
        "EXPIRE a 10",
        "PERSIST c",
        "RENAME a x",
        "RENAMENX a x",
        "COPY a x",
        "MOVE a 1",
        "PIN b",
        "UNPIN a",
        "FLUSHDB",
        "FLUSHALL",
        "SWAPDB 0 1",
    ] {
        let reply = node.ask(line);
        assert!(
            reply.starts_with("-LOGFULL a record of "),
            "{line}: {reply}"
        );
    }
    for (line, reply) in [
        ("MGET a b c", "*3 $1 1 $1 2 $1 3"),
        ("PTTL c", ":1000"),
        ("DBSIZE", ":3"),
    ] {
        assert_eq!(node.ask(line), reply);
    }
    assert_eq!(node.shard.number(), number);
    // The first value finds room, and is undone when the second does not.
    node.shard.set_listener(Some(Box::new(FullLog(700))));
    assert!(
        node.ask(&format!("MSET a 2 b {}", "x".repeat(600)))
            .starts_with("-LOGFULL")
    );
    assert_eq!(node.ask("MGET a b"), "*2 $1 1 $1 2");
    node.shard.set_listener(None);
    assert_eq!(node.ask("SET a 2"), "+OK");
}
