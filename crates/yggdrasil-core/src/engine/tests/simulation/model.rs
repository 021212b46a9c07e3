//! A node as its clients believe it to be: one map, changed by one request at a time.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use super::elements::Elements;

/// A request as its words.
pub(super) type Command = Vec<Vec<u8>>;

/// A request, or what is executed as one.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    One(Command),
    /// MULTI, these, EXEC.
    Multi(Vec<Command>),
}

impl Operation {
    /// The requests that a client sends for it.
    pub fn requests(&self) -> Vec<Command> {
        match self {
            Self::One(command) => vec![command.clone()],
            Self::Multi(queue) => {
                let word = |word: &str| vec![word.as_bytes().to_vec()];
                let mut all = vec![word("MULTI")];
                all.extend(queue.iter().cloned());
                all.push(word("EXEC"));
                all
            }
        }
    }

    /// True for what may wait for others for ever.
    pub fn may_wait(&self) -> bool {
        match self {
            Self::One(command) => match command[0].as_slice() {
                b"AWAIT" => true,
                b"TAKE" | b"HANDOVER" | b"BLPOP" | b"BRPOP" | b"BLMOVE" | b"BZPOPMIN"
                | b"BZPOPMAX" => command.last().is_some_and(|time| time == b"0"),
                b"XREAD" => command[2] == b"0",
                _ => false,
            },
            Self::Multi(_) => false,
        }
    }

    /// The keys whose values it waits for.
    pub fn waits_for(&self) -> &[Vec<u8>] {
        let command = &self.commands()[0];
        match command[0].as_slice() {
            b"TAKE" | b"BLPOP" | b"BRPOP" | b"BZPOPMIN" | b"BZPOPMAX" => {
                &command[1..command.len() - 1]
            }
            b"XREAD" => &command[4..5],
            _ => &command[1..2],
        }
    }

    pub fn commands(&self) -> &[Command] {
        match self {
            Self::One(command) => std::slice::from_ref(command),
            Self::Multi(queue) => queue,
        }
    }
}

#[derive(Clone, Default)]
pub(super) struct Model {
    elements: Elements,
    keys: BTreeMap<Rc<[u8]>, Rc<[u8]>>,
    /// Clients and the keys that they watch.
    watches: Vec<(usize, Rc<[u8]>)>,
    /// Clients of which a watched key was changed.
    touched: Vec<usize>,
}

/// Replies of the model, in either protocol.
pub(super) struct Replies {
    resp3: bool,
    /// Nothing waits: these are of a transaction.
    pub inside: bool,
}

impl Replies {
    fn null(&self) -> Vec<u8> {
        if self.resp3 {
            b"_\r\n"
        } else {
            &b"$-1\r\n"[..]
        }
        .to_vec()
    }

