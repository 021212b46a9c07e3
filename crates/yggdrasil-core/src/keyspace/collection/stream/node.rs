//! The leaves of a stream: listpacks in Redis's format of stream nodes.
//!
//! ```text
//! count | deleted | fields: n | field 1 ... field n | 0                  the master entry
//! flags | milliseconds | sequence | [n | field value ...] or [value ...] | elements before this one
//! ```
//! Ids are differences to that of the node. An entry with the fields of the master entry has its values alone.

use crate::keyspace::collection::listpack::{Element, Listpack, ListpackBuf};
use crate::keyspace::collection::tree::Leaf;

use super::id::StreamId;
use super::ops::Pairs;

const DELETED: i64 = 1;
const SAME_FIELDS: i64 = 2;
/// Memory grows by so much.
const BYTES_STEP: usize = 256;

/// Entries that follow each other.
#[derive(Clone, Debug, Default)]
pub struct StreamNode {
    /// That of the first entry it had.
    id: StreamId,
    pack: ListpackBuf,
    /// Entries that are not deleted.
    count: u32,
    deleted: u32,
    /// The node that begins with an entry for which there was no room here.
    behind: Option<Box<StreamNode>>,
}

/// The limits of a node; 0 is none.
#[derive(Clone, Copy, Debug)]
pub struct NodeLimits {
    pub bytes: usize,
    pub entries: usize,
}

/// An entry of a stream.
#[derive(Clone, Copy, Debug)]
pub struct StreamEntry<'a> {
    pub id: StreamId,
    pack: Listpack<'a>,
    /// Place of the first field where they are the entry's own, of the first value otherwise.
    at: usize,
    fields: usize,
    /// Place of the first field of the master entry, for an entry that has these.
    master: Option<usize>,
}

impl<'a> StreamEntry<'a> {
    /// The number of fields.
    #[must_use]
    pub fn fields(&self) -> usize {
        self.fields
    }

    /// Fields and values in order.
    pub fn pairs(&self) -> impl Iterator<Item = (Element<'a>, Element<'a>)> + use<'a> {
        let pack = self.pack;
        let mut value_at = Some(self.at);
        let mut field_at = self.master;
        let own_fields = self.master.is_none();
        (0..self.fields).map_while(move |_| {
            let field = if own_fields {
                let at = value_at?;
                value_at = pack.after(at);
                pack.at(at)?
            } else {
                let at = field_at?;
                field_at = pack.after(at);
                pack.at(at)?
            };
            let at = value_at?;
            value_at = pack.after(at);
            Some((field, pack.at(at)?))
        })
    }
}

/// An entry with what its node knows about it.
#[derive(Clone, Copy, Debug)]
struct Row<'a> {
    entry: StreamEntry<'a>,
    /// Place of the flags.
    flags_at: usize,
    flags: i64,
    /// Place behind the entry.
    next: usize,
}

fn int(pack: Listpack<'_>, at: usize) -> Option<i64> {
    match pack.at(at)? {
        Element::Int(number) => Some(number),
        Element::Str(_) => None,
    }
}

/// Moves on by so many elements. The end is a place, too.
fn skip(pack: Listpack<'_>, at: usize, count: usize) -> Option<usize> {
    let mut entries = pack.entries_between(at, pack.end());
    if count == 0 {
        return Some(at);
    }
    let (last, _) = entries.nth(count - 1)?;
    Some(pack.after(last).unwrap_or(pack.end()))
}

impl StreamNode {
    /// A node whose first entry will be this.
    fn new(id: StreamId, pairs: Pairs<'_>) -> Self {
        let mut pack = ListpackBuf::with_capacity(BYTES_STEP);
        let numbers = [0, 0, pairs.len() as i64].map(Element::Int);
        let fields = pairs.iter().map(|(field, _)| Element::of(field));
        pack.extend(numbers.into_iter().chain(fields).chain([Element::Int(0)]));
        Self {
            id,
            pack,
            ..Self::default()
        }
    }

