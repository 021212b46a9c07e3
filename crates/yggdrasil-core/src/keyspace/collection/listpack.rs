//! Listpacks: sequences of short elements in one piece of memory, in Redis's format.
//!
//! ```text
//! total bytes: u32 | elements: u16, all ones for unknown | entries | 0xff
//! entry = encoding | bytes of the element | length of both, to be read from its end
//! ```
//! Numbers are little-endian. An element whose text is that of an integer is stored as one. Places are offsets of
//! entries; the place behind the last entry is that of the end byte.

mod element;
#[cfg(test)]
mod tests;

pub use element::Element;
use element::{Encoded, Entry};

const HEADER_BYTES: usize = 6;
const END: u8 = 0xff;
/// Stands for a number of elements that has to be counted.
const UNKNOWN: u16 = u16::MAX;
/// Bytes of a listpack without elements.
pub const EMPTY_BYTES: usize = HEADER_BYTES + 1;
/// Bytes from which a pack is searched for the bytes of a text before its entries are.
const SCANNED_BYTES_MIN: usize = 128;
/// The most bytes of a listpack that Redis makes or reads.
pub const PACK_BYTES_MAX: usize = 1 << 30;

/// A fault in the bytes of a listpack.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ListpackError {
    #[error("{0} bytes are no listpack")]
    Short(usize),
    #[error("a listpack of {0} bytes says that it has another number of them")]
    Total(usize),
    #[error("a listpack does not end with its end byte")]
    End,
    #[error("the entry at byte {0} of a listpack is damaged")]
    Entry(usize),
    #[error("a listpack of {0} elements says that it has another number of them")]
    Count(usize),
}

/// A view of a listpack. Whatever its bytes are, reading ends early at worst.
#[derive(Clone, Copy, Debug)]
pub struct Listpack<'a> {
    bytes: &'a [u8],
}

impl<'a> Listpack<'a> {
    /// A view of bytes that were made here, or checked before.
    #[inline]
    pub fn trusted(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// A view of any bytes, all of which are checked.
    ///
    /// # Errors
    /// The bytes are no listpack.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ListpackError> {
        let short = ListpackError::Short(bytes.len());
        let (total, _) = bytes.split_first_chunk().ok_or(short)?;
        if bytes.len() < EMPTY_BYTES {
            return Err(short);
        }
        if u32::from_le_bytes(*total) as usize != bytes.len() {
            return Err(ListpackError::Total(bytes.len()));
        }
        if bytes.last() != Some(&END) {
            return Err(ListpackError::End);
        }
        let pack = Self { bytes };
        let (mut at, mut count) = (HEADER_BYTES, 0);
        while at < pack.end() {
            let entry = pack.entry(at).ok_or(ListpackError::Entry(at))?;
            if !element::is_sound(bytes, at, entry.next) {
                return Err(ListpackError::Entry(at));
            }
            at = entry.next;
            count += 1;
        }
        if pack.known_len().is_some_and(|known| known != count) {
            return Err(ListpackError::Count(count));
        }
        Ok(pack)
    }

    #[inline]
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// The number of elements, if it stands in the header.
    #[inline]
    fn known_len(self) -> Option<usize> {
        let count = u16::from_le_bytes(*self.bytes.get(4..)?.first_chunk()?);
        (count != UNKNOWN).then_some(usize::from(count))
    }

    /// The number of elements; counts them only where there are 65,535 and more, or were.
    #[inline]
    pub fn len(self) -> usize {
        self.known_len().unwrap_or_else(|| self.iter().count())
    }

    #[inline]
    pub fn is_empty(self) -> bool {
        self.bytes.len() <= EMPTY_BYTES
    }

    /// The place behind the last entry.
    #[inline]
    pub fn end(self) -> usize {
        self.bytes.len().saturating_sub(1)
    }

