//! A node of several engines and its clients, moved by random steps: bytes, messages and time come when they come.

use std::collections::VecDeque;

use super::super::{NOW_MS, START_MS, encoded, engine, peer};
use super::chance::Chance;
use super::logs::Logs;
use super::model::Operation;
use super::order::Happened;
use super::replies::reply_end;
use super::workload::Workload;
use crate::commands::{Arity, CommandId, Flags, Group, Keys, NewCommand, Run};
use crate::control::{Control, NodeShape};
use crate::engine::{Ended, Engine, Event, Executor, Room, SessionRef};
use crate::keyspace::slot::key_slot;
use crate::resp::ArgsBuffer;
use crate::shm::Segment;

const ARENA_BYTES: u64 = 1 << 28;
/// Rounds in which everything under way must come to its end.
const ROUNDS_TO_END: usize = 3000;
/// Rounds after which whoever waits for others waits in vain.
const ROUNDS_TO_SETTLE: usize = 300;
/// The last request of a client, behind any other commands: its answer shows that the client is served.
const FAREWELL: &[u8] = b"farewell of client";

/// How a world is to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub shards: usize,
    pub clients: usize,
    /// Operations in all.
    pub operations: usize,
    /// Requests are of the kind that the model knows.
    pub modelled: bool,
    /// Clients leave in the middle of anything.
    pub leaving: bool,
    /// Workers are killed.
    pub killing: bool,
    /// Workers keep logs, and some clients wait for them.
    pub logging: bool,
    /// Bytes of memory; without it, plenty.
    pub memory: Option<u64>,
}

struct Client {
    worker: usize,
    at: SessionRef,
    resp3: bool,
    /// It is answered when its changes are durable.
    syncs: bool,
    connected: bool,
    input_ended: bool,
    /// Bytes that are not sent yet, and the operations that end in them: index, bytes from the start of all.
    unsent: VecDeque<u8>,
    sent: usize,
    ends: VecDeque<(usize, usize)>,
    /// Operations whose replies are awaited, with how many are missing.
    awaited: VecDeque<(usize, usize)>,
    depth: usize,
    /// Received bytes that belong to no operation yet.
    received: Vec<u8>,
    /// Does not read what it is sent.
    deaf: bool,
    /// The engine wants nothing from it now.
    stopped: bool,
    left_to_ask: usize,
    asked_farewell: bool,
}

impl Client {
    fn send(&mut self, bytes: &[u8]) {
        self.unsent.extend(bytes);
    }

    fn total(&self) -> usize {
        self.sent + self.unsent.len()
    }
}

/// A Python command under way.
struct Running {
    worker: usize,
    session: SessionRef,
    slot: u64,
    command: CommandId,
    args: ArgsBuffer,
    transaction: Option<usize>,
}

pub(super) struct World {
    plan: Plan,
    random: Chance,
    shape: NodeShape,
    control: Control,
    arenas: Vec<Segment>,
    engines: Vec<Option<Engine>>,
    logs: Logs,
    /// Workers whose eventfd was written.
    woken: u64,
    clients: Vec<Client>,
    workload: Workload,
    running: Vec<Running>,
    /// Requests of Python commands under way: worker and number.
    executing: Vec<(usize, u64)>,
    executions: u64,
    /// Python commands execute nothing more.
    is_ending: bool,
    time: u64,
    asked: usize,
    pub history: Vec<Happened>,
}

impl World {
    pub fn new(seed: u64, plan: Plan) -> Self {
        NOW_MS.set(START_MS);
        let mut random = Chance::new(seed);
        let shape = NodeShape {
            shards: plan.shards,
            arena_bytes: ARENA_BYTES,
            ring_bytes: 1 << (13 + random.below(4)),
            databases: 2,
            hash_seed: seed,
        };
        let control = Control::open(Control::create(&shape).unwrap(), shape).unwrap();
        let arenas: Vec<_> = (0..shape.shards)
            .map(|_| Segment::create("simulation", ARENA_BYTES).unwrap())
            .collect();
        let workload = Workload::new(&mut random);
        let mut world = Self {
            plan,
            random,
            shape,
            control,
            arenas,
            engines: Vec::new(),
            logs: Logs::default(),
            woken: 0,
            clients: Vec::new(),
            workload,
            running: Vec::new(),
            executing: Vec::new(),
            executions: 0,
            is_ending: false,
            time: 0,
            asked: 0,
            history: Vec::new(),
        };
        world.engines = (0..plan.shards)
            .map(|me| Some(world.new_engine(me)))
            .collect();
        for _ in 0..plan.clients {
            let client = world.new_client();
            world.clients.push(client);
        }
        world
    }

