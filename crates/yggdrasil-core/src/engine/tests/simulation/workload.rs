//! Requests that simulated clients send.

use super::chance::Chance;
use super::elements;
use super::lists;
use super::model::{Command, Operation};
use super::sorted_sets;
use super::streams;
use crate::commands::{Flags, Keys, Registry};

/// Enough for all shards to have some, few enough to meet.
pub(super) const KEYS: [&str; 8] = ["a", "b", "c", "d", "e", "{a}1", "{b}1", "{c}1"];
/// From this length on a value is received where it stays.
const LONG: usize = 64 * 1024;

/// Makes requests, with values that are never used twice.
pub(super) struct Workload {
    values: usize,
    /// In a hundred: how many values are long.
    long_percent: usize,
    /// In a hundred: how many requests are sent as scripts.
    script_percent: usize,
}

fn words(words: &[&[u8]]) -> Command {
    words.iter().map(|word| word.to_vec()).collect()
}

/// A script that has written when it names keys which it has not declared. What it writes beside its request is gone at
/// its end, and was not there at its beginning.
fn begun_again(random: &mut Chance, keys: &[&Vec<u8>], request: &Command) -> Command {
    const BODY: &[u8] = b"if redis.call('rpush', KEYS[1], 'x', 'y') ~= 2 then return redis.error_reply('ERR a ghost') end \
        local reply = redis.pcall(unpack(ARGV)) redis.call('del', KEYS[1]) return reply";
    let ghost = format!("{{{}}}ghost", random.pick(&["a", "b", "c", "d"]));
    let declared = random.below(keys.len() + 1);
    let count = (declared + 1).to_string().into_bytes();
    let mut script = vec![b"EVAL".to_vec(), BODY.to_vec(), count, ghost.into_bytes()];
    script.extend(keys[..declared].iter().copied().cloned());
    script.extend(request.iter().cloned());
    script
}

impl Workload {
    pub fn new(random: &mut Chance) -> Self {
        Self {
            values: 0,
            long_percent: [0, 5, 30, 80][random.below(4)],
            script_percent: [0, 0, 20, 60][random.below(4)],
        }
    }

    fn key<'a>(&self, random: &mut Chance) -> &'a [u8] {
        KEYS[random.below(KEYS.len())].as_bytes()
    }

