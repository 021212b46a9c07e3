//! Which hashes have fields that expire, by the time of the first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::types::Millis;

type KeyTimes = BTreeMap<Arc<[u8]>, Millis>;

/// Keys, each with a time before which none of its fields expires. A key may have left, or its fields may expire later:
/// whoever comes to it looks.
#[derive(Debug)]
pub(super) struct FieldDues {
    /// By physical database.
    by_key: Vec<KeyTimes>,
    by_time: BTreeSet<(Millis, u8, Arc<[u8]>)>,
    /// Those of cleared databases, which are forgotten one by one.
    gone: Vec<(u8, KeyTimes)>,
}

impl FieldDues {
    pub(super) fn new(databases: usize) -> Self {
        Self {
            by_key: vec![KeyTimes::new(); databases],
            by_time: BTreeSet::new(),
            gone: Vec::new(),
        }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.by_time.is_empty()
    }

    /// Keys of a database.
    pub(super) fn len(&self, physical: u8) -> u64 {
        self.by_key[usize::from(physical)].len() as u64
    }

    /// Notes that a field of a key expires at a time, and maybe others later.
    pub(super) fn note(&mut self, physical: u8, key: &[u8], at: Millis) {
        let times = &mut self.by_key[usize::from(physical)];
        let key = match times.get_key_value(key) {
            Some((_, known)) if *known <= at => return,
            Some((key, known)) => {
                let key = Arc::clone(key);
                self.by_time.remove(&(*known, physical, Arc::clone(&key)));
                key
            }
            None => Arc::from(key),
        };
        times.insert(Arc::clone(&key), at);
        self.by_time.insert((at, physical, key));
    }

    pub(super) fn forget(&mut self, physical: u8, key: &[u8]) {
        if let Some((key, at)) = self.by_key[usize::from(physical)].remove_entry(key) {
            self.by_time.remove(&(at, physical, key));
        }
    }

    /// Forgets all keys of a database, in steps.
    pub(super) fn clear(&mut self, physical: u8) {
        let times = std::mem::take(&mut self.by_key[usize::from(physical)]);
        if !times.is_empty() {
            self.gone.push((physical, times));
        }
    }

    /// Forgets up to `budget` keys of cleared databases. Returns what is left of the budget.
    pub(super) fn forget_gone(&mut self, budget: usize) -> usize {
        let mut left = budget;
        while left > 0
            && let Some((physical, times)) = self.gone.last_mut()
        {
            let Some((key, at)) = times.pop_first() else {
                self.gone.pop();
                continue;
            };
            left -= 1;
            let times = &self.by_key[usize::from(*physical)];
            if times.get(&key) != Some(&at) {
                self.by_time.remove(&(at, *physical, key));
            }
        }
        left
    }

    pub(super) fn next(&self) -> Option<Millis> {
        self.by_time.first().map(|(at, ..)| *at)
    }

    /// Takes a key whose time has come.
    pub(super) fn take_due(&mut self, now: Millis) -> Option<(u8, Arc<[u8]>)> {
        let (at, physical, key) = self.by_time.pop_first()?;
        if at > now {
            self.by_time.insert((at, physical, key));
            return None;
        }
        let times = &mut self.by_key[usize::from(physical)];
        if times.get(&key) == Some(&at) {
            times.remove(&key);
        }
        Some((physical, key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(dues: &mut FieldDues, now: Millis) -> Option<(u8, Vec<u8>)> {
        dues.take_due(now).map(|(db, key)| (db, key.to_vec()))
    }

    #[test]
    fn keys_come_at_their_earliest_times() {
        let mut dues = FieldDues::new(2);
        dues.note(0, b"a", 50);
        dues.note(1, b"a", 40);
        dues.note(0, b"a", 30);
        dues.note(0, b"a", 60);
        dues.note(0, b"b", 35);
        dues.forget(0, b"b");
        dues.forget(0, b"c");
        assert_eq!((dues.next(), take(&mut dues, 29)), (Some(30), None));
        assert_eq!(take(&mut dues, 100), Some((0, b"a".to_vec())));
        assert_eq!(take(&mut dues, 100), Some((1, b"a".to_vec())));
        assert_eq!(take(&mut dues, 100), None);
        assert!(dues.is_empty());
    }

    #[test]
    fn a_cleared_database_is_forgotten_in_steps_and_begins_anew() {
        let mut dues = FieldDues::new(1);
        for key in [b"a", b"b", b"c"] {
            dues.note(0, key, 10);
        }
        dues.clear(0);
        dues.note(0, b"b", 10);
        dues.note(0, b"c", 5);
        assert_eq!(dues.forget_gone(2), 0);
        assert_eq!(dues.forget_gone(2), 1);
        assert_eq!(take(&mut dues, 10), Some((0, b"c".to_vec())));
        assert_eq!(take(&mut dues, 10), Some((0, b"b".to_vec())));
        assert!(dues.is_empty());
    }
}
