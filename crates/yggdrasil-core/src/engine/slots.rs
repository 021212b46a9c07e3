//! Reply slots: replies leave a session in the order of its requests, whoever makes them.

use std::collections::VecDeque;

/// A reply that is not there yet, and what was replied to later requests meanwhile.
struct Slot {
    number: u64,
    /// Nobody wants the reply.
    muted: bool,
    reply: Option<Vec<u8>>,
    /// Replies to requests behind this one that needed no slot.
    behind: Vec<u8>,
}

/// The queue of a session. Empty nearly always; then replies go straight to the output.
#[derive(Default)]
pub struct ReplySlots {
    queue: VecDeque<Slot>,
    next: u64,
}

impl ReplySlots {
    /// True when every reply so far has been given.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Takes the next place for a reply that comes later.
    pub fn open(&mut self, muted: bool) -> u64 {
        let number = self.next;
        self.next += 1;
        self.queue.push_back(Slot {
            number,
            muted,
            reply: None,
            behind: Vec::new(),
        });
        number
    }

    /// Where a reply that is there now has to be appended: behind the last open slot, or to `output`.
    #[inline]
    pub fn target<'a>(&'a mut self, output: &'a mut Vec<u8>) -> &'a mut Vec<u8> {
        match self.queue.back_mut() {
            None => output,
            Some(slot) => &mut slot.behind,
        }
    }

    /// Fills a slot and moves what is complete to `output`. A slot that is gone is ignored: its session was reset.
    pub fn fill(&mut self, number: u64, reply: Vec<u8>, output: &mut Vec<u8>) {
        let Some(first) = self.queue.front().map(|slot| slot.number) else {
            return;
        };
        let Some(slot) = number
            .checked_sub(first)
            .and_then(|index| self.queue.get_mut(index as usize))
        else {
            return;
        };
        slot.reply = Some(if slot.muted { Vec::new() } else { reply });
        while let Some(front) = self.queue.front_mut() {
            let Some(reply) = front.reply.take() else {
                break;
            };
            if output.is_empty() && output.capacity() < reply.len() {
                *output = reply;
            } else {
                output.extend_from_slice(&reply);
            }
            output.extend_from_slice(&front.behind);
            self.queue.pop_front();
        }
    }

    /// Slots that were ever opened.
    #[inline]
    pub fn opened(&self) -> u64 {
        self.next
    }

    /// Slots that are open.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Bytes held back.
    pub fn bytes(&self) -> usize {
        self.queue
            .iter()
            .map(|slot| slot.behind.len() + slot.reply.as_ref().map_or(0, Vec::len))
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_leave_in_request_order_whatever_the_order_they_come_in() {
        let mut slots = ReplySlots::default();
        let mut output = Vec::new();
        slots.target(&mut output).extend_from_slice(b"a");
        let b = slots.open(false);
        slots.target(&mut output).extend_from_slice(b"c");
        let d = slots.open(false);
        slots.target(&mut output).extend_from_slice(b"e");
        assert_eq!(output, b"a");
        slots.fill(d, b"d".to_vec(), &mut output);
        assert_eq!(output, b"a");
        slots.fill(b, b"b".to_vec(), &mut output);
        assert_eq!(output, b"abcde");
        assert!(slots.is_empty());
    }

    #[test]
    fn a_slot_that_is_gone_is_ignored() {
        let mut slots = ReplySlots::default();
        let mut output = Vec::new();
        let number = slots.open(false);
        slots.fill(number, b"x".to_vec(), &mut output);
        slots.fill(number, b"y".to_vec(), &mut output);
        slots.fill(number + 7, b"z".to_vec(), &mut output);
        assert_eq!(output, b"x");
    }
}
