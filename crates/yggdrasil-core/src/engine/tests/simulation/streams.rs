//! Streams with one group of consumers in the model of a node, and requests for them.

use std::collections::{BTreeMap, BTreeSet};

use super::chance::Chance;
use super::elements::Outcome;
use super::model::{Command, OK, Replies, int};

/// Keys that have streams, and no other values.
pub(super) const KEYS: [&str; 3] = ["{a}x", "{b}x", "{c}x"];
const BUSY_GROUP: &[u8] = b"-BUSYGROUP Consumer Group name already exists\r\n";

/// A stream whose ids are 1-0, 1-1 ...
#[derive(Clone, Default, PartialEq, Eq, Hash)]
struct Stream {
    values: Vec<Vec<u8>>,
    /// What its group was given: all before a place, and what of that was not acknowledged.
    group: Option<(usize, BTreeSet<usize>)>,
}

#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Streams(BTreeMap<Vec<u8>, Stream>);

fn id(place: usize) -> Vec<u8> {
    format!("1-{place}").into_bytes()
}

impl Streams {
    /// Removes all keys, and gives them.
    pub fn clear(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.0).into_keys().collect()
    }

    pub fn has(&self, key: &[u8]) -> bool {
        self.0
            .get(key)
            .is_some_and(|stream| !stream.values.is_empty())
    }

    /// Executes a command; `None` for one of another type.
    pub fn run(&mut self, command: &Command, replies: &Replies) -> Option<Outcome> {
        let name = std::str::from_utf8(&command[0]).ok()?;
        let key = &command[1];
        Some(match name {
            "XADD" => {
                let stream = self.0.entry(key.clone()).or_default();
                stream.values.push(command[4].clone());
                let reply = replies.bulk(Some(&id(stream.values.len() - 1)));
                (reply, vec![key.clone()])
            }
            "XLEN" => {
                let len = self.0.get(key).map_or(0, |stream| stream.values.len());
                (int(len), Vec::new())
            }
            "XREAD" => (self.read(&command[4], replies), Vec::new()),
            "XGROUP" => self.make_group(&command[2]),
            "XREADGROUP" => self.read_group(&command[7], replies),
            "XACK" => self.acknowledge(command),
            _ => return None,
        })
    }

    fn read(&self, key: &[u8], replies: &Replies) -> Vec<u8> {
        match self.0.get(key) {
            Some(stream) if !stream.values.is_empty() => {
                let places = 0..stream.values.len();
                replies.streams(key, &entries(stream, places, replies))
            }
            _ => replies.null_array(),
        }
    }

    fn make_group(&mut self, key: &[u8]) -> Outcome {
        let stream = self.0.entry(key.to_vec()).or_default();
        if stream.group.is_some() {
            return (BUSY_GROUP.to_vec(), Vec::new());
        }
        stream.group = Some((0, BTreeSet::new()));
        (OK.to_vec(), vec![key.to_vec()])
    }

    fn read_group(&mut self, key: &[u8], replies: &Replies) -> Outcome {
        let Some(stream) = self.0.get_mut(key) else {
            return (no_group(key), Vec::new());
        };
        let Some((given, pending)) = &mut stream.group else {
            return (no_group(key), Vec::new());
        };
        let places = *given..stream.values.len();
        if places.is_empty() {
            return (replies.null_array(), Vec::new());
        }
        *given = places.end;
        pending.extend(places.clone());
        let reply = replies.streams(key, &entries(stream, places, replies));
        (reply, vec![key.to_vec()])
    }

    fn acknowledge(&mut self, command: &Command) -> Outcome {
        let group = self
            .0
            .get_mut(&command[1])
            .and_then(|stream| stream.group.as_mut());
        let Some((_, pending)) = group else {
            return (int(0), Vec::new());
        };
        let before = pending.len();
        pending.retain(|place| id(*place) != command[3]);
        let count = before - pending.len();
        let changed = if count > 0 {
            vec![command[1].clone()]
        } else {
            Vec::new()
        };
        (int(count), changed)
    }
}

fn no_group(key: &[u8]) -> Vec<u8> {
    let text =
        "-NOGROUP No such key '{key}' or consumer group 'g' in XREADGROUP with GROUP option\r\n";
    text.replace("{key}", &String::from_utf8_lossy(key))
        .into_bytes()
}

fn entries(stream: &Stream, places: std::ops::Range<usize>, replies: &Replies) -> Vec<Vec<u8>> {
    let entry = |place: usize| {
        let fields = [
            replies.bulk(Some(b"f")),
            replies.bulk(Some(&stream.values[place])),
        ];
        replies.array(&[replies.bulk(Some(&id(place))), replies.array(&fields)])
    };
    places.map(entry).collect()
}

/// A command that the model knows; one that waits where that is allowed.
pub(super) fn command(random: &mut Chance, inside: bool, value: Vec<u8>) -> Command {
    let key = KEYS[random.below(KEYS.len())];
    let time = ["0", "0", "30", "500"][random.below(if inside { 4 } else { 3 })];
    let entry = format!("1-{}", random.below(5));
    let line = match random.below(12) {
        0..=3 => format!("XADD {key} 1-* f"),
        4 => format!("XLEN {key}"),
        5 | 6 => format!("XGROUP CREATE {key} g 0 MKSTREAM"),
        7 => format!("XACK {key} g {entry}"),
        8 | 9 => format!(
            "XREADGROUP GROUP g c BLOCK {} STREAMS {key} >",
            if time == "0" { "30" } else { time }
        ),
        _ => format!("XREAD BLOCK {time} STREAMS {key} 0-0"),
    };
    let mut command: Command = line
        .split(' ')
        .map(|word| word.as_bytes().to_vec())
        .collect();
    if command[0] == b"XADD" {
        command.push(value);
    }
    command
}
