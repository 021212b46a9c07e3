//! Normal forms of text.

use std::borrow::Cow;

use crate::dedup::ascii;
use crate::simd::Level;

/// A form in which texts are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The text as it is, byte for byte.
    Raw,
    /// Lower case, each run of white space as one space, none at the ends.
    Folded,
}

/// Writes a text in a form. Bytes that are not UTF-8 become U+FFFD in the folded form.
pub fn normalize(level: Level, form: Form, text: &[u8], out: &mut Vec<u8>) {
    out.clear();
    match form {
        Form::Raw => out.extend_from_slice(text),
        Form::Folded if text.is_ascii() => {
            ascii::fold(level, text, true, out);
            without_last_space(out);
        }
        Form::Folded => fold(level, &characters(text), out),
    }
}

/// A text as characters, whatever its bytes are.
pub fn characters(text: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(text)
}

/// The place of the first byte from `start` on that is not ASCII, or the length.
pub fn ascii_end(text: &[u8], start: usize) -> usize {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let (eights, rest) = text[start..].as_chunks::<8>();
    for (index, eight) in eights.iter().enumerate() {
        let high = u64::from_le_bytes(*eight) & HIGH;
        if high != 0 {
            return start + index * 8 + high.trailing_zeros() as usize / 8;
        }
    }
    let found = rest.iter().position(|byte| !byte.is_ascii());
    found.map_or(text.len(), |at| text.len() - rest.len() + at)
}

fn fold(level: Level, text: &str, out: &mut Vec<u8>) {
    // The lower case of this letter depends on those around it.
    if text.contains('Σ') {
        return fold_words(text, out);
    }
    let (mut at, mut space) = (0, true);
    loop {
        let end = ascii_end(text.as_bytes(), at);
        space = ascii::fold(level, &text.as_bytes()[at..end], space, out);
        let Some(letter) = text[end..].chars().next() else {
            break;
        };
        at = end + letter.len_utf8();
        if !letter.is_whitespace() {
            let mut buffer = [0; 4];
            for lower in letter.to_lowercase() {
                out.extend_from_slice(lower.encode_utf8(&mut buffer).as_bytes());
            }
            space = false;
        } else if !space {
            out.push(b' ');
            space = true;
        }
    }
    without_last_space(out);
}

fn fold_words(text: &str, out: &mut Vec<u8>) {
    for word in text.to_lowercase().split_whitespace() {
        if !out.is_empty() {
            out.push(b' ');
        }
        out.extend_from_slice(word.as_bytes());
    }
}

fn without_last_space(out: &mut Vec<u8>) {
    if out.last() == Some(&b' ') {
        out.pop();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn folded(text: &[u8]) -> String {
        let mut out = Vec::new();
        normalize(Level::best(), Form::Folded, text, &mut out);
        String::from_utf8(out).expect("folded text is UTF-8")
    }

    #[test]
    fn white_space_and_case_are_folded() {
        assert_eq!(folded(b"  The\t\r\nQuick \x0b FOX  "), "the quick fox");
        assert_eq!(
            folded("\u{a0}ÄRGER\u{3000}Straße ".as_bytes()),
            "ärger straße"
        );
        assert_eq!(folded(b" \n\t "), "");
        assert_eq!(folded(b""), "");
        assert_eq!(folded(b"a\xff B"), "a\u{fffd} b");
        assert_eq!(folded("ΟΔΟΣ \u{2003} ΣΑΣ".as_bytes()), "οδος σας");
    }

    #[test]
    fn the_raw_form_changes_nothing() {
        let mut out = Vec::new();
        normalize(Level::best(), Form::Raw, b" A\xff  b", &mut out);
        assert_eq!(out, b" A\xff  b");
    }

    #[test]
    fn runs_of_ascii_end_where_it_ends() {
        let text = "0123456789abcdefghiä";
        for start in 0..19 {
            assert_eq!(ascii_end(text.as_bytes(), start), 19);
        }
        assert_eq!(ascii_end(b"0123456789", 3), 10);
        assert_eq!(ascii_end(b"", 0), 0);
    }

    proptest! {
        #[test]
        fn all_ways_fold_alike(text in "([a-dA-D \\t\\n]{0,20}[\\PC\u{a0}\u{3000}İΣ]{0,3}){0,5}") {
            let mut whole = Vec::new();
            fold_words(&text, &mut whole);
            for level in Level::available() {
                let mut out = b"left".to_vec();
                normalize(level, Form::Folded, text.as_bytes(), &mut out);
                prop_assert_eq!(&out, &whole, "{}", level.name());
            }
        }

        #[test]
        fn folding_twice_is_folding_once(text in "\\PC{0,60}") {
            let once = folded(text.as_bytes());
            prop_assert_eq!(folded(once.as_bytes()), once);
        }
    }
}