    #[inline]
    fn entry(self, at: usize) -> Option<Entry<'a>> {
        (at < self.end())
            .then(|| element::read(self.bytes, at))
            .flatten()
    }

    /// The place of the first element.
    #[inline]
    pub fn first(self) -> Option<usize> {
        self.entry(HEADER_BYTES).map(|_| HEADER_BYTES)
    }

    /// The place of the last element.
    #[inline]
    pub fn last(self) -> Option<usize> {
        self.before(self.end())
    }

    /// The place of the element behind another one.
    #[inline]
    pub fn after(self, at: usize) -> Option<usize> {
        let next = self.entry(at)?.next;
        self.entry(next).map(|_| next)
    }

    /// The place of the element before another one, or before [`Listpack::end`].
    #[inline]
    pub fn before(self, at: usize) -> Option<usize> {
        let start = element::start_before(self.bytes, at)?;
        (start >= HEADER_BYTES && start < at).then_some(start)
    }

    /// The element at a place.
    #[inline]
    pub fn at(self, place: usize) -> Option<Element<'a>> {
        self.entry(place).map(|entry| entry.element)
    }

    /// The place of an element by its number; negative ones count from the end.
    pub fn seek(self, index: i64) -> Option<usize> {
        let steps = usize::try_from(index.unsigned_abs()).ok()?;
        let known = self.known_len();
        if known.is_some_and(|len| steps > len || (index >= 0 && steps == len)) {
            return None;
        }
        // Whichever end is nearer is begun at.
        match known {
            Some(len) if index >= 0 && steps > len / 2 => self.seek_back(len - steps),
            Some(len) if index < 0 && steps > len / 2 => self.seek_on(len - steps),
            _ if index < 0 => self.seek_back(steps),
            _ => self.seek_on(steps),
        }
    }

    fn seek_on(self, steps: usize) -> Option<usize> {
        let mut at = self.first()?;
        for _ in 0..steps {
            at = self.after(at)?;
        }
        Some(at)
    }

    /// The place of the last element after one step, that of the one before it after two.
    fn seek_back(self, steps: usize) -> Option<usize> {
        let mut at = self.end();
        for _ in 0..steps {
            at = self.before(at)?;
        }
        Some(at)
    }

    /// An element by its number; negative ones count from the end.
    pub fn get(self, index: i64) -> Option<Element<'a>> {
        self.at(self.seek(index)?)
    }

    /// The place of the first equal element from a place on. Of each `skip + 1` elements one is compared, as in a pack
    /// of fields and values.
    pub fn find(self, sought: Element<'_>, from: usize, skip: usize) -> Option<usize> {
        match sought {
            Element::Str(text) if element::is_short_text(text) => self
                .may_have(text, from)
                .then(|| self.find_text(text, from, skip))
                .flatten(),
            _ => self.find_any(sought, from, skip),
        }
    }

    /// False where the bytes of a text that is no number do not stand behind a place: then no entry has them. Looking at
    /// all bytes by vectors takes a fraction of the time that going from entry to entry does, unless there are few.
    #[inline]
    fn may_have(self, text: &[u8], from: usize) -> bool {
        let rest = self.bytes.get(from..).unwrap_or_default();
        rest.len() < SCANNED_BYTES_MIN || memchr::memmem::find(rest, text).is_some()
    }

    fn find_any(self, sought: Element<'_>, from: usize, skip: usize) -> Option<usize> {
        let mut at = from;
        while let Some(entry) = self.entry(at) {
            if entry.element == sought {
                return Some(at);
            }
            at = entry.next;
            for _ in 0..skip {
                at = element::skip(self.bytes, at)?;
            }
        }
        None
    }

    /// The same for a short text that is no number. Where an entry begins like the text, or like the one that was
    /// passed over before, the next place is known before the entry has been read: the processor does not wait for it.
    fn find_text(self, text: &[u8], from: usize, skip: usize) -> Option<usize> {
        let (head, step) = element::head_of_short(text);
        let (mut passed_head, mut passed_step) = (head, step);
        let mut at = from;
        while at < self.end() {
            if element::may_be(self.bytes, at, text)
                && let Some(entry) = element::read(self.bytes, at)
                && entry.element == Element::Str(text)
            {
                return Some(at);
            }
            at = if self.bytes[at] == head {
                at + step
            } else {
                element::skip(self.bytes, at)?
            };
            for _ in 0..skip {
                let first = *self.bytes.get(at)?;
                if first != passed_head {
                    let next = element::skip(self.bytes, at)?;
                    if !element::says_length(first) {
                        at = next;
                        continue;
                    }
                    (passed_head, passed_step) = (first, next - at);
                }
                at += passed_step;
            }
        }
        None
    }

    /// The elements in their order.
    #[inline]
    pub fn iter(self) -> Elements<'a> {
        Elements {
            entries: self.entries(),
        }
    }

    /// The elements with their places.
    #[inline]
    pub fn entries(self) -> Entries<'a> {
        self.entries_between(HEADER_BYTES, self.end())
    }

    /// The elements from one place up to another, with their places.
    #[inline]
    pub fn entries_between(self, from: usize, to: usize) -> Entries<'a> {
        Entries {
            pack: self,
            front: from,
            back: to,
        }
    }
}

impl<'a> IntoIterator for Listpack<'a> {
    type Item = Element<'a>;
    type IntoIter = Elements<'a>;

    fn into_iter(self) -> Elements<'a> {
        self.iter()
    }
}

/// The elements of a listpack with their places, from both ends.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    pack: Listpack<'a>,
    front: usize,
    back: usize,
}

