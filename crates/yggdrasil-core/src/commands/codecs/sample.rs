//! Choices by chance.

use std::collections::BTreeSet;

use crate::random::Random;

/// One of so many, each as likely as the others; 0 of none.
pub(in crate::commands) fn one_of(len: u64, random: &mut Random) -> u64 {
    ((u128::from(random.draw()) * u128::from(len)) >> 64) as u64
}

/// So many different ones of all, in rising order; each choice is as likely as the others (Floyd's algorithm, in
/// Bentley 1987).
pub(in crate::commands) fn distinct(len: u64, count: u64, random: &mut Random) -> Vec<u64> {
    if count >= len {
        return (0..len).collect();
    }
    let mut chosen = BTreeSet::new();
    for last in len - count..len {
        let drawn = one_of(last + 1, random);
        if !chosen.insert(drawn) {
            chosen.insert(last);
        }
    }
    chosen.into_iter().collect()
}

/// Choices up to which a reply is made at once.
const AT_ONCE_MAX: u64 = 1024;

/// True for a count, negative for choices that may come again, of so many that it takes steps.
pub(in crate::commands) fn is_many(count: i64, len: u64) -> bool {
    let number = count.unsigned_abs();
    number > AT_ONCE_MAX && (count < 0 || len > AT_ONCE_MAX)
}

/// The number of choices, and where they come from.
pub(in crate::commands) type Drawn = (u64, Draws);

/// The choices of a count that is many.
pub(in crate::commands) fn draws(count: i64, len: u64, random: &mut Random) -> Drawn {
    let (number, random) = (count.unsigned_abs(), Random::new(random.draw()));
    if count < 0 {
        return (number, Draws::repeated(len, random));
    }
    let number = number.min(len);
    (number, Draws::distinct(len, number, random))
}

/// Choices that are drawn one after another, so that many of many need neither much time at once nor much memory: each
/// costs a bit of a map.
#[derive(Debug)]
pub(in crate::commands) struct Draws {
    random: Random,
    len: u64,
    /// Of different ones: the choice that is due has to be one up to this.
    last: u64,
    /// Those that were chosen.
    chosen: Option<Vec<u64>>,
}

impl Draws {
    /// `count` different ones of `len`, in any order.
    pub(in crate::commands) fn distinct(len: u64, count: u64, random: Random) -> Self {
        Self {
            random,
            len,
            last: len.saturating_sub(count),
            chosen: Some(vec![0; len.div_ceil(64) as usize]),
        }
    }

    /// Any of `len`, again and again.
    pub(in crate::commands) fn repeated(len: u64, random: Random) -> Self {
        Self {
            random,
            len,
            last: 0,
            chosen: None,
        }
    }

    /// The next choice.
    pub(in crate::commands) fn draw(&mut self) -> u64 {
        let Some(chosen) = &mut self.chosen else {
            return one_of(self.len, &mut self.random);
        };
        let mut drawn = one_of(self.last + 1, &mut self.random);
        if chosen[(drawn / 64) as usize] & (1 << (drawn % 64)) != 0 {
            drawn = self.last;
        }
        chosen[(drawn / 64) as usize] |= 1 << (drawn % 64);
        self.last += 1;
        drawn
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_chosen_is_there_and_once(len in 0..300_u64, count in 0..400_u64, seed: u64) {
            let chosen = distinct(len, count, &mut Random::new(seed));
            prop_assert_eq!(chosen.len() as u64, count.min(len));
            prop_assert!(chosen.is_sorted_by(|one, next| one < next));
            prop_assert!(chosen.iter().all(|place| *place < len));
        }
    }

    proptest! {
        #[test]
        fn what_is_drawn_is_there_and_once(len in 1..300_u64, part in 0..300_u64, seed: u64) {
            let count = part.min(len);
            let mut draws = Draws::distinct(len, count, Random::new(seed));
            let drawn: BTreeSet<u64> = (0..count).map(|_| draws.draw()).collect();
            prop_assert_eq!(drawn.len() as u64, count);
            prop_assert!(drawn.iter().all(|place| *place < len));
        }
    }

    #[test]
    fn every_choice_is_as_likely_as_the_others() {
        let mut random = Random::new(7);
        let mut seen = [0_u32; 6];
        for _ in 0..6000 {
            let chosen = distinct(4, 2, &mut random);
            let pairs = [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]];
            let pair = pairs.iter().position(|pair| pair[..] == chosen[..]);
            seen[pair.unwrap()] += 1;
        }
        assert!(
            seen.iter().all(|times| (850..1150).contains(times)),
            "{seen:?}"
        );
    }
}
