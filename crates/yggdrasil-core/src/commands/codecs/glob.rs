//! Patterns as KEYS, SCAN, PSUBSCRIBE and CONFIG GET know them: `*`, `?`, `[a-z]`, `[^abc]`, and `\` before any of
//! them.

/// True when all of `text` matches.
///
/// As in Redis, an empty text matches nothing but an empty pattern, not even `*`.
///
/// Needs no recursion: after a mismatch only the latest `*` can take one byte more, so the cost is at most the product
/// of both lengths.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    search(pattern, text, false)
}

/// As [`matches`], blind to the case of ASCII letters.
pub fn matches_ignoring_case(pattern: &[u8], text: &[u8]) -> bool {
    search(pattern, text, true)
}

fn search(pattern: &[u8], text: &[u8], ignore_case: bool) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut p, mut t) = (0, 0);
    // Where to go on after a mismatch: behind the latest star, which then takes one byte more.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            if p == pattern.len() {
                return true;
            }
            retry = Some((p, t));
            continue;
        }
        if t == text.len() {
            return p == pattern.len();
        }
        if let Some(next) = match_one(pattern, p, text[t], ignore_case) {
            (p, t) = (next, t + 1);
            continue;
        }
        let Some((star, taken)) = &mut retry else {
            return false;
        };
        *taken += 1;
        (p, t) = (*star, *taken);
    }
}

/// Where the pattern goes on if its element at `p` matches `byte`.
fn match_one(pattern: &[u8], p: usize, byte: u8, ignore_case: bool) -> Option<usize> {
    let fold = |byte: u8| {
        if ignore_case {
            byte.to_ascii_lowercase()
        } else {
            byte
        }
    };
    match *pattern.get(p)? {
        b'?' => Some(p + 1),
        b'[' => match_class(pattern, p + 1, byte, &fold),
        b'\\' if p + 1 < pattern.len() => (fold(pattern[p + 1]) == fold(byte)).then_some(p + 2),
        literal => (fold(literal) == fold(byte)).then_some(p + 1),
    }
}

/// As [`match_one`], for the class whose first byte is at `p`. One that is not closed ends with the pattern.
fn match_class(pattern: &[u8], mut p: usize, byte: u8, fold: &impl Fn(u8) -> u8) -> Option<usize> {
    let negated = pattern.get(p) == Some(&b'^');
    p += usize::from(negated);
    let byte = fold(byte);
    let mut found = false;
    loop {
        match pattern[p.min(pattern.len())..] {
            [] => break,
            [b']', ..] => {
                p += 1;
                break;
            }
            [b'\\', escaped, ..] => {
                found |= fold(escaped) == byte;
                p += 2;
            }
            [from, b'-', to, ..] => {
                let (from, to) = (fold(from.min(to)), fold(from.max(to)));
                found |= (from..=to).contains(&byte);
                p += 3;
            }
            [literal, ..] => {
                found |= fold(literal) == byte;
                p += 1;
            }
        }
    }
    (found != negated).then_some(p)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_patterns_match_what_they_match_in_redis() {
        for (pattern, text, expected) in [
            ("h[a-", "hb", false),
            ("h[a", "ha", true),
            ("h[", "h", false),
            ("h[^", "hx", true),
            ("h\\", "h\\", true),
            ("[]", "]", false),
            ("[]a]", "a", false),
            ("[^]", "x", true),
            ("[^]a]", "xa]", true),
            ("[b-a]", "a", true),
            ("[a-]", "-", false),
            ("[a-]", "a", true),
            ("[a-]]", "a]", false),
            ("[\\]]", "]", true),
            ("[\\a-c]", "b", false),
            ("*[a", "xa", true),
            ("[", "[", false),
            ("", "", true),
            ("**", "", false),
            ("a*", "a", true),
            ("a**", "a", true),
            ("a*?", "a", false),
            ("[a-\\]", "a", true),
            ("[a\\", "a", true),
            ("[a\\", "\\", true),
            ("?*", "", false),
            ("[*]", "*", true),
            ("[z-a]x", "cx", true),
            ("[", "a", false),
            ("a[", "ab", false),
            ("a[^", "ab", true),
        ] {
            let found = matches(pattern.as_bytes(), text.as_bytes());
            assert_eq!(found, expected, "{pattern} {text}");
        }
    }

    #[test]
    fn usual_patterns() {
        for (pattern, text, expected) in [
            ("user:*", "user:1000", true),
            ("user:*:name", "user:1:name", true),
            ("user:*:name", "user:1:names", false),
            ("h?llo", "hello", true),
            ("h[ae]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("*a*b*c", "xxaxxbxxbxxc", true),
            ("Abc", "abc", false),
        ] {
            let found = matches(pattern.as_bytes(), text.as_bytes());
            assert_eq!(found, expected, "{pattern} {text}");
        }
    }

    #[test]
    fn case_can_be_ignored() {
        assert!(matches_ignoring_case(b"MAX[A-M]*", b"maxmemory"));
        assert!(!matches_ignoring_case(b"MAX[A-L]*", b"maxmemory"));
    }

    #[test]
    fn many_stars_cost_no_more_than_the_product_of_the_lengths() {
        let pattern = [b"a*".repeat(2_000), b"b".to_vec()].concat();
        assert!(!matches(&pattern, &b"a".repeat(10_000)));
    }
}
