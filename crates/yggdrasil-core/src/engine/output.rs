//! Bytes on their way to a client.

use std::collections::VecDeque;

use crate::engine::rests::Afar;
use crate::engine::views::{Unsent, View};
use crate::keyspace::{Shard, ShardReader};
use crate::resp::{Progress, Rest};
use crate::shm::Exposed;

/// Sent bytes are cut off when they are at least so many, and more than those that have to be moved then.
const COMPACT_BYTES: usize = 256 * 1024;
/// How many times more, where these are not few: moving them holds everybody up.
const MOVED_SHARE: usize = 8;

/// Unsent bytes below which more of a reply is made that goes on in steps.
const REST_ROOM_BYTES: usize = 256 * 1024;

/// The rest of a reply that is made as the output drains.
#[derive(Debug)]
pub enum Tail {
    Here(Box<dyn Rest>),
    /// Another worker makes it.
    There(Afar),
}

/// What is made later of a reply, each behind so many bytes of the rest of it.
pub type Tails = Vec<(usize, Tail)>;

/// A part of a long reply. Each has memory of its own, so that no step of sending it frees or moves much.
#[derive(Debug, Default)]
pub struct Part {
    /// What comes before `bytes` and is not made yet.
    pub rest: Option<Tail>,
    pub bytes: Vec<u8>,
    /// Their places count from the beginning of `bytes`.
    pub views: VecDeque<View>,
}

/// An output buffer: replies are appended to its end and sent from its start. Long values stay where they are; it
/// knows where they belong.
#[derive(Default)]
pub struct Output {
    bytes: Vec<u8>,
    /// Bytes at the start that are sent.
    sent: usize,
    /// In the order of their places; what is sent of the first one is cut off it.
    views: VecDeque<View>,
    /// Bytes of all views.
    view_bytes: u64,
    /// What comes behind `bytes` and `views`; none of it is empty.
    later: VecDeque<Part>,
    /// Bytes that were ever sent.
    sent_total: u64,
    /// What may not be sent yet.
    gates: Gates,
}

/// Places in replies, and the numbers of the changes that must be durable before anything from there on is sent.
/// Both rise.
#[derive(Default)]
#[allow(
    clippy::box_collection,
    reason = "a word in each session, which seldom has any"
)]
pub struct Gates(Option<Box<VecDeque<(u64, u64)>>>);

impl Gates {
    /// Adds one behind all others.
    pub fn add(&mut self, place: u64, number: u64) {
        self.0.get_or_insert_default().push_back((place, number));
    }

    /// Where the first one is.
    #[inline]
    pub fn first(&self) -> Option<u64> {
        self.0.as_ref()?.front().map(|(place, _)| *place)
    }

    /// Takes the first one where it lies before `end`.
    pub fn take_before(&mut self, end: u64) -> Option<(u64, u64)> {
        let gates = self.0.as_mut()?;
        let first = *gates.front()?;
        if first.0 >= end {
            return None;
        }
        gates.pop_front();
        Some(first)
    }

    /// Takes away those of changes up to a number. True if there were any.
    pub fn open(&mut self, durable: u64) -> bool {
        let Some(gates) = &mut self.0 else {
            return false;
        };
        let before = gates.len();
        gates.retain(|(_, number)| *number > durable);
        let opened = gates.len() < before;
        if gates.is_empty() {
            self.0 = None;
        }
        opened
    }

    /// So many bytes were put before all places from one on.
    pub fn move_behind(&mut self, from: u64, by: u64) {
        let places = self.0.iter_mut().flat_map(|gates| gates.iter_mut());
        for (place, _) in places.filter(|(place, _)| *place >= from) {
            *place += by;
        }
    }

