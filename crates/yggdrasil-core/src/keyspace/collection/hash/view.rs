//! The fields of a hash, whatever form it has.

use std::ops::Range;

use crate::keyspace::collection::listpack::Element;
use crate::keyspace::collection::{Collection, Elements, Packing};
use crate::keyspace::kind::Value;
use crate::keyspace::types::Millis;

use super::{Hash, PackedHash, cell};

/// What belongs to a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cell<'a> {
    pub value: Element<'a>,
    pub expire_at: Option<Millis>,
}

impl Cell<'_> {
    /// True before the field expires.
    #[inline]
    #[must_use]
    pub fn lasts(&self, now: Millis) -> bool {
        self.expire_at.is_none_or(|at| at > now)
    }
}

/// A field and what belongs to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row<'a> {
    pub field: Element<'a>,
    pub cell: Cell<'a>,
}

/// A hash that is read. It does not show fields that have expired, but where it says so.
#[derive(Clone, Debug)]
pub struct HashView<'a> {
    form: Form<'a>,
    now: Millis,
}

#[derive(Clone, Debug)]
enum Form<'a> {
    Packed(PackedHash<'a>),
    Tree(&'a Hash),
    /// One that came from elsewhere.
    Made(Box<Hash>),
}

impl<'a> HashView<'a> {
    /// The hash of a value at a time; an empty one for what is no hash.
    #[must_use]
    pub fn of(value: &Value<'a>, packing: &Packing, now: Millis) -> Self {
        let form = match *value {
            Value::Bytes(packed) => Form::Packed(PackedHash::of(packed)),
            Value::Tree(Collection::Hash(hash)) => Form::Tree(hash),
            Value::Written(ops) => {
                let mut hash = Hash::new(packing);
                hash.apply(ops, packing);
                Form::Made(Box::new(hash))
            }
            _ => Form::Packed(PackedHash::of(b"")),
        };
        Self { form, now }
    }

    /// The hash in the bytes of an entry, at a time.
    #[must_use]
    pub fn packed(packed: &'a [u8], now: Millis) -> Self {
        Self {
            form: Form::Packed(PackedHash::of(packed)),
            now,
        }
    }

    fn tree(&self) -> Option<&Hash> {
        match &self.form {
            Form::Packed(_) => None,
            Form::Tree(hash) => Some(hash),
            Form::Made(hash) => Some(hash),
        }
    }

    /// The number of fields, of those that have expired and are not removed yet too.
    #[must_use]
    pub fn len(&self) -> u64 {
        match &self.form {
            Form::Packed(packed) => packed.len() as u64,
            Form::Tree(hash) => hash.len(),
            Form::Made(hash) => hash.len(),
        }
    }

    /// True without fields.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What belongs to a field.
    #[inline]
    #[must_use]
    pub fn get(&self, field: &[u8]) -> Option<Cell<'_>> {
        self.stored(field).filter(|cell| cell.lasts(self.now))
    }

    /// True for a field that is there, even if it has expired.
    #[must_use]
    pub fn has(&self, field: &[u8]) -> bool {
        self.stored(field).is_some()
    }

    #[inline]
    fn stored(&self, field: &[u8]) -> Option<Cell<'_>> {
        match &self.form {
            Form::Packed(packed) => packed.get(field),
            Form::Tree(hash) => hash.get(field),
            Form::Made(hash) => hash.get(field),
        }
    }

    /// The earliest time at which a field expires, or has.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Millis> {
        match (&self.form, self.tree()) {
            (Form::Packed(packed), _) => packed.next_expiry(),
            (_, Some(hash)) => hash.dues.first(),
            _ => None,
        }
    }

    /// Up to `max` fields that have expired.
    #[must_use]
    pub fn expired(&self, max: usize) -> Vec<Vec<u8>> {
        match (&self.form, self.tree()) {
            (Form::Packed(packed), _) => {
                let expired = packed.rows().filter(|row| !row.cell.lasts(self.now));
                expired.take(max).map(|row| row.field.to_vec()).collect()
            }
            (_, Some(hash)) => {
                let expired = hash.dues.until(self.now).take(max);
                expired.map(|(_, field)| field.to_vec()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// True while a field that has expired is not removed yet.
    #[must_use]
    pub fn has_expired(&self) -> bool {
        self.next_expiry().is_some_and(|at| at <= self.now)
    }

    /// The number of fields that have not expired.
    #[must_use]
    pub fn live_len(&self) -> u64 {
        if !self.has_expired() {
            return self.len();
        }
        match (&self.form, self.tree()) {
            (_, Some(hash)) => hash.len() - hash.dues.until(self.now).count() as u64,
            _ => self.rows().count() as u64,
        }
    }

    /// All fields.
    pub fn rows(&self) -> Box<dyn Iterator<Item = Row<'_>> + '_> {
        let lasts = move |row: &Row<'_>| row.cell.lasts(self.now);
        match (&self.form, self.tree()) {
            (Form::Packed(packed), _) => Box::new(packed.rows().filter(lasts)),
            (_, hash) => {
                let rows = hash.into_iter().flat_map(|hash| hash.table.rows());
                Box::new(rows.map(row).filter(lasts))
            }
        }
    }

    /// The fields that have not expired among those of some positions.
    pub fn rows_at(&self, positions: Range<u64>) -> impl Iterator<Item = Row<'_>> {
        let count = (positions.end - positions.start) as usize;
        let hash = self.tree().into_iter();
        let rows = hash.flat_map(move |hash| hash.table.rows_from(positions.start).take(count));
        rows.map(row).filter(|row| row.cell.lasts(self.now))
    }

    /// Visits all fields.
    #[inline]
    pub fn visit(&self, mut visit: impl FnMut(Row<'_>)) {
        let mut visit = |row: Row<'_>| {
            if row.cell.lasts(self.now) {
                visit(row);
            }
        };
        match (&self.form, self.tree()) {
            (Form::Packed(packed), _) => packed.rows().for_each(visit),
            (_, Some(hash)) => hash.table.visit(|found| visit(row(found))),
            (_, None) => {}
        }
    }

    /// The field at a position, even if it has expired; positions mean nothing but that each field has one.
    #[must_use]
    pub fn at(&self, position: u64) -> Option<Row<'_>> {
        match (&self.form, self.tree()) {
            (Form::Packed(packed), _) => packed.at(position),
            (_, hash) => hash?.table.at(position).map(row),
        }
    }

    /// True where a walk over all fields is as good as going to each.
    #[must_use]
    pub fn is_packed(&self) -> bool {
        matches!(self.form, Form::Packed(_))
    }

    /// Visits about `count` fields from a cursor on. Returns the next cursor; 0 begins and ends.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(Row<'_>)) -> u64 {
        let Some(hash) = self.tree() else {
            self.visit(visit);
            return 0;
        };
        hash.table.scan(cursor, count, |found| {
            let row = row(found);
            if row.cell.lasts(self.now) {
                visit(row);
            }
        })
    }

    /// The name of the form, as OBJECT ENCODING gives it.
    #[must_use]
    pub fn encoding_name(&self) -> &'static str {
        match &self.form {
            Form::Packed(packed) if packed.has_times() => "listpackex",
            Form::Packed(_) => "listpack",
            Form::Tree(_) | Form::Made(_) => "hashtable",
        }
    }
}

fn row<'a>((field, stored): (&'a [u8], &'a [u8])) -> Row<'a> {
    Row {
        field: Element::Str(field),
        cell: cell(stored),
    }
}
