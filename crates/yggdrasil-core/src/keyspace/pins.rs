//! Which keys are pinned, until when, and how much of it there may be.
//!
//! An entry says by one bit that it is pinned; until when stands here, on the owner's heap. Limits hold for all shards
//! of a node together: each publishes what it has pinned through a [`PinLedger`].

mod room;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

pub use self::room::PinRoom;
use super::types::{Millis, PinOption};

/// Limits for prefixes at most.
pub const PIN_RULES_MAX: usize = 16;

/// How many bytes may be pinned on the node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PinLimits {
    pub total: u64,
    /// Bytes for keys with a prefix, which count against the total too; at most [`PIN_RULES_MAX`].
    pub prefixes: Vec<(Vec<u8>, u64)>,
}

impl PinLimits {
    pub const NONE: PinLimits = PinLimits {
        total: u64::MAX,
        prefixes: Vec::new(),
    };

    /// The rules that a key falls under.
    fn rules<'a>(&'a self, key: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
        let prefixes = self.prefixes.iter().enumerate();
        let by_prefix = prefixes
            .filter(|(_, (prefix, _))| key.starts_with(prefix))
            .map(|(index, _)| index + 1);
        std::iter::once(0).chain(by_prefix)
    }

    fn of_rule(&self, rule: usize) -> u64 {
        match rule {
            0 => self.total,
            rule => self.prefixes[rule - 1].1,
        }
    }
}

/// Where the shards of a node tell each other how many bytes they have pinned. Rule 0 is the total, rule `n` the
/// prefix `n - 1` of the limits.
pub trait PinLedger: fmt::Debug + Send {
    /// Notes the bytes that this shard has pinned from now on.
    fn publish(&mut self, rule: usize, bytes: u64);

    /// Bytes that the other shards have pinned.
    fn elsewhere(&self, rule: usize) -> u64;
}

/// The ledger of a shard that is alone.
#[derive(Debug)]
struct Alone;

impl PinLedger for Alone {
    fn publish(&mut self, _: usize, _: u64) {}

    fn elsewhere(&self, _: usize) -> u64 {
        0
    }
}

/// Bytes by rule.
type Bytes = [u64; PIN_RULES_MAX + 1];

#[derive(Clone, Copy, Debug)]
struct Pin {
    until: Millis,
    /// Tells this pin from earlier ones of the same key.
    serial: u64,
    bytes: u64,
}

/// Pins are ordered by the hash of their key, so that one can go through them by a number.
type PinnedKey = (u64, Arc<[u8]>);

/// The pins of a physical database.
#[derive(Debug, Default)]
struct DatabasePins {
    by_key: BTreeMap<PinnedKey, Pin>,
    bytes: Bytes,
}

/// A pin whose time may have come.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Due {
    until: Millis,
    serial: u64,
    physical: u8,
    key: PinnedKey,
}

/// All pins of a shard.
#[derive(Debug)]
pub struct Pins {
    limits: Arc<PinLimits>,
    ledger: Box<dyn PinLedger>,
    databases: Vec<DatabasePins>,
    due: BTreeSet<Due>,
    /// Pins of databases that were cleared, to be dropped little by little.
    dropped: Vec<BTreeMap<PinnedKey, Pin>>,
    serial: u64,
}

/// The hash bits that a cursor counts by.
const CURSOR_SHIFT: u32 = 24;

impl Pins {
    pub(super) fn new(databases: usize) -> Self {
        Self {
            limits: Arc::new(PinLimits::NONE),
            ledger: Box::new(Alone),
            databases: (0..databases).map(|_| DatabasePins::default()).collect(),
            due: BTreeSet::new(),
            dropped: Vec::new(),
            serial: 0,
        }
    }

    /// Shares the limits with the other shards of the node.
    pub(super) fn share(&mut self, ledger: Box<dyn PinLedger>) {
        self.ledger = ledger;
        self.publish();
    }

