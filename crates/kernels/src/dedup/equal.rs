//! Documents whose hashes are equal.

/// Documents of a part of the hashes, on the average: so few are sorted quickly.
const PART_DOCUMENTS: usize = 8;
const PART_BITS_MAX: u32 = 16;

/// Hands on the documents of each hash that several have: with their hash, by rising numbers.
pub fn for_each_equal<H: Copy + Ord>(
    documents: impl ExactSizeIterator<Item = u32> + Clone,
    upper: impl Fn(u32) -> u32,
    hash: impl Fn(u32) -> H,
    mut found: impl FnMut(&[(H, u32)]),
) {
    let candidates = repeated(documents, &upper);
    let order = ordered(candidates.iter().copied(), upper);
    let mut equal: Vec<(H, u32)> = Vec::new();
    for run in order
        .chunk_by(|left, right| left >> 32 == right >> 32)
        .filter(|run| run.len() > 1)
    {
        let numbers = run.iter().map(|word| (word & 0xffff_ffff) as u32);
        equal.clear();
        equal.extend(numbers.map(|document| (hash(document), document)));
        equal.sort_unstable();
        equal
            .chunk_by(|left, right| left.0 == right.0)
            .filter(|run| run.len() > 1)
            .for_each(&mut found);
    }
}

/// Bits of the tables of hashes for each document: one in eight seems to be met twice that is not.
const TABLE_BITS: usize = 8;
const WORD_BITS: usize = u64::BITS as usize;

/// The documents whose hash is met twice, and some that seem so: most hashes are met once, and need not be sorted.
fn repeated(
    documents: impl ExactSizeIterator<Item = u32> + Clone,
    upper: impl Fn(u32) -> u32,
) -> Vec<u32> {
    let bits = (documents.len() * TABLE_BITS)
        .next_power_of_two()
        .max(WORD_BITS);
    let shift = u32::BITS.saturating_sub(bits.ilog2());
    let mut table = vec![[0_u64; 2]; bits / WORD_BITS];
    let place = |document| {
        let bit = (upper(document) >> shift) as usize;
        (bit / WORD_BITS, 1_u64 << (bit % WORD_BITS))
    };
    for document in documents.clone() {
        let (word, bit) = place(document);
        let [once, twice] = &mut table[word];
        *twice |= *once & bit;
        *once |= bit;
    }
    documents
        .filter(|&document| {
            let (word, bit) = place(document);
            table[word][1] & bit != 0
        })
        .collect()
}

/// The highest bits of each hash with the number of its document in one word, in order: little is moved, and most differ
/// in these bits.
fn ordered(
    documents: impl ExactSizeIterator<Item = u32> + Clone,
    upper: impl Fn(u32) -> u32,
) -> Vec<u64> {
    let mut order = vec![0; documents.len()];
    let parts = (documents.len() / PART_DOCUMENTS).max(1);
    let bits = parts.ilog2().min(PART_BITS_MAX);
    let part = |upper: u32| (u64::from(upper) << bits >> 32) as usize;
    let mut places = vec![0_usize; 1 << bits];
    for document in documents.clone() {
        places[part(upper(document))] += 1;
    }
    let mut start = 0;
    for place in &mut places {
        start += std::mem::replace(place, start);
    }
    for document in documents {
        let upper = upper(document);
        let place = &mut places[part(upper)];
        order[*place] = u64::from(upper) << 32 | u64::from(document);
        *place += 1;
    }
    // The places have come to the ends of their parts.
    let mut start = 0;
    for end in places {
        order[start..end].sort_unstable();
        start = end;
    }
    order
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn all_equal_ones_are_found(hashes in prop::collection::vec((0_u64..9, 0_u64..3, 0_u64..2), 0..300)) {
            let hashes: Vec<u64> = hashes.iter().map(|(top, middle, low)| top << 61 | middle << 32 | low).collect();
            let numbers: Vec<u32> = (0..).zip(&hashes).map(|(number, _)| number).collect();
            let mut expected: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
            for (number, &hash) in (0..).zip(&hashes) {
                expected.entry(hash).or_default().push(number);
            }
            expected.retain(|_, numbers| numbers.len() > 1);
            let mut found = BTreeMap::new();
            let hash = |number: u32| hashes[number as usize];
            for_each_equal(numbers.iter().copied(), |number| (hash(number) >> 32) as u32, hash, |equal| {
                let numbers: Vec<u32> = equal.iter().map(|&(_, number)| number).collect();
                assert!(found.insert(equal[0].0, numbers).is_none());
            });
            prop_assert_eq!(found, expected);
        }
    }
}
