//! The packed form of hashes.

use crate::keyspace::collection::listpack::{Element, Listpack, ListpackBuf};
use crate::keyspace::collection::{Fit, Packing};
use crate::keyspace::types::Millis;

use super::{Cell, Row};

/// First bytes of packed hashes.
pub mod format {
    pub const PAIRS: u8 = 0;
    pub const TRIPLES: u8 = 1;
}

/// The packed form, as it is.
#[derive(Clone, Copy, Debug)]
pub struct PackedHash<'a> {
    pack: Listpack<'a>,
    has_times: bool,
}

impl<'a> PackedHash<'a> {
    /// The hash in the bytes of an entry.
    #[inline]
    #[must_use]
    pub fn of(packed: &'a [u8]) -> Self {
        match packed.split_first() {
            Some((&first, bytes)) => Self {
                pack: Listpack::trusted(bytes),
                has_times: first == format::TRIPLES,
            },
            None => Self {
                pack: Listpack::trusted(b""),
                has_times: false,
            },
        }
    }

    /// True where each field has a place for the time when it expires.
    #[inline]
    #[must_use]
    pub fn has_times(self) -> bool {
        self.has_times
    }

    /// The elements.
    #[must_use]
    pub fn listpack(self) -> Listpack<'a> {
        self.pack
    }

    /// Elements of a row.
    #[inline]
    fn width(self) -> usize {
        if self.has_times { 3 } else { 2 }
    }

    #[inline]
    #[must_use]
    pub fn len(self) -> usize {
        self.pack.len() / self.width()
    }

    #[must_use]
    pub fn is_empty(self) -> bool {
        self.pack.is_empty()
    }

    /// The place of a field.
    #[inline]
    fn find(self, field: &[u8]) -> Option<usize> {
        let first = self.pack.first()?;
        self.pack.find(Element::of(field), first, self.width() - 1)
    }

    /// What belongs to the field at a place.
    #[inline]
    fn cell_behind(self, at: usize) -> Option<Cell<'a>> {
        let at = self.pack.after(at)?;
        let value = self.pack.at(at)?;
        let expire_at = if self.has_times {
            time(self.pack.at(self.pack.after(at)?)?)
        } else {
            None
        };
        Some(Cell { value, expire_at })
    }

    /// What belongs to a field, whether or not it has expired.
    #[inline]
    #[must_use]
    pub fn get(self, field: &[u8]) -> Option<Cell<'a>> {
        self.cell_behind(self.find(field)?)
    }

    /// All fields, those that have expired too.
    pub fn rows(self) -> impl Iterator<Item = Row<'a>> {
        let mut elements = self.pack.iter();
        let has_times = self.has_times;
        std::iter::from_fn(move || {
            let (field, value) = (elements.next()?, elements.next()?);
            let expire_at = if has_times {
                time(elements.next()?)
            } else {
                None
            };
            let cell = Cell { value, expire_at };
            Some(Row { field, cell })
        })
    }

    /// The field at a position.
    #[must_use]
    pub fn at(self, position: u64) -> Option<Row<'a>> {
        let index = i64::try_from(position).ok()? * self.width() as i64;
        let at = self.pack.seek(index)?;
        Some(Row {
            field: self.pack.at(at)?,
            cell: self.cell_behind(at)?,
        })
    }

    /// The earliest time at which a field expires.
    #[must_use]
    pub fn next_expiry(self) -> Option<Millis> {
        if !self.has_times {
            return None;
        }
        self.cell_behind(self.pack.first()?)?.expire_at
    }
}

fn time(element: Element<'_>) -> Option<Millis> {
    match element {
        Element::Int(at) => u64::try_from(at).ok().filter(|at| *at > 0),
        Element::Str(_) => None,
    }
}

/// A packed hash that is being changed.
pub(super) struct Small {
    pack: ListpackBuf,
    has_times: bool,
}

impl Small {
    /// Takes the bytes of an entry, until [`Small::close`].
    pub(super) fn open(packed: &mut Vec<u8>) -> Self {
        let bytes = std::mem::take(packed);
        let has_times = bytes.first() == Some(&format::TRIPLES);
        Self {
            pack: ListpackBuf::trusted_behind(bytes, 1),
            has_times,
        }
    }

    pub(super) fn close(self, packed: &mut Vec<u8>) {
        let is_empty = self.pack.view().is_empty();
        let times = [format::PAIRS, format::TRIPLES];
        *packed = self
            .pack
            .into_bytes_behind(times[usize::from(self.has_times)]);
        if is_empty {
            packed.clear();
        }
    }

    fn view(&self) -> PackedHash<'_> {
        PackedHash {
            pack: self.pack.view(),
            has_times: self.has_times,
        }
    }

    pub(super) fn set(
        &mut self,
        field: &[u8],
        value: &[u8],
        expire_at: Option<Millis>,
        packing: &Packing,
    ) -> Fit {
        if expire_at.is_some() {
            self.give_times();
        }
        let is_long = |text: &[u8]| text.len() > packing.hash_value_bytes_max;
        let found = self.view().find(field);
        let known = found.and_then(|at| self.view().cell_behind(at));
        match (found, known) {
            (Some(at), Some(known)) if known.expire_at == expire_at => {
                if let Some(place) = self.pack.view().after(at) {
                    self.pack.replace(place, Element::of(value));
                }
            }
            (Some(at), _) => {
                self.pack.remove(at, self.view().width());
                self.insert(field, Element::of(value), expire_at);
            }
            (None, _) => {
                self.insert(field, Element::of(value), expire_at);
                if self.view().len() > packing.hash_entries_max || is_long(field) {
                    return Fit::TooLarge;
                }
            }
        }
        if is_long(value) {
            return Fit::TooLarge;
        }
        Fit::Packed
    }

    /// Inserts a field that is not there, before those that expire then or later, as Redis does.
    fn insert(&mut self, field: &[u8], value: Element<'_>, expire_at: Option<Millis>) {
        let mut at = self.pack.view().end();
        if let Some(time) = expire_at {
            let mut entries = self.pack.view().entries();
            while let (Some((place, _)), Some(_), Some((_, other))) =
                (entries.next(), entries.next(), entries.next())
            {
                if self::time(other).is_none_or(|other| other >= time) {
                    at = place;
                    break;
                }
            }
        }
        if self.has_times {
            let time = expire_at.map_or(0, |at| at as i64);
            self.pack.insert(at, Element::Int(time));
        }
        self.pack.insert(at, value);
        self.pack.insert(at, Element::of(field));
    }

    pub(super) fn remove(&mut self, field: &[u8]) {
        if let Some(at) = self.view().find(field) {
            self.pack.remove(at, self.view().width());
        }
    }

    pub(super) fn expire(&mut self, field: &[u8], expire_at: Option<Millis>) {
        let Some(cell) = self.view().get(field) else {
            return;
        };
        if cell.expire_at != expire_at {
            let value = cell.value.to_vec();
            self.give_times();
            self.remove(field);
            self.insert(field, Element::of(&value), expire_at);
        }
    }

    /// Makes room for the times when fields expire.
    fn give_times(&mut self) {
        if self.has_times {
            return;
        }
        let rows = self.view().rows();
        let elements =
            rows.flat_map(|row| [row.field, row.cell.value, Element::Int(0)].into_iter());
        let triples: ListpackBuf = elements.collect();
        *self = Self {
            pack: triples,
            has_times: true,
        };
    }
}