    fn new_engine(&mut self, me: usize) -> Engine {
        let memory = self.plan.memory.unwrap_or(1 << 40).to_string();
        let options = [
            ("maxclients", "1000"),
            ("proto-max-bulk-len", "100000000"),
            ("client-query-buffer-limit", "100000000"),
            ("slowlog-log-slower-than", "-1"),
            ("stream-uploads-max", "100"),
            ("stream-upload-bytes-max", "10000000"),
            ("stream-upload-timeout", "60"),
            ("maxmemory-policy", "noeviction"),
            ("maxmemory", &memory),
        ];
        let mut engine = engine(me, &self.shape, &self.control, &self.arenas, &options);
        let text = |text: &str| text.to_owned();
        let command = NewCommand {
            name: text("coroutine"),
            arity: Arity::AtLeast(2),
            flags: Flags::WRITE,
            keys: Keys::ALL,
            group: Group::Server,
            run: Run::Python,
            summary: text("Executes requests, and ends some time later."),
            since: text("1.0.0"),
            complexity: text("O(1)"),
            syntax: text("key [key ...]"),
            tips: Vec::new(),
            key_uses: Vec::new(),
        };
        engine.register(command).unwrap();
        if self.plan.logging {
            self.logs.begin(me, &mut engine);
        }
        engine
    }

    fn new_client(&mut self) -> Client {
        let worker = self.random.below(self.plan.shards);
        let engine = self.engines[worker].as_mut();
        let at = engine
            .expect("all workers are there")
            .open(&peer())
            .unwrap();
        let resp3 = self.random.percent(50);
        let mut client = Client {
            worker,
            at,
            resp3,
            syncs: self.plan.logging && self.random.percent(60),
            connected: true,
            input_ended: false,
            unsent: VecDeque::new(),
            sent: 0,
            ends: VecDeque::new(),
            awaited: VecDeque::new(),
            depth: 1 + self.random.below(8),
            received: Vec::new(),
            deaf: false,
            stopped: false,
            left_to_ask: self.plan.operations / self.plan.clients,
            asked_farewell: false,
        };
        if resp3 {
            self.introduce(&mut client, &[b"HELLO", b"3"]);
        }
        if client.syncs {
            self.introduce(&mut client, &[b"CLIENT", b"ACK", b"SYNC"]);
        }
        client
    }

    /// The first requests of a client that has no number yet.
    fn introduce(&mut self, client: &mut Client, request: &[&[u8]]) {
        let engine = self.engines[client.worker].as_mut().unwrap();
        engine.receive(client.at, &encoded(request));
        self.after(client.worker);
        self.greet(client);
        assert_eq!(reply_end(&client.received, 0), Some(client.received.len()));
        client.received.clear();
    }

    /// Lets a random thing happen.
    pub fn step(&mut self) {
        self.time += 1;
        let client = self.random.below(self.clients.len());
        let worker = self.random.below(self.plan.shards);
        match self.random.below(100) {
            0..=39 => self.client_sends(client),
            40..=59 => self.poll(worker),
            60..=79 => self.end_round(worker),
            80..=85 => self.take_step(worker),
            86..=89 => self.complete_one(),
            90 | 91 => self.tick(worker, 40),
            92 | 93 => self.clients[client].deaf ^= true,
            94 if self.random.percent(20) => self.pause(worker),
            95 if self.plan.leaving && self.random.percent(30) => self.leave(client),
            96 if self.plan.killing && self.random.percent(20) => self.kill(worker),
            97 => self.succeed(worker),
            99 => self.flush(worker, false),
            98 if self.waits_for_others(client) && self.random.percent(10) => self.leave(client),
            _ => {}
        }
    }

