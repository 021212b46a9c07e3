//! Pairs of documents that are worth comparing.

use crate::dedup::equal::for_each_equal;
use crate::error::{KernelError, Result};

/// A collector of links between documents that agree on a band.
///
/// A document is linked to the first one and to the previous one with the same hash: as many links as documents,
/// however many are alike.
#[derive(Debug)]
pub struct Links {
    pairs: Vec<u64>,
    /// The number of pairs that are in order and without repeats.
    sorted: usize,
    /// New pairs beyond which repeats are removed early.
    pending: usize,
}

impl Links {
    /// A collector that holds so many new pairs, or as many as it has, before it removes repeats.
    pub fn new(pending: usize) -> Self {
        Self {
            pairs: Vec::new(),
            sorted: 0,
            pending,
        }
    }

    /// Adds the links of one band: the hashes (little-endian) of all documents, and the numbers, which rise, of those
    /// that count.
    pub fn add(&mut self, hashes: &[[u8; 8]], documents: &[u32]) -> Result<()> {
        if documents
            .last()
            .is_some_and(|&last| last as usize >= hashes.len())
        {
            return Err(KernelError::Parameter(
                "there is one hash for each document",
            ));
        }
        let hash = |document: u32| u64::from_le_bytes(hashes[document as usize]);
        #[allow(clippy::cast_possible_truncation)]
        let upper = |document| (hash(document) >> 32) as u32;
        for_each_equal(documents.iter().copied(), upper, hash, |equal| {
            self.link(equal);
            if self.pairs.len() - self.sorted > self.sorted.max(self.pending) {
                self.tidy();
            }
        });
        Ok(())
    }

    fn link(&mut self, equal: &[(u64, u32)]) {
        let first = equal[0].1;
        for (index, &(_, document)) in equal.iter().enumerate().skip(1) {
            self.pairs.push(packed(first, document));
            if index > 1 {
                self.pairs.push(packed(equal[index - 1].1, document));
            }
        }
    }

    /// The links, in order and without repeats: the earlier document in the upper half.
    pub fn finish(mut self) -> Vec<u64> {
        self.tidy();
        self.pairs
    }

    fn tidy(&mut self) {
        self.pairs.sort_unstable();
        self.pairs.dedup();
        self.sorted = self.pairs.len();
    }
}

fn packed(first: u32, second: u32) -> u64 {
    u64::from(first) << 32 | u64::from(second)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(links: Links) -> Vec<(u64, u64)> {
        links
            .finish()
            .into_iter()
            .map(|pair| (pair >> 32, pair & 0xffff_ffff))
            .collect()
    }

    fn bytes(hashes: &[u64]) -> Vec<[u8; 8]> {
        hashes.iter().map(|hash| hash.to_le_bytes()).collect()
    }

    #[test]
    fn equal_hashes_link_to_the_first_and_the_previous() {
        let mut links = Links::new(100);
        let documents = [0, 1, 2, 5, 6];
        let mut add = |hashes| links.add(&bytes(hashes), &documents);
        assert!(add(&[7, 8, 7, 7, 7, 7, 9]).is_ok());
        assert!(add(&[1, 2, 1, 0, 0, 3, 2]).is_ok());
        assert!(add(&[1, 2, 1, 0, 0, 3]).is_err());
        assert_eq!(unpacked(links), [(0, 2), (0, 5), (1, 6), (2, 5)]);
    }

    #[test]
    fn hashes_that_differ_in_their_lower_half_are_not_equal() {
        let mut links = Links::new(100);
        let hashes = [1 << 40 | 1, 1 << 40, 1 << 40 | 1, 1 << 40];
        assert!(links.add(&bytes(&hashes), &[0, 1, 2, 3]).is_ok());
        assert_eq!(unpacked(links), [(0, 2), (1, 3)]);
    }

    #[test]
    fn links_of_equal_documents_grow_with_their_number_alone() {
        let documents: Vec<u32> = (0..100_000).collect();
        let hashes = bytes(&vec![3; documents.len()]);
        let mut links = Links::new(1000);
        for _ in 0..3 {
            assert!(links.add(&hashes, &documents).is_ok());
            assert!(links.pairs.len() <= 4 * documents.len());
        }
        assert_eq!(links.finish().len(), 2 * documents.len() - 3);
    }
}
