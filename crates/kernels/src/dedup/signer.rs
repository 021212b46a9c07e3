//! The way of a document from its text to what is compared.

use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128};

use crate::dedup::minhash::MinHash;
use crate::dedup::plan::Plan;
use crate::dedup::shingles::Shingler;
use crate::dedup::text::{Form, normalize};
use crate::simd::Level;

/// A signer of documents, with buffers that are used again.
#[derive(Clone, Debug)]
pub struct Signer {
    form: Form,
    shingler: Shingler,
    family: MinHash,
    plan: Plan,
    level: Level,
    text: Vec<u8>,
    signature: Vec<u32>,
    band: Vec<u8>,
}

/// Facts about one document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Document {
    /// The hash of the text in its normal form.
    pub hash: u128,
    /// The number of shingles, with repeats.
    pub shingles: usize,
}

impl Signer {
    pub fn new(form: Form, shingler: Shingler, plan: Plan, seed: u64) -> Self {
        Self {
            form,
            shingler,
            family: MinHash::new(plan.bands * plan.rows, seed),
            plan,
            level: Level::best(),
            text: Vec::new(),
            signature: Vec::new(),
            band: Vec::new(),
        }
    }

    pub fn bands(&self) -> usize {
        self.plan.bands
    }

    /// The hash of a text in its normal form.
    pub fn hash(&mut self, text: &[u8]) -> u128 {
        normalize(self.level, self.form, text, &mut self.text);
        xxh3_128(&self.text)
    }

    /// Hashes a document, and appends its shingles and a hash for each band. The bands of a document without shingles
    /// mean nothing.
    pub fn sign(&mut self, text: &[u8], shingles: &mut Vec<u32>, bands: &mut Vec<u64>) -> Document {
        let hash = self.hash(text);
        let first = shingles.len();
        self.shingler.append(&self.text, shingles);
        self.family
            .sign(self.level, &shingles[first..], &mut self.signature);
        for (index, rows) in self.signature.chunks_exact(self.plan.rows).enumerate() {
            self.band.clear();
            self.band
                .extend(rows.iter().flat_map(|row| row.to_le_bytes()));
            bands.push(xxh3_64_with_seed(&self.band, index as u64));
        }
        Document {
            hash,
            shingles: shingles.len() - first,
        }
    }

    /// Appends the lowest byte of each of the first values of the signature of the last document; zeros where there
    /// are fewer. Two such sketches agree in a share of J + (1 - J) / 256 of their bytes.
    pub fn sketch(&self, values: usize, out: &mut Vec<u8>) {
        #[allow(clippy::cast_possible_truncation)]
        out.extend(self.signature.iter().take(values).map(|&value| value as u8));
        out.resize(out.len() + values.saturating_sub(self.signature.len()), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dedup::shingles::Unit;

    #[test]
    fn texts_alike_share_their_hash_and_every_band() {
        let shingler = Shingler::new(Unit::Words, 3).expect("a valid size");
        let mut signer = Signer::new(Form::Folded, shingler, Plan { bands: 4, rows: 2 }, 1);
        let (mut shingles, mut bands) = (Vec::new(), Vec::new());
        let one = signer.sign(b"The quick brown fox jumps", &mut shingles, &mut bands);
        let two = signer.sign(b"the  QUICK brown fox\njumps ", &mut shingles, &mut bands);
        let other = signer.sign(
            b"entirely different words stand here",
            &mut shingles,
            &mut bands,
        );
        assert_eq!(one, two);
        assert_eq!(one.shingles, 3);
        assert_ne!(one.hash, other.hash);
        assert_eq!(bands.len(), 12);
        let mut sketch = Vec::new();
        signer.sketch(10, &mut sketch);
        assert_eq!((sketch.len(), &sketch[8..]), (10, &[0, 0][..]));
        assert_eq!(bands[..4], bands[4..8]);
        assert!((0..4).all(|band| bands[band] != bands[8 + band]));
    }
}
