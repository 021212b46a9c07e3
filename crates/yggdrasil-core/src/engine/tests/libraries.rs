//! Libraries of functions: all workers know the same ones, whatever fails and whoever dies.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use super::{ClientId, Node};
use crate::commands::libraries::dump;
use crate::random::Random;
use crate::script::LibraryStore;

pub(super) const OPTIONS: [(&str, &str); 7] = [
    ("maxclients", "1000"),
    ("proto-max-bulk-len", "1000000"),
    ("client-query-buffer-limit", "1000000"),
    ("slowlog-log-slower-than", "-1"),
    ("maxmemory", "1000000000"),
    ("maxmemory-policy", "noeviction"),
    ("busy-reply-threshold", "1000"),
];
const SHARDS: usize = 3;

/// A fault that the next change meets.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    #[default]
    Nothing,
    IsNotReplaced,
    IsNotDurable,
    DiesBefore,
    DiesAfter,
}

/// The content of a store.
#[derive(Default)]
struct Kept {
    payload: Option<Vec<u8>>,
    fault: Fault,
    is_unreadable: bool,
}

/// A place for libraries that all engines of a node share.
#[derive(Clone, Default)]
pub(super) struct Store(Rc<RefCell<Kept>>);

/// The process of a worker ends.
struct Death;

impl LibraryStore for Store {
    fn read(&self) -> Result<Option<Vec<u8>>, String> {
        let kept = self.0.borrow();
        match kept.is_unreadable {
            true => Err("it is torn".into()),
            false => Ok(kept.payload.clone()),
        }
    }

    fn replace(&self, payload: &[u8]) -> Result<(), String> {
        let fault = self.0.borrow().fault;
        match fault {
            Fault::DiesBefore => resume_unwind(Box::new(Death)),
            Fault::IsNotReplaced => return Err("it is full".into()),
            _ => self.0.borrow_mut().payload = Some(payload.to_vec()),
        }
        if fault == Fault::DiesAfter {
            resume_unwind(Box::new(Death));
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), String> {
        match self.0.borrow().fault {
            Fault::IsNotDurable => Err("it is broken".into()),
            _ => Ok(()),
        }
    }
}

fn node() -> (Node, Vec<ClientId>) {
    let mut node = Node::with_shards(SHARDS, &OPTIONS);
    let clients = (0..SHARDS).map(|worker| node.connect(worker)).collect();
    (node, clients)
}

/// The text of a library with one function, which returns a number.
fn code(name: &str, version: u64) -> Vec<u8> {
    let code = format!(
        "#!lua name={name}\nredis.register_function('{name}', function() return {version} end)"
    );
    code.into_bytes()
}

impl Node {
    fn load(&mut self, client: ClientId, code: &[u8]) -> Vec<u8> {
        self.ask(client, &[b"FUNCTION", b"LOAD", b"REPLACE", code])
    }

    fn call(&mut self, client: ClientId, name: &str) -> String {
        let reply = self.ask(client, &[b"FCALL", name.as_bytes(), b"0"]);
        String::from_utf8(reply).unwrap()
    }

    fn meet_next(&self, fault: Fault) {
        self.libraries.0.borrow_mut().fault = fault;
    }

    /// The request as its worker dies while it executes that.
    fn die_of(&mut self, client: ClientId, request: &[&[u8]]) {
        let died = catch_unwind(AssertUnwindSafe(|| self.ask(client, request)));
        assert!(died.is_err_and(|payload| payload.is::<Death>()));
        self.meet_next(Fault::Nothing);
    }