    /// Changes the limits. What is pinned stays so, even beyond them.
    pub(super) fn set_limits(&mut self, mut limits: PinLimits) {
        limits.prefixes.truncate(PIN_RULES_MAX);
        let same_prefixes = limits.prefixes.len() == self.limits.prefixes.len()
            && limits
                .prefixes
                .iter()
                .zip(&self.limits.prefixes)
                .all(|(new, old)| new.0 == old.0);
        self.limits = Arc::new(limits);
        if same_prefixes {
            return;
        }
        for database in 0..self.databases.len() {
            let mut bytes = [0; PIN_RULES_MAX + 1];
            for ((_, key), pin) in &self.databases[database].by_key {
                for rule in self.limits.rules(key) {
                    bytes[rule] += pin.bytes;
                }
            }
            self.databases[database].bytes = bytes;
        }
        self.publish();
    }

    fn own_bytes(&self, rule: usize) -> u64 {
        self.databases
            .iter()
            .map(|database| database.bytes[rule])
            .sum()
    }

    fn publish(&mut self) {
        for rule in 0..=PIN_RULES_MAX {
            let bytes = self.own_bytes(rule);
            self.ledger.publish(rule, bytes);
        }
    }

    /// Bytes that this shard has pinned.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.own_bytes(0)
    }

    /// Keys that this shard has pinned.
    #[must_use]
    pub fn len(&self) -> u64 {
        let databases = self.databases.iter();
        databases.map(|database| database.by_key.len() as u64).sum()
    }

    /// True when there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What may still be pinned now.
    pub fn room(&self) -> PinRoom {
        let mut used = [0; PIN_RULES_MAX + 1];
        if *self.limits != PinLimits::NONE {
            for (rule, used) in used.iter_mut().enumerate() {
                *used = self.own_bytes(rule) + self.ledger.elsewhere(rule);
            }
        }
        PinRoom {
            limits: Arc::clone(&self.limits),
            used,
        }
    }

    fn count(&mut self, physical: u8, key: &[u8], before: u64, after: u64) {
        let rules: Vec<usize> = self.limits.rules(key).collect();
        for rule in rules {
            let bytes = &mut self.databases[usize::from(physical)].bytes[rule];
            *bytes = *bytes + after - before;
            let own = self.own_bytes(rule);
            self.ledger.publish(rule, own);
        }
    }

    fn find(&self, physical: u8, hash: u64, key: &[u8]) -> Option<(PinnedKey, Pin)> {
        let map = &self.databases[usize::from(physical)].by_key;
        map.range((hash, Arc::default())..)
            .take_while(|((found, _), _)| *found == hash)
            .find(|((_, found), _)| **found == *key)
            .map(|(found, pin)| (found.clone(), *pin))
    }

    /// When the pin of a key ends.
    pub(super) fn until(&self, physical: u8, hash: u64, key: &[u8]) -> Option<Millis> {
        self.find(physical, hash, key).map(|(_, pin)| pin.until)
    }

    /// Pins a key, or gives its pin another end.
    pub(super) fn set(&mut self, physical: u8, hash: u64, key: &[u8], bytes: u64, until: Millis) {
        let known = self.find(physical, hash, key);
        let pinned_key = match known {
            Some((pinned_key, pin)) => {
                self.due.remove(&due_of(physical, &pinned_key, &pin));
                pinned_key
            }
            None => (hash, key.into()),
        };
        self.serial += 1;
        let pin = Pin {
            until,
            serial: self.serial,
            bytes,
        };
        self.due.insert(due_of(physical, &pinned_key, &pin));
        let map = &mut self.databases[usize::from(physical)].by_key;
        let before = map.insert(pinned_key, pin).map_or(0, |old| old.bytes);
        self.count(physical, key, before, bytes);
    }

    /// The entry of a pinned key has another size now.
    pub(super) fn resize(&mut self, physical: u8, hash: u64, key: &[u8], bytes: u64) {
        let Some((pinned_key, pin)) = self.find(physical, hash, key) else {
            return;
        };
        let map = &mut self.databases[usize::from(physical)].by_key;
        map.insert(pinned_key, Pin { bytes, ..pin });
        self.count(physical, key, pin.bytes, bytes);
    }

    /// Ends the pin of a key.
    pub(super) fn remove(&mut self, physical: u8, hash: u64, key: &[u8]) {
        let Some((pinned_key, pin)) = self.find(physical, hash, key) else {
            return;
        };
        self.due.remove(&due_of(physical, &pinned_key, &pin));
        self.databases[usize::from(physical)]
            .by_key
            .remove(&pinned_key);
        self.count(physical, key, pin.bytes, 0);
    }

    /// Ends all pins of a database, whose keys are gone.
    pub(super) fn clear(&mut self, physical: u8) {
        let database = std::mem::take(&mut self.databases[usize::from(physical)]);
        if !database.by_key.is_empty() {
            self.dropped.push(database.by_key);
            self.publish();
        }
    }

    /// A key whose pin has ended, taken from the books: database, hash and name.
    pub(super) fn take_due(&mut self, now: Millis) -> Option<(u8, u64, Arc<[u8]>)> {
        while let Some(due) = self.due.first().filter(|due| due.until <= now).cloned() {
            self.due.remove(&due);
            let map = &self.databases[usize::from(due.physical)].by_key;
            // A database that was cleared leaves such behind.
            if map
                .get(&due.key)
                .is_some_and(|pin| pin.serial == due.serial)
            {
                let (hash, key) = due.key;
                self.remove(due.physical, hash, &key);
                return Some((due.physical, hash, key));
            }
        }
        None
    }

    /// Forgets some of what cleared databases have left. Returns what is left of the budget.
    pub(super) fn drop_cleared(&mut self, budget: usize) -> usize {
        let mut left = budget;
        while left > 0
            && let Some(map) = self.dropped.last_mut()
        {
            match map.pop_first() {
                Some((key, pin)) => {
                    // Database numbers of cleared pins are not kept: the serial is unique.
                    let range = self
                        .due
                        .range(first_due(&pin)..)
                        .next()
                        .filter(|due| due.serial == pin.serial && due.key == key)
                        .cloned();
                    range.iter().for_each(|due| {
                        self.due.remove(due);
                    });
                    left -= 1;
                }
                None => {
                    self.dropped.pop();
                }
            }
        }
        left
    }

    /// Visits about `count` pinned keys (at least one) from a cursor on and returns the next cursor; 0 begins and ends.
    pub(super) fn scan(
        &self,
        physical: u8,
        cursor: u64,
        count: u64,
        visit: &mut dyn FnMut(&[u8], Millis),
    ) -> u64 {
        let map = &self.databases[usize::from(physical)].by_key;
        let mut last = None;
        let pins = map.range((cursor << CURSOR_SHIFT, Arc::default())..);
        for (seen, ((hash, key), pin)) in (0..).zip(pins) {
            let position = hash >> CURSOR_SHIFT;
            if seen >= count.max(1) && last != Some(position) {
                return position;
            }
            visit(key, pin.until);
            last = Some(position);
        }
        0
    }

    /// Pins for the check of invariants to compare with the entries: database, hash, key and bytes.
    pub(super) fn all(&self) -> impl Iterator<Item = (u8, u64, &[u8], u64)> + '_ {
        (0..=u8::MAX)
            .zip(&self.databases)
            .flat_map(|(physical, database)| {
                database
                    .by_key
                    .iter()
                    .map(move |((hash, key), pin)| (physical, *hash, &**key, pin.bytes))
            })
    }
}