    /// The node of a listpack that came from elsewhere; `None` for what is none.
    #[must_use]
    pub fn parse(id: StreamId, bytes: &[u8]) -> Option<Self> {
        let pack = Listpack::parse(bytes).ok()?;
        let mut node = Self {
            id,
            pack: ListpackBuf::trusted(bytes.to_vec()),
            count: u32::try_from(int(pack, pack.first()?)?).ok()?,
            deleted: u32::try_from(int(pack, pack.after(pack.first()?)?)?).ok()?,
            behind: None,
        };
        let mut at = node.first_row()?;
        let (mut live, mut dead, mut last) = (0, 0, None);
        while at < pack.end() {
            let row = node.row(at)?;
            if last >= Some(row.entry.id) || row.entry.pairs().count() != row.entry.fields {
                return None;
            }
            last = Some(row.entry.id);
            if row.flags & DELETED == 0 {
                live += 1;
            } else {
                dead += 1;
            }
            at = row.next;
        }
        (live == node.count && dead == node.deleted).then(|| {
            node.pack.shrink_to_fit();
            node
        })
    }

    /// The id to which those of the entries are relative.
    #[must_use]
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// The bytes of the listpack.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.pack.bytes()
    }

    fn master_fields(&self) -> Option<(usize, usize)> {
        let pack = self.pack.view();
        let at = skip(pack, pack.first()?, 2)?;
        let fields = usize::try_from(int(pack, at)?).ok()?;
        Some((fields, pack.after(at)?))
    }

    /// Place of the first entry.
    fn first_row(&self) -> Option<usize> {
        let (fields, at) = self.master_fields()?;
        skip(self.pack.view(), at, fields + 1)
    }

    fn row(&self, flags_at: usize) -> Option<Row<'_>> {
        let pack = self.pack.view();
        let flags = int(pack, flags_at)?;
        let at = pack.after(flags_at)?;
        let milliseconds = int(pack, at)? as u64;
        let at = pack.after(at)?;
        let sequence = int(pack, at)? as u64;
        let at = pack.after(at)?;
        let id = StreamId::new(
            self.id.milliseconds.wrapping_add(milliseconds),
            self.id.sequence.wrapping_add(sequence),
        );
        let (fields, master, at, elements) = if flags & SAME_FIELDS != 0 {
            let (fields, master) = self.master_fields()?;
            (fields, Some(master), at, fields)
        } else {
            let fields = usize::try_from(int(pack, at)?).ok()?;
            let at = pack.after(at)?;
            (fields, None, at, fields.checked_mul(2)?)
        };
        let count_at = skip(pack, at, elements)?;
        int(pack, count_at)?;
        Some(Row {
            entry: StreamEntry {
                id,
                pack,
                at,
                fields,
                master,
            },
            flags_at,
            flags,
            next: pack.after(count_at).unwrap_or(pack.end()),
        })
    }

    fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let mut at = self.first_row();
        std::iter::from_fn(move || {
            let row = self.row(at?)?;
            at = Some(row.next);
            Some(row)
        })
    }

    /// The entries that are not deleted, in order.
    pub fn entries(&self) -> impl Iterator<Item = StreamEntry<'_>> {
        self.rows()
            .filter(|row| row.flags & DELETED == 0)
            .map(|row| row.entry)
    }

    /// The entries that are not deleted, the last first.
    pub fn entries_back(&self) -> impl Iterator<Item = StreamEntry<'_>> {
        let pack = self.pack.view();
        let first = self.first_row().unwrap_or(pack.end());
        let mut end = pack.end();
        std::iter::from_fn(move || {
            while end > first {
                let count_at = pack.before(end)?;
                let elements = usize::try_from(int(pack, count_at)?).ok()?;
                let mut at = count_at;
                for _ in 0..elements {
                    at = pack.before(at)?;
                }
                end = at;
                let row = self.row(at)?;
                if row.flags & DELETED == 0 {
                    return Some(row.entry);
                }
            }
            None
        })
    }

    /// Appends an entry behind all others.
    pub(super) fn push(&mut self, id: StreamId, pairs: Pairs<'_>, limits: NodeLimits) {
        if self.pack.view().is_empty() {
            *self = Self::new(id, pairs);
        } else if !self.has_room(id, pairs, limits) {
            let mut next = Self::new(id, pairs);
            next.append(id, pairs);
            self.pack.shrink_to_fit();
            self.behind = Some(Box::new(next));
            return;
        }
        self.append(id, pairs);
    }

    fn has_room(&self, id: StreamId, pairs: Pairs<'_>, limits: NodeLimits) -> bool {
        let bytes: usize = pairs
            .iter()
            .map(|(field, value)| field.len() + value.len())
            .sum();
        let has_bytes = limits.bytes == 0 || self.pack.bytes().len() + bytes < limits.bytes;
        let entries = (self.count + self.deleted) as usize;
        let has_entries = limits.entries == 0 || entries < limits.entries;
        let distance = id.milliseconds.wrapping_sub(self.id.milliseconds);
        has_bytes && has_entries && i64::try_from(distance).is_ok()
    }

    fn has_fields(&self, pairs: Pairs<'_>) -> bool {
        let Some((fields, at)) = self.master_fields() else {
            return false;
        };
        let pack = self.pack.view();
        fields == pairs.len()
            && pack
                .entries_between(at, pack.end())
                .zip(pairs.iter())
                .all(|((_, known), (field, _))| known == Element::of(field))
    }

    fn append(&mut self, id: StreamId, pairs: Pairs<'_>) {
        let same = self.has_fields(pairs);
        let milliseconds = id.milliseconds.wrapping_sub(self.id.milliseconds);
        let sequence = id.sequence.wrapping_sub(self.id.sequence);
        let flags = if same { SAME_FIELDS } else { 0 };
        let head = [flags, milliseconds as i64, sequence as i64].map(Element::Int);
        let head = head.into_iter();
        let elements = if same {
            pairs.len()
        } else {
            2 * pairs.len() + 1
        };
        let behind = [Element::Int((head.len() + elements) as i64)];
        if same {
            let values = pairs.iter().map(|(_, value)| Element::of(value));
            self.pack.extend(head.chain(values).chain(behind));
        } else {
            let len = [Element::Int(pairs.len() as i64)];
            let elements = pairs.iter().flat_map(|(field, value)| [field, value]);
            let elements = elements.map(Element::of);
            self.pack
                .extend(head.chain(len).chain(elements).chain(behind));
        }
        self.count += 1;
        self.write_counts();
    }

    fn write_counts(&mut self) {
        let Some(at) = self.pack.view().first() else {
            return;
        };
        self.pack.replace(at, Element::Int(i64::from(self.count)));
        if let Some(at) = self.pack.view().after(at) {
            self.pack.replace(at, Element::Int(i64::from(self.deleted)));
        }
    }

    /// Deletes an entry. False where it is not there.
    pub(super) fn delete(&mut self, id: StreamId) -> bool {
        let mut live = self.rows().filter(|row| row.flags & DELETED == 0);
        let found = live.find(|row| row.entry.id == id);
        let found = found.map(|row| (row.flags_at, row.flags));
        drop(live);
        let Some((at, flags)) = found else {
            return false;
        };
        if self.count == 1 {
            *self = Self::default();
            return true;
        }
        self.pack.replace(at, Element::Int(flags | DELETED));
        self.count -= 1;
        self.deleted += 1;
        self.write_counts();
        true
    }

    /// Deletes the entries from one position up to another.
    pub(super) fn delete_range(&mut self, from: usize, to: usize) {
        let ids: Vec<StreamId> = self
            .entries()
            .skip(from)
            .take(to - from)
            .map(|entry| entry.id)
            .collect();
        if ids.len() == self.count as usize {
            *self = Self::default();
            return;
        }
        for id in ids {
            self.delete(id);
        }
    }
}

impl Leaf for StreamNode {
    type Key = StreamId;

    fn len(&self) -> usize {
        self.count as usize
    }

    fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.pack.capacity()
    }

    fn first_key(&self) -> StreamId {
        self.id
    }

    fn split(&mut self) -> Option<Self> {
        self.behind.take().map(|behind| *behind)
    }

    fn is_small(&self) -> bool {
        false
    }

    fn absorb(&mut self, _: &Self) -> bool {
        false
    }
}