    /// True when every client has asked for all that it will, and got rid of it.
    pub fn is_asked(&self) -> bool {
        let mut clients = self.clients.iter();
        clients.all(|c| !c.connected || (c.left_to_ask == 0 && c.unsent.is_empty()))
    }

    /// True while a client waits for what only another client can do.
    fn waits_for_others(&self, number: usize) -> bool {
        let client = &self.clients[number];
        let next = client.awaited.front();
        client.connected && next.is_some_and(|(at, _)| self.history[*at].operation.may_wait())
    }

    /// Panics where a client waits for the value of a key that has one.
    fn check_wait(&self, number: usize) {
        let (at, _) = self.clients[number].awaited[0];
        if self.history[at].operation.commands()[0][0] == b"XREAD" {
            // A stream that XGROUP has made is there and has no entry.
            return;
        }
        for key in self.history[at].operation.waits_for() {
            let owner = self.shape.shard_of_slot(key_slot(key));
            let found = self.engines[owner].as_ref();
            let found = found.and_then(|engine| engine.entry(0, key, |_, _| ()));
            assert!(
                found.is_none() || self.history[at].invoked.is_none(),
                "client {number} was not told that {key:?} has a value"
            );
        }
    }

    fn client_sends(&mut self, number: usize) {
        self.ask_more(number);
        let client = &mut self.clients[number];
        let is_open = client.connected && !client.input_ended && !client.stopped;
        if !is_open || client.unsent.is_empty() {
            return;
        }
        let all = client.unsent.len();
        let at_most = [1, 7, 300, 5000, 70_000, usize::MAX][self.random.below(6)].min(all);
        let count = 1 + self.random.below(at_most);
        let offered = self.random.percent(50);
        let worker = client.worker;
        let Some(engine) = self.engines[worker].as_mut() else {
            return;
        };
        let room = offered.then(|| engine.input_room(client.at, count as u64));
        let mut bytes: Vec<u8> = client.unsent.drain(..count).collect();
        match room.flatten() {
            Some(Room::Pages(start, len)) => {
                for back in bytes.drain(len.min(count)..).rev() {
                    client.unsent.push_front(back);
                }
                let offset = start as usize - engine.shard.lent(0, 1).as_ptr() as usize;
                let written = rustix::io::pwrite(engine.shard.file(), &bytes, offset as u64);
                assert_eq!(written, Ok(bytes.len()));
                engine.received_into_pages(client.at, bytes.len());
            }
            Some(Room::Input(input)) => {
                input.extend_from_slice(&bytes);
                engine.received_into_input(client.at, bytes.len());
            }
            None => engine.receive(client.at, &bytes),
        }
        client.sent += bytes.len();
        while let Some((end, operation)) = client.ends.front().copied()
            && end <= client.sent
        {
            client.ends.pop_front();
            self.history[operation].invoked = Some(self.time);
        }
        self.after(worker);
    }

    fn ask_more(&mut self, number: usize) {
        let client = &mut self.clients[number];
        if client.left_to_ask == 0 || client.awaited.len() >= client.depth || !client.connected {
            return;
        }
        client.left_to_ask -= 1;
        self.asked += 1;
        if self.plan.modelled {
            let operation = self.workload.operation(&mut self.random);
            self.ask(number, operation);
        } else if let Some(engine) = &self.engines[client.worker] {
            let command = match self.random.below(8) {
                0 => self.workload.coroutine(&mut self.random),
                _ => self.workload.anything(&mut self.random, engine.table()),
            };
            let words: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
            client.send(&encoded(&words));
        }
    }

