//! How Redis prints a double: the fewest digits that read back as the same number.

use std::io::Write;

/// Above this a whole number is printed from its digits, not as an integer.
const WHOLE_MAX: f64 = (i64::MAX / 2) as f64;

/// Appends `value` as text.
pub fn write_double(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        out.extend_from_slice(b"nan");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"inf" } else { b"-inf" });
    } else if value == 0.0 {
        out.extend_from_slice(if value.is_sign_negative() {
            b"-0"
        } else {
            b"0"
        });
    } else if value.abs() <= WHOLE_MAX && value.trunc() == value {
        out.extend_from_slice(itoa::Buffer::new().format(value as i64).as_bytes());
    } else {
        write_digits(out, value);
    }
}

fn write_digits(out: &mut Vec<u8>, value: f64) {
    let mut text = [0u8; 40];
    let mut rest = &mut text[..];
    // A scientific f64 has at most 17 digits, a point, a sign, and an exponent of four characters.
    let printed = write!(rest, "{:e}", value.abs());
    debug_assert!(printed.is_ok());
    let free = rest.len();
    let text = &text[..text.len() - free];
    let mark = memchr::memchr(b'e', text).unwrap_or(text.len());
    let digits: Vec<u8> = text[..mark]
        .iter()
        .copied()
        .filter(|byte| *byte != b'.')
        .collect();
    let exponent = std::str::from_utf8(&text[mark + 1..])
        .ok()
        .and_then(|text| text.parse::<i32>().ok())
        .unwrap_or(0);
    if value < 0.0 {
        out.push(b'-');
    }
    place_digits(out, &digits, exponent);
}

/// `digits` with a point after the first, times ten to the `exponent`, in the notation Redis chooses.
fn place_digits(out: &mut Vec<u8>, digits: &[u8], exponent: i32) {
    let count = digits.len() as i32;
    let last = exponent - count + 1;
    if last >= 0 && exponent < count + 7 {
        out.extend_from_slice(digits);
        out.resize(out.len() + last as usize, b'0');
    } else if last < 0 && (last > -7 || exponent.abs() < 4) {
        if exponent < 0 {
            out.extend_from_slice(b"0.");
            out.resize(out.len() + (-exponent - 1) as usize, b'0');
            out.extend_from_slice(digits);
        } else {
            let (whole, fraction) = digits.split_at(exponent as usize + 1);
            out.extend_from_slice(whole);
            out.push(b'.');
            out.extend_from_slice(fraction);
        }
    } else {
        out.push(digits[0]);
        if count > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        out.push(b'e');
        out.push(if exponent < 0 { b'-' } else { b'+' });
        out.extend_from_slice(itoa::Buffer::new().format(exponent.abs()).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(value: f64) -> String {
        let mut out = Vec::new();
        write_double(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn doubles_look_as_in_redis() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (3.0, "3"),
            (-17.0, "-17"),
            (1.5, "1.5"),
            (0.1, "0.1"),
            (0.001, "0.001"),
            (1.5e-7, "1.5e-7"),
            (123456.789, "123456.789"),
            (1e20, "1e+20"),
            (12345678901234567890.0, "12345678901234567000"),
            (4.7e18, "4.7e+18"),
            (1.5e-5, "0.000015"),
            (1.23e-5, "1.23e-5"),
            (5e-324, "5e-324"),
            (1e30, "1e+30"),
            (1.25e300, "1.25e+300"),
            (2.818281828459, "2.818281828459"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(text(value), expected);
        }
    }

    proptest! {
        #[test]
        fn every_double_reads_back(value in proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL) {
            prop_assert_eq!(text(value).parse::<f64>().unwrap(), value);
        }
    }
}
