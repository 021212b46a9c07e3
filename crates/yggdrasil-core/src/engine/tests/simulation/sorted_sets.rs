//! Sorted sets in the model of a node, and requests for them. Scores are whole numbers.

use std::collections::BTreeMap;

use super::chance::Chance;
use super::elements::{Outcome, name};
use super::model::{Command, Replies, int};

/// Keys that have sorted sets, and no other values.
pub(super) const KEYS: [&str; 4] = ["{a}z", "{b}z", "{c}z", "{a}z2"];

type Scores = BTreeMap<Vec<u8>, i64>;

#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct SortedSets(BTreeMap<Vec<u8>, Scores>);

/// The members in their order.
fn ordered(scores: &Scores) -> Vec<(i64, Vec<u8>)> {
    let mut all: Vec<_> = scores
        .iter()
        .map(|(name, score)| (*score, name.clone()))
        .collect();
    all.sort();
    all
}

fn number(word: &[u8]) -> i64 {
    std::str::from_utf8(word)
        .ok()
        .and_then(|text| text.parse().ok())
        .expect("a whole number")
}

impl SortedSets {
    /// Removes all keys, and gives them.
    pub fn clear(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.0).into_keys().collect()
    }

    pub fn has(&self, key: &[u8]) -> bool {
        self.0.contains_key(key)
    }

    fn of(&self, key: &[u8]) -> Scores {
        self.0.get(key).cloned().unwrap_or_default()
    }

    fn put(&mut self, key: &[u8], scores: Scores) {
        if scores.is_empty() {
            self.0.remove(key);
        } else {
            self.0.insert(key.to_vec(), scores);
        }
    }

    /// Executes a command; `None` for one of another type.
    pub fn run(&mut self, command: &Command, replies: &Replies) -> Option<Outcome> {
        let name = std::str::from_utf8(&command[0]).ok()?;
        let (key, before) = (&command[1], self.of(&command[1]));
        Some(match name {
            "ZADD" | "ZREM" | "ZINCRBY" => self.change(name, command, replies),
            "ZCARD" => (int(before.len()), Vec::new()),
            "ZSCORE" => {
                let score = before.get(&command[2]);
                let reply =
                    score.map_or_else(|| replies.bulk(None), |score| replies.double(*score));
                (reply, Vec::new())
            }
            "ZRANK" => {
                let place = ordered(&before)
                    .iter()
                    .position(|(_, name)| *name == command[2]);
                (place.map_or_else(|| replies.bulk(None), int), Vec::new())
            }
            "ZRANGE" => {
                let names = ordered(&before);
                let parts: Vec<_> = names
                    .iter()
                    .map(|(_, name)| replies.bulk(Some(name)))
                    .collect();
                (replies.array(&parts), Vec::new())
            }
            "ZPOPMIN" | "ZPOPMAX" => match self.pop(key, name == "ZPOPMAX") {
                Some(parts) => (replies.array(&said(parts, replies)), vec![key.clone()]),
                None => (replies.array(&[]), Vec::new()),
            },
            "BZPOPMIN" | "BZPOPMAX" => self.pop_of_many(command, replies),
            "ZUNIONSTORE" | "ZINTERSTORE" => self.combine(name, command),
            "ZRANGESTORE" => {
                let made = self.of(&command[2]);
                let (count, is_change) = (made.len(), !made.is_empty() || !before.is_empty());
                self.put(key, made);
                (
                    int(count),
                    if is_change {
                        vec![key.clone()]
                    } else {
                        Vec::new()
                    },
                )
            }
            _ => return None,
        })
    }

    fn change(&mut self, name: &str, command: &Command, replies: &Replies) -> Outcome {
        let (key, mut scores) = (&command[1], self.of(&command[1]));
        let before = scores.clone();
        let reply = match name {
            "ZADD" => {
                scores.insert(command[3].clone(), number(&command[2]));
                int(scores.len() - before.len())
            }
            "ZREM" => {
                scores.remove(&command[2]);
                int(before.len() - scores.len())
            }
            _ => {
                let score = scores.entry(command[3].clone()).or_default();
                *score += number(&command[2]);
                replies.double(*score)
            }
        };
        let changed = if scores == before {
            Vec::new()
        } else {
            vec![key.clone()]
        };
        self.put(key, scores);
        (reply, changed)
    }

    fn pop(&mut self, key: &[u8], highest: bool) -> Option<(Vec<u8>, i64)> {
        let mut scores = self.of(key);
        let all = ordered(&scores);
        let (score, name) = if highest { all.last() } else { all.first() }?.clone();
        scores.remove(&name);
        self.put(key, scores);
        Some((name, score))
    }

    fn pop_of_many(&mut self, command: &Command, replies: &Replies) -> Outcome {
        for key in &command[1..command.len() - 1] {
            if let Some(popped) = self.pop(key, command[0] == b"BZPOPMAX") {
                let parts = [vec![replies.bulk(Some(key))], said(popped, replies)].concat();
                return (replies.array(&parts), vec![key.clone()]);
            }
        }
        (replies.null_array(), Vec::new())
    }

    fn combine(&mut self, name: &str, command: &Command) -> Outcome {
        let (key, one, other) = (&command[1], self.of(&command[3]), self.of(&command[4]));
        let before = self.of(key);
        let mut made = one.clone();
        for (member, score) in &other {
            *made.entry(member.clone()).or_default() += score;
        }
        if name == "ZINTERSTORE" {
            made.retain(|member, _| one.contains_key(member) && other.contains_key(member));
        }
        let (count, is_change) = (made.len(), !made.is_empty() || !before.is_empty());
        self.put(key, made);
        (
            int(count),
            if is_change {
                vec![key.clone()]
            } else {
                Vec::new()
            },
        )
    }
}

fn said((name, score): (Vec<u8>, i64), replies: &Replies) -> Vec<Vec<u8>> {
    vec![replies.bulk(Some(&name)), replies.double(score)]
}

/// A command that the model knows; one that waits where that is allowed.
pub(super) fn command(random: &mut Chance, inside: bool) -> Command {
    let mut key = || KEYS[random.below(KEYS.len())].as_bytes().to_vec();
    let (one, two, three) = (key(), key(), key());
    let word = |text: &str| text.as_bytes().to_vec();
    let score = random.below(5).to_string().into_bytes();
    let time = word(["0", "0", "0.03", "0.5"][random.below(if inside { 4 } else { 3 })]);
    match random.below(16) {
        0..=3 => vec![word("ZADD"), one, score, name(random)],
        4 => vec![word("ZREM"), one, name(random)],
        5 => vec![word("ZINCRBY"), one, score, name(random)],
        6 => vec![word("ZCARD"), one],
        7 => vec![word("ZSCORE"), one, name(random)],
        8 => vec![word("ZRANK"), one, name(random)],
        9 => vec![word("ZRANGE"), one, word("0"), word("-1")],
        10 => vec![word(["ZPOPMIN", "ZPOPMAX"][random.below(2)]), one],
        11 => vec![
            word(["ZUNIONSTORE", "ZINTERSTORE"][random.below(2)]),
            one,
            word("2"),
            two,
            three,
        ],
        12 => vec![word("ZRANGESTORE"), one, two, word("0"), word("-1")],
        _ => vec![
            word(["BZPOPMIN", "BZPOPMAX"][random.below(2)]),
            one,
            two,
            time,
        ],
    }
}
