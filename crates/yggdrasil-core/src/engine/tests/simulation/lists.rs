//! Lists in the model of a node, and requests for them.

use std::collections::{BTreeMap, VecDeque};

use super::chance::Chance;
use super::elements::Outcome;
use super::model::{Command, NO_KEY, OK, Replies, int};

/// Keys that have lists, and no other values.
pub(super) const KEYS: [&str; 4] = ["{a}l", "{b}l", "{c}l", "{a}l2"];

type List = VecDeque<Vec<u8>>;

#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Lists(BTreeMap<Vec<u8>, List>);

impl Lists {
    /// Removes all keys, and gives them.
    pub fn clear(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.0).into_keys().collect()
    }

    pub fn has(&self, key: &[u8]) -> bool {
        self.0.contains_key(key)
    }

    /// Executes a command; `None` for one of another type.
    pub fn run(&mut self, command: &Command, replies: &Replies) -> Option<Outcome> {
        let name = std::str::from_utf8(&command[0]).ok()?;
        let key = &command[1];
        Some(match name {
            "LPUSH" | "RPUSH" => self.push(command),
            "LLEN" => (int(self.0.get(key).map_or(0, List::len)), Vec::new()),
            "LRANGE" => {
                let all = self.0.get(key).into_iter().flatten();
                let parts: Vec<_> = all.map(|value| replies.bulk(Some(value))).collect();
                (replies.array(&parts), Vec::new())
            }
            "LPOP" | "RPOP" => {
                let popped = self.pop(key, name == "LPOP");
                let changed = popped.iter().map(|_| key.clone()).collect();
                (replies.bulk(popped.as_deref()), changed)
            }
            "BLPOP" | "BRPOP" => self.pop_of_many(command, replies),
            "LMOVE" | "BLMOVE" => self.relocate(command, replies),
            "LREM" => self.remove(command),
            "RENAME" if is_key(key) => self.rename(key, &command[2]),
            _ => return None,
        })
    }

    fn push(&mut self, command: &Command) -> Outcome {
        let list = self.0.entry(command[1].clone()).or_default();
        for value in &command[2..] {
            match command[0].as_slice() {
                b"LPUSH" => list.push_front(value.clone()),
                _ => list.push_back(value.clone()),
            }
        }
        (int(list.len()), vec![command[1].clone()])
    }

    fn pop(&mut self, key: &[u8], left: bool) -> Option<Vec<u8>> {
        let list = self.0.get_mut(key)?;
        let popped = if left {
            list.pop_front()
        } else {
            list.pop_back()
        };
        if list.is_empty() {
            self.0.remove(key);
        }
        popped
    }

    fn pop_of_many(&mut self, command: &Command, replies: &Replies) -> Outcome {
        let left = command[0] == b"BLPOP";
        for key in &command[1..command.len() - 1] {
            if let Some(value) = self.pop(key, left) {
                let parts = [replies.bulk(Some(key)), replies.bulk(Some(&value))];
                return (replies.array(&parts), vec![key.clone()]);
            }
        }
        (replies.null_array(), Vec::new())
    }

    fn relocate(&mut self, command: &Command, replies: &Replies) -> Outcome {
        let (from, to) = (&command[1], &command[2]);
        let Some(value) = self.pop(from, command[3] == b"LEFT") else {
            let waited = command[0] == b"BLMOVE" && !replies.inside;
            let reply = if waited {
                replies.null_array()
            } else {
                replies.bulk(None)
            };
            return (reply, Vec::new());
        };
        let list = self.0.entry(to.clone()).or_default();
        if command[4] == b"LEFT" {
            list.push_front(value.clone());
        } else {
            list.push_back(value.clone());
        }
        (replies.bulk(Some(&value)), vec![from.clone(), to.clone()])
    }

    fn remove(&mut self, command: &Command) -> Outcome {
        let Some(list) = self.0.get_mut(&command[1]) else {
            return (int(0), Vec::new());
        };
        let before = list.len();
        list.retain(|value| *value != command[3]);
        let gone = before - list.len();
        if list.is_empty() {
            self.0.remove(&command[1]);
        }
        let changed = if gone > 0 {
            vec![command[1].clone()]
        } else {
            Vec::new()
        };
        (int(gone), changed)
    }

    fn rename(&mut self, from: &[u8], to: &[u8]) -> Outcome {
        let Some(list) = self.0.remove(from) else {
            return (NO_KEY.to_vec(), Vec::new());
        };
        self.0.insert(to.to_vec(), list);
        let changed = if from == to {
            Vec::new()
        } else {
            vec![from.to_vec(), to.to_vec()]
        };
        (OK.to_vec(), changed)
    }
}

fn is_key(word: &[u8]) -> bool {
    KEYS.iter().any(|key| key.as_bytes() == word)
}

/// A command that the model knows; one that waits where that is allowed.
pub(super) fn command(random: &mut Chance, inside: bool, value: Vec<u8>) -> Command {
    let mut key = || KEYS[random.below(KEYS.len())].as_bytes().to_vec();
    let (one, other) = (key(), key());
    let word = |text: &str| text.as_bytes().to_vec();
    let mut end = || word(["LEFT", "RIGHT"][random.below(2)]);
    let (from, to) = (end(), end());
    let time = word(["0", "0", "0.03", "0.5"][random.below(if inside { 4 } else { 3 })]);
    match random.below(14) {
        0..=2 => vec![word("RPUSH"), one, value],
        3 => vec![word("LPUSH"), one, value.clone(), value],
        4 => vec![word("LLEN"), one],
        5 => vec![word("LRANGE"), one, word("0"), word("-1")],
        6 => vec![word(["LPOP", "RPOP"][random.below(2)]), one],
        7 => vec![word("LMOVE"), one, other, from, to],
        8 => vec![word("LREM"), one, word("0"), word("v1:")],
        9 => vec![word("RENAME"), one, other],
        10 | 11 => vec![word("BLMOVE"), one, other, from, to, time],
        12 => vec![word("BLPOP"), one, other, time],
        _ => vec![word("BRPOP"), one, time],
    }
}
