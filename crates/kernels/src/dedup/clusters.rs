//! Clusters of documents that are duplicates of each other.

use crate::dedup::equal::for_each_equal;
use crate::error::{KernelError, Result};

/// A union-find in which the earliest document of a cluster is its root, whatever the order of the joins.
#[derive(Clone, Debug)]
pub struct Clusters {
    parents: Vec<u32>,
}

impl Clusters {
    /// Clusters of one document each.
    pub fn new(documents: u32) -> Self {
        Self {
            parents: (0..documents).collect(),
        }
    }

    /// Joins the clusters of two documents.
    pub fn join(&mut self, left: u32, right: u32) -> Result<()> {
        let documents = self.parents.len();
        if left as usize >= documents || right as usize >= documents {
            return Err(KernelError::Parameter(
                "a pair names a document that is not there",
            ));
        }
        let (left, right) = (self.root(left), self.root(right));
        self.parents[left.max(right) as usize] = left.min(right);
        Ok(())
    }

    /// The root of each document.
    pub fn roots(mut self) -> Vec<u32> {
        // A parent comes before its children: one pass from the front resolves all.
        for document in 0..self.parents.len() {
            self.parents[document] = self.parents[self.parents[document] as usize];
        }
        self.parents
    }

    fn root(&mut self, mut document: u32) -> u32 {
        while self.parents[document as usize] != document {
            let parent = self.parents[document as usize];
            self.parents[document as usize] = self.parents[parent as usize];
            document = self.parents[document as usize];
        }
        document
    }
}

/// For each hash (little-endian) the number of the first document with the same one.
pub fn first_equal(hashes: &[[u8; 16]]) -> Result<Vec<u32>> {
    let documents = u32::try_from(hashes.len())
        .map_err(|_| KernelError::Parameter("at most 4294967295 documents"))?;
    let hash = |document: u32| u128::from_le_bytes(hashes[document as usize]);
    let mut firsts: Vec<u32> = (0..documents).collect();
    #[allow(clippy::cast_possible_truncation)]
    let upper = |document| (hash(document) >> 96) as u32;
    for_each_equal(0..documents, upper, hash, |equal| {
        for &(_, document) in equal {
            firsts[document as usize] = equal[0].1;
        }
    });
    Ok(firsts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_of_equals_is_found() {
        let firsts = |hashes: &[u128]| {
            first_equal(
                &hashes
                    .iter()
                    .map(|hash| hash.to_le_bytes())
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(firsts(&[5, 3, 5, 3, 9]), Ok(vec![0, 1, 0, 1, 4]));
        let high = 7 << 100;
        assert_eq!(
            firsts(&[high, high | 1, 0, high | 1, high]),
            Ok(vec![0, 1, 2, 1, 0])
        );
        assert_eq!(firsts(&[]), Ok(vec![]));
    }

    #[test]
    fn a_document_that_is_not_there_is_refused() {
        assert!(Clusters::new(3).join(0, 3).is_err());
    }

    proptest! {
        #[test]
        fn roots_do_not_depend_on_the_order_of_joins(mut pairs in prop::collection::vec((0_u32..40, 0_u32..40), 0..60)) {
            let roots = |pairs: &[(u32, u32)]| {
                let mut clusters = Clusters::new(40);
                for &(left, right) in pairs {
                    clusters.join(left, right).expect("documents that are there");
                }
                clusters.roots()
            };
            let before = roots(&pairs);
            prop_assert!(before.iter().enumerate().all(|(document, &root)| root as usize <= document));
            prop_assert!(pairs.iter().all(|&(left, right)| before[left as usize] == before[right as usize]));
            pairs.reverse();
            prop_assert_eq!(roots(&pairs), before);
        }
    }
}
