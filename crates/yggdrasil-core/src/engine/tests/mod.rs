//! Workers of a node in one process, without sockets: what clients send is given to their engines, and what the engines
//! want done is done at once.

mod again;
mod clients;
mod durability;
mod execute;
mod kinds;
mod later;
mod learning;
mod libraries;
mod long_values;
mod order;
mod rests;
mod room;
mod rules;
mod savepoint;
mod scripts;
mod seeking;
mod simulation;
mod staged;
mod state;
mod tracking;
mod transcripts;
mod turns;
mod waiting;
mod works;

use std::cell::Cell;

use super::{Clock, Engine, Event, Listener, Options, Parts, Peer, Room, SessionRef};
use crate::control::{Control, NodeShape};
use crate::keyspace::{Shard, ShardReader, ShardShape};
use crate::lease::Holders;
use crate::shm::Segment;

const SHAPE: NodeShape = NodeShape {
    shards: 2,
    arena_bytes: 1 << 30,
    ring_bytes: 1 << 16,
    databases: 16,
    hash_seed: 0x5eed,
};
const START_MS: u64 = 1_700_000_000_000;

thread_local! {
    /// The time of the node that a test has on its thread.
    static NOW_MS: Cell<u64> = const { Cell::new(START_MS) };
}

fn now_ms() -> u64 {
    NOW_MS.get()
}

/// The engines of all workers, and their clients.
struct Node {
    shape: NodeShape,
    control: Control,
    arenas: Vec<Segment>,
    libraries: libraries::Store,
    engines: Vec<Engine>,
    clients: Vec<Client>,
    /// Replies to requests of Python commands, by their numbers.
    executed: Vec<(u64, Vec<u8>)>,
}

/// A connection to one of the workers.
struct Client {
    worker: usize,
    at: SessionRef,
    received: Vec<u8>,
}

/// What a client gets its number by.
type ClientId = usize;

impl Node {
    fn start(options: &[(&str, &str)]) -> Self {
        Self::with_shards(SHAPE.shards, options)
    }

    fn with_shards(shards: usize, options: &[(&str, &str)]) -> Self {
        NOW_MS.set(START_MS);
        let shape = NodeShape { shards, ..SHAPE };
        let control = Control::create(&shape).unwrap();
        let control = Control::open(control, shape).unwrap();
        let arenas: Vec<_> = (0..shards)
            .map(|_| Segment::create("test", SHAPE.arena_bytes).unwrap())
            .collect();
        let mut node = Self {
            shape,
            control,
            arenas,
            libraries: libraries::Store::default(),
            engines: Vec::new(),
            clients: Vec::new(),
            executed: Vec::new(),
        };
        node.engines = (0..shards).map(|me| node.new_engine(me, options)).collect();
        node
    }

    fn new_engine(&self, me: usize, options: &[(&str, &str)]) -> Engine {
        let mut engine = engine(me, &self.shape, &self.control, &self.arenas, options);
        let libraries = Box::new(self.libraries.clone());
        engine.share_libraries(libraries).unwrap();
        engine
    }

    fn connect(&mut self, worker: usize) -> ClientId {
        self.clients.push(Client {
            worker,
            at: self.engines[worker].open(&peer()).unwrap(),
            received: Vec::new(),
        });
        self.clients.len() - 1
    }

    /// The connection is lost, and the client connects to the same worker again.
    fn reconnect(&mut self, id: ClientId) {
        let client = &mut self.clients[id];
        let engine = &mut self.engines[client.worker];
        engine.close(client.at);
        client.at = engine.open(&peer()).unwrap();
        client.received.clear();
        self.settle();
    }

    /// All connections are lost.
    fn disconnect_all(&mut self) {
        for client in self.clients.drain(..) {
            self.engines[client.worker].close(client.at);
        }
        self.settle();
    }

    /// The client has sent its last byte.
    fn end_input(&mut self, id: ClientId) {
        let client = &self.clients[id];
        self.engines[client.worker].end_input(client.at);
        self.settle();
    }

    /// Sends bytes, in pieces of at most so many. With `offered`, they are put where the engine wants them, as by a
    /// driver.
    fn send(&mut self, id: ClientId, mut bytes: &[u8], at_most: usize, offered: bool) {
        while !bytes.is_empty() {
            let client = &self.clients[id];
            let (engine, at) = (&mut self.engines[client.worker], client.at);
            let room = offered.then(|| engine.input_room(at, at_most as u64));
            let mut count = bytes.len().min(at_most);
            match room.flatten() {
                Some(Room::Pages(start, len)) => {
                    count = count.min(len);
                    let offset = start as usize - engine.shard.lent(0, 1).as_ptr() as usize;
                    let file = engine.shard.file();
                    let written = rustix::io::pwrite(file, &bytes[..count], offset as u64);
                    assert_eq!(written, Ok(count));
                    engine.received_into_pages(at, count);
                }
                Some(Room::Input(input)) => {
                    input.extend_from_slice(&bytes[..count]);
                    engine.received_into_input(at, count);
                }
                None => engine.receive(at, &bytes[..count]),
            }
            bytes = &bytes[count..];
            self.settle();
        }
    }

