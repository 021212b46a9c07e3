//! Texts become tokens; pieces that were met before are not merged again.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::tokens::merges::{Merges, PairHasher};
use crate::tokens::split::pieces;

/// Bytes and tokens of pieces that are remembered; beyond, all are forgotten.
const REMEMBERED_MAX: usize = 4 << 20;
const PIECE_MAX: usize = 64;

/// A piece that was met: its place among the bytes and among the tokens.
#[derive(Clone, Copy, Debug)]
struct Met {
    bytes: (u32, u32),
    tokens: (u32, u32),
}

/// An encoder of texts, for one thread.
#[derive(Clone, Debug)]
pub struct Encoder {
    merges: Arc<Merges>,
    /// Texts that are a token of their own wherever they stand, the longest first.
    special: Vec<(String, u32)>,
    met: HashMap<u64, Met, BuildHasherDefault<PairHasher>>,
    bytes: Vec<u8>,
    tokens: Vec<u32>,
}

impl Encoder {
    pub fn new(merges: Arc<Merges>, mut special: Vec<(String, u32)>) -> Self {
        special.retain(|(text, _)| !text.is_empty());
        special.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
        Self {
            merges,
            special,
            met: HashMap::default(),
            bytes: Vec::new(),
            tokens: Vec::new(),
        }
    }

    /// Appends the tokens of a text.
    pub fn encode(&mut self, mut text: &str, out: &mut Vec<u32>) {
        while let Some((at, length, token)) = self.next_special(text) {
            self.encode_plain(&text[..at], out);
            out.push(token);
            text = &text[at + length..];
        }
        self.encode_plain(text, out);
    }

    /// The first text with a token of its own; of those at one place the longest.
    fn next_special(&self, text: &str) -> Option<(usize, usize, u32)> {
        let found = self.special.iter().filter_map(|(special, token)| {
            text.find(special.as_str())
                .map(|at| (at, special.len(), *token))
        });
        found.min_by_key(|&(at, length, _)| (at, std::cmp::Reverse(length)))
    }

    fn encode_plain(&mut self, text: &str, out: &mut Vec<u32>) {
        pieces(text, |piece| self.encode_piece(piece.as_bytes(), out));
    }

    fn encode_piece(&mut self, piece: &[u8], out: &mut Vec<u32>) {
        if piece.len() > PIECE_MAX {
            self.merges.encode(piece, out);
            return;
        }
        let hash = xxh3_64(piece);
        if let Some(met) = self.met.get(&hash)
            && self.bytes[met.bytes.0 as usize..met.bytes.1 as usize] == *piece
        {
            out.extend_from_slice(&self.tokens[met.tokens.0 as usize..met.tokens.1 as usize]);
            return;
        }
        let first = out.len();
        self.merges.encode(piece, out);
        self.remember(hash, piece, &out[first..]);
    }

    #[allow(clippy::cast_possible_truncation)]
    fn remember(&mut self, hash: u64, piece: &[u8], tokens: &[u32]) {
        if self.bytes.len() + self.tokens.len() > REMEMBERED_MAX {
            self.met.clear();
            self.bytes.clear();
            self.tokens.clear();
        }
        let (bytes, first) = (self.bytes.len() as u32, self.tokens.len() as u32);
        self.bytes.extend_from_slice(piece);
        self.tokens.extend_from_slice(tokens);
        let met = Met {
            bytes: (bytes, self.bytes.len() as u32),
            tokens: (first, self.tokens.len() as u32),
        };
        self.met.insert(hash, met);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoder(special: &[(&str, u32)]) -> Encoder {
        let bytes = std::array::from_fn(|byte| u32::try_from(byte).expect("a byte"));
        let pairs = [[u32::from(b'a'), u32::from(b'b'), 256], [256, 256, 257]];
        let special = special
            .iter()
            .map(|&(text, token)| (text.to_owned(), token))
            .collect();
        let merges = Merges::new(bytes, &pairs).expect("few merges");
        Encoder::new(Arc::new(merges), special)
    }

    fn encoded(encoder: &mut Encoder, text: &str) -> Vec<u32> {
        let mut out = Vec::new();
        encoder.encode(text, &mut out);
        out
    }

    #[test]
    fn special_texts_are_tokens_wherever_they_stand() {
        let mut encoder = encoder(&[("<e>", 300), ("<e>x", 301)]);
        assert_eq!(encoded(&mut encoder, "abab<e>ab<e>x"), [257, 300, 256, 301]);
    }

    proptest! {
        #[test]
        fn what_is_remembered_changes_nothing(texts in prop::collection::vec("[ab ]{0,12}", 1..6)) {
            let mut used = encoder(&[]);
            for text in &texts {
                let fresh = encoded(&mut encoder(&[]), text);
                prop_assert_eq!(encoded(&mut used, text), fresh.clone());
                prop_assert_eq!(encoded(&mut used, text), fresh);
            }
        }
    }
}