impl<'a> Iterator for Entries<'a> {
    type Item = (usize, Element<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let at = self.front;
        if at >= self.back {
            return None;
        }
        let Some(entry) = self.pack.entry(at) else {
            self.front = self.back;
            return None;
        };
        self.front = entry.next;
        Some((at, entry.element))
    }
}

impl DoubleEndedIterator for Entries<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.front >= self.back {
            return None;
        }
        let before = self.pack.before(self.back);
        let found = before
            .filter(|at| *at >= self.front)
            .and_then(|at| Some((at, self.pack.at(at)?)));
        self.back = found.map_or(self.front, |(at, _)| at);
        found
    }
}

impl std::iter::FusedIterator for Entries<'_> {}

/// The elements of a listpack, from both ends.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    entries: Entries<'a>,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        self.entries.next().map(|(_, element)| element)
    }
}

impl DoubleEndedIterator for Elements<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        self.entries.next_back().map(|(_, element)| element)
    }
}

impl std::iter::FusedIterator for Elements<'_> {}

/// A listpack that can be changed. Callers keep it below [`PACK_BYTES_MAX`]. A place that is none of its own is an
/// error of the caller, after which the pack has other elements, and nothing worse.
///
/// There may be room before the pack: what comes and goes at the front moves nothing then but the header.
#[derive(Clone, Debug)]
pub struct ListpackBuf {
    /// The room, and the pack.
    memory: Vec<u8>,
    /// Where the pack begins.
    start: usize,
}

impl PartialEq for ListpackBuf {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for ListpackBuf {}

impl Default for ListpackBuf {
    fn default() -> Self {
        Self::new()
    }
}

impl ListpackBuf {
    pub fn new() -> Self {
        Self::with_capacity(EMPTY_BYTES)
    }

    /// An empty pack that can take so many bytes in all before it moves.
    pub fn with_capacity(bytes: usize) -> Self {
        let mut buffer = Vec::with_capacity(bytes.max(EMPTY_BYTES));
        buffer.extend([EMPTY_BYTES as u8, 0, 0, 0, 0, 0, END]);
        Self {
            memory: buffer,
            start: 0,
        }
    }

    /// The pack of bytes that were made here, or checked before.
    pub fn trusted(bytes: Vec<u8>) -> Self {
        Self::trusted_behind(bytes, 0)
    }

    /// The pack that begins at a place in such bytes. What stands before it is room.
    pub fn trusted_behind(bytes: Vec<u8>, start: usize) -> Self {
        if bytes.len() < start + EMPTY_BYTES {
            return Self::new();
        }
        Self {
            memory: bytes,
            start,
        }
    }