    fn keys(&self, random: &mut Chance) -> Vec<&'static [u8]> {
        (0..1 + random.below(4)).map(|_| self.key(random)).collect()
    }

    /// A value that no other request has.
    fn value(&mut self, random: &mut Chance) -> Vec<u8> {
        self.values += 1;
        let name = format!("v{}:", self.values).into_bytes();
        let len = match random.below(100) {
            chance if chance < self.long_percent => LONG + random.below(LONG),
            chance if chance < 90 => name.len(),
            _ => 20_000,
        };
        name.iter().copied().cycle().take(len).collect()
    }

    /// A command that the model knows.
    fn modelled(&mut self, random: &mut Chance, inside: bool) -> Command {
        match random.below(100) {
            0..=11 => return elements::command(random),
            12..=21 => {
                let value = self.value(random);
                return lists::command(random, inside, value);
            }
            22..=31 => return sorted_sets::command(random, inside),
            32..=37 => {
                let value = self.value(random);
                return streams::command(random, inside, value);
            }
            _ => {}
        }
        let key = self.key(random);
        match random.below(if inside { 20 } else { 24 }) {
            0..=4 => {
                let mut command = words(&[b"SET", key, &self.value(random)]);
                let condition = random.below(6);
                if condition < 3 {
                    let condition: &[u8] = [&b"NX"[..], b"XX", b"GET"][condition];
                    command.push(condition.to_vec());
                }
                command
            }
            5..=8 => words(&[b"GET", key]),
            9 if random.percent(60) => self.waiting(random, key),
            9 => words(&[random.pick(&[&b"STRLEN"[..], b"GETDEL"]), key]),
            10 => words(&[b"APPEND", key, &self.value(random)]),
            11 => words(&[b"SETRANGE", key, b"3", b"xyz"]),
            12 => words(&[b"GETSET", key, &self.value(random)]),
            13 | 14 => words(&[b"INCR", key]),
            15..=17 => {
                let name: &[u8] = random.pick(&[&b"DEL"[..], b"UNLINK", b"EXISTS", b"MGET"]);
                [vec![name], self.keys(random)]
                    .concat()
                    .iter()
                    .map(|w| w.to_vec())
                    .collect()
            }
            18 | 19 => {
                let name: &[u8] = random.pick(&[&b"RENAME"[..], b"RENAMENX", b"COPY"]);
                let (mut from, to) = (key, self.key(random));
                if from == to && name == b"COPY" {
                    from = if to == b"a" { b"b" } else { b"a" };
                }
                words(&[name, from, to])
            }
            20 if random.percent(30) => words(&[b"FLUSHALL"]),
            _ => {
                let name: &[u8] = if random.percent(80) {
                    b"MSET"
                } else {
                    b"MSETNX"
                };
                let mut command = words(&[name]);
                for key in self.keys(random) {
                    command.push(key.to_vec());
                    command.push(self.value(random));
                }
                command
            }
        }
    }

    /// A command that may wait for others.
    fn waiting(&mut self, random: &mut Chance, key: &[u8]) -> Command {
        let time: &[u8] = random.pick(&[&b"0"[..], b"0", b"0", b"30", b"500"]);
        match random.below(8) {
            0 | 1 => words(&[b"AWAIT", key]),
            2 | 3 => words(&[b"HANDOVER", key, self.key(random), time]),
            _ => words(&[&[&b"TAKE"[..]], &self.keys(random)[..], &[time]].concat()),
        }
    }

    /// The same request by way of a script, now and then: with all keys declared, or with none.
    pub fn in_script(&mut self, random: &mut Chance, request: &Command) -> Option<Command> {
        // What waits, and what a script gives as another type.
        const NEVER: [&[u8]; 19] = [
            b"MULTI",
            b"EXEC",
            b"WATCH",
            b"AWAIT",
            b"HANDOVER",
            b"TAKE",
            b"BLPOP",
            b"BRPOP",
            b"BLMOVE",
            b"BZPOPMIN",
            b"BZPOPMAX",
            b"XREAD",
            b"XREADGROUP",
            b"ZSCORE",
            b"ZINCRBY",
            b"ZPOPMIN",
            b"ZPOPMAX",
            b"ZRANK",
            b"XGROUP",
        ];
        if !random.percent(self.script_percent) || NEVER.contains(&request[0].as_slice()) {
            return None;
        }
        let is_key = |word: &&Vec<u8>| {
            KEYS.iter().any(|key| key.as_bytes() == word.as_slice()) || elements::is_key(word)
        };
        let keys: Vec<&Vec<u8>> = request[1..].iter().filter(is_key).collect();
        if random.percent(40) {
            return Some(begun_again(random, &keys, request));
        }
        let declared = if random.percent(30) { 0 } else { keys.len() };
        let body: &[u8] = match random.below(8) {
            0 => b"for i = 1, 3e3 do end return redis.pcall(unpack(ARGV))",
            1 => b"local function call() return redis.pcall(unpack(ARGV)) end return select(2, pcall(call))",
            _ => b"return redis.pcall(unpack(ARGV))",
        };
        let count = declared.to_string().into_bytes();
        let mut script = vec![b"EVAL".to_vec(), body.to_vec(), count];
        script.extend(keys[..declared].iter().copied().cloned());
        script.extend(request.iter().cloned());
        Some(script)
    }

    /// An operation that the model knows.
    pub fn operation(&mut self, random: &mut Chance) -> Operation {
        match random.below(100) {
            0..=9 => {
                let count = random.below(4);
                Operation::Multi((0..count).map(|_| self.modelled(random, true)).collect())
            }
            10..=12 => {
                let is_element = random.percent(20);
                let key = if is_element {
                    elements::any_key(random)
                } else {
                    self.key(random)
                };
                Operation::One(words(&[b"WATCH", key]))
            }
            _ => Operation::One(self.modelled(random, false)),
        }
    }

    /// The command that is written in Python.
    pub fn coroutine(&mut self, random: &mut Chance) -> Command {
        words(&[&[&b"coroutine"[..]], &self.keys(random)[..]].concat())
    }

    /// Any command of the table, with words that it may or may not know.
    pub fn anything(&mut self, random: &mut Chance, table: &Registry) -> Command {
        let row = loop {
            let at = table.at(random.below(table.len()));
            let row = table.spec(at.expect("a row of the table"));
            // Nobody ends a wait here; readers of streams wait only when they are told to.
            if !row.flags.has(Flags::BLOCKING) || row.flags.has(Flags::READONLY) {
                break row;
            }
        };
        let mut command: Command = row
            .name
            .split('|')
            .map(|word| word.as_bytes().to_vec())
            .collect();
        let wanted = row.arity.number().unsigned_abs() as usize + random.below(3);
        let (first, step) = match row.keys {
            Keys::None => (usize::MAX, 1),
            keys => {
                let (first, _, step) = keys.triple();
                (first.max(1) as usize, step.max(1) as usize)
            }
        };
        while command.len() < wanted {
            let at = command.len();
            let word = if at >= first && (at - first).is_multiple_of(step) && random.percent(85) {
                self.key(random).to_vec()
            } else {
                self.word(random)
            };
            command.push(word);
        }
        command
    }

    fn word(&mut self, random: &mut Chance) -> Vec<u8> {
        const WORDS: [&[u8]; 24] = [
            b"0", b"1", b"2", b"-1", b"100", b"1000000", b"NX", b"XX", b"GET", b"EX", b"PX",
            b"KEEPTTL", b"REPLACE", b"MATCH", b"COUNT", b"*", b"ON", b"OFF", b"SKIP", b"ASYNC",
            b"DB", b"channel", b"RESP3", b"",
        ];
        if random.percent(30) {
            self.value(random)
        } else {
            WORDS[random.below(WORDS.len())].to_vec()
        }
    }
}
