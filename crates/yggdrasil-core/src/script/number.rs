//! Numbers as texts, in the forms of C.

use std::io::Write;

/// Appends a number as `%.{precision}g` writes it.
pub fn write_general(out: &mut Vec<u8>, number: f64, precision: usize) {
    if number.is_nan() {
        out.extend_from_slice(if number.is_sign_negative() {
            b"-nan"
        } else {
            b"nan"
        });
        return;
    }
    if number.is_infinite() {
        out.extend_from_slice(if number < 0.0 { b"-inf" } else { b"inf" });
        return;
    }
    let whole = number as i64;
    let bound = 10_i64.pow(precision.clamp(1, 18) as u32);
    if whole as f64 == number && whole.abs() < bound && !(whole == 0 && number.is_sign_negative()) {
        let mut buffer = itoa::Buffer::new();
        out.extend_from_slice(buffer.format(whole).as_bytes());
        return;
    }
    let precision = precision.max(1);
    let scientific = format!("{number:.*e}", precision - 1);
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if exponent < -4 || exponent >= precision as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        let digits = without_zeros(digits);
        // Writing to a vector does not fail.
        let _ = write!(out, "{digits}e{sign}{:02}", exponent.abs());
    } else {
        let decimals = (precision as i32 - 1 - exponent).max(0) as usize;
        let fixed = format!("{number:.decimals$}");
        out.extend_from_slice(without_zeros(&fixed).as_bytes());
    }
}

fn without_zeros(digits: &str) -> &str {
    if digits.contains('.') {
        digits.trim_end_matches('0').trim_end_matches('.')
    } else {
        digits
    }
}

/// The number at the beginning of a text, as strtod reads it, and its bytes.
pub fn parse_prefix(text: &[u8]) -> Option<(f64, usize)> {
    let signed = usize::from(matches!(text.first(), Some(b'+' | b'-')));
    let is_negative = text.first() == Some(&b'-');
    let rest = &text[signed..];
    let with_sign = |number: f64| if is_negative { -number } else { number };
    let starts = |word: &[u8]| {
        rest.get(..word.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(word))
    };
    if starts(b"infinity") {
        return Some((with_sign(f64::INFINITY), signed + 8));
    }
    if starts(b"inf") {
        return Some((with_sign(f64::INFINITY), signed + 3));
    }
    if starts(b"nan") {
        return Some((with_sign(f64::NAN), signed + 3));
    }
    if starts(b"0x") && rest.get(2).is_some_and(u8::is_ascii_hexdigit) {
        let digits = rest[2..].iter().take_while(|byte| byte.is_ascii_hexdigit());
        let count = digits.clone().count();
        let number = digits.fold(0.0, |number, byte| {
            number * 16.0 + f64::from(char::from(*byte).to_digit(16).unwrap_or(0))
        });
        return Some((with_sign(number), signed + 2 + count));
    }
    let digits_from = |start: usize| {
        let rest = rest.get(start..).unwrap_or_default();
        rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
    };
    let mut length = digits_from(0);
    let mut digits = length;
    if rest.get(length) == Some(&b'.') {
        let decimals = digits_from(length + 1);
        digits += decimals;
        length += 1 + decimals;
    }
    if digits == 0 {
        return None;
    }
    if matches!(rest.get(length), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(rest.get(length + 1), Some(b'+' | b'-')));
        let exponent = digits_from(length + 1 + sign);
        if exponent > 0 {
            length += 1 + sign + exponent;
        }
    }
    let number = std::str::from_utf8(&rest[..length]).ok()?.parse().ok()?;
    Some((with_sign(number), signed + length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn general(number: f64, precision: usize) -> String {
        let mut out = Vec::new();
        write_general(&mut out, number, precision);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_written_as_in_c() {
        for (number, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.1, "0.1"),
            (1e14, "1e+14"),
            (12345678901234.0, "12345678901234"),
            (123456789012345.0, "1.2345678901234e+14"),
            (1e-5, "1e-05"),
            (0.0001, "0.0001"),
            (std::f64::consts::PI, "3.1415926535898"),
            (1e300, "1e+300"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(general(number, 14), text);
        }
        assert_eq!(general(2.5, 1), "2");
    }

    #[test]
    fn numbers_are_read_as_far_as_they_go() {
        assert_eq!(parse_prefix(b"12,"), Some((12.0, 2)));
        assert_eq!(parse_prefix(b"-1.5e3]"), Some((-1500.0, 6)));
        assert_eq!(parse_prefix(b"1e]"), Some((1.0, 1)));
        assert_eq!(parse_prefix(b"0x10"), Some((16.0, 4)));
        assert_eq!(parse_prefix(b"-Inf"), Some((f64::NEG_INFINITY, 4)));
        assert_eq!(parse_prefix(b"-"), None);
        assert_eq!(parse_prefix(b"1."), Some((1.0, 2)));
    }

    proptest! {
        #[test]
        fn seventeen_digits_say_everything(number in proptest::num::f64::NORMAL) {
            prop_assert_eq!(general(number, 17).parse::<f64>().unwrap(), number);
        }

        #[test]
        fn no_bytes_are_too_strange_to_be_read(bytes: Vec<u8>) {
            parse_prefix(&bytes);
        }
    }
}
