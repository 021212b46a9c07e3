//! Rows that are put in order in steps, as they are too many for one: short runs first, which are merged as rows are taken.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::fmt::Debug;
use std::ops::Range;

/// What stands beside the text of a row.
pub(in crate::commands::families) trait Row: Copy + Debug {
    /// The order of two rows by themselves and their texts. Equal ones stay in the order in which they came.
    fn compare(&self, text: &[u8], other: &Self, other_text: &[u8]) -> Ordering;
}

/// A number whose order as an integer is that of the double.
pub(in crate::commands::families) fn key_of(number: f64) -> u64 {
    let bits = number.to_bits();
    if bits >> 63 == 0 {
        bits | 1 << 63
    } else {
        !bits
    }
}

/// Rows in order, whose texts stand one behind the other.
#[derive(Debug)]
struct Run<R> {
    bytes: Vec<u8>,
    rows: std::vec::IntoIter<(R, Range<usize>)>,
}

/// The next row of a run.
#[derive(Debug)]
struct Head<R> {
    row: R,
    text: Vec<u8>,
    run: usize,
}

impl<R: Row> Ord for Head<R> {
    /// The greatest of a heap comes first.
    fn cmp(&self, other: &Self) -> Ordering {
        let order = self.row.compare(&self.text, &other.row, &other.text);
        order.then(self.run.cmp(&other.run)).reverse()
    }
}

impl<R: Row> PartialOrd for Head<R> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<R: Row> PartialEq for Head<R> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<R: Row> Eq for Head<R> {}

/// Rows that come in short runs, and go in order.
#[derive(Debug)]
pub(in crate::commands::families) struct Runs<R: Row> {
    runs: Vec<Run<R>>,
    heads: BinaryHeap<Head<R>>,
}

impl<R: Row> Default for Runs<R> {
    fn default() -> Self {
        Self {
            runs: Vec::new(),
            heads: BinaryHeap::new(),
        }
    }
}

impl<R: Row> Runs<R> {
    /// Adds rows in any order, with the places of their texts among some bytes.
    pub(in crate::commands::families) fn add(
        &mut self,
        bytes: Vec<u8>,
        mut rows: Vec<(R, Range<usize>)>,
    ) {
        rows.sort_by(|(one, a), (other, b)| {
            one.compare(&bytes[a.clone()], other, &bytes[b.clone()])
        });
        self.runs.push(Run {
            bytes,
            rows: rows.into_iter(),
        });
        self.advance(self.runs.len() - 1);
    }

    /// Puts the next row of a run among the heads.
    fn advance(&mut self, run: usize) {
        let from = &mut self.runs[run];
        if let Some((row, place)) = from.rows.next() {
            self.heads.push(Head {
                row,
                text: from.bytes[place].to_vec(),
                run,
            });
        } else {
            // Its memory goes with its last row, not with that of all runs at once.
            *from = Run {
                bytes: Vec::new(),
                rows: Vec::new().into_iter(),
            };
        }
    }

    /// Takes the first row of all that are left.
    pub(in crate::commands::families) fn take(&mut self) -> Option<(R, Vec<u8>)> {
        let head = self.heads.pop()?;
        self.advance(head.run);
        Some((head.row, head.text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Number(u64);

    impl Row for Number {
        fn compare(&self, _: &[u8], other: &Self, _: &[u8]) -> Ordering {
            self.0.cmp(&other.0)
        }
    }

    #[test]
    fn rows_of_all_runs_go_in_order_and_equal_ones_as_they_came() {
        let mut runs = Runs::default();
        for (bytes, numbers) in [(b"abc", [5, 1, 5]), (b"def", [5, 0, 1])] {
            let rows = numbers.into_iter().enumerate();
            let rows = rows.map(|(at, number)| (Number(number), at..at + 1));
            runs.add(bytes.to_vec(), rows.collect());
        }
        let order: Vec<u8> = std::iter::from_fn(|| runs.take())
            .flat_map(|(_, text)| text)
            .collect();
        assert_eq!(order, b"ebfacd");
    }

    #[test]
    fn the_keys_of_numbers_have_their_order() {
        let numbers = [f64::NEG_INFINITY, -1.5, -0.1, 0.0, 1e-9, 3.0, f64::INFINITY];
        assert!(numbers.map(key_of).is_sorted());
    }
}