    /// The others notice the death of a worker, which gets a successor. Its clients are gone.
    pub(super) fn succeed(&mut self, worker: usize) {
        drop(self.engines.remove(worker));
        let _ = self.control.next_incarnation(worker);
        assert!(!self.control.libraries(worker).is_changing());
        let successor = self.new_engine(worker, &OPTIONS);
        self.engines.insert(worker, successor);
        for engine in &mut self.engines {
            engine.poll();
        }
        self.settle();
        for client in self.clients.iter_mut().filter(|c| c.worker == worker) {
            client.at = self.engines[worker].open(&super::peer()).unwrap();
            client.received.clear();
        }
    }
}

/// A bulk string.
fn bulk(bytes: &[u8]) -> Vec<u8> {
    let mut reply = format!("${}\r\n", bytes.len()).into_bytes();
    reply.extend_from_slice(bytes);
    reply.extend_from_slice(b"\r\n");
    reply
}

#[test]
fn a_change_is_known_to_all_workers_when_it_is_answered() {
    let (mut node, clients) = node();
    for (worker, client) in clients.iter().enumerate() {
        assert_eq!(
            node.load(*client, &code("one", worker as u64)),
            b"$3\r\none\r\n"
        );
        let found = clients.iter().map(|other| node.call(*other, "one"));
        let expected = format!(":{worker}\r\n");
        assert_eq!(found.collect::<Vec<_>>(), vec![expected; SHARDS]);
    }
}

#[test]
fn a_change_that_is_not_kept_is_not_made() {
    let (mut node, clients) = node();
    node.load(clients[0], &code("one", 1));
    node.meet_next(Fault::IsNotReplaced);
    assert_eq!(
        node.load(clients[1], &code("one", 2)),
        b"-ERR the change is not made, as it cannot be kept: it is full\r\n"
    );
    let found = clients.iter().map(|client| node.call(*client, "one"));
    assert_eq!(found.collect::<Vec<_>>(), vec![":1\r\n"; SHARDS]);
}

#[test]
fn a_change_that_may_not_survive_a_power_cut_is_known_to_all_and_said() {
    let (mut node, clients) = node();
    node.meet_next(Fault::IsNotDurable);
    assert_eq!(
        node.load(clients[1], &code("one", 2)),
        b"-ERR the change is made, but would not survive a power cut: it is broken\r\n"
    );
    let found = clients.iter().map(|client| node.call(*client, "one"));
    assert_eq!(found.collect::<Vec<_>>(), vec![":2\r\n"; SHARDS]);
}

#[test]
fn nobody_is_told_of_libraries_while_it_is_not_known_what_they_are() {
    let (mut node, clients) = node();
    node.load(clients[0], &code("one", 1));
    for (fault, found) in [
        (Fault::DiesBefore, b":1\r\n"),
        (Fault::DiesAfter, b":2\r\n"),
    ] {
        node.meet_next(fault);
        let version = code("one", 2);
        node.die_of(clients[1], &[b"FUNCTION", b"LOAD", b"REPLACE", &version]);
        let (asks, lists) = (node.connect(0), node.connect(2));
        node.put(asks, &super::encoded(&[b"FCALL", b"one", b"0"]));
        node.put(lists, &super::encoded(&[b"FUNCTION", b"DUMP"]));
        for worker in [0, 2, 0, 2] {
            node.deliver(worker);
        }
        assert_eq!(node.replies(asks), b"");
        assert_eq!(node.replies(lists), b"");
        node.succeed(1);
        assert_eq!(node.replies(asks), found);
        let kept = node.libraries.0.borrow().payload.clone().unwrap();
        assert_eq!(node.replies(lists), bulk(&kept));
    }
}

#[test]
fn a_worker_that_cannot_load_what_is_kept_says_so_until_it_can() {
    let (mut node, clients) = node();
    node.load(clients[0], &code("one", 1));
    node.libraries.0.borrow_mut().is_unreadable = true;
    assert_eq!(
        node.call(clients[1], "one"),
        "-ERR the libraries of functions cannot be used: it is torn\r\n"
    );
    assert_eq!(
        node.load(clients[1], &code("one", 2)),
        b"-ERR the libraries of functions cannot be used: it is torn\r\n"
    );
    assert_eq!(node.call(clients[0], "one"), ":1\r\n");
    node.libraries.0.borrow_mut().is_unreadable = false;
    assert_eq!(node.call(clients[1], "one"), ":1\r\n");
}

#[test]
fn workers_look_for_what_has_changed_before_they_are_asked() {
    let (mut node, clients) = node();
    node.load(clients[0], &code("one", 1));
    assert_eq!(node.engines[2].scripts.libraries.count(), 0);
    node.wait(100);
    assert_eq!(node.engines[2].scripts.libraries.count(), 1);
}

#[test]
fn a_library_remembers_what_it_did_when_another_one_changes() {
    let (mut node, clients) = node();
    let counts = "#!lua name=counts\nlocal n = 0\nredis.register_function('count', function() n = n + 1 return n end)";
    node.load(clients[0], counts.as_bytes());
    assert_eq!(node.call(clients[1], "count"), ":1\r\n");
    node.load(clients[0], &code("one", 1));
    assert_eq!(node.call(clients[1], "count"), ":2\r\n");
    node.load(clients[0], format!("{counts} ").as_bytes());
    assert_eq!(node.call(clients[1], "count"), ":1\r\n");
}

#[test]
fn a_step_of_a_transaction_calls_what_one_before_it_has_loaded() {
    let (mut node, clients) = node();
    let version = code("one", 1);
    for (request, reply) in [
        (&[&b"MULTI"[..]][..], &b"+OK\r\n"[..]),
        (&[b"FUNCTION", b"LOAD", &version], b"+QUEUED\r\n"),
        (&[b"FCALL", b"one", b"1", b"{a}"], b"+QUEUED\r\n"),
        (&[b"FUNCTION", b"DELETE", b"one"], b"+QUEUED\r\n"),
        (&[b"FCALL", b"one", b"1", b"{b}"], b"+QUEUED\r\n"),
        (
            &[b"EXEC"],
            b"*4\r\n$3\r\none\r\n:1\r\n+OK\r\n-ERR Function not found\r\n",
        ),
    ] {
        let got = node.ask(clients[2], request);
        assert_eq!(
            String::from_utf8_lossy(&got),
            String::from_utf8_lossy(reply)
        );
    }
}

/// A node, and the libraries that it has to have.
struct Model {
    node: Node,
    clients: Vec<ClientId>,
    libraries: BTreeMap<String, Vec<u8>>,
    random: Random,
}

impl Model {
    fn draw(&mut self, end: u64) -> u64 {
        self.random.draw() % end
    }