    #[inline]
    pub fn view(&self) -> Listpack<'_> {
        Listpack::trusted(self.bytes())
    }

    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.memory[self.start..]
    }

    #[inline]
    pub fn into_bytes(mut self) -> Vec<u8> {
        self.memory.drain(..self.start);
        self.memory
    }

    /// The bytes of the pack behind another one. Where there is room for that, nothing is moved.
    pub fn into_bytes_behind(mut self, first: u8) -> Vec<u8> {
        if self.start == 0 {
            self.memory.insert(0, first);
            return self.memory;
        }
        self.start -= 1;
        self.memory[self.start] = first;
        self.into_bytes()
    }

    /// Gives back memory beyond what the bytes need.
    pub fn shrink_to_fit(&mut self) {
        self.memory.drain(..self.start);
        self.start = 0;
        self.memory.shrink_to_fit();
    }

    /// Makes room for so many bytes before the first element, and for more of them to come: as much as there is in the
    /// pack, or a fixed number, or as much as it may still grow to have `most` bytes.
    pub fn make_room_in_front(&mut self, bytes: usize, most: usize) {
        const ROOM_MAX: usize = 1024;
        if self.start >= bytes {
            return;
        }
        let len = self.bytes().len();
        let room = len.min(ROOM_MAX).min(most.saturating_sub(len)).max(bytes);
        let mut memory = Vec::with_capacity(room + len);
        memory.resize(room, 0);
        memory.extend_from_slice(self.bytes());
        self.memory = memory;
        self.start = room;
    }

    #[inline]
    pub fn capacity(&self) -> usize {
        self.memory.capacity()
    }

    #[inline]
    pub fn push_back(&mut self, element: Element<'_>) {
        self.extend([element]);
    }

    #[inline]
    pub fn push_front(&mut self, element: Element<'_>) {
        self.insert(HEADER_BYTES, element);
    }

    /// Inserts an element before the one at a place, or behind all at [`Listpack::end`]. It has this place then.
    pub fn insert(&mut self, at: usize, element: Element<'_>) {
        let encoded = Encoded::of(element);
        let len = encoded.entry_len();
        let at = self.bounded(at);
        encoded.write(self.open(at, 0, len));
        self.change_len(|count| count.saturating_add(1));
    }

    /// Puts an element in the place of another one.
    pub fn replace(&mut self, at: usize, element: Element<'_>) {
        let Some(old) = self.view().entry(at) else {
            return;
        };
        let encoded = Encoded::of(element);
        let len = encoded.entry_len();
        encoded.write(self.open(at, old.next - at, len));
        self.change_len(|count| count);
    }

    /// Removes up to `count` elements from a place on, and tells how many there were.
    pub fn remove(&mut self, at: usize, count: usize) -> usize {
        let mut end = at;
        let mut removed = 0;
        while removed < count {
            let Some(entry) = self.view().entry(end) else {
                break;
            };
            end = entry.next;
            removed += 1;
        }
        if removed > 0 {
            self.open(at, end - at, 0);
            self.change_len(|known| known.saturating_sub(removed));
        }
        removed
    }

    /// Cuts the pack before the element at a place, and gives what was behind.
    #[must_use]
    pub fn split_off(&mut self, at: usize) -> Self {
        let at = self.bounded(at);
        let end = self.view().end();
        let behind = self.view().entries_between(at, end).count();
        let before = self.view().len().saturating_sub(behind);
        let mut other = Self::with_capacity(EMPTY_BYTES + (end - at));
        other
            .open(HEADER_BYTES, 0, end - at)
            .copy_from_slice(&self.bytes()[at..end]);
        other.write_header(Some(behind));
        self.open(at, end - at, 0);
        self.write_header(Some(before));
        other
    }

    /// Appends all elements of another pack.
    pub fn append(&mut self, other: Listpack<'_>) {
        let entries = other.bytes.get(HEADER_BYTES..other.end()).unwrap_or(&[]);
        let end = self.view().end();
        self.open(end, 0, entries.len()).copy_from_slice(entries);
        let more = other.len();
        self.change_len(|count| count.saturating_add(more));
    }

    /// Inserts all elements of another pack before its own.
    pub fn prepend(&mut self, other: Listpack<'_>) {
        let entries = other.bytes.get(HEADER_BYTES..other.end()).unwrap_or(&[]);
        self.open(HEADER_BYTES, 0, entries.len())
            .copy_from_slice(entries);
        let more = other.len();
        self.change_len(|count| count.saturating_add(more));
    }

    /// A place that lies between the header and the end byte.
    fn bounded(&self, at: usize) -> usize {
        at.clamp(HEADER_BYTES, self.bytes().len() - 1)
    }

    /// Makes room of `new` bytes where there were `old` at a place.
    fn open(&mut self, at: usize, old: usize, new: usize) -> &mut [u8] {
        let len = self.memory.len();
        let from = self.start + at;
        // Whichever part is shorter is moved, if there is room for it.
        if new != old && at < len - from - old && self.start + old >= new {
            let start = self.start + old - new;
            self.memory.copy_within(self.start..from, start);
            self.start = start;
            return &mut self.memory[start + at..start + at + new];
        }
        if new > old {
            self.memory.resize(len + (new - old), 0);
        }
        if new != old {
            self.memory.copy_within(from + old..len, from + new);
            self.memory.truncate(len - old + new);
        }
        &mut self.memory[from..from + new]
    }

    /// Changes the number of elements. One that is unknown stays so.
    #[inline]
    fn change_len(&mut self, change: impl FnOnce(usize) -> usize) {
        self.write_header(self.view().known_len().map(change));
    }

    #[inline]
    fn write_header(&mut self, count: Option<usize>) {
        let total = u32::try_from(self.bytes().len()).unwrap_or(u32::MAX);
        let count = count.and_then(|count| u16::try_from(count).ok());
        let header = &mut self.memory[self.start..self.start + HEADER_BYTES];
        header[..4].copy_from_slice(&total.to_le_bytes());
        header[4..].copy_from_slice(&count.unwrap_or(UNKNOWN).to_le_bytes());
    }
}

impl<'a> Extend<Element<'a>> for ListpackBuf {
    fn extend<T: IntoIterator<Item = Element<'a>>>(&mut self, elements: T) {
        self.memory.pop();
        let mut added = 0;
        for element in elements {
            Encoded::of(element).append(&mut self.memory);
            added += 1;
        }
        self.memory.push(END);
        self.change_len(|count| count.saturating_add(added));
    }
}

impl<'a> FromIterator<Element<'a>> for ListpackBuf {
    fn from_iter<T: IntoIterator<Item = Element<'a>>>(elements: T) -> Self {
        let mut pack = Self::new();
        pack.extend(elements);
        pack
    }
}
