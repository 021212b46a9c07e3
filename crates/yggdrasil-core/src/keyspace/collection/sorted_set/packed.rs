//! The packed form of a sorted set.

use crate::keyspace::collection::listpack::{Element, Entries, Listpack, ListpackBuf};
use crate::keyspace::collection::{Fit, Packing};
use crate::resp::{parse_double, write_double};

use super::order::compare;

/// Bytes of a packed sorted set at most, whatever its limits are.
const PACKED_BYTES_MAX: usize = 1 << 29;

/// The score that an element of a listpack is.
#[inline]
pub(super) fn score_of(element: Element<'_>) -> f64 {
    match element {
        Element::Int(number) => number as f64,
        Element::Str(text) => parse_double(text).map_or(0.0, |score| score + 0.0),
    }
}

/// Members and their scores in their order, from both ends.
#[derive(Clone, Debug)]
pub struct Pairs<'a> {
    pack: Listpack<'a>,
    entries: Entries<'a>,
}

impl<'a> Pairs<'a> {
    /// Those in the bytes of an entry.
    #[inline]
    #[must_use]
    pub fn of(packed: &'a [u8]) -> Self {
        let pack = Listpack::trusted(packed);
        Self {
            pack,
            entries: pack.entries(),
        }
    }

    /// The number of members, seen ones included.
    #[inline]
    pub(super) fn count(&self) -> u64 {
        if self.pack.bytes().is_empty() {
            return 0;
        }
        self.pack.len() as u64 / 2
    }

    /// The score of a member.
    pub(super) fn score(&self, member: &[u8]) -> Option<f64> {
        let place = find(self.pack, member)?;
        self.pack.at(self.pack.after(place)?).map(score_of)
    }

    /// The pair at a position.
    pub(super) fn at(&self, position: u64) -> Option<(Element<'a>, f64)> {
        let place = self.pack.seek(i64::try_from(position).ok()? * 2)?;
        let member = self.pack.at(place)?;
        let score = self.pack.at(self.pack.after(place)?)?;
        Some((member, score_of(score)))
    }

    /// All pairs from a position on.
    pub(super) fn from(&self, position: u64) -> Self {
        let place = i64::try_from(position).ok();
        let place = place.and_then(|position| self.pack.seek(position * 2));
        let end = self.pack.end();
        Self {
            pack: self.pack,
            entries: self.pack.entries_between(place.unwrap_or(end), end),
        }
    }

    /// All pairs before a position.
    pub(super) fn until(&self, position: u64) -> Self {
        let place = i64::try_from(position).ok();
        let place = place.and_then(|position| self.pack.seek(position * 2));
        let first = self.pack.first().unwrap_or(0);
        Self {
            pack: self.pack,
            entries: self
                .pack
                .entries_between(first, place.unwrap_or_else(|| self.pack.end())),
        }
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (Element<'a>, f64);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (_, member) = self.entries.next()?;
        let (_, score) = self.entries.next()?;
        Some((member, score_of(score)))
    }
}

impl DoubleEndedIterator for Pairs<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        let (_, score) = self.entries.next_back()?;
        let (_, member) = self.entries.next_back()?;
        Some((member, score_of(score)))
    }
}

/// The place of a member.
fn find(pack: Listpack<'_>, member: &[u8]) -> Option<usize> {
    pack.find(Element::of(member), pack.first()?, 1)
}

/// A packed sorted set that is being changed.
pub(super) struct Small {
    pack: ListpackBuf,
}

impl Small {
    pub(super) fn open(packed: Vec<u8>) -> Self {
        Self {
            pack: ListpackBuf::trusted(packed),
        }
    }

    pub(super) fn close(self) -> Vec<u8> {
        if self.pack.view().is_empty() {
            return Vec::new();
        }
        self.pack.into_bytes()
    }

    pub(super) fn put(&mut self, member: &[u8], score: f64, packing: &Packing) -> Fit {
        let view = self.pack.view();
        let place = if let Some(place) = find(view, member) {
            let before = view.after(place).and_then(|place| view.at(place));
            let before = before.map_or(0.0, score_of);
            if before == score {
                return Fit::Packed;
            }
            self.pack.remove(place, 2);
            if score > before {
                self.place_from(place, member, score)
            } else {
                self.place_up_to(place, member, score)
            }
        } else {
            let is_many = view.len() / 2 >= packing.sorted_set_entries_max;
            let is_long = member.len() > packing.sorted_set_value_bytes_max;
            if is_many || is_long || view.bytes().len() + member.len() > PACKED_BYTES_MAX {
                return Fit::TooLarge;
            }
            self.place_up_to(view.end(), member, score)
        };
        let mut text = Vec::with_capacity(32);
        write_double(&mut text, score);
        self.pack.insert(place, Element::of(&text));
        self.pack.insert(place, Element::of(member));
        Fit::Packed
    }

    /// The place of a member that belongs behind those before another place.
    fn place_from(&self, place: usize, member: &[u8], score: f64) -> usize {
        let view = self.pack.view();
        let mut entries = view.entries_between(place, view.end());
        let mut buffer = itoa::Buffer::new();
        while let (Some((place, other)), Some((_, other_score))) = (entries.next(), entries.next())
        {
            let other = (score_of(other_score), other.text(&mut buffer));
            if compare(other, (score, member)).is_gt() {
                return place;
            }
        }
        view.end()
    }

    /// The place of a member that belongs before those from another place on. Higher scores mostly come later.
    fn place_up_to(&self, place: usize, member: &[u8], score: f64) -> usize {
        let view = self.pack.view();
        let first = view.first().unwrap_or(place);
        let mut entries = view.entries_between(first, place);
        let mut buffer = itoa::Buffer::new();
        let mut found = place;
        while let (Some((_, other_score)), Some((place, other))) =
            (entries.next_back(), entries.next_back())
        {
            let other = (score_of(other_score), other.text(&mut buffer));
            if compare(other, (score, member)).is_lt() {
                break;
            }
            found = place;
        }
        found
    }

    pub(super) fn remove(&mut self, member: &[u8]) {
        if let Some(place) = find(self.pack.view(), member) {
            self.pack.remove(place, 2);
        }
    }

    pub(super) fn remove_span(&mut self, start: u64, count: u64) {
        let position = i64::try_from(start)
            .ok()
            .and_then(|start| start.checked_mul(2));
        let place = position.and_then(|position| self.pack.view().seek(position));
        if let Some(place) = place {
            let elements = usize::try_from(count.saturating_mul(2)).unwrap_or(usize::MAX);
            self.pack.remove(place, elements);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn scores_come_back(score in any::<f64>().prop_filter("a number", |score| !score.is_nan())) {
            let mut text = Vec::new();
            write_double(&mut text, score + 0.0);
            prop_assert_eq!(score_of(Element::of(&text)), score + 0.0);
        }
    }
}