    pub fn bulk(&self, value: Option<&[u8]>) -> Vec<u8> {
        let Some(value) = value else {
            return self.null();
        };
        [format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat()
    }

    /// A score, which is a whole number.
    pub fn double(&self, number: i64) -> Vec<u8> {
        if self.resp3 {
            format!(",{number}\r\n").into_bytes()
        } else {
            self.bulk(Some(number.to_string().as_bytes()))
        }
    }

    /// What one stream gives.
    pub fn streams(&self, key: &[u8], entries: &[Vec<u8>]) -> Vec<u8> {
        let parts = [self.bulk(Some(key)), self.array(entries)];
        if self.resp3 {
            [&b"%1\r\n"[..], &parts.concat()].concat()
        } else {
            self.array(&[self.array(&parts)])
        }
    }

    pub fn null_array(&self) -> Vec<u8> {
        if self.resp3 {
            b"_\r\n"
        } else {
            &b"*-1\r\n"[..]
        }
        .to_vec()
    }

    pub fn array(&self, parts: &[Vec<u8>]) -> Vec<u8> {
        [format!("*{}\r\n", parts.len()).into_bytes(), parts.concat()].concat()
    }
}

pub(super) fn int(number: impl TryInto<i64>) -> Vec<u8> {
    format!(":{}\r\n", number.try_into().unwrap_or_default()).into_bytes()
}

pub(super) const OK: &[u8] = b"+OK\r\n";
pub(super) const NO_KEY: &[u8] = b"-ERR no such key\r\n";
const NOT_AN_INTEGER: &[u8] = b"-ERR value is not an integer or out of range\r\n";

impl Model {
    /// Tells states apart.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for (key, value) in &self.keys {
            key.hash(&mut hasher);
            // Values are unique by their beginning and their length.
            value.len().hash(&mut hasher);
            value[..value.len().min(64)].hash(&mut hasher);
        }
        self.elements.hash(&mut hasher);
        self.watches.hash(&mut hasher);
        self.touched.hash(&mut hasher);
        hasher.finish()
    }

    /// Executes what a client asked for; the replies to all its requests.
    pub fn apply(&mut self, client: usize, operation: &Operation, resp3: bool) -> Vec<u8> {
        match operation {
            // It has not come to its end.
            Operation::One(_) if operation.may_wait() && !self.has_any(operation.waits_for()) => {
                Vec::new()
            }
            Operation::One(command) => {
                let replies = Replies {
                    resp3,
                    inside: false,
                };
                self.run(client, command, &replies)
            }
            Operation::Multi(queue) => {
                let mut replies = OK.to_vec();
                replies.extend(b"+QUEUED\r\n".repeat(queue.len()));
                if self.touched.contains(&client) {
                    self.unwatch(client);
                    replies.extend(if resp3 { b"_\r\n" } else { &b"*-1\r\n"[..] });
                    return replies;
                }
                self.unwatch(client);
                let inner = Replies {
                    resp3,
                    inside: true,
                };
                let replied: Vec<_> = queue
                    .iter()
                    .map(|command| self.run(client, command, &inner))
                    .collect();
                replies.extend(inner.array(&replied));
                replies
            }
        }
    }

    fn unwatch(&mut self, client: usize) {
        self.watches.retain(|(watcher, _)| *watcher != client);
        self.touched.retain(|watcher| *watcher != client);
    }

    fn touch(&mut self, key: &[u8]) {
        for (client, watched) in &self.watches {
            if **watched == *key && !self.touched.contains(client) {
                self.touched.push(*client);
            }
        }
        self.touched.sort_unstable();
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.keys.insert(key.into(), value.into());
        self.touch(key);
    }

    fn take(&mut self, key: &[u8]) -> Option<Rc<[u8]>> {
        let taken = self.keys.remove(key);
        if taken.is_some() {
            self.touch(key);
        }
        taken
    }

    fn get(&self, key: &[u8]) -> Option<Rc<[u8]>> {
        self.keys.get(key).cloned()
    }

    fn has_any(&self, keys: &[Vec<u8>]) -> bool {
        keys.iter()
            .any(|key| self.get(key).is_some() || self.elements.has(key))
    }

    fn run(&mut self, client: usize, command: &Command, replies: &Replies) -> Vec<u8> {
        let name = std::str::from_utf8(&command[0]).expect("names are ASCII");
        let arg = |at: usize| command[at].as_slice();
        match name {
            "PING" => replies.bulk(Some(arg(1))),
            "GET" => replies.bulk(self.get(arg(1)).as_deref()),
            // Inside of a transaction; elsewhere it waits until there is a value.
            "AWAIT" => replies.bulk(self.get(arg(1)).as_deref()),
            "STRLEN" => int(self.get(arg(1)).map_or(0, |value| value.len())),
            "EXISTS" => int(command[1..]
                .iter()
                .filter(|key| self.get(key).is_some())
                .count()),
            "MGET" => {
                let values = command[1..].iter().map(|key| self.get(key));
                replies.array(
                    &values
                        .map(|value| replies.bulk(value.as_deref()))
                        .collect::<Vec<_>>(),
                )
            }
            "WATCH" => {
                let watch = |key: &Vec<u8>| (client, key.as_slice().into());
                self.watches.extend(command[1..].iter().map(watch));
                self.watches.sort();
                self.watches.dedup();
                OK.to_vec()
            }
            "FLUSHALL" => {
                for key in std::mem::take(&mut self.keys).into_keys() {
                    self.touch(&key);
                }
                for key in self.elements.clear() {
                    self.touch(&key);
                }
                OK.to_vec()
            }
            _ => match self.elements.run(command, replies) {
                Some((reply, changed)) => {
                    changed.iter().for_each(|key| self.touch(key));
                    reply
                }
                None => self.change(name, command, replies),
            },
        }
    }

    fn change(&mut self, name: &str, command: &Command, replies: &Replies) -> Vec<u8> {
        let arg = |at: usize| command[at].as_slice();
        let (key, before) = (arg(1), self.get(arg(1)));
        match name {
            "SET" => self.set(command, before, replies),
            "GETSET" => {
                self.put(key, arg(2));
                replies.bulk(before.as_deref())
            }
            "GETDEL" => replies.bulk(self.take(key).as_deref()),
            "APPEND" => {
                let value = [before.as_deref().unwrap_or_default(), arg(2)].concat();
                self.put(key, &value);
                int(value.len())
            }
            "SETRANGE" => {
                let mut value = before.map_or(Vec::new(), |value| value.to_vec());
                let end = 3 + arg(3).len();
                value.resize(value.len().max(end), 0);
                value[3..end].copy_from_slice(arg(3));
                self.put(key, &value);
                int(value.len())
            }
            "INCR" => {
                let text = before.as_deref().unwrap_or(b"0");
                let number = std::str::from_utf8(text)
                    .ok()
                    .and_then(|text| text.parse::<i64>().ok());
                let Some(number) = number else {
                    return NOT_AN_INTEGER.to_vec();
                };
                self.put(key, (number + 1).to_string().as_bytes());
                int(number + 1)
            }
            "DEL" | "UNLINK" => int(command[1..]
                .iter()
                .filter(|key| self.take(key).is_some())
                .count()),
            "MSET" => {
                command[1..]
                    .chunks(2)
                    .for_each(|pair| self.put(&pair[0], &pair[1]));
                OK.to_vec()
            }
            "MSETNX" => {
                let exists = command[1..]
                    .chunks(2)
                    .any(|pair| self.get(&pair[0]).is_some());
                if !exists {
                    command[1..]
                        .chunks(2)
                        .for_each(|pair| self.put(&pair[0], &pair[1]));
                }
                int(u8::from(!exists))
            }
            "TAKE" | "HANDOVER" => self.hand_out(name, command, replies),
            "RENAME" | "RENAMENX" | "COPY" => self.relocate(name, key, arg(2), before),
            other => unreachable!("{other} is not modelled"),
        }
    }

    fn hand_out(&mut self, name: &str, command: &Command, replies: &Replies) -> Vec<u8> {
        let mut keys = command[1..command.len() - 1].iter();
        let value = if name == "TAKE" {
            keys.find_map(|key| self.take(key))
        } else {
            let value = self.get(&command[1]);
            if let (Some(value), true) = (&value, command[1] != command[2]) {
                self.take(&command[1]);
                self.put(&command[2], value);
            }
            value
        };
        value.map_or_else(|| replies.null_array(), |value| replies.bulk(Some(&value)))
    }

    fn set(&mut self, command: &Command, before: Option<Rc<[u8]>>, replies: &Replies) -> Vec<u8> {
        let condition = command.get(3).map(|word| word.as_slice());
        let refused = match condition {
            Some(b"NX") => before.is_some(),
            Some(b"XX") => before.is_none(),
            _ => false,
        };
        if !refused {
            self.put(&command[1], &command[2]);
        }
        match condition {
            Some(b"GET") => replies.bulk(before.as_deref()),
            _ if refused => replies.null(),
            _ => OK.to_vec(),
        }
    }

    fn relocate(
        &mut self,
        name: &str,
        key: &[u8],
        other: &[u8],
        value: Option<Rc<[u8]>>,
    ) -> Vec<u8> {
        let occupied = self.get(other).is_some();
        match (name, value) {
            ("COPY", None) => int(0),
            (_, None) => NO_KEY.to_vec(),
            ("COPY" | "RENAMENX", Some(_)) if occupied => int(0),
            ("COPY", Some(value)) => {
                self.put(other, &value);
                int(1)
            }
            (_, Some(value)) => {
                if key != other {
                    self.take(key);
                    self.put(other, &value);
                }
                if name == "RENAME" {
                    OK.to_vec()
                } else {
                    int(1)
                }
            }
        }
    }
}
