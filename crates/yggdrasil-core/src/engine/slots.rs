//! Reply slots: replies leave a session in the order of its requests, whoever makes them.

use std::collections::VecDeque;

use super::output::{Gates, Output, Tails};

/// Replies that have left are cut off the held ones when they are at least so many bytes, and more than half of all.
const COMPACT_BYTES: usize = 64 * 1024;

/// A reply that is not there yet.
struct Slot {
    /// Nobody wants the reply.
    muted: bool,
    /// Given before the replies in front of it, with what is made of it later.
    reply: Option<(Vec<u8>, Tails)>,
    /// Where in the held bytes the replies begin that stand behind it and needed no slot; they end where those of the
    /// next slot begin.
    behind: usize,
}

/// The queue of a session. Empty nearly always; then replies go straight to the output.
#[derive(Default)]
pub struct ReplySlots {
    queue: VecDeque<Slot>,
    /// Slots that were ever opened.
    opened: u64,
    /// Replies that wait behind open slots.
    held: Vec<u8>,
    /// Bytes at the start of `held` that have left.
    left: usize,
    /// Places in `held` where something begins that is not to be sent yet.
    gates: Gates,
}

impl ReplySlots {
    /// True when every reply so far has been given.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Takes the next place for a reply that comes later.
    pub fn open(&mut self, muted: bool) -> u64 {
        let number = self.opened;
        self.opened += 1;
        self.queue.push_back(Slot {
            muted,
            reply: None,
            behind: self.held.len(),
        });
        number
    }

    /// Where a reply that is there now has to be appended: behind the last open slot, or to `output`.
    #[inline]
    pub fn target<'a>(&'a mut self, output: &'a mut Vec<u8>) -> &'a mut Vec<u8> {
        if self.queue.is_empty() {
            output
        } else {
            &mut self.held
        }
    }

    /// Fills a slot and moves what is complete to `output`. A slot that is gone is ignored: its session was reset.
    pub fn fill(&mut self, number: u64, reply: &[u8], tails: Tails, output: &mut Output) {
        let first = self.opened - self.queue.len() as u64;
        let Some(place) = number
            .checked_sub(first)
            .and_then(|place| usize::try_from(place).ok())
            .filter(|&place| place < self.queue.len())
        else {
            return;
        };
        let slot = &mut self.queue[place];
        let (reply, tails) = if slot.muted {
            (&[][..], Tails::new())
        } else {
            (reply, tails)
        };
        if place > 0 {
            slot.reply = Some((reply.to_vec(), tails));
            return;
        }
        output.append_with(reply, tails);
        self.pop_front(output);
        while let Some((reply, tails)) = self.queue.front_mut().and_then(|slot| slot.reply.take()) {
            output.append_with(&reply, tails);
            self.pop_front(output);
        }
        self.forget_what_left();
    }

    /// The place behind all that is held.
    pub fn end(&self) -> u64 {
        self.held.len() as u64
    }

    /// Keeps what begins at a place, and all behind it, until a change is durable.
    pub fn add_gate(&mut self, place: u64, number: u64) {
        self.gates.add(place, number);
    }

    /// Opens the gates of changes that are durable.
    pub fn open_gates(&mut self, durable: u64) {
        self.gates.open(durable);
    }

    /// True while something is held that waits for a change to be durable.
    pub fn has_gates(&self) -> bool {
        !self.gates.is_empty()
    }

    /// Removes the first slot, whose reply is in `output`, and moves what stands behind it there.
    fn pop_front(&mut self, output: &mut Output) {
        let Some(slot) = self.queue.pop_front() else {
            return;
        };
        let end = self
            .queue
            .front()
            .map_or(self.held.len(), |next| next.behind);
        while let Some((place, number)) = self.gates.take_before(end as u64) {
            output.add_gate(output.end() + place - slot.behind as u64, number);
        }
        output
            .buffer()
            .extend_from_slice(&self.held[slot.behind..end]);
        self.left = end;
    }

    fn forget_what_left(&mut self) {
        if self.queue.is_empty() {
            self.held.clear();
            self.held.shrink_to(COMPACT_BYTES);
            self.left = 0;
        } else if self.left >= COMPACT_BYTES && self.left > self.held.len() / 2 {
            self.held.drain(..self.left);
            for slot in &mut self.queue {
                slot.behind -= self.left;
            }
            self.gates.move_back(self.left as u64);
            self.left = 0;
        }
    }

    /// Slots that were ever opened.
    #[inline]
    pub fn opened(&self) -> u64 {
        self.opened
    }

    /// Slots that are open.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Bytes held back.
    pub fn bytes(&self) -> usize {
        let replies = self.queue.iter().filter_map(|slot| slot.reply.as_ref());
        self.held.len() - self.left + replies.map(|(bytes, _)| bytes.len()).sum::<usize>()
    }

    /// Gives memory back that holds nothing.
    pub fn shrink(&mut self) {
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
            self.held = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_leave_in_request_order_whatever_the_order_they_come_in() {
        let mut slots = ReplySlots::default();
        let mut output = Output::default();
        slots.target(output.buffer()).extend_from_slice(b"a");
        let b = slots.open(false);
        slots.target(output.buffer()).extend_from_slice(b"c");
        let d = slots.open(false);
        slots.target(output.buffer()).extend_from_slice(b"e");
        assert_eq!(output.unsent(), b"a");
        slots.fill(d, b"d", Tails::new(), &mut output);
        assert_eq!(output.unsent(), b"a");
        slots.fill(b, b"b", Tails::new(), &mut output);
        assert_eq!(output.unsent(), b"abcde");
        assert!(slots.is_empty());
    }

    #[test]
    fn a_slot_that_is_gone_is_ignored() {
        let mut slots = ReplySlots::default();
        let mut output = Output::default();
        let number = slots.open(false);
        slots.fill(number, b"x", Tails::new(), &mut output);
        slots.fill(number, b"y", Tails::new(), &mut output);
        slots.fill(number + 7, b"z", Tails::new(), &mut output);
        assert_eq!(output.unsent(), b"x");
    }

    #[test]
    fn a_muted_slot_gives_nothing() {
        let mut slots = ReplySlots::default();
        let mut output = Output::default();
        let muted = slots.open(true);
        let wanted = slots.open(false);
        slots.fill(wanted, b"w", Tails::new(), &mut output);
        slots.fill(muted, b"m", Tails::new(), &mut output);
        assert_eq!(output.unsent(), b"w");
    }

    #[test]
    fn a_queue_that_is_never_empty_holds_only_what_has_not_left() {
        let mut slots = ReplySlots::default();
        let (mut output, mut expected) = (Output::default(), Vec::new());
        let mut open = slots.open(false);
        for round in 0..2_000_u32 {
            let held = vec![round as u8; 100];
            slots.target(output.buffer()).extend_from_slice(&held);
            let next = slots.open(false);
            slots.fill(open, b"reply", Tails::new(), &mut output);
            open = next;
            expected.extend_from_slice(b"reply");
            expected.extend_from_slice(&held);
            assert_eq!(slots.bytes(), 0);
            assert!(slots.held.len() < 2 * COMPACT_BYTES);
        }
        assert_eq!(output.unsent(), expected);
    }
}
