//! When entries expire: a hierarchical timing wheel (Varghese and Lauck 1987) of 8 levels with 64 positions, 1 ms fine.
//!
//! An entry stands on the level of the highest 6-bit digit in which its time differs from the wheel's, at the position
//! that its digit names. When the wheel reaches a position, the entries there are due or move to lower levels, one by
//! one: they first become the pending list, so that the work can be cut into steps. Positions are doubly linked lists
//! through the expiry words of the entries; a link of 0 means none, and small numbers stand for the positions
//! themselves.

use crate::shm::Mapping;

use super::entry::{ExpiryWords, Header};
use super::types::Millis;

const LEVELS: usize = 8;
const DIGIT_BITS: u32 = 6;
const POSITIONS: usize = LEVELS << DIGIT_BITS;
const PENDING: usize = POSITIONS;

/// The outcome of one step of the wheel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    /// This entry's time has come. It is still linked.
    Entry(u64),
    /// An entry went to a lower level.
    Moved,
    /// Nothing is due.
    Nothing,
}

#[derive(Debug)]
pub(super) struct Wheel {
    now: Millis,
    heads: [u64; POSITIONS + 1],
    /// Occupied positions of each level.
    occupied: [u64; LEVELS],
    linked: u64,
    /// Where [`Wheel::walk`] goes on: an entry, or 0 for the position behind the last one.
    hand: u64,
    hand_position: usize,
}

fn expiry_at(mapping: &Mapping, at: u64) -> (u64, ExpiryWords) {
    let Ok(header) = Header::load(|n| Ok::<_, std::convert::Infallible>(mapping.load(at + n)));
    debug_assert!(header.has_expiry());
    let word = at + header.expiry_word();
    (word, ExpiryWords(mapping.load_line(word)))
}

fn store(mapping: &mut Mapping, word: u64, words: ExpiryWords) {
    mapping.store(word, words.0[0]);
    mapping.store(word + 1, words.0[1]);
}

/// The link that stands for a position.
fn position_link(position: usize) -> u64 {
    position as u64 + 1
}

fn as_position(link: u64) -> Option<usize> {
    (1..=POSITIONS as u64 + 1)
        .contains(&link)
        .then(|| link as usize - 1)
}

impl Wheel {
    pub(super) fn new() -> Self {
        Self {
            now: 0,
            heads: [0; POSITIONS + 1],
            occupied: [0; LEVELS],
            linked: 0,
            hand: 0,
            hand_position: 0,
        }
    }

    /// Number of entries in the wheel.
    pub(super) fn linked(&self) -> u64 {
        self.linked
    }

    fn position(&self, expire_at: Millis) -> usize {
        if expire_at <= self.now {
            return PENDING;
        }
        let level = (63 - (expire_at ^ self.now).leading_zeros()) / DIGIT_BITS;
        let digit = expire_at >> (level * DIGIT_BITS) & 63;
        (level << DIGIT_BITS) as usize | digit as usize
    }

    /// Links an entry, whose expiry words are unlinked and name a time that is not far.
    pub(super) fn link(&mut self, mapping: &mut Mapping, at: u64, now: Millis) {
        if self.linked == 0 && self.now < now {
            self.now = now;
        }
        let (word, words) = expiry_at(mapping, at);
        debug_assert!(!words.is_far());
        let Some(expire_at) = words.expire_at() else {
            return;
        };
        let position = self.position(expire_at);
        let next = std::mem::replace(&mut self.heads[position], at);
        store(mapping, word, words.linked(position_link(position), next));
        if next != 0 {
            let (next_word, next_words) = expiry_at(mapping, next);
            store(mapping, next_word, next_words.linked(at, next_words.next()));
        }
        if position != PENDING {
            self.occupied[position >> DIGIT_BITS] |= 1 << (position & 63);
        }
        self.linked += 1;
    }

    /// Takes an entry out, if it is in.
    pub(super) fn unlink(&mut self, mapping: &mut Mapping, at: u64) {
        let (word, words) = expiry_at(mapping, at);
        if words.is_far() || words.previous() == 0 {
            return;
        }
        let (previous, next) = (words.previous(), words.next());
        if self.hand == at {
            self.hand = next;
        }
        if let Some(position) = as_position(previous) {
            self.set_head(position, next);
        } else {
            let (previous_word, previous_words) = expiry_at(mapping, previous);
            store(
                mapping,
                previous_word,
                previous_words.linked(previous_words.previous(), next),
            );
        }
        if next != 0 {
            let (next_word, next_words) = expiry_at(mapping, next);
            store(
                mapping,
                next_word,
                next_words.linked(previous, next_words.next()),
            );
        }
        store(mapping, word, words.linked(0, 0));
        self.linked -= 1;
    }

