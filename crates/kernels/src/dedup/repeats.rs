//! Runs of bytes that stand in a text a second time.
//!
//! The windows of a length are looked at in their order, each by its hash in a table of the first ones. Where one is met
//! again, the run goes on for as long as the bytes are equal, without a look at the table. Only windows in the stretches
//! that [`crate::dedup::Anchors`] gives are looked at.

use std::cmp::Ordering;
use std::ops::Range;

use crate::dedup::mix;
use crate::dedup::rolling::Rolling;
use crate::error::{KernelError, Result};

/// The least and the largest length of a repeat in bytes.
pub const LENGTH_MIN: usize = 8;
pub const LENGTH_MAX: usize = 1 << 16;

/// The most bytes of all texts together.
pub const TEXT_BYTES_MAX: u64 = (1 << PLACE_BITS) - 2;

/// Windows whose slots are asked for at once, so that memory answers all of them meanwhile.
const AHEAD: usize = 16;

/// A slot has the position of a window plus one, and the upper bits of its hash.
const PLACE_BITS: u32 = 42;
const PLACE_MASK: u64 = (1 << PLACE_BITS) - 1;

/// A finder of repeats among the windows of one part of the hashes.
#[derive(Clone, Debug)]
pub struct Repeats {
    rolling: Rolling,
    /// Windows begin at multiples of so many bytes of their text.
    unit: usize,
    part: u64,
    parts: u64,
    slots: Vec<u64>,
    taken: usize,
    ranges: Vec<(u64, u64)>,
}

impl Repeats {
    /// A finder of repeats of at least `length` bytes, in units of `unit` bytes, among at most `windows` windows.
    pub fn new(length: usize, unit: usize, windows: usize, part: u32, parts: u32) -> Result<Self> {
        if !(LENGTH_MIN..=LENGTH_MAX).contains(&length) {
            return Err(KernelError::Parameter("a repeat has 8 to 65536 bytes"));
        }
        if unit == 0 || !length.is_multiple_of(unit) {
            return Err(KernelError::Parameter("a repeat has whole units"));
        }
        if part >= parts {
            return Err(KernelError::Parameter(
                "the part is below the number of parts",
            ));
        }
        let windows = windows / unit / parts as usize;
        Ok(Self {
            rolling: Rolling::new(length),
            unit,
            part: u64::from(part),
            parts: u64::from(parts),
            slots: vec![0; windows + windows / 2 + 64],
            taken: 0,
            ranges: Vec::new(),
        })
    }

    /// Looks for repeats in the stretch `start..end` of all texts, document by document. `bounds` has the begin of each
    /// document and the end of the last one, in order. Stretches come in order.
    pub fn search(&mut self, text: &[u8], bounds: &[u64], start: u64, end: u64) -> Result<()> {
        let last = bounds.last().copied().unwrap_or(0);
        if end > last || last != text.len() as u64 || last > TEXT_BYTES_MAX {
            return Err(KernelError::Parameter("a stretch lies within the texts"));
        }
        let mut document = bounds.partition_point(|&bound| bound <= start).max(1) - 1;
        while document + 1 < bounds.len() && bounds[document] < end {
            let (begin, stop) = (bounds[document], bounds[document + 1].min(end));
            self.search_document(text, bounds, begin, start.max(begin)..stop)?;
            document += 1;
        }
        Ok(())
    }

    /// The bytes that are held.
    pub fn held(&self) -> usize {
        size_of_val(self.slots.as_slice()) + self.ranges.capacity() * size_of::<(u64, u64)>()
    }

    /// The ranges of bytes that stand at an earlier position, too, in order and apart from each other. The first of
    /// equal windows stays whole where the next ones overlap it.
    pub fn finish(self) -> Vec<(u64, u64)> {
        joined(self.ranges)
    }

    #[allow(clippy::cast_possible_truncation)]
    fn search_document(
        &mut self,
        text: &[u8],
        bounds: &[u64],
        begin: u64,
        part: Range<u64>,
    ) -> Result<()> {
        let (begin, start, end) = (begin as usize, part.start as usize, part.end as usize);
        let mut at = begin + (start - begin).next_multiple_of(self.unit);
        while at + self.rolling.length() <= end {
            at = self.run(text, bounds, at, end)?;
        }
        Ok(())
    }

