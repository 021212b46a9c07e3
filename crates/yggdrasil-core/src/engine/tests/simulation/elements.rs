//! Collections in the model of a node, and requests for them: sets and hashes here, other types in files of their own.

use std::collections::{BTreeMap, BTreeSet};

use super::chance::Chance;
use super::lists::{self, Lists};
use super::model::{Command, Replies, int};
use super::sorted_sets::{self, SortedSets};
use super::streams::{self, Streams};

/// Keys that have sets, and no other values.
const SETS: [&str; 4] = ["{a}s", "{b}s", "{c}s", "{a}s2"];
/// Keys that have hashes.
const HASHES: [&str; 3] = ["{a}h", "{b}h", "{c}h"];

#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Elements {
    sets: BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>>,
    hashes: BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, Vec<u8>>>,
    lists: Lists,
    sorted_sets: SortedSets,
    streams: Streams,
}

/// A reply, and the keys that were changed.
pub(super) type Outcome = (Vec<u8>, Vec<Vec<u8>>);

impl Elements {
    /// Removes all keys, and gives them.
    pub fn clear(&mut self) -> Vec<Vec<u8>> {
        let sets = std::mem::take(&mut self.sets).into_keys();
        let hashes = std::mem::take(&mut self.hashes).into_keys();
        let mut all: Vec<_> = sets.chain(hashes).collect();
        all.extend(self.lists.clear());
        all.extend(self.sorted_sets.clear());
        all.extend(self.streams.clear());
        all
    }

    /// True where a list, a sorted set or a stream has something that can be waited for.
    pub fn has(&self, key: &[u8]) -> bool {
        self.lists.has(key) || self.sorted_sets.has(key) || self.streams.has(key)
    }

    fn set(&self, key: &[u8]) -> BTreeSet<Vec<u8>> {
        self.sets.get(key).cloned().unwrap_or_default()
    }

    fn put(&mut self, key: &[u8], members: BTreeSet<Vec<u8>>) {
        if members.is_empty() {
            self.sets.remove(key);
        } else {
            self.sets.insert(key.to_vec(), members);
        }
    }

    /// Executes a command; `None` for one that is about no collection.
    pub fn run(&mut self, command: &Command, replies: &Replies) -> Option<Outcome> {
        let name = std::str::from_utf8(&command[0]).ok()?;
        match name {
            "SADD" | "SREM" | "SMOVE" | "SUNIONSTORE" | "SINTERSTORE" | "SDIFFSTORE" => {
                Some(self.change_sets(name, command))
            }
            "SCARD" => Some((int(self.set(&command[1]).len()), Vec::new())),
            "SISMEMBER" => {
                let is_there = self.set(&command[1]).contains(&command[2]);
                Some((int(u8::from(is_there)), Vec::new()))
            }
            "SINTERCARD" => {
                let (one, other) = (self.set(&command[2]), self.set(&command[3]));
                Some((int(one.intersection(&other).count()), Vec::new()))
            }
            "HSET" | "HDEL" | "HLEN" | "HGET" => Some(self.hash(name, command, replies)),
            _ => {
                let of_lists = self.lists.run(command, replies);
                of_lists
                    .or_else(|| self.sorted_sets.run(command, replies))
                    .or_else(|| self.streams.run(command, replies))
            }
        }
    }