/// The option that sets the limit of a rule.
fn option_of(rule: usize) -> PinOption {
    if rule == 0 {
        PinOption::Node
    } else {
        PinOption::Prefix
    }
}

fn due_of(physical: u8, key: &PinnedKey, pin: &Pin) -> Due {
    Due {
        until: pin.until,
        serial: pin.serial,
        physical,
        key: key.clone(),
    }
}

/// The least that the due time of a pin can be.
fn first_due(pin: &Pin) -> Due {
    Due {
        until: pin.until,
        serial: pin.serial,
        physical: 0,
        key: (0, Arc::default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited(total: u64) -> Pins {
        let mut pins = Pins::new(2);
        pins.set_limits(PinLimits {
            total,
            prefixes: vec![(b"m:".to_vec(), total / 2)],
        });
        pins
    }

    #[test]
    fn limits_hold_for_the_total_and_for_prefixes() {
        let mut pins = limited(100);
        assert!(pins.room().check(&[(b"a", 60), (b"b", 40)]).is_ok());
        assert!(pins.room().check(&[(b"a", 60), (b"b", 41)]).is_err());
        assert!(pins.room().check(&[(b"m:a", 51)]).is_err());
        pins.set(0, 1, b"m:a", 50, 10);
        pins.set(1, 2, b"b", 30, 10);
        assert_eq!((pins.bytes(), pins.len()), (80, 2));
        assert!(pins.room().check(&[(b"m:b", 1)]).is_err());
        assert!(pins.room().check(&[(b"c", 20)]).is_ok());
        assert!(pins.room().check_move(b"b", b"m:b", 1).is_err());
        assert!(pins.room().check_move(b"m:a", b"m:b", 50).is_ok());
        pins.resize(0, 1, b"m:a", 10);
        assert!(pins.room().check(&[(b"m:b", 40)]).is_ok());
        pins.set_limits(PinLimits {
            total: 100,
            prefixes: vec![(b"b".to_vec(), 35)],
        });
        assert!(pins.room().check(&[(b"b2", 6)]).is_err());
        assert!(pins.room().check(&[(b"b2", 5)]).is_ok());
    }

    #[test]
    fn a_pin_ends_once_at_its_latest_end() {
        let mut pins = limited(1000);
        pins.set(0, 1, b"a", 50, 10);
        pins.set(0, 1, b"a", 50, 30);
        pins.set(0, 1, b"same hash", 50, 20);
        assert_eq!(pins.take_due(19), None);
        assert_eq!(pins.take_due(25), Some((0, 1, (*b"same hash").into())));
        assert_eq!(pins.take_due(25), None);
        assert_eq!(pins.until(0, 1, b"a"), Some(30));
        pins.remove(0, 1, b"a");
        assert_eq!(pins.take_due(100), None);
        assert_eq!((pins.bytes(), pins.due.len()), (0, 0));
    }

    #[test]
    fn a_cleared_database_leaves_nothing() {
        let mut pins = limited(1000);
        pins.set(0, 1, b"a", 50, 10);
        pins.set(1, 7, b"b", 50, 10);
        pins.clear(0);
        assert_eq!((pins.bytes(), pins.len()), (50, 1));
        pins.set(0, 1, b"a", 60, 10);
        assert_eq!(pins.drop_cleared(10), 9);
        assert_eq!(pins.due.len(), 2);
        assert!(pins.take_due(10).is_some() && pins.take_due(10).is_some());
        assert_eq!(pins.bytes(), 0);
    }

    #[test]
    fn a_cursor_meets_all_pins() {
        let mut pins = limited(u64::MAX);
        for key in 0..100_u64 {
            pins.set(0, (key / 2) << 40, &key.to_le_bytes(), 1, 10);
        }
        for count in [1, 3, 1000] {
            let (mut seen, mut cursor) = (Vec::new(), 0);
            loop {
                cursor = pins.scan(0, cursor, count, &mut |key, _| seen.push(key.to_vec()));
                if cursor == 0 {
                    break;
                }
            }
            seen.sort();
            seen.dedup();
            assert_eq!(seen.len(), 100);
        }
    }
}