    /// Looks at windows from `at` on up to one that is met again, and gives the place behind what is known then.
    fn run(&mut self, text: &[u8], bounds: &[u64], at: usize, end: usize) -> Result<usize> {
        let length = self.rolling.length();
        let mut hash = self.rolling.first(&text[at..]);
        let mut first = at;
        loop {
            let mut hashes = [0_u64; AHEAD];
            let mut count = 0;
            while count < AHEAD && first + count + length <= end {
                hashes[count] = mix(hash);
                if let Some(&come) = text[..end].get(first + count + length) {
                    hash = self.rolling.next(hash, text[first + count], come);
                }
                count += 1;
            }
            // What a slot holds now tells nothing for sure; that it is read brings it here.
            let _ = std::hint::black_box(self.touch(&hashes[..count]));
            for (step, &hash) in hashes[..count].iter().enumerate() {
                let place = first + step;
                if !(place - at).is_multiple_of(self.unit) || !self.is_mine(hash) {
                    continue;
                }
                if let Some(earlier) = self.met(text, place, hash)? {
                    let document = bounds.partition_point(|&bound| bound <= earlier as u64);
                    #[allow(clippy::cast_possible_truncation)]
                    let earlier = earlier..bounds[document] as usize;
                    return Ok(self.follow(text, earlier, place, end));
                }
            }
            first += count;
            if first + length > end {
                return Ok(end);
            }
        }
    }

    fn touch(&self, hashes: &[u64]) -> u64 {
        hashes
            .iter()
            .fold(0, |all, &hash| all ^ self.slots[self.slot(hash)])
    }

    fn is_mine(&self, hash: u64) -> bool {
        self.parts == 1 || (hash & 0xffff_ffff).wrapping_mul(self.parts) >> 32 == self.part
    }

    /// The slot at which a hash is looked for first.
    #[allow(clippy::cast_possible_truncation)]
    fn slot(&self, hash: u64) -> usize {
        let mixed = u128::from(mix(hash)) * self.slots.len() as u128;
        (mixed >> 64) as usize
    }

    /// The first window with the same bytes; None where this is it.
    fn met(&mut self, text: &[u8], place: usize, hash: u64) -> Result<Option<usize>> {
        let length = self.rolling.length();
        let tag = hash & !PLACE_MASK;
        let mut slot = self.slot(hash);
        loop {
            let found = self.slots[slot];
            if found == 0 {
                self.taken += 1;
                if self.taken >= self.slots.len() {
                    return Err(KernelError::Parameter("more windows than were said"));
                }
                self.slots[slot] = tag | (place as u64 + 1);
                return Ok(None);
            }
            if found & !PLACE_MASK == tag {
                #[allow(clippy::cast_possible_truncation)]
                let earlier = (found & PLACE_MASK) as usize - 1;
                if text[earlier..earlier + length] == text[place..place + length] {
                    return Ok(Some(earlier));
                }
            }
            slot += 1;
            if slot == self.slots.len() {
                slot = 0;
            }
        }
    }

    /// Notes the repeat that begins at `place`, and gives the next window to look at. `earlier` is what stands from the
    /// first window on, up to the end of its document.
    fn follow(&mut self, text: &[u8], earlier: Range<usize>, place: usize, end: usize) -> usize {
        let length = self.rolling.length();
        let behind = earlier.start + length;
        if behind > place {
            // They overlap: the next window may have an earlier first one than this one's neighbour.
            self.note(behind, place + length);
            return place + self.unit;
        }
        let more = equal(&text[behind..earlier.end], &text[place + length..end]);
        let more = more - more % self.unit;
        self.note(place, place + length + more);
        place + more + self.unit
    }

    fn note(&mut self, start: usize, end: usize) {
        let (start, end) = (start as u64, end as u64);
        match self.ranges.last_mut() {
            Some(last) if last.0 <= start && start <= last.1 => last.1 = last.1.max(end),
            _ if start < end => self.ranges.push((start, end)),
            _ => {}
        }
    }
}

/// The number of bytes at the beginning that two texts share.
fn equal(left: &[u8], right: &[u8]) -> usize {
    const WIDTH: usize = 32;
    let (lefts, _) = left.as_chunks::<WIDTH>();
    let (rights, _) = right.as_chunks::<WIDTH>();
    let whole = lefts
        .iter()
        .zip(rights)
        .take_while(|(left, right)| left == right)
        .count()
        * WIDTH;
    let rest = left[whole..].iter().zip(&right[whole..]);
    whole + rest.take_while(|(left, right)| left == right).count()
}

