//! Who of this worker's sessions listens to what.

use crate::commands::glob::matches as glob_matches;
use crate::hashing::{Seeded, SeededMap};

/// The three kinds of subscription.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Topic {
    /// SUBSCRIBE
    Channel,
    /// PSUBSCRIBE
    Pattern,
    /// SSUBSCRIBE
    Sharded,
}

type Listeners = SeededMap<Box<[u8]>, Vec<usize>>;

/// Subscriptions of this worker's sessions, which are named by their index.
pub struct Subscriptions {
    channels: Listeners,
    patterns: Listeners,
    sharded: Listeners,
}

impl Subscriptions {
    /// No subscriptions yet, in maps of this seed.
    pub fn new(seed: u64) -> Self {
        Self {
            channels: Seeded::map(seed),
            patterns: Seeded::map(seed),
            sharded: Seeded::map(seed),
        }
    }

    fn of(&mut self, topic: Topic) -> &mut Listeners {
        match topic {
            Topic::Channel => &mut self.channels,
            Topic::Pattern => &mut self.patterns,
            Topic::Sharded => &mut self.sharded,
        }
    }

    /// Adds a listener that is not there yet.
    pub fn add(&mut self, topic: Topic, name: &[u8], session: usize) {
        self.of(topic).entry(name.into()).or_default().push(session);
    }

    /// Removes a listener.
    pub fn remove(&mut self, topic: Topic, name: &[u8], session: usize) {
        let listeners = self.of(topic);
        let Some(sessions) = listeners.get_mut(name) else {
            return;
        };
        sessions.retain(|&other| other != session);
        if sessions.is_empty() {
            listeners.remove(name);
        }
    }

    /// The sessions that hear a message on `channel`, each with the pattern by which it hears it.
    pub fn hearers(&self, channel: &[u8], sharded: bool) -> Vec<(usize, Option<Box<[u8]>>)> {
        let direct = if sharded {
            &self.sharded
        } else {
            &self.channels
        };
        let mut hearers: Vec<_> = direct
            .get(channel)
            .into_iter()
            .flatten()
            .map(|&session| (session, None))
            .collect();
        if !sharded {
            for (pattern, sessions) in &self.patterns {
                if glob_matches(pattern, channel) {
                    hearers.extend(
                        sessions
                            .iter()
                            .map(|&session| (session, Some(pattern.clone()))),
                    );
                }
            }
        }
        hearers
    }

    /// Channels with their number of listeners, those that match `pattern` when one is given.
    pub fn channels(&self, pattern: Option<&[u8]>, sharded: bool) -> Vec<(Vec<u8>, usize)> {
        let listeners = if sharded {
            &self.sharded
        } else {
            &self.channels
        };
        listeners
            .iter()
            .filter(|(name, _)| pattern.is_none_or(|pattern| glob_matches(pattern, name)))
            .map(|(name, sessions)| (name.to_vec(), sessions.len()))
            .collect()
    }

    /// The patterns somebody listens to.
    pub fn patterns(&self) -> Vec<Vec<u8>> {
        self.patterns
            .keys()
            .map(|pattern| pattern.to_vec())
            .collect()
    }
}

/// What one session listens to, in the order it subscribed.
#[derive(Default)]
pub struct Subscribed {
    pub channels: Vec<Box<[u8]>>,
    pub patterns: Vec<Box<[u8]>>,
    pub sharded: Vec<Box<[u8]>>,
}

impl Subscribed {
    /// The list of one kind.
    pub fn of(&mut self, topic: Topic) -> &mut Vec<Box<[u8]>> {
        match topic {
            Topic::Channel => &mut self.channels,
            Topic::Pattern => &mut self.patterns,
            Topic::Sharded => &mut self.sharded,
        }
    }

    /// The number a confirmation names: channels and patterns together, sharded channels alone.
    pub fn count(&self, topic: Topic) -> usize {
        match topic {
            Topic::Channel | Topic::Pattern => self.channels.len() + self.patterns.len(),
            Topic::Sharded => self.sharded.len(),
        }
    }

    /// Subscriptions of any kind.
    pub fn total(&self) -> usize {
        self.channels.len() + self.patterns.len() + self.sharded.len()
    }
}