    /// A change by some client, which something happens to.
    fn change(&mut self, version: u64) {
        let worker = self.draw(SHARDS as u64) as usize;
        let fault = match self.draw(8) {
            0 => Fault::IsNotReplaced,
            1 => Fault::IsNotDurable,
            2 => Fault::DiesBefore,
            3 => Fault::DiesAfter,
            _ => Fault::Nothing,
        };
        let name = format!("lib{}", self.draw(4));
        let mut after = self.libraries.clone();
        let payload = dump(self.libraries.values().map(Vec::as_slice));
        let code = code(&name, version);
        let request: Vec<&[u8]> = match self.draw(6) {
            0 if after.remove(&name).is_some() => vec![b"FUNCTION", b"DELETE", name.as_bytes()],
            1 => {
                after.clear();
                vec![b"FUNCTION", b"FLUSH"]
            }
            2 => vec![b"FUNCTION", b"RESTORE", &payload, b"REPLACE"],
            _ => {
                after.insert(name.clone(), code.clone());
                vec![b"FUNCTION", b"LOAD", b"REPLACE", &code]
            }
        };
        self.node.meet_next(fault);
        let client = self.clients[worker];
        let is_made = match fault {
            Fault::DiesBefore | Fault::DiesAfter => {
                self.node.die_of(client, &request);
                self.node.succeed(worker);
                fault == Fault::DiesAfter
            }
            _ => {
                let reply = self.node.ask(client, &request);
                assert_eq!(reply[0] == b'-', fault != Fault::Nothing, "{fault:?}");
                // What somebody has left who died is made durable before it is changed.
                fault == Fault::Nothing || reply.starts_with(b"-ERR the change is made")
            }
        };
        self.node.meet_next(Fault::Nothing);
        if is_made {
            self.libraries = after;
        }
    }

    fn check(&mut self, told: &str) {
        let expected = dump(self.libraries.values().map(Vec::as_slice));
        let kept = self.node.libraries.0.borrow().payload.clone();
        assert_eq!(
            kept.unwrap_or_else(|| dump([].into_iter())),
            expected,
            "{told}"
        );
        for client in self.clients.clone() {
            let found = self.node.ask(client, &[b"FUNCTION", b"DUMP"]);
            assert!(found == bulk(&expected), "{told}");
        }
    }
}

#[test]
fn workers_and_what_is_kept_agree_after_every_change() {
    for seed in 0..60 {
        let (node, clients) = node();
        let mut model = Model {
            node,
            clients,
            libraries: BTreeMap::new(),
            random: Random::new(seed),
        };
        for step in 1..=20 {
            model.change(step);
            if model.draw(2) == 0 {
                // Somebody misses changes.
                continue;
            }
            model.check(&format!("seed {seed}, step {step}"));
        }
    }
}
