//! How Redis prints a double: the fewest digits that read back as the same number. And how it reads one.

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

/// A number that was read.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Double {
    /// Infinite for what is too large, and zero for what is too small.
    pub value: f64,
    /// True for what is finite and not zero, and too large or too small.
    pub is_out_of_range: bool,
}

impl Double {
    /// Reads what `strtod` reads to its end, blanks before it excepted: decimal and hexadecimal numbers, and infinity.
    /// What is not a number is refused.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let unsigned = match text {
            [b'-' | b'+', rest @ ..] => rest,
            rest => rest,
        };
        if let [b'0', b'x' | b'X', digits @ ..] = unsigned {
            let magnitude = parse_hexadecimal(digits)?;
            let sign = if text[0] == b'-' { -1.0 } else { 1.0 };
            return Some(Self {
                value: sign * magnitude.value,
                ..magnitude
            });
        }
        let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
        if value.is_nan() {
            return None;
        }
        let is_infinity = unsigned.first().is_some_and(u8::is_ascii_alphabetic);
        let mantissa = unsigned.split(|byte| matches!(byte, b'e' | b'E')).next();
        let is_zero =
            || mantissa.is_some_and(|digits| digits.iter().all(|d| matches!(d, b'0' | b'.')));
        let is_out_of_range = (value.is_infinite() && !is_infinity) || (value == 0.0 && !is_zero());
        Some(Self {
            value,
            is_out_of_range,
        })
    }
}

/// The double of a text that is one and nothing else, and in the range of doubles.
#[inline]
#[must_use]
pub fn parse_double(text: &[u8]) -> Option<f64> {
    short_decimal(text).or_else(|| parse_any(text))
}

/// The number of up to 15 digits, perhaps with a sign and a point. A quotient of numbers that are exact is rounded
/// once.
#[inline]
fn short_decimal(text: &[u8]) -> Option<f64> {
    const DIGITS_MAX: usize = 15;
    const POWERS: [f64; DIGITS_MAX + 1] = [
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
    ];
    let (is_negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.len() > DIGITS_MAX {
        return None;
    }
    let (mut number, mut point) = (0_u64, None);
    for (place, byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' => number = number * 10 + u64::from(byte - b'0'),
            b'.' if point.is_none() => point = Some(place),
            _ => return None,
        }
    }
    if digits.len() == usize::from(point.is_some()) {
        return None;
    }
    let behind = point.map_or(0, |point| digits.len() - point - 1);
    let size = number as f64 / POWERS[behind];
    Some(if is_negative { -size } else { size })
}

#[inline(never)]
fn parse_any(text: &[u8]) -> Option<f64> {
    let double = Double::parse(text).filter(|double| !double.is_out_of_range);
    double.map(|double| double.value)
}

/// The digits behind "0x". Those beyond the first fifteen that count only tell the size.
fn parse_hexadecimal(text: &[u8]) -> Option<Double> {
    const DIGITS_MAX: u32 = 15;
    const EXPONENT_MAX: i64 = 1 << 20;
    let mark = text.iter().position(|byte| matches!(byte, b'p' | b'P'));
    let (digits, exponent) = match mark {
        Some(mark) => (&text[..mark], parse_exponent(&text[mark + 1..])?),
        None => (text, 0),
    };
    let (mut mantissa, mut taken, mut seen) = (0_u64, 0, false);
    let (mut scale, mut is_fraction) = (0_i64, false);
    for byte in digits {
        if *byte == b'.' && !is_fraction {
            is_fraction = true;
            continue;
        }
        let digit = char::from(*byte).to_digit(16)?;
        seen = true;
        if taken < DIGITS_MAX {
            mantissa = mantissa << 4 | u64::from(digit);
            taken += u32::from(mantissa != 0);
            scale -= if is_fraction { 4 } else { 0 };
        } else {
            scale += if is_fraction { 0 } else { 4 };
        }
    }
    if !seen {
        return None;
    }
    let exponent = scale
        .saturating_add(exponent)
        .clamp(-EXPONENT_MAX, EXPONENT_MAX);
    let value = scaled(mantissa as f64, exponent as i32);
    let is_lost = value.is_infinite() || (value == 0.0 && mantissa != 0);
    Some(Double {
        value,
        is_out_of_range: is_lost,
    })
}

fn parse_exponent(text: &[u8]) -> Option<i64> {
    let digits = match text {
        [b'-' | b'+', digits @ ..] => digits,
        digits => digits,
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let size = digits.iter().fold(0_i64, |size, digit| {
        size.saturating_mul(10)
            .saturating_add(i64::from(digit - b'0'))
    });
    Some(if text[0] == b'-' { -size } else { size })
}

/// A number times a power of two, in steps that do not round but at the last.
fn scaled(mut value: f64, mut exponent: i32) -> f64 {
    const STEP: i32 = 900;
    while exponent > STEP {
        value *= 2_f64.powi(STEP);
        exponent -= STEP;
        if value.is_infinite() || value == 0.0 {
            return value;
        }
    }
    while exponent < -STEP {
        value *= 2_f64.powi(-STEP);
        exponent += STEP;
        if value == 0.0 {
            return value;
        }
    }
    value * 2_f64.powi(exponent)
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

    #[test]
    fn doubles_are_read_as_in_redis() {
        for (text, expected) in [
            ("1", Some(1.0)),
            ("-1.5e3", Some(-1500.0)),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            ("+inf", Some(f64::INFINITY)),
            ("-Infinity", Some(f64::NEG_INFINITY)),
            ("0x10", Some(16.0)),
            ("-0x1.8p1", Some(-3.0)),
            ("0x.8", Some(0.5)),
            ("0x1p-1074", Some(5e-324)),
            ("0x1p2000", None),
            ("0x", None),
            ("0x1p", None),
            ("0x1pz", None),
            ("1e400", None),
            ("1e-400", None),
            ("0e-400", Some(0.0)),
            ("nan", None),
            ("", None),
            (" 1", None),
            ("1 ", None),
            ("1x", None),
        ] {
            assert_eq!(parse_double(text.as_bytes()), expected, "{text:?}");
        }
        let large = Double::parse(b"1e400").unwrap();
        assert!(large.is_out_of_range && large.value == f64::INFINITY);
    }

    proptest! {
        #[test]
        fn short_decimals_are_read_exactly(text in "[-+]?[0-9]{0,9}\\.?[0-9]{0,8}") {
            let read = |parse: fn(&[u8]) -> Option<f64>| parse(text.as_bytes()).map(f64::to_bits);
            prop_assert_eq!(read(parse_double), read(parse_any));
        }

        #[test]
        fn no_bytes_are_too_strange_to_be_read(bytes: Vec<u8>, hexadecimal in "[-+]?0x[0-9a-f.p+-]{0,40}") {
            let _ = Double::parse(&bytes);
            let _ = Double::parse(hexadecimal.as_bytes());
        }

        #[test]
        fn every_double_reads_back(value in proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL) {
            prop_assert_eq!(text(value).parse::<f64>().unwrap(), value);
        }
    }
}