    /// The next `count` entries in the order of the lists, going round and round.
    pub(super) fn walk(&mut self, mapping: &Mapping, count: usize, found: &mut Vec<u64>) {
        let wanted = count.min(self.linked as usize);
        for _ in 0..=POSITIONS {
            while self.hand != 0 && found.len() < wanted {
                found.push(self.hand);
                self.hand = expiry_at(mapping, self.hand).1.next();
            }
            if found.len() == wanted {
                return;
            }
            self.hand_position = (self.hand_position + 1) % (POSITIONS + 1);
            self.hand = self.heads[self.hand_position];
        }
    }

    /// Entries that are among the first to expire, `count` of them.
    pub(super) fn soonest(&self, mapping: &Mapping, count: usize, found: &mut Vec<u64>) {
        let levels = self.occupied.iter().enumerate();
        let positions = levels.flat_map(|(level, occupied)| {
            let digits = (0..1 << DIGIT_BITS).filter(move |digit| occupied >> digit & 1 == 1);
            digits.map(move |digit| level << DIGIT_BITS | digit)
        });
        for position in std::iter::once(PENDING).chain(positions) {
            let mut at = self.heads[position];
            while at != 0 && found.len() < count {
                found.push(at);
                at = expiry_at(mapping, at).1.next();
            }
            if found.len() == count {
                return;
            }
        }
    }

    fn set_head(&mut self, position: usize, head: u64) {
        self.heads[position] = head;
        if position != PENDING && head == 0 {
            self.occupied[position >> DIGIT_BITS] &= !(1 << (position & 63));
        }
    }

    /// A time before which nothing is due.
    pub(super) fn next_due(&self) -> Option<Millis> {
        if self.heads[PENDING] != 0 {
            return Some(self.now);
        }
        // Lower levels come before higher ones, and within a level only positions ahead are occupied.
        let level = self.occupied.iter().position(|positions| *positions != 0)?;
        let shift = level as u32 * DIGIT_BITS;
        let digit = u64::from(self.occupied[level].trailing_zeros());
        Some(self.now >> (shift + DIGIT_BITS) << (shift + DIGIT_BITS) | digit << shift)
    }

    /// One step of bounded work towards `now`.
    pub(super) fn step(&mut self, mapping: &mut Mapping, now: Millis) -> Due {
        // A clock that went back waits until it has caught up.
        if now < self.now {
            return Due::Nothing;
        }
        if self.heads[PENDING] == 0 {
            match self.next_due().filter(|due| *due <= now) {
                Some(due) => self.turn(mapping, due),
                None => {
                    self.now = now;
                    return Due::Nothing;
                }
            }
        }
        let at = self.heads[PENDING];
        let (_, words) = expiry_at(mapping, at);
        if words
            .expire_at()
            .is_some_and(|expire_at| expire_at <= self.now)
        {
            return Due::Entry(at);
        }
        self.unlink(mapping, at);
        self.link(mapping, at, self.now);
        Due::Moved
    }

    /// Turns to `due` and makes the position there the pending list.
    fn turn(&mut self, mapping: &mut Mapping, due: Millis) {
        let position = self.position(due);
        self.now = due;
        let head = self.heads[position];
        self.set_head(position, 0);
        self.heads[PENDING] = head;
        let (word, words) = expiry_at(mapping, head);
        store(
            mapping,
            word,
            words.linked(position_link(PENDING), words.next()),
        );
    }

    /// Visits every linked entry with its position's range of times checked.
    pub(super) fn check_invariants(&self, mapping: &Mapping) {
        let mut count = 0;
        for position in 0..=PENDING {
            let (mut previous, mut at) = (position_link(position), self.heads[position]);
            if position != PENDING {
                assert_eq!(
                    at != 0,
                    self.occupied[position >> DIGIT_BITS] >> (position & 63) & 1 == 1
                );
            }
            while at != 0 {
                let (_, words) = expiry_at(mapping, at);
                assert_eq!(words.previous(), previous);
                let expected = words.expire_at().map(|expire_at| self.position(expire_at));
                assert!(
                    position == PENDING || expected == Some(position),
                    "an entry stands where its time says"
                );
                (previous, at) = (at, words.next());
                count += 1;
                assert!(count <= self.linked, "the lists of the wheel have no loop");
            }
        }
        assert_eq!(count, self.linked);
    }
}