    fn ask(&mut self, number: usize, operation: Operation) {
        let client = &mut self.clients[number];
        let requests = operation.requests();
        let mut has_script = false;
        for request in &requests {
            let script = self.workload.in_script(&mut self.random, request);
            has_script |= script.is_some();
            let request = script.as_ref().unwrap_or(request);
            let words: Vec<&[u8]> = request.iter().map(Vec::as_slice).collect();
            client.send(&encoded(&words));
        }
        let at = self.history.len();
        client.ends.push_back((client.total(), at));
        client.awaited.push_back((at, requests.len()));
        let reads: [&[u8]; 5] = [b"GET", b"MGET", b"EXISTS", b"STRLEN", b"PING"];
        let mut commands = operation.commands().iter();
        let reads_only = commands.all(|command| reads.contains(&command[0].as_slice()));
        self.history.push(Happened {
            client: number,
            resp3: client.resp3,
            reads_only: reads_only && !has_script && matches!(operation, Operation::One(_)),
            operation,
            invoked: None,
            replied: None,
            replies: Vec::new(),
        });
    }

    /// Looks after what the engine wants done, as after every call of it. Whoever is woken runs later.
    fn after(&mut self, worker: usize) {
        let Some(engine) = self.engines[worker].as_mut() else {
            return;
        };
        self.woken |= engine.take_wakes();
        for event in engine.take_events() {
            match event {
                Event::Reading { session, on } => {
                    let mut clients = self.clients.iter_mut();
                    if let Some(client) = clients.find(|c| c.worker == worker && c.at == session) {
                        client.stopped = !on;
                    }
                }
                Event::Command {
                    session,
                    slot,
                    command,
                    args,
                    transaction,
                } => self.running.push(Running {
                    worker,
                    session,
                    slot,
                    command,
                    args,
                    transaction,
                }),
                Event::Executed { execution, reply } => {
                    assert_eq!(reply_end(&reply, 0), Some(reply.len()));
                    let known = self
                        .executing
                        .iter()
                        .position(|one| *one == (worker, execution));
                    self.executing
                        .swap_remove(known.expect("an answer comes once"));
                }
                // The end of a client is told here whether or not it is read from.
                Event::LookForEnd { .. } | Event::Logged { .. } => {}
                Event::Called { .. } | Event::CallAnswered { .. } => {
                    unreachable!("no command of the simulation calls Python")
                }
            }
        }
    }

    /// A Python command executes a request, and need not wait for its reply.
    fn execute_for(&mut self, at: usize) {
        let running = &self.running[at];
        let worker = running.worker;
        let Some(engine) = self.engines[worker].as_mut() else {
            return;
        };
        let request = self.workload.anything(&mut self.random, engine.table());
        let by = Executor {
            command: running.command,
            transaction: running.transaction,
            session: SessionRef {
                index: usize::MAX,
                client: 0,
            },
            user: None,
            db: 0,
        };
        self.executions += 1;
        self.executing.push((worker, self.executions));
        let words: ArgsBuffer = request.iter().map(Vec::as_slice).collect();
        engine.execute_for(self.executions, &by, &words.as_args());
        self.after(worker);
    }

    fn complete_one(&mut self) {
        if self.running.is_empty() {
            return;
        }
        let at = self.random.below(self.running.len());
        if !self.is_ending && self.random.percent(50) {
            self.execute_for(at);
            return;
        }
        let running = self.running.swap_remove(at);
        let Some(engine) = self.engines[running.worker].as_mut() else {
            return;
        };
        let ended = Ended {
            session: running.session,
            slot: running.slot,
            transaction: running.transaction,
            command: running.command,
            args: &running.args.as_args(),
            nanoseconds: 0,
        };
        engine.complete(&ended, b"+done\r\n".to_vec());
        self.after(running.worker);
    }

    fn poll(&mut self, worker: usize) {
        if self.woken & 1 << worker == 0 {
            return;
        }
        if let Some(engine) = self.engines[worker].as_mut() {
            self.woken &= !(1 << worker);
            engine.poll();
            self.after(worker);
        }
    }

    /// The disk of a worker has done something.
    fn flush(&mut self, worker: usize, all: bool) {
        let log = self.logs.of(worker);
        let is_news = log.is_some_and(|log| log.flush(&mut self.random, all));
        if let (true, Some(engine)) = (is_news, self.engines[worker].as_mut()) {
            engine.poll();
            self.after(worker);
        }
    }

