//! Decompression of LZF, which Redis uses for longer strings in what DUMP gives.

/// The bytes that `packed` stands for; `None` unless they are exactly `len`.
///
/// A control byte below 32 is followed by one more literal bytes than it says. Any other refers back: its upper three
/// bits (7: plus a byte that follows) are the length less two, the rest and the next byte the distance less one.
pub(in crate::commands) fn unpack(packed: &[u8], len: usize) -> Option<Vec<u8>> {
    // What claims more than LZF can pack so small is not believed, before memory is taken for it.
    if len / 264 > packed.len() {
        return None;
    }
    let mut out = Vec::with_capacity(len);
    let mut rest = packed;
    while let [control, after @ ..] = rest {
        rest = after;
        let control = usize::from(*control);
        if control < 32 {
            let (literal, after) = rest.split_at_checked(control + 1)?;
            out.extend_from_slice(literal);
            rest = after;
        } else {
            let mut run = control >> 5;
            if run == 7 {
                run += usize::from(take(&mut rest)?);
            }
            let distance = ((control & 31) << 8 | usize::from(take(&mut rest)?)) + 1;
            let start = out.len().checked_sub(distance)?;
            // The copy may reach into itself.
            for index in start..start + run + 2 {
                out.push(out[index]);
            }
        }
        if out.len() > len {
            return None;
        }
    }
    (out.len() == len).then_some(out)
}

fn take(rest: &mut &[u8]) -> Option<u8> {
    let (first, after) = rest.split_first()?;
    *rest = after;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_references() {
        assert_eq!(unpack(b"\x02abc", 3).unwrap(), b"abc");
        // One literal, then nine bytes from one before: a run of ten.
        assert_eq!(unpack(b"\x00a\xe0\x00\x00", 10).unwrap(), b"a".repeat(10));
        assert_eq!(unpack(b"\x02abc\x20\x02", 6).unwrap(), b"abcabc");
    }

    #[test]
    fn broken_input_is_refused() {
        assert_eq!(unpack(b"\x05abc", 6), None);
        assert_eq!(unpack(b"\x20\x00", 3), None);
        assert_eq!(unpack(b"\x00a\xe0", 10), None);
        assert_eq!(unpack(b"\x02abc", 4), None);
        assert_eq!(unpack(b"\x02abc", 2), None);
        assert_eq!(unpack(b"\x00a", usize::MAX), None);
    }
}