    fn change_sets(&mut self, name: &str, command: &Command) -> Outcome {
        let key = command[1].clone();
        let before = self.set(&key);
        match name {
            "SADD" | "SREM" => {
                let given: BTreeSet<_> = command[2..].iter().cloned().collect();
                let after: BTreeSet<_> = match name {
                    "SADD" => before.union(&given).cloned().collect(),
                    _ => before.difference(&given).cloned().collect(),
                };
                let changed = before.len().abs_diff(after.len());
                self.put(&key, after);
                let touched = if changed > 0 { vec![key] } else { Vec::new() };
                (int(changed), touched)
            }
            "SMOVE" => {
                let (to, member) = (command[2].clone(), &command[3]);
                if !before.contains(member) {
                    return (int(0), Vec::new());
                }
                if key == to {
                    return (int(1), Vec::new());
                }
                let mut source = before;
                source.remove(member);
                self.put(&key, source);
                let mut destination = self.set(&to);
                let is_new = destination.insert(member.clone());
                self.put(&to, destination);
                let touched = if is_new { vec![key, to] } else { vec![key] };
                (int(1), touched)
            }
            _ => {
                let (one, other) = (self.set(&command[2]), self.set(&command[3]));
                let made: BTreeSet<_> = match name {
                    "SUNIONSTORE" => one.union(&other).cloned().collect(),
                    "SINTERSTORE" => one.intersection(&other).cloned().collect(),
                    _ => one.difference(&other).cloned().collect(),
                };
                let count = made.len();
                let is_change = count > 0 || !before.is_empty();
                self.put(&key, made);
                let touched = if is_change { vec![key] } else { Vec::new() };
                (int(count), touched)
            }
        }
    }

    fn hash(&mut self, name: &str, command: &Command, replies: &Replies) -> Outcome {
        let key = command[1].clone();
        let mut hash = self.hashes.remove(&key).unwrap_or_default();
        let (reply, is_change) = match name {
            "HSET" => {
                let before = hash.insert(command[2].clone(), command[3].clone());
                (int(u8::from(before.is_none())), true)
            }
            "HDEL" => {
                let gone = hash.remove(&command[2]).is_some();
                (int(u8::from(gone)), gone)
            }
            "HLEN" => (int(hash.len()), false),
            _ => (
                replies.bulk(hash.get(&command[2]).map(Vec::as_slice)),
                false,
            ),
        };
        if !hash.is_empty() {
            self.hashes.insert(key.clone(), hash);
        }
        (reply, if is_change { vec![key] } else { Vec::new() })
    }
}

fn all_keys() -> impl Iterator<Item = &'static [u8]> {
    let kinds = [
        &SETS[..],
        &HASHES,
        &lists::KEYS,
        &sorted_sets::KEYS,
        &streams::KEYS,
    ];
    kinds.into_iter().flatten().map(|key| key.as_bytes())
}

/// Any of the keys.
pub(super) fn any_key(random: &mut Chance) -> &'static [u8] {
    let keys: Vec<_> = all_keys().collect();
    keys[random.below(keys.len())]
}

/// True for any of the keys.
pub(super) fn is_key(word: &[u8]) -> bool {
    all_keys().any(|key| key == word)
}

/// A member or a field: some are too long for a packed form.
pub(super) fn name(random: &mut Chance) -> Vec<u8> {
    match random.below(8) {
        0 => b"long".repeat(20),
        1 => b"text".to_vec(),
        number => number.to_string().into_bytes(),
    }
}

/// A command that the model knows.
pub(super) fn command(random: &mut Chance) -> Command {
    let mut set = || SETS[random.below(SETS.len())].as_bytes().to_vec();
    let (one, two, three) = (set(), set(), set());
    let hash = HASHES[random.below(HASHES.len())].as_bytes().to_vec();
    let word = |text: &str| text.as_bytes().to_vec();
    match random.below(14) {
        0..=2 => vec![word("SADD"), one, name(random), name(random)],
        3 => vec![word("SREM"), one, name(random)],
        4 => vec![word("SCARD"), one],
        5 => vec![word("SISMEMBER"), one, name(random)],
        6 | 7 => vec![word("SMOVE"), one, two, name(random)],
        8 => {
            let names = ["SUNIONSTORE", "SINTERSTORE", "SDIFFSTORE"];
            vec![word(names[random.below(3)]), one, two, three]
        }
        9 => vec![word("SINTERCARD"), word("2"), one, two],
        10 | 11 => vec![word("HSET"), hash, name(random), name(random)],
        12 => vec![word("HDEL"), hash, name(random)],
        _ => match random.below(2) {
            0 => vec![word("HLEN"), hash],
            _ => vec![word("HGET"), hash, name(random)],
        },
    }
}