    fn take_step(&mut self, worker: usize) {
        if let Some(engine) = self.engines[worker].as_mut() {
            engine.step();
            self.after(worker);
        }
    }

    fn tick(&mut self, worker: usize, ms: u64) {
        NOW_MS.set(NOW_MS.get() + ms);
        if let Some(engine) = self.engines[worker].as_mut() {
            engine.tick();
            self.after(worker);
        }
    }

    fn pause(&mut self, worker: usize) {
        let writes_only = self.random.percent(50);
        if let Some(engine) = self.engines[worker].as_mut() {
            engine.pause(NOW_MS.get() + 50, writes_only);
        }
    }

    /// Sends what is there for the clients of a worker.
    fn end_round(&mut self, worker: usize) {
        let mut ready = Vec::new();
        if let Some(engine) = self.engines[worker].as_mut() {
            engine.take_ready(&mut ready);
        }
        self.after(worker);
        for at in ready {
            let mut clients = self.clients.iter();
            let number = clients.position(|c| c.worker == worker && c.at == at);
            if let Some(number) = number {
                self.send_to(number);
            }
        }
        for number in 0..self.clients.len() {
            if self.clients[number].worker == worker && !self.clients[number].deaf {
                self.send_to(number);
            }
        }
    }

    fn send_to(&mut self, number: usize) {
        let client = &mut self.clients[number];
        let (worker, at) = (client.worker, client.at);
        if !client.connected {
            return;
        }
        let Some(engine) = self.engines[worker].as_mut() else {
            return;
        };
        while !client.deaf {
            let at_most = [10, 3000, 100_000][self.random.below(3)];
            let bytes = engine.unsent_copy(at, at_most);
            if bytes.is_empty() {
                break;
            }
            client.received.extend(&bytes);
            engine.sent(at, bytes.len(), true);
        }
        let is_over = engine.is_dropped(at)
            || (engine.is_closing(at) && engine.unsent_copy(at, 1).is_empty());
        self.after(worker);
        self.take_replies(number);
        if is_over {
            self.leave(number);
        }
    }

    /// Sends a client that has no number yet what is there for it.
    fn greet(&mut self, client: &mut Client) {
        let engine = self.engines[client.worker].as_mut().unwrap();
        let mut ready = Vec::new();
        engine.take_ready(&mut ready);
        let bytes = engine.unsent_copy(client.at, usize::MAX);
        engine.sent(client.at, bytes.len(), true);
        client.received.extend(bytes);
    }

    fn take_replies(&mut self, number: usize) {
        let client = &mut self.clients[number];
        let mut start = 0;
        while let Some((at, missing)) = client.awaited.front_mut()
            && let Some(end) = reply_end(&client.received, start)
        {
            let happened = &mut self.history[*at];
            happened.replies.extend(&client.received[start..end]);
            start = end;
            *missing -= 1;
            if *missing == 0 {
                happened.replied = Some(self.time);
                if client.syncs {
                    assert!(
                        !self.logs.risk_of(&happened.operation),
                        "client {number} was answered too early: {:?}",
                        happened.operation
                    );
                }
                client.awaited.pop_front();
            }
        }
        client.received.drain(..start);
        if self.plan.modelled {
            assert!(
                !client.awaited.is_empty() || client.received.is_empty(),
                "client {number} got what it had not asked for: {:?}",
                String::from_utf8_lossy(&client.received[..client.received.len().min(200)])
            );
        }
    }

    /// The connection of a client ends: at once, or after its last byte has been answered.
    fn leave(&mut self, number: usize) {
        let half = self.random.percent(30) && !self.clients[number].asked_farewell;
        let client = &mut self.clients[number];
        if !client.connected {
            return;
        }
        if let Some(engine) = self.engines[client.worker].as_mut() {
            if half && !client.input_ended && client.awaited.is_empty() {
                client.input_ended = true;
                engine.end_input(client.at);
            } else {
                client.connected = false;
                engine.close(client.at);
            }
        }
        client.left_to_ask = 0;
        client.unsent.clear();
        let worker = client.worker;
        self.after(worker);
    }

