//! The division of text into pieces whose tokens do not depend on each other.
//!
//! The pieces are those of GPT-2's pattern:
//! `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`.

use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Space,
    Letter,
    Number,
    Other,
}

/// The classes of ASCII.
const CLASSES: [Class; 128] = classes();

const fn classes() -> [Class; 128] {
    let mut table = [Class::Other; 128];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = match byte {
            b'\t'..=b'\r' | b' ' => Class::Space,
            b'a'..=b'z' | b'A'..=b'Z' => Class::Letter,
            b'0'..=b'9' => Class::Number,
            _ => Class::Other,
        };
        byte += 1;
    }
    table
}

fn class(letter: char) -> Class {
    match letter.general_category_group() {
        GeneralCategoryGroup::Letter => Class::Letter,
        GeneralCategoryGroup::Number => Class::Number,
        _ if letter.is_whitespace() => Class::Space,
        _ => Class::Other,
    }
}

/// The class of the character at a place, and its bytes; None at the end.
#[inline]
fn look(text: &str, at: usize) -> Option<(Class, usize)> {
    let byte = *text.as_bytes().get(at)?;
    if byte < 128 {
        return Some((CLASSES[usize::from(byte)], 1));
    }
    let letter = text[at..].chars().next()?;
    Some((class(letter), letter.len_utf8()))
}

/// Calls a function with each piece of a text, in order.
pub fn pieces(text: &str, mut take: impl FnMut(&str)) {
    let mut at = 0;
    while at < text.len() {
        let end = piece(text, at);
        take(&text[at..end]);
        at = end;
    }
}

/// The end of the piece that begins at a place.
fn piece(text: &str, at: usize) -> usize {
    if let Some(length) = contraction(&text.as_bytes()[at..]) {
        return at + length;
    }
    let Some((first, width)) = look(text, at) else {
        return at;
    };
    if first != Class::Space {
        return run(text, at + width, first);
    }
    if text.as_bytes()[at] == b' '
        && let Some((class, width)) = look(text, at + 1)
        && class != Class::Space
    {
        return run(text, at + 1 + width, class);
    }
    spaces(text, at + width, at)
}

fn contraction(text: &[u8]) -> Option<usize> {
    match text {
        [b'\'', b'r' | b'v', b'e', ..] | [b'\'', b'l', b'l', ..] => Some(3),
        [b'\'', b's' | b't' | b'm' | b'd', ..] => Some(2),
        _ => None,
    }
}

/// The end of a run of characters of a class.
fn run(text: &str, mut at: usize, class: Class) -> usize {
    while let Some((found, width)) = look(text, at)
        && found == class
    {
        at += width;
    }
    at
}

/// The end of white space from `start` on. The last space before a word belongs to the word, unless it is alone.
fn spaces(text: &str, mut at: usize, start: usize) -> usize {
    let mut last = start;
    loop {
        match look(text, at) {
            Some((Class::Space, width)) => {
                last = at;
                at += width;
            }
            None => return at,
            Some(_) if last > start => return last,
            Some(_) => return at,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(text: &str) -> Vec<&str> {
        let mut found = Vec::new();
        let mut at = 0;
        pieces(text, |piece| {
            found.push(&text[at..at + piece.len()]);
            at += piece.len();
        });
        found
    }

    #[test]
    fn pieces_are_those_of_the_pattern() {
        assert_eq!(
            cut("Hello  world, it's 42ÄÖ!"),
            ["Hello", " ", " world", ",", " it", "'s", " 42", "ÄÖ", "!"]
        );
        assert_eq!(cut("a \n\n b\t"), ["a", " \n\n", " b", "\t"]);
        assert_eq!(cut("  \t"), ["  \t"]);
        assert_eq!(cut("a\nb"), ["a", "\n", "b"]);
        assert_eq!(
            cut("we'll've'x ''s"),
            ["we", "'ll", "'ve", "'", "x", " ''", "s"]
        );
        assert_eq!(cut("語 Ⅷ ½e\u{301}"), ["語", " Ⅷ", " ½", "e", "\u{301}"]);
        assert_eq!(cut(""), Vec::<&str>::new());
    }

    proptest! {
        #[test]
        fn pieces_make_up_the_text(text in "[ a'sré1\n\t語\u{3000}!]{0,40}|\\PC{0,40}") {
            prop_assert_eq!(cut(&text).concat(), text);
        }
    }
}
