//! RESTORE of any bytes behind a right checksum: an error, or a value that all commands of its type work on.

use std::cell::RefCell;

use crc::{CRC_64_REDIS, Crc};
use yggdrasil_core::control::{Control, NodeShape};
use yggdrasil_core::engine::{Clock, Engine, Listener, Options, Parts, Peer, SessionRef};
use yggdrasil_core::keyspace::{Shard, ShardShape};
use yggdrasil_core::shm::Segment;

const ARENA_BYTES: u64 = 1 << 28;
const VERSION: u16 = 12;
const NOW_MS: u64 = 1_700_000_000_000;
const CRC64: Crc<u64> = Crc::<u64>::new(&CRC_64_REDIS);

/// Requests on `k` by type: each has its turn upon what the others have left.
const STRING: &[&str] = &[
    "GET k",
    "STRLEN k",
    "GETRANGE k 1 -2",
    "BITCOUNT k",
    "BITPOS k 1",
    "PFCOUNT k",
    "PFADD k a b",
    "PFMERGE k k",
    "GETBIT k 77",
    "BITFIELD k GET u8 3 INCRBY i5 9 3",
    "APPEND k x",
    "SETRANGE k 5 y",
    "INCR k",
    "INCRBYFLOAT k 1.5",
    "LCS k k LEN",
    "SETBIT k 9 1",
];
const LIST: &[&str] = &[
    "LRANGE k 0 -1",
    "LLEN k",
    "LINDEX k -1",
    "LPOS k a COUNT 0",
    "LSET k 0 b",
    "LINSERT k BEFORE b a",
    "LREM k -1 a",
    "LPUSH k 1 two",
    "RPUSH k 3",
    "LTRIM k 1 -2",
    "LMOVE k k LEFT RIGHT",
    "SORT k ALPHA",
    "RPOP k 2",
    "LPOP k",
];
const SET: &[&str] = &[
    "SMEMBERS k",
    "SCARD k",
    "SISMEMBER k 1",
    "SRANDMEMBER k -3",
    "SSCAN k 0 COUNT 100000",
    "SADD k 1 two",
    "SREM k 1",
    "SADD k 9999999999",
    "SINTERSTORE l k k",
    "SUNIONSTORE k k l",
    "SDIFF k l",
    "SMOVE k l two",
    "SORT k ALPHA",
    "SPOP k 2",
];
const SORTED_SET: &[&str] = &[
    "ZRANGE k 0 -1 WITHSCORES",
    "ZCARD k",
    "ZSCORE k a",
    "ZRANK k a",
    "ZREVRANGE k 0 -1",
    "ZCOUNT k (0 +inf",
    "ZRANGE k - + BYLEX",
    "ZRANGE k -inf 5 BYSCORE LIMIT 1 3",
    "ZRANDMEMBER k 3 WITHSCORES",
    "ZSCAN k 0 COUNT 100000",
    "ZADD k 1 a 2.5 b -inf c",
    "ZINCRBY k 1 a",
    "ZADD k GT CH 7 b",
    "ZREM k c",
    "ZUNIONSTORE l 2 k k WEIGHTS 1 -2",
    "ZDIFF 2 k l",
    "GEOPOS k a b",
    "GEODIST k a b",
    "GEOSEARCH k FROMLONLAT 13 38 BYRADIUS 20000 km",
    "ZREMRANGEBYRANK k 1 1",
    "ZREMRANGEBYSCORE k 7 8",
    "ZPOPMIN k 2",
    "ZPOPMAX k",
];
const HASH: &[&str] = &[
    "HGETALL k",
    "HLEN k",
    "HGET k a",
    "HSTRLEN k a",
    "HKEYS k",
    "HRANDFIELD k -3 WITHVALUES",
    "HSCAN k 0 COUNT 100000",
    "HTTL k FIELDS 2 a 1",
    "HSET k a 1 b two",
    "HINCRBY k a 5",
    "HINCRBYFLOAT k a 0.5",
    "HEXPIRE k 100 FIELDS 1 a",
    "HPERSIST k FIELDS 1 a",
    "HGETEX k EX 10 FIELDS 1 b",
    "HSETEX k EX 10 FIELDS 1 c 3",
    "HGETDEL k FIELDS 1 c",
    "HDEL k b",
];
const STREAM: &[&str] = &[
    "XRANGE k - +",
    "XREVRANGE k + - COUNT 3",
    "XLEN k",
    "XINFO STREAM k FULL COUNT 0",
    "XINFO GROUPS k",
    "XADD k * a 1",
    "XREAD COUNT 5 STREAMS k 0",
    "XGROUP CREATE k new 0",
    "XREADGROUP GROUP new me COUNT 4 STREAMS k >",
    "XPENDING k new - + 10",
    "XAUTOCLAIM k new you 0 0",
    "XACK k new 1-1",
    "XGROUP DELCONSUMER k new you",
    "XDEL k 1-1",
    "XTRIM k MAXLEN ~ 2",
    "XTRIM k MAXLEN 1",
    "XSETID k 99999999999999-0",
    "XADD k 1-* b 2",
];
const ANY: &[&str] = &[
    "DUMP k",
    "MEMORY USAGE k",
    "COPY k l REPLACE",
    "RENAME l m",
    "OBJECT ENCODING m",
    "UNLINK m",
];