    /// The bytes that the places count were moved to the front.
    pub fn move_back(&mut self, by: u64) {
        for (place, _) in self.0.iter_mut().flat_map(|gates| gates.iter_mut()) {
            *place -= by;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl Output {
    /// Where replies are appended.
    #[inline]
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        match self.later.back_mut() {
            None => &mut self.bytes,
            Some(last) => &mut last.bytes,
        }
    }

    /// Adds views of places behind all others'.
    pub fn add_views(&mut self, views: impl Iterator<Item = View>) {
        let last = match self.later.back_mut() {
            None => &mut self.views,
            Some(last) => &mut last.views,
        };
        for view in views {
            self.view_bytes += view.len;
            last.push_back(view);
        }
    }

    /// Appends a reply that was made elsewhere.
    pub fn append(&mut self, parts: impl Iterator<Item = Part>) {
        for part in parts.filter(|part| !part.bytes.is_empty()) {
            self.view_bytes += part.views.iter().map(|view| view.len).sum::<u64>();
            if self.bytes.is_empty() && self.later.is_empty() {
                (self.bytes, self.views) = (part.bytes, part.views);
            } else {
                self.later.push_back(part);
            }
        }
    }

    /// Appends a whole reply with what is made of it later.
    pub fn append_with(&mut self, reply: &[u8], tails: Tails) {
        let mut from = 0;
        for (at, tail) in tails {
            self.buffer().extend_from_slice(&reply[from..at]);
            self.add_rest(tail);
            from = at;
        }
        self.buffer().extend_from_slice(&reply[from..]);
    }

    /// Adds what is made later behind all that there is.
    #[cold]
    pub fn add_rest(&mut self, rest: Tail) {
        self.later.push_back(Part {
            rest: Some(rest),
            ..Part::default()
        });
    }

    /// True while anything comes behind its first part, made or not.
    #[inline]
    pub fn has_later(&self) -> bool {
        !self.later.is_empty()
    }

    /// True while some of what was added is not made yet.
    #[inline]
    pub fn has_rests(&self) -> bool {
        !self.later.is_empty() && self.later.iter().any(|part| part.rest.is_some())
    }

    /// True when more of a rest may be made: little is left to be sent before it.
    #[inline]
    pub fn wants_more(&self) -> bool {
        let next = self.later.front();
        next.is_some_and(|part| part.rest.is_some())
            && self.bytes.len() - self.sent + (self.view_bytes as usize) < REST_ROOM_BYTES
    }

    /// The first rest, where it is made elsewhere.
    pub fn first_afar(&mut self) -> Option<&mut Afar> {
        match self.later.front_mut()?.rest.as_mut()? {
            Tail::There(afar) => Some(afar),
            Tail::Here(_) => None,
        }
    }

    /// Makes more of the first rest, a step.
    pub fn make_more(&mut self) {
        let from = self.end_of_first();
        let before = self.bytes.len();
        let Some(Tail::Here(rest)) = self.later.front_mut().and_then(|part| part.rest.as_mut())
        else {
            return;
        };
        let progress = rest.go_on(&mut self.bytes);
        self.note_made(from, self.bytes.len() - before, progress);
    }

    /// Adds bytes of the first rest, which were made elsewhere.
    pub fn take_made(&mut self, bytes: &[u8], progress: Progress) {
        let from = self.end_of_first();
        self.bytes.extend_from_slice(bytes);
        self.note_made(from, bytes.len(), progress);
    }

    /// The place behind what stands before the first rest.
    fn end_of_first(&self) -> u64 {
        let views: u64 = self.views.iter().map(|view| view.len).sum();
        self.sent_total + (self.bytes.len() - self.sent) as u64 + views
    }

    fn note_made(&mut self, from: u64, bytes: usize, progress: Progress) {
        self.gates.move_behind(from, bytes as u64);
        if progress == Progress::Done {
            if let Some(part) = self.later.front_mut() {
                part.rest = None;
            }
            self.begin_next();
        }
    }

    /// Goes on with what comes behind, when all before it has been sent and it is made.
    fn begin_next(&mut self) {
        while self.sent == self.bytes.len()
            && self.views.is_empty()
            && self.later.front().is_some_and(|part| part.rest.is_none())
            && let Some(next) = self.later.pop_front()
        {
            (self.bytes, self.views) = (next.bytes, next.views);
            self.sent = 0;
            if self.later.is_empty() {
                self.later = VecDeque::new();
            }
        }
    }

    /// The place behind all that there is, counted from the first byte ever sent.
    #[inline]
    pub fn end(&self) -> u64 {
        self.sent_total + self.len() as u64
    }

    /// Keeps all from a place on until a change is durable.
    pub fn add_gate(&mut self, place: u64, number: u64) {
        self.gates.add(place, number);
    }

    /// Opens the gates of changes that are durable. True if there were any.
    pub fn open_gates(&mut self, durable: u64) -> bool {
        self.gates.open(durable)
    }

    /// True while something may not be sent yet.
    #[inline]
    pub fn has_gates(&self) -> bool {
        !self.gates.is_empty()
    }

    /// Bytes that may be sent.
    #[inline]
    fn allowed(&self) -> usize {
        match self.gates.first() {
            None => usize::MAX,
            Some(place) => place.saturating_sub(self.sent_total) as usize,
        }
    }

    /// True when a long value, or a reply in parts, is to be sent.
    #[inline]
    pub fn has_views(&self) -> bool {
        !self.views.is_empty() || !self.later.is_empty()
    }

    /// What is still to be sent, as far as the next long value.
    #[inline]
    pub fn unsent(&self) -> &[u8] {
        let end = match self.views.front() {
            None => self.bytes.len(),
            Some(view) => view.at,
        };
        let end = end.min(self.sent.saturating_add(self.allowed()));
        &self.bytes[self.sent..end]
    }

    /// About `at_most` of the bytes that are still to be sent.
    pub fn pieces<'a>(
        &'a self,
        at_most: usize,
        own: &'a Shard,
        others: &'a [Option<ShardReader>],
    ) -> Unsent<'a> {
        let mut unsent = Unsent::new();
        let allowed = self.allowed();
        if allowed == 0 {
            return unsent;
        }
        let at_most = at_most.min(allowed);
        let mut from = self.sent;
        let mut has_room = true;
        for view in &self.views {
            if from < view.at {
                let end = view.at.min(from + at_most - unsent.len());
                has_room = unsent.push(Exposed::from(&self.bytes[from..end]));
                from = end;
            }
            if !has_room || unsent.len() >= at_most {
                has_room = false;
                break;
            }
            let room = (at_most - unsent.len()) as u64;
            has_room = unsent.push(view.exposed(room, own, others));
            if !has_room || view.len > room {
                has_room = false;
                break;
            }
        }
        if has_room && unsent.len() < at_most && from < self.bytes.len() {
            let end = self.bytes.len().min(from + at_most - unsent.len());
            unsent.push(Exposed::from(&self.bytes[from..end]));
        }
        unsent.set_more(unsent.len() < self.len().min(allowed));
        unsent
    }

