//! Normal forms of text.

use std::borrow::Cow;

/// A form in which texts are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The text as it is, byte for byte.
    Raw,
    /// Lower case, each run of white space as one space, none at the ends.
    Folded,
}

/// The byte that stands for an ASCII byte in the folded form: lower case, and a space for white space.
const FOLDED: [u8; 256] = folded_table();

const fn folded_table() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        #[allow(clippy::cast_possible_truncation)]
        let value = byte as u8;
        table[byte] = match value {
            b'\t'..=b'\r' | b' ' => b' ',
            _ => value.to_ascii_lowercase(),
        };
        byte += 1;
    }
    table
}

/// Writes a text in a form. Bytes that are not UTF-8 become U+FFFD in the folded form.
pub fn normalize(form: Form, text: &[u8], out: &mut Vec<u8>) {
    out.clear();
    match form {
        Form::Raw => out.extend_from_slice(text),
        Form::Folded if text.is_ascii() => fold_ascii(text, out),
        Form::Folded => fold(&String::from_utf8_lossy(text), out),
    }
}

/// A text as characters, whatever its bytes are.
pub fn characters(text: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(text)
}

fn fold_ascii(text: &[u8], out: &mut Vec<u8>) {
    out.resize(text.len(), 0);
    let mut length = 0;
    let mut space = true;
    // Without a branch: a byte is written always, and kept unless it is a space after a space.
    for &byte in text {
        let folded = FOLDED[usize::from(byte)];
        let is_space = folded == b' ';
        out[length] = folded;
        length += usize::from(!(is_space & space));
        space = is_space;
    }
    if length > 0 && out[length - 1] == b' ' {
        length -= 1;
    }
    out.truncate(length);
}

fn fold(text: &str, out: &mut Vec<u8>) {
    let lower = text.to_lowercase();
    for word in lower.split_whitespace() {
        if !out.is_empty() {
            out.push(b' ');
        }
        out.extend_from_slice(word.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn folded(text: &[u8]) -> String {
        let mut out = Vec::new();
        normalize(Form::Folded, text, &mut out);
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
    }

    #[test]
    fn the_raw_form_changes_nothing() {
        let mut out = Vec::new();
        normalize(Form::Raw, b" A\xff  b", &mut out);
        assert_eq!(out, b" A\xff  b");
    }

    proptest! {
        #[test]
        fn the_way_for_ascii_folds_as_the_general_one(text in "[\\x00-\\x7f]{0,80}") {
            let (mut quick, mut general) = (Vec::new(), Vec::new());
            fold_ascii(text.as_bytes(), &mut quick);
            fold(&text, &mut general);
            prop_assert_eq!(quick, general);
        }

        #[test]
        fn folding_twice_is_folding_once(text in "\\PC{0,60}") {
            let once = folded(text.as_bytes());
            prop_assert_eq!(folded(once.as_bytes()), once);
        }
    }
}
