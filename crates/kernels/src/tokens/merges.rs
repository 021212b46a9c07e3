//! Byte pair encoding of one piece: the pair that was learnt first becomes one token, until none is left.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

use crate::dedup::mix;
use crate::error::{KernelError, Result};

/// Tokens of a piece up to which all pairs are looked at again after each merge.
const SHORT_MAX: usize = 48;
const NONE: u32 = u32::MAX;

/// A hasher of pairs, which are mixed well by one function.
#[derive(Clone, Debug, Default)]
pub struct PairHasher(u64);

impl Hasher for PairHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = mix(self.0 ^ u64::from(byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = mix(value);
    }
}

/// The pairs that become one token.
#[derive(Clone, Debug)]
pub struct Merges {
    /// Rank and token of a pair.
    pairs: HashMap<u64, (u32, u32), BuildHasherDefault<PairHasher>>,
    bytes: [u32; 256],
}

impl Merges {
    /// The pairs in the order in which they were learnt, each with the token that it becomes, and the token of each byte.
    pub fn new(bytes: [u32; 256], pairs: &[[u32; 3]]) -> Result<Self> {
        if pairs.len() >= NONE as usize {
            return Err(KernelError::Parameter("too many merges"));
        }
        let mut found =
            HashMap::with_capacity_and_hasher(pairs.len(), BuildHasherDefault::default());
        for (rank, &[left, right, token]) in (0..).zip(pairs) {
            found.entry(key(left, right)).or_insert((rank, token));
        }
        Ok(Self {
            pairs: found,
            bytes,
        })
    }

    /// Appends the tokens of a piece.
    pub fn encode(&self, piece: &[u8], out: &mut Vec<u32>) {
        let first = out.len();
        out.extend(piece.iter().map(|&byte| self.bytes[usize::from(byte)]));
        if piece.len() > SHORT_MAX {
            let tokens = self.merge_long(&out[first..]);
            out.truncate(first);
            out.extend(tokens);
        } else {
            let left = self.merge_short(&mut out[first..]);
            out.truncate(first + left);
        }
    }

    fn rank(&self, left: u32, right: u32) -> Option<(u32, u32)> {
        self.pairs.get(&key(left, right)).copied()
    }

    /// Merges in place, and gives the number of tokens that are left.
    fn merge_short(&self, tokens: &mut [u32]) -> usize {
        let mut ranks = [(NONE, NONE); SHORT_MAX];
        let mut count = tokens.len();
        let rank = |tokens: &[u32], at: usize| {
            self.rank(tokens[at], tokens[at + 1])
                .unwrap_or((NONE, NONE))
        };
        for (at, found) in ranks.iter_mut().enumerate().take(count.saturating_sub(1)) {
            *found = rank(tokens, at);
        }
        while count > 1 {
            let pairs = &ranks[..count - 1];
            let Some((at, &(best, token))) =
                pairs.iter().enumerate().min_by_key(|(_, pair)| pair.0)
            else {
                break;
            };
            if best == NONE {
                break;
            }
            tokens[at] = token;
            tokens.copy_within(at + 2..count, at + 1);
            ranks.copy_within(at + 1..count - 1, at);
            count -= 1;
            if at + 1 < count {
                ranks[at] = rank(&tokens[..count], at);
            }
            if at > 0 {
                ranks[at - 1] = rank(&tokens[..count], at - 1);
            }
        }
        count
    }

    /// The same for many tokens, by a heap of the pairs.
    fn merge_long(&self, tokens: &[u32]) -> Vec<u32> {
        let mut tokens: Vec<u32> = tokens.to_vec();
        let mut before: Vec<usize> = (0..tokens.len()).map(|at| at.wrapping_sub(1)).collect();
        let mut behind: Vec<usize> = (1..=tokens.len()).collect();
        let mut heap = BinaryHeap::new();
        for at in 0..tokens.len().saturating_sub(1) {
            if let Some((rank, token)) = self.rank(tokens[at], tokens[at + 1]) {
                heap.push(Reverse((rank, at, token, tokens[at], tokens[at + 1])));
            }
        }
        while let Some(Reverse((_, at, token, left, right))) = heap.pop() {
            let next = behind[at];
            // A pair of which something has become part of another token.
            if next >= tokens.len() || tokens[at] != left || tokens[next] != right {
                continue;
            }
            tokens[at] = token;
            tokens[next] = NONE;
            behind[at] = behind[next];
            if behind[at] < tokens.len() {
                let after = behind[at];
                before[after] = at;
                if let Some((rank, merged)) = self.rank(token, tokens[after]) {
                    heap.push(Reverse((rank, at, merged, token, tokens[after])));
                }
            }
            if let Some(&earlier) = tokens.get(before[at])
                && let Some((rank, merged)) = self.rank(earlier, token)
            {
                heap.push(Reverse((rank, before[at], merged, earlier, token)));
            }
        }
        tokens.retain(|&token| token != NONE);
        tokens
    }
}

fn key(left: u32, right: u32) -> u64 {
    u64::from(left) << 32 | u64::from(right)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn merges(pairs: &[[u32; 3]]) -> Merges {
        let bytes = std::array::from_fn(|byte| u32::try_from(byte).expect("a byte"));
        Merges::new(bytes, pairs).expect("few merges")
    }

    #[test]
    fn the_pair_that_was_learnt_first_is_merged_first() {
        let (a, b) = (u32::from(b'a'), u32::from(b'b'));
        let merges = merges(&[[b, a, 256], [a, b, 257], [257, 257, 258]]);
        let encoded = |text: &str| {
            let mut out = vec![7];
            merges.encode(text.as_bytes(), &mut out);
            out[1..].to_vec()
        };
        assert_eq!(encoded("abab"), [a, 256, b]);
        assert_eq!(encoded("ab"), [257]);
        assert_eq!(encoded(""), [0_u32; 0]);
        assert_eq!(encoded("x"), [u32::from(b'x')]);
    }

    proptest! {
        #[test]
        fn long_pieces_are_merged_as_short_ones(
            text in prop::collection::vec(b'a'..b'd', 0..SHORT_MAX),
            pairs in prop::collection::vec((97_u32..104, 97_u32..104), 0..6),
        ) {
            let pairs: Vec<[u32; 3]> = (0..).zip(pairs).map(|(rank, (left, right))| [left, right, 100 + rank]).collect();
            let merges = merges(&pairs);
            let mut short = Vec::new();
            merges.encode(&text, &mut short);
            let bytes: Vec<u32> = text.iter().map(|&byte| u32::from(byte)).collect();
            prop_assert_eq!(merges.merge_long(&bytes), short);
        }
    }
}