    fn kill(&mut self, worker: usize) {
        if self.engines[worker].take().is_none() {
            return;
        }
        for client in &mut self.clients {
            if client.worker == worker {
                client.connected = false;
                client.left_to_ask = 0;
                client.unsent.clear();
            }
        }
        self.running.retain(|running| running.worker != worker);
        self.executing.retain(|(of, _)| *of != worker);
        let _ = self.control.next_incarnation(worker);
        self.woken |= u64::MAX;
    }

    /// A killed worker gets its successor.
    fn succeed(&mut self, worker: usize) {
        if self.engines[worker].is_none() {
            self.engines[worker] = Some(self.new_engine(worker));
            self.woken |= u64::MAX;
        }
    }

    /// Lets everything under way come to its end.
    pub fn finish(&mut self) {
        for worker in 0..self.plan.shards {
            self.succeed(worker);
        }
        for client in &mut self.clients {
            client.deaf = false;
        }
        for round in 0..ROUNDS_TO_END {
            self.one_of_each();
            if round % ROUNDS_TO_SETTLE == ROUNDS_TO_SETTLE - 1 {
                for number in 0..self.clients.len() {
                    if self.waits_for_others(number) {
                        self.check_wait(number);
                        self.leave(number);
                    }
                }
            }
            let is_answered = |client: &Client| !client.connected || client.awaited.is_empty();
            if self.is_asked() && self.clients.iter().all(is_answered) {
                break;
            }
        }
        if !self.plan.modelled {
            self.say_farewell();
        }
        for client in &self.clients {
            assert!(
                !client.connected || client.input_ended || client.awaited.is_empty(),
                "a client of worker {} waits for ever: {:?}",
                client.worker,
                self.history[client.awaited[0].0].operation
            );
        }
    }

    fn one_of_each(&mut self) {
        for number in 0..self.clients.len() {
            self.time += 1;
            self.client_sends(number);
        }
        for worker in 0..self.plan.shards {
            self.time += 1;
            self.poll(worker);
            self.flush(worker, true);
            self.take_step(worker);
            self.complete_one();
            self.end_round(worker);
            self.tick(worker, 5);
        }
    }

    fn say_farewell(&mut self) {
        let words: [&[&[u8]]; 4] = [
            &[b"RESET"],
            &[b"CLIENT", b"REPLY", b"ON"],
            &[b"PING", FAREWELL],
            &[b"PING", FAREWELL],
        ];
        for client in &mut self.clients {
            client.asked_farewell = true;
            if client.connected && !client.input_ended {
                client.send(&words.map(encoded).concat());
            }
        }
        let is_answered = |client: &Client| {
            !client.connected
                || client.input_ended
                || memchr::memmem::find(&client.received, FAREWELL).is_some()
        };
        for _ in 0..ROUNDS_TO_END {
            self.one_of_each();
            if self.clients.iter().all(is_answered) {
                return;
            }
        }
        let hung = self.clients.iter().position(|client| !is_answered(client));
        panic!("client {hung:?} is not served any more");
    }

    /// Ends all connections; nothing may be left of them.
    pub fn check_nothing_is_left(&mut self) {
        for number in 0..self.clients.len() {
            self.clients[number].asked_farewell = true;
            self.leave(number);
        }
        self.is_ending = true;
        for _ in 0..ROUNDS_TO_END {
            // Uploads that nobody goes on with end by their time, also those that began only now.
            NOW_MS.set(NOW_MS.get() + 10_000);
            self.one_of_each();
            let mut engines = self.engines.iter().flatten();
            if self.running.is_empty() && engines.all(|engine| engine.left_over().is_none()) {
                break;
            }
        }
        assert!(
            self.executing.is_empty(),
            "requests of Python commands without an answer"
        );
        for (worker, engine) in self.engines.iter().flatten().enumerate() {
            assert_eq!(engine.left_over(), None, "of worker {worker}");
            engine.shard.check_invariants();
        }
    }
}
