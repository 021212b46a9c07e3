//! Pairs of documents that are worth comparing.

/// A collector of links between documents that agree on a band.
///
/// A document is linked to the first one and to the previous one with the same hash: as many links as documents,
/// however many are alike.
#[derive(Debug, Default)]
pub struct Links {
    pairs: Vec<u64>,
    /// The number of pairs that are in order and without repeats.
    sorted: usize,
}

/// Pairs beyond which repeats are removed early.
const PENDING_MIN: usize = 1 << 20;

impl Links {
    /// Adds the links of one band: a hash for each of some documents, whose numbers rise.
    pub fn add(&mut self, hashes: &[u64], documents: &[u32]) {
        // The upper half of a hash and an index in one word: half of what a pair of both would move while it is sorted.
        let mut order: Vec<u64> = (0..)
            .zip(hashes)
            .map(|(index, hash)| hash >> 32 << 32 | index)
            .collect();
        order.sort_unstable();
        let mut equal: Vec<(u64, u32)> = Vec::new();
        for run in order
            .chunk_by(|left, right| left >> 32 == right >> 32)
            .filter(|run| run.len() > 1)
        {
            let indices = run.iter().map(|word| (word & 0xffff_ffff) as usize);
            equal.clear();
            equal.extend(indices.map(|index| (hashes[index], documents[index])));
            equal.sort_unstable();
            for run in equal.chunk_by(|left, right| left.0 == right.0) {
                self.link(run);
            }
        }
        if self.pairs.len() - self.sorted > self.sorted.max(PENDING_MIN) {
            self.tidy();
        }
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

    #[test]
    fn equal_hashes_link_to_the_first_and_the_previous() {
        let mut links = Links::default();
        links.add(&[7, 8, 7, 7, 9], &[0, 1, 2, 5, 6]);
        links.add(&[1, 2, 1, 3, 2], &[0, 1, 2, 5, 6]);
        assert_eq!(unpacked(links), [(0, 2), (0, 5), (1, 6), (2, 5)]);
    }

    #[test]
    fn hashes_that_differ_in_their_lower_half_are_not_equal() {
        let mut links = Links::default();
        links.add(&[1 << 40 | 1, 1 << 40, 1 << 40 | 1, 1 << 40], &[3, 4, 5, 6]);
        assert_eq!(unpacked(links), [(3, 5), (4, 6)]);
    }

    #[test]
    fn links_of_equal_documents_grow_with_their_number_alone() {
        let documents: Vec<u32> = (0..PENDING_MIN as u32).collect();
        let hashes = vec![3; documents.len()];
        let mut links = Links::default();
        for _ in 0..3 {
            links.add(&hashes, &documents);
            assert!(links.pairs.len() <= 4 * documents.len());
        }
        assert_eq!(links.finish().len(), 2 * documents.len() - 3);
    }
}
