//! Borders at which a text may be cut.

/// A kind of border.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Border {
    /// Between two characters.
    Character,
    /// After white space.
    Word,
    /// After a line feed.
    Line,
    /// Between two units of so many bytes.
    Unit(usize),
}

impl Border {
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "character" => Some(Self::Character),
            "word" => Some(Self::Word),
            "line" => Some(Self::Line),
            _ => None,
        }
    }

    fn stands(self, text: &[u8], at: usize) -> bool {
        if at == 0 || at >= text.len() {
            return true;
        }
        match self {
            // The first byte of a character of UTF-8 is no continuation.
            Self::Character => text[at] & 0xc0 != 0x80,
            Self::Word => text[at - 1].is_ascii_whitespace(),
            Self::Line => text[at - 1] == b'\n',
            Self::Unit(bytes) => at.is_multiple_of(bytes),
        }
    }

    /// The largest range within one that begins and ends at borders; None where there is none.
    pub fn within(self, text: &[u8], start: usize, end: usize) -> Option<(usize, usize)> {
        let start = (start..end).find(|&at| self.stands(text, at))?;
        let end = (start + 1..=end).rev().find(|&at| self.stands(text, at))?;
        Some((start, end))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_cut_is_moved_to_borders() {
        let text = "ab ÄÖ cd\nefg\nh".as_bytes();
        assert_eq!(Border::Character.within(text, 4, 6), None);
        assert_eq!(Border::Character.within(text, 4, 7), Some((5, 7)));
        assert_eq!(Border::Character.within(text, 3, 6), Some((3, 5)));
        assert_eq!(Border::Word.within(text, 1, 9), Some((3, 8)));
        assert_eq!(Border::Line.within(text, 1, 15), Some((11, 15)));
        assert_eq!(Border::Line.within(text, 1, 14), None);
        assert_eq!(Border::Line.within(text, 1, 5), None);
        assert_eq!(Border::Unit(4).within(text, 3, 11), Some((4, 8)));
    }

    proptest! {
        #[test]
        fn a_cut_at_borders_lies_within_and_leaves_whole_characters(text in "[aÄ語 \n]{0,30}", start in 0_usize..40, more in 0_usize..40) {
            let bytes = text.as_bytes();
            let start = start.min(bytes.len());
            let end = (start + more).min(bytes.len());
            for border in [Border::Character, Border::Word, Border::Line] {
                if let Some((first, last)) = border.within(bytes, start, end) {
                    prop_assert!(start <= first && first < last && last <= end);
                    prop_assert!(text.is_char_boundary(first) && text.is_char_boundary(last));
                }
            }
        }
    }
}