    /// Receives bytes within a round.
    fn put(&mut self, id: ClientId, bytes: &[u8]) {
        let client = &self.clients[id];
        self.engines[client.worker].receive(client.at, bytes);
    }

    /// What has come for a client since this was last asked.
    fn replies(&mut self, id: ClientId) -> Vec<u8> {
        std::mem::take(&mut self.clients[id].received)
    }

    /// Sends a request and gives its reply.
    fn ask(&mut self, id: ClientId, args: &[&[u8]]) -> Vec<u8> {
        self.send(id, &encoded(args), usize::MAX, false);
        self.replies(id)
    }

    /// Lets time pass, and does what is due then.
    fn wait(&mut self, ms: u64) {
        NOW_MS.set(NOW_MS.get() + ms);
        let mut more = true;
        while more {
            more = false;
            for engine in &mut self.engines {
                more |= engine.tick();
            }
            self.settle();
        }
    }

    /// Sends what is to be sent, and wakes who is to be woken, until there is nothing left.
    fn settle(&mut self) {
        let mut is_quiet = false;
        while !is_quiet {
            is_quiet = true;
            for worker in 0..self.engines.len() {
                is_quiet &= !self.deliver(worker);
                let mut wakes = self.engines[worker].take_wakes();
                while wakes != 0 {
                    self.engines[wakes.trailing_zeros() as usize].poll();
                    wakes &= wakes - 1;
                    is_quiet = false;
                }
            }
        }
        let all = self.engines.iter();
        assert!(all.clone().all(|engine| engine.ring_waiters.is_empty()));
        assert!(all.clone().all(|engine| engine.reserved.is_none()));
    }

    /// Gives the clients of a worker what is there for them. False when there is nothing.
    fn deliver(&mut self, worker: usize) -> bool {
        let engine = &mut self.engines[worker];
        let (mut ready, had_steps) = (Vec::new(), engine.has_steps());
        engine.step();
        engine.take_ready(&mut ready);
        for at in &ready {
            while let bytes = engine.unsent_copy(*at, 1 << 20)
                && !bytes.is_empty()
            {
                engine.sent(*at, bytes.len(), true);
                let mut clients = self.clients.iter_mut();
                if let Some(client) = clients.find(|c| c.worker == worker && c.at == *at) {
                    client.received.extend(bytes);
                }
            }
        }
        for event in engine.take_events() {
            match event {
                Event::Reading { .. } | Event::Logged { .. } => {}
                Event::Executed { execution, reply } => self.executed.push((execution, reply)),
                other => panic!("{other:?}"),
            }
        }
        had_steps || !ready.is_empty()
    }
}

fn engine(
    me: usize,
    node: &NodeShape,
    control: &Control,
    arenas: &[Segment],
    options: &[(&str, &str)],
) -> Engine {
    let mut values = Options::unset();
    for (name, value) in options {
        values.set(name, value).unwrap();
    }
    let shape = ShardShape {
        databases: node.databases as u16,
        segment_bytes: node.arena_bytes,
        memory_limit: values.memory_limit,
        hash_seed: node.hash_seed,
        value_bytes_max: node.arena_bytes,
    };
    let pages = (0..node.shards).map(|worker| control.lease_page(worker));
    let holders = Holders::new(me, pages);
    let own = Shard::create_beside(holders, arenas[me].own().unwrap(), shape.clone()).unwrap();
    let reader = |(shard, arena): (usize, &Segment)| {
        (shard != me).then(|| ShardReader::open(arena.read().unwrap(), &shape).unwrap())
    };
    let mut engine = Engine::new(Parts {
        shard_index: me,
        control: control.clone(),
        shard: own,
        readers: arenas.iter().enumerate().map(reader).collect(),
        options: values,
        clock: Clock {
            unix_ms: now_ms,
            unix_us: || now_ms() * 1000,
            ticks: now_ms,
            ns_per_tick: 1 << 32,
        },
    });
    for row in waiting::ROWS {
        engine.table.add_row(row);
    }
    engine
}

fn peer() -> Peer {
    Peer {
        address: "127.0.0.1:1".into(),
        local_address: "127.0.0.1:2".into(),
        descriptor: -1,
        listener: Listener::Common,
        secure: false,
    }
}

/// A request as it is sent.
fn encoded(args: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        bytes.extend(format!("${}\r\n", arg.len()).bytes());
        bytes.extend_from_slice(arg);
        bytes.extend(b"\r\n");
    }
    bytes
}
