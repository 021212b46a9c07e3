//! The owner's memory of the place of a key, by which it can tell later if anything was written there.

use crate::keyspace::layout::State;
use crate::keyspace::reader::same_home;
use crate::keyspace::types::Key;

use super::Shard;

/// The place of a key, as it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OwnStamp {
    map: u64,
    state: State,
    /// First word of the home bucket, with its sequence number; 0 in an empty database.
    home_word: u64,
}

impl Shard {
    /// Remembers the place of a key, whether it is there or not.
    #[must_use]
    pub fn stamp(&self, key: &Key<'_>) -> OwnStamp {
        let physical = self.map[usize::from(key.db)];
        let (mapping, layout) = (&self.arena.mapping, &self.arena.layout);
        let database = &self.databases[usize::from(physical)];
        OwnStamp {
            map: mapping.load(layout.map(key.db)),
            state: State(mapping.load(layout.state(physical))),
            home_word: match database.buckets() {
                0 => 0,
                _ => mapping.load(database.home(key.hash)),
            },
        }
    }

    /// True when nothing was written since at the place of a key, as [`ShardReader::still_valid`] is for others.
    ///
    /// [`ShardReader::still_valid`]: crate::keyspace::ShardReader::still_valid
    #[must_use]
    pub fn still_valid(&self, key: &Key<'_>, stamp: &OwnStamp) -> bool {
        let now = self.stamp(key);
        now.map == stamp.map
            && now.home_word == stamp.home_word
            && (now.state == stamp.state || same_home(key.hash, stamp.state, now.state))
    }
}
