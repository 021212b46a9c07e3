//! An ordered map whose clone takes constant time, for what belongs to a collection beside its elements.

use std::fmt::Debug;

use super::tree::{Leaf, Tree, Wreckage};

/// Entries of a leaf.
const ROWS_MAX: usize = 64;

/// Keys of a [`Map`].
pub trait MapKey: Ord + Clone + Debug + 'static {
    /// Bytes on the heap of its own.
    fn heap_bytes(&self) -> usize {
        0
    }
}

/// Values of a [`Map`].
pub trait MapValue: Clone + Debug + 'static {
    /// Bytes on the heap of its own.
    fn heap_bytes(&self) -> usize {
        0
    }
}

#[derive(Clone, Debug)]
struct Rows<K, V> {
    rows: Vec<(K, V)>,
    /// Bytes that keys and values have on the heap.
    outside: usize,
}

impl<K, V> Default for Rows<K, V> {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            outside: 0,
        }
    }
}

impl<K: MapKey, V: MapValue> Rows<K, V> {
    fn position(&self, key: &K) -> Result<usize, usize> {
        self.rows.binary_search_by(|(known, _)| known.cmp(key))
    }
}

fn row_bytes<K: MapKey, V: MapValue>((key, value): &(K, V)) -> usize {
    key.heap_bytes() + value.heap_bytes()
}

impl<K: MapKey + Default, V: MapValue> Leaf for Rows<K, V> {
    type Key = K;

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.rows.capacity() * size_of::<(K, V)>() + self.outside
    }

    fn first_key(&self) -> K {
        self.rows
            .first()
            .map_or_else(K::default, |(key, _)| key.clone())
    }

    fn split(&mut self) -> Option<Self> {
        if self.rows.len() <= ROWS_MAX {
            return None;
        }
        // Whoever only appends gets full leaves.
        let rows = self.rows.split_off(ROWS_MAX / 2 + ROWS_MAX / 4);
        self.rows.shrink_to_fit();
        let outside = rows.iter().map(row_bytes).sum();
        self.outside -= outside;
        Some(Self { rows, outside })
    }

    fn is_small(&self) -> bool {
        self.rows.len() < ROWS_MAX / 2
    }

    fn absorb(&mut self, next: &Self) -> bool {
        if self.rows.len() + next.rows.len() > ROWS_MAX / 2 {
            return false;
        }
        self.rows.extend(next.rows.iter().cloned());
        self.outside += next.outside;
        true
    }
}

/// The map.
#[derive(Clone, Debug)]
pub struct Map<K: MapKey + Default, V: MapValue> {
    tree: Tree<Rows<K, V>>,
}

impl<K: MapKey + Default, V: MapValue> Default for Map<K, V> {
    fn default() -> Self {
        Self {
            tree: Tree::default(),
        }
    }
}

impl<K: MapKey + Default, V: MapValue> Map<K, V> {
    /// The number of keys.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.tree.len()
    }

    /// True without keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tree.is_empty()
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> u64 {
        self.tree.heap_bytes()
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        let rows = self.tree.leaf_of(key);
        let index = rows.position(key).ok()?;
        Some(&rows.rows[index].1)
    }

    /// Gives a key a value, in place of the one that it had.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.tree.edit_by_key(&key.clone(), |rows| {
            let row = (key, value);
            rows.outside += row_bytes(&row);
            match rows.position(&row.0) {
                Ok(index) => {
                    let old = std::mem::replace(&mut rows.rows[index], row);
                    rows.outside -= row_bytes(&old);
                    Some(old.1)
                }
                Err(index) => {
                    rows.rows.insert(index, row);
                    None
                }
            }
        })
    }

    /// Removes a key.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.get(key)?;
        self.tree.edit_by_key(key, |rows| {
            let index = rows.position(key).ok()?;
            let row = rows.rows.remove(index);
            rows.outside -= row_bytes(&row);
            Some(row.1)
        })
    }

    /// Changes the value of a key.
    pub fn change<R>(&mut self, key: &K, change: impl FnOnce(&mut V) -> R) -> Option<R> {
        self.get(key)?;
        self.tree.edit_by_key(key, |rows| {
            let index = rows.position(key).ok()?;
            let value = &mut rows.rows[index].1;
            let before = value.heap_bytes();
            let outcome = change(value);
            rows.outside = rows.outside - before + value.heap_bytes();
            Some(outcome)
        })
    }

    /// All keys and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let leaves = self.tree.walk_all();
        leaves.flat_map(|found| found.leaf.rows.iter().map(|(key, value)| (key, value)))
    }

    /// Keys from one on, and their values, in order.
    pub fn iter_from(&self, from: &K) -> impl Iterator<Item = (&K, &V)> {
        let first = from.clone();
        let leaves = self.tree.walk_from_key(from);
        leaves
            .flat_map(|found| found.leaf.rows.iter().map(|(key, value)| (key, value)))
            .skip_while(move |(key, _)| **key < first)
    }

    /// The first key and its value.
    #[must_use]
    pub fn first(&self) -> Option<(&K, &V)> {
        self.iter().next()
    }

    /// The last key and its value.
    #[must_use]
    pub fn last(&self) -> Option<(&K, &V)> {
        let found = self.tree.find_by_position(self.len());
        found.leaf.rows.last().map(|(key, value)| (key, value))
    }

    /// Gives the map up, to be freed in steps.
    #[must_use]
    pub fn into_wreck(self) -> Box<dyn Wreckage> {
        Box::new(self.tree.into_wreck())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    impl MapKey for u16 {}

    impl MapValue for Vec<u8> {
        fn heap_bytes(&self) -> usize {
            self.len()
        }
    }

    proptest! {
        #[test]
        fn a_map_is_a_map(steps in prop::collection::vec((0..300_u16, prop::option::weighted(0.7, any::<Vec<u8>>())), 0..600), from in 0..300_u16) {
            let (mut map, mut model) = (Map::default(), BTreeMap::new());
            for (key, value) in steps {
                match value {
                    Some(value) => {
                        prop_assert_eq!(map.insert(key, value.clone()), model.insert(key, value));
                    }
                    None => prop_assert_eq!(map.remove(&key), model.remove(&key)),
                }
            }
            for key in 0..300 {
                prop_assert_eq!(map.get(&key), model.get(&key));
            }
            map.change(&from, |value| value.push(7));
            model.entry(from).and_modify(|value| value.push(7));
            prop_assert!(map.iter().eq(&model));
            prop_assert!(map.iter_from(&from).eq(model.range(from..)));
            prop_assert_eq!(map.first(), model.first_key_value());
            prop_assert_eq!(map.last(), model.last_key_value());
            let outside: usize = model.values().map(Vec::len).sum();
            for (key, _) in model {
                map.remove(&key);
            }
            prop_assert!(map.is_empty());
            prop_assert!(map.heap_bytes() < 4096, "{} of {} bytes", map.heap_bytes(), outside);
        }
    }
}
