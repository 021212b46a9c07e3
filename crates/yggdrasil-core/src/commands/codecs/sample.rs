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