/// Ranges in order, those that touch joined.
pub fn joined(mut ranges: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    if !ranges.is_sorted_by(|left, right| left.cmp(right) != Ordering::Greater) {
        ranges.sort_unstable();
    }
    let mut found: Vec<(u64, u64)> = Vec::new();
    for (start, end) in ranges {
        match found.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => found.push((start, end)),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dedup::Anchors;

    fn found(texts: &[&[u8]], length: usize, unit: usize, parts: u32) -> Vec<(u64, u64)> {
        let all = texts.concat();
        let mut stretches = Vec::new();
        for part in 0..parts {
            let mut anchors = Anchors::new(length, part, parts).expect("valid parameters");
            let mut base = 0;
            for text in texts {
                anchors.observe(text, base);
                base += text.len() as u64;
            }
            stretches.extend(anchors.finish());
        }
        let mut ranges = Vec::new();
        for part in 0..parts {
            let mut finder =
                Repeats::new(length, unit, all.len(), part, parts).expect("valid parameters");
            let mut bounds = vec![0];
            for text in texts {
                bounds.push(bounds[bounds.len() - 1] + text.len() as u64);
            }
            for &(start, end) in &joined(stretches.clone()) {
                finder.search(&all, &bounds, start, end).expect("room");
            }
            ranges.extend(finder.finish());
        }
        joined(ranges)
    }

    /// The definition: every window that stands at an earlier position, byte by byte.
    fn by_definition(texts: &[&[u8]], length: usize, unit: usize) -> Vec<(u64, u64)> {
        let mut windows: Vec<(&[u8], u64)> = Vec::new();
        let (mut base, mut ranges) = (0, Vec::new());
        for text in texts {
            for (index, window) in text.windows(length).enumerate().step_by(unit) {
                let at = base + index as u64;
                match windows.iter().find(|(other, _)| *other == window) {
                    Some(&(_, first)) => {
                        ranges.push((at.max(first + length as u64), at + length as u64));
                    }
                    None => windows.push((window, at)),
                }
            }
            base += text.len() as u64;
        }
        ranges.retain(|(start, end)| start < end);
        joined(ranges)
    }

    #[test]
    fn the_second_of_equal_runs_is_found() {
        let texts: [&[u8]; 3] = [b"see 0123456789ab", b"and 0123456789", b"or 01234567 no"];
        assert_eq!(found(&texts, 10, 1, 1), [(19, 30)]);
        assert_eq!(found(&texts, 8, 1, 3), [(19, 30), (32, 41)]);
        assert_eq!(found(&texts, 12, 1, 1), []);
    }

    #[test]
    fn the_first_of_a_run_that_repeats_itself_stays_whole() {
        assert_eq!(found(&[&[b'a'; 100]], 10, 1, 1), [(10, 100)]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert!(Repeats::new(7, 1, 1, 0, 1).is_err());
        assert!(Repeats::new(LENGTH_MAX + 1, 1, 1, 0, 1).is_err());
        assert!(Repeats::new(8, 1, 1, 1, 1).is_err());
        assert!(Repeats::new(10, 4, 1, 0, 1).is_err());
        assert!(Anchors::new(7, 0, 1).is_err());
        assert!(Anchors::new(8, 1, 1).is_err());
        let mut finder = Repeats::new(8, 1, 0, 0, 1).expect("valid parameters");
        assert!(finder.search(b"0123456789", &[0, 10], 0, 11).is_err());
        assert!(finder.search(b"0123456789", &[0, 11], 0, 10).is_err());
        let text: Vec<u8> = (0..=255).collect();
        assert!(finder.search(&text, &[0, 256], 0, 256).is_err(), "no room");
    }

    proptest! {
        #[test]
        fn what_is_found_is_what_the_definition_says(
            texts in prop::collection::vec(prop::collection::vec(0_u8..3, 0..60), 0..8),
            length in 8_usize..12,
            parts in 1_u32..4,
        ) {
            let texts: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(found(&texts, length, 1, parts), by_definition(&texts, length, 1));
        }

        #[test]
        fn repeats_of_units_are_of_whole_units(
            texts in prop::collection::vec(prop::collection::vec(0_u8..3, 0..30), 0..8),
            parts in 1_u32..3,
        ) {
            let texts: Vec<Vec<u8>> =
                texts.iter().map(|text| text.iter().flat_map(|&unit| [unit, 0, 0, 0]).collect()).collect();
            let texts: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(found(&texts, 12, 4, parts), by_definition(&texts, 12, 4));
        }

        #[test]
        fn long_repeats_are_found_whatever_stands_around(
            texts in prop::collection::vec("[ab]{0,6}", 2..12),
            run in "[abc]{40,90}",
            length in 20_usize..40,
        ) {
            let texts: Vec<Vec<u8>> = texts.iter().map(|text| format!("{text}{run}{text}").into_bytes()).collect();
            let texts: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(found(&texts, length, 1, 1), by_definition(&texts, length, 1));
        }
    }
}