/// Restores the bytes, a payload without version and checksum, and works on what has come of it.
pub fn restored(data: &[u8]) {
    thread_local! {
        static SERVER: RefCell<Server> = RefCell::new(Server::start());
    }
    SERVER.with_borrow_mut(|server| server.check(data));
}

struct Server {
    engine: Engine,
    at: SessionRef,
}

impl Server {
    fn start() -> Self {
        let shape = NodeShape {
            shards: 1,
            arena_bytes: ARENA_BYTES,
            ring_bytes: 1 << 16,
            databases: 1,
            hash_seed: 7,
        };
        let mut options = Options::unset();
        let values = [
            ("maxclients", "10"),
            ("proto-max-bulk-len", "1000000"),
            ("client-query-buffer-limit", "100000000"),
            ("maxmemory", "150000000"),
            ("maxmemory-policy", "noeviction"),
            ("slowlog-log-slower-than", "-1"),
            ("stream-uploads-max", "1"),
            ("stream-upload-bytes-max", "1000"),
            ("stream-upload-timeout", "60"),
        ];
        for (name, value) in values {
            options.set(name, value).expect("an option and its value");
        }
        let arena = Segment::create("fuzz", ARENA_BYTES).expect("memory");
        let shard = ShardShape {
            databases: 1,
            segment_bytes: ARENA_BYTES,
            memory_limit: options.memory_limit,
            hash_seed: shape.hash_seed,
            value_bytes_max: ARENA_BYTES,
        };
        let control = Control::create(&shape).expect("memory");
        let mut engine = Engine::new(Parts {
            shard_index: 0,
            control: Control::open(control, shape).expect("what was created"),
            shard: Shard::create(arena.own().expect("memory"), shard).expect("memory"),
            readers: vec![None],
            options,
            clock: Clock {
                unix_ms: || NOW_MS,
                unix_us: || NOW_MS * 1000,
                ticks: || NOW_MS,
                ns_per_tick: 1 << 32,
            },
        });
        let peer = Peer {
            address: "127.0.0.1:1".into(),
            local_address: "127.0.0.1:2".into(),
            descriptor: -1,
            listener: Listener::Common,
            secure: false,
        };
        let at = engine.open(&peer).expect("a place for a client");
        Self { engine, at }
    }

    fn ask(&mut self, args: &[&[u8]]) -> Vec<u8> {
        let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
        for arg in args {
            bytes.extend(format!("${}\r\n", arg.len()).bytes());
            bytes.extend_from_slice(arg);
            bytes.extend(b"\r\n");
        }
        self.engine.receive(self.at, &bytes);
        let (mut reply, mut ready, mut is_quiet) = (Vec::new(), Vec::new(), false);
        while !is_quiet {
            is_quiet = !self.engine.has_steps();
            self.engine.step();
            self.engine.take_ready(&mut ready);
            while let sent = self.engine.unsent_copy(self.at, 1 << 20)
                && !sent.is_empty()
            {
                is_quiet = false;
                self.engine.sent(self.at, sent.len(), true);
                reply.extend(sent);
            }
            self.engine.take_events();
        }
        assert!(
            reply.ends_with(b"\r\n"),
            "{:?} was not answered",
            args[0].escape_ascii().to_string()
        );
        reply
    }

    fn ask_line(&mut self, line: &str) -> Vec<u8> {
        let words: Vec<_> = line.split(' ').map(str::as_bytes).collect();
        self.ask(&words)
    }

    fn restore(&mut self, key: &[u8], body: &[u8]) -> Vec<u8> {
        let mut payload = [body, &VERSION.to_le_bytes()[..]].concat();
        payload.extend(CRC64.checksum(&payload).to_le_bytes());
        self.ask(&[b"RESTORE", key, b"0", &payload, b"REPLACE"])
    }

    fn check(&mut self, body: &[u8]) {
        self.ask_line("FLUSHALL SYNC");
        let reply = self.restore(b"k", body);
        if reply != b"+OK\r\n" {
            assert!(reply.starts_with(b"-"), "{}", reply.escape_ascii());
            return;
        }
        self.check_dump();
        let kind = self.ask_line("TYPE k");
        let requests = match kind.as_slice() {
            b"+string\r\n" => STRING,
            b"+list\r\n" => LIST,
            b"+set\r\n" => SET,
            b"+zset\r\n" => SORTED_SET,
            b"+hash\r\n" => HASH,
            b"+stream\r\n" => STREAM,
            // Nothing is left of a hash whose fields have all expired.
            _ => &[],
        };
        let from = body.len() % requests.len().max(1);
        for line in requests[from..].iter().chain(&requests[..from]).chain(ANY) {
            self.ask_line(line);
        }
        self.engine.tick();
    }

    /// A dump of what was restored brings back the same.
    fn check_dump(&mut self) {
        let dump = self.ask_line("DUMP k");
        let Some(start) = dump
            .iter()
            .position(|byte| *byte == b'\n')
            .filter(|_| !dump.starts_with(b"$-"))
        else {
            return;
        };
        let payload = dump[start + 1..dump.len() - 2].to_vec();
        assert_eq!(self.ask(&[b"RESTORE", b"l", b"0", &payload]), b"+OK\r\n");
        assert_eq!(
            self.ask_line("DUMP l"),
            dump,
            "another value than was dumped"
        );
    }
}