    /// A copy of the next bytes, at most so many.
    pub fn copied(&self, at_most: usize, own: &Shard, others: &[Option<ShardReader>]) -> Vec<u8> {
        let bytes = self.unsent();
        let at_most = at_most.min(self.allowed());
        match self.views.front() {
            Some(view) if bytes.is_empty() => view.copied(at_most as u64, own, others),
            _ => bytes[..bytes.len().min(at_most)].to_vec(),
        }
    }

    /// Bytes still to be sent.
    #[inline]
    pub fn len(&self) -> usize {
        self.held() + self.view_bytes as usize
    }

    /// Bytes held here that are still to be sent; while a reply is written, its buffer is elsewhere.
    #[inline]
    pub fn held(&self) -> usize {
        let later: usize = self.later.iter().map(|part| part.bytes.len()).sum();
        self.bytes.len().saturating_sub(self.sent) + later
    }

    /// True when everything is sent.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.sent == self.bytes.len() && self.views.is_empty() && self.later.is_empty()
    }

    /// Bytes of memory.
    pub fn capacity(&self) -> usize {
        let of = |bytes: &Vec<u8>, views: &VecDeque<View>| {
            bytes.capacity() + views.capacity() * size_of::<View>()
        };
        let later: usize = self
            .later
            .iter()
            .map(|part| of(&part.bytes, &part.views))
            .sum();
        of(&self.bytes, &self.views) + later
    }

    /// So many bytes are sent. A buffer larger than `keep_bytes` is given back when it is empty.
    #[inline]
    pub fn advance(&mut self, bytes: usize, keep_bytes: usize) {
        self.sent_total += bytes as u64;
        if self.views.is_empty() {
            self.sent = (self.sent + bytes).min(self.bytes.len());
        } else {
            self.advance_over_views(bytes);
        }
        if !self.later.is_empty() && self.sent == self.bytes.len() && self.views.is_empty() {
            self.sent = 0;
            self.bytes.clear();
            self.begin_next();
        } else if self.is_empty() {
            self.sent = 0;
            self.bytes.clear();
            if self.bytes.capacity() > keep_bytes {
                self.bytes = Vec::new();
            }
        } else if self.sent >= COMPACT_BYTES
            && (self.sent > MOVED_SHARE * self.held()
                || self.held() < COMPACT_BYTES && self.sent > self.held())
        {
            self.bytes.drain(..self.sent);
            for view in &mut self.views {
                view.at -= self.sent;
            }
            self.sent = 0;
        }
    }

    fn advance_over_views(&mut self, bytes: usize) {
        let mut left = bytes;
        while left > 0 {
            let Some(view) = self.views.front_mut() else {
                self.sent = (self.sent + left).min(self.bytes.len());
                break;
            };
            let before = left.min(view.at - self.sent);
            self.sent += before;
            left -= before;
            let within = view.len.min(left as u64);
            view.offset += within;
            view.len -= within;
            self.view_bytes -= within;
            left -= within as usize;
            if view.len == 0 {
                self.views.pop_front();
            }
        }
        if self.views.is_empty() {
            self.views = VecDeque::new();
        }
    }

    /// Takes back what was appended behind the first `len` bytes of the buffer.
    pub fn truncate(&mut self, len: usize) {
        let (bytes, views) = match self.later.back_mut() {
            None => (&mut self.bytes, &mut self.views),
            Some(last) => (&mut last.bytes, &mut last.views),
        };
        bytes.truncate(len);
        while views.back().is_some_and(|view| view.at >= len) {
            let view = views.pop_back();
            self.view_bytes -= view.map_or(0, |view| view.len);
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_in_parts_leaves_in_order_with_what_is_around_it() {
        for step in [1, 7, 1_000] {
            let mut output = Output::default();
            output.buffer().extend_from_slice(b"before ");
            let part = |bytes: &[u8]| Part {
                bytes: bytes.to_vec(),
                ..Part::default()
            };
            let parts = [part(b"one "), part(b""), part(b"two "), part(b"three ")];
            output.append(parts.into_iter());
            output.buffer().extend_from_slice(b"after, not this");
            let all = "before one two three after, not this".len();
            assert_eq!((output.len(), output.held()), (all, all));
            output.truncate("three after".len());
            let mut received = Vec::new();
            while !output.is_empty() {
                let piece = &output.unsent()[..step.min(output.unsent().len())];
                received.extend_from_slice(piece);
                let sent = piece.len();
                output.advance(sent, 0);
            }
            assert_eq!(received, b"before one two three after");
            assert_eq!((output.len(), output.capacity()), (0, 0));
        }
    }

    /// Numbers up to ten, one a step.
    #[derive(Debug)]
    struct Counting(u8);

    impl Rest for Counting {
        fn go_on(&mut self, out: &mut Vec<u8>) -> Progress {
            out.push(b'0' + self.0);
            self.0 += 1;
            if self.0 < 10 {
                Progress::More
            } else {
                Progress::Done
            }
        }
    }

    #[test]
    fn what_is_made_in_steps_leaves_in_its_place() {
        for step in [1, 3, 1_000] {
            let mut output = Output::default();
            output.buffer().extend_from_slice(b"before ");
            output.add_rest(Tail::Here(Box::new(Counting(0))));
            output.add_rest(Tail::Here(Box::new(Counting(7))));
            output.buffer().extend_from_slice(b" behind ");
            output.add_gate(output.end(), 5);
            output.buffer().extend_from_slice(b"the gate");
            let mut received = Vec::new();
            let mut send = |output: &mut Output| {
                while !output.unsent().is_empty() {
                    let piece = &output.unsent()[..step.min(output.unsent().len())];
                    received.extend_from_slice(piece);
                    let sent = piece.len();
                    output.advance(sent, 0);
                    if output.wants_more() {
                        output.make_more();
                    }
                }
                received.clone()
            };
            assert_eq!(send(&mut output), b"before 0123456789789 behind ");
            assert!(!output.has_rests() && !output.is_empty());
            output.open_gates(5);
            let all = send(&mut output);
            assert_eq!(all, b"before 0123456789789 behind the gate");
            assert!(output.is_empty());
        }
    }

    #[test]
    fn bytes_leave_in_order_however_they_are_sent() {
        let all: Vec<u8> = (0..2_000_000_u32).map(|number| number as u8).collect();
        for step in [1_000, 77_777, 1_500_000] {
            let mut output = Output::default();
            let mut received = Vec::new();
            output.buffer().extend_from_slice(&all[..1_000_000]);
            while !output.is_empty() {
                let piece = &output.unsent()[..step.min(output.len())];
                received.extend_from_slice(piece);
                let sent = piece.len();
                output.advance(sent, 0);
                if received.len() < 1_000_000 && output.len() < 100_000 {
                    let from = received.len() + output.len();
                    output
                        .buffer()
                        .extend_from_slice(&all[from..all.len().min(from + 300_000)]);
                }
            }
            assert!(received == all[..received.len()]);
            assert!(received.len() >= 1_000_000);
            assert_eq!(output.capacity(), 0);
        }
    }
}
