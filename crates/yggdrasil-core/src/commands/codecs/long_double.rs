//! The 80-bit floating point numbers in which Redis computes INCRBYFLOAT on x86-64, exactly so on every machine.
//!
//! A number is `mantissa * 2^exponent`. The mantissa has 64 bits, of which the highest is set, unless the exponent is
//! the least there is. Everything is rounded once, to the nearest, and to the even of two that are equally near.

use std::cmp::Ordering;

use num_bigint::BigUint;

const EXPONENT_MIN: i32 = -16_445;
const EXPONENT_MAX: i32 = 16_384 - 64;
/// Redis reads no longer text.
const TEXT_BYTES_MAX: usize = 5 * 1024 - 1;
/// Digits behind the point that are printed.
const FRACTION_DIGITS: u32 = 17;
/// Powers of ten that fit a u64 and leave four bits free.
const SMALL_POWER_MAX: i64 = 18;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::commands) enum LongDouble {
    Finite {
        negative: bool,
        mantissa: u64,
        exponent: i32,
    },
    Infinite {
        negative: bool,
    },
}

/// A number that still has to be rounded: `mantissa * 2^exponent`. Its lowest bit is set if anything below was lost.
struct Wide {
    mantissa: u128,
    exponent: i64,
}

impl LongDouble {
    pub(in crate::commands) fn is_finite(self) -> bool {
        matches!(self, Self::Finite { .. })
    }

    /// Reads what `strtold` reads, and nothing but that; `None` for anything else, for what is not a number, and for
    /// what is too large or too small.
    pub(in crate::commands) fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let (negative, text) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        if text.eq_ignore_ascii_case(b"inf") || text.eq_ignore_ascii_case(b"infinity") {
            return Some(Self::Infinite { negative });
        }
        let wide = match text {
            [b'0', b'x' | b'X', digits @ ..] => read_hexadecimal(digits)?,
            digits => read_decimal(digits)?,
        };
        let is_zero = wide.mantissa == 0;
        match round(negative, wide) {
            Self::Infinite { .. } => None,
            Self::Finite { mantissa: 0, .. } if !is_zero => None,
            number => Some(number),
        }
    }

    /// The nearest number of 64 bits, or one beside it.
    pub(in crate::commands) fn to_f64(self) -> f64 {
        let (negative, size) = match self {
            Self::Finite {
                negative,
                mantissa,
                exponent,
            } => (negative, mantissa as f64 * f64::from(exponent).exp2()),
            Self::Infinite { negative } => (negative, f64::INFINITY),
        };
        if negative { -size } else { size }
    }

    pub(in crate::commands) fn from_int(int: i64) -> Self {
        let wide = Wide {
            mantissa: u128::from(int.unsigned_abs()),
            exponent: 0,
        };
        round(int < 0, wide)
    }

    /// The rounded sum; `None` unless it is finite.
    pub(in crate::commands) fn add(self, other: Self) -> Option<Self> {
        let (
            Self::Finite {
                negative: a_negative,
                mantissa: a,
                exponent: a_exponent,
            },
            Self::Finite {
                negative: b_negative,
                mantissa: b,
                exponent: b_exponent,
            },
        ) = (self, other)
        else {
            return None;
        };
        if a == 0 {
            return Some(other);
        }
        if b == 0 {
            return Some(self);
        }
        if a_exponent < b_exponent {
            return other.add(self);
        }
        // Two bits stay free above: one for a carry. What falls off below is remembered in the lowest bit, which is
        // far below the last one that is kept whenever anything falls off.
        let a = u128::from(a) << 62;
        let exponent = i64::from(a_exponent) - 62;
        let distance = (a_exponent - b_exponent) as u32;
        let b = match distance {
            0..=62 => u128::from(b) << (62 - distance),
            63..=125 => {
                let kept = u128::from(b) >> (distance - 62);
                kept | u128::from(kept << (distance - 62) != u128::from(b))
            }
            _ => 1,
        };
        let (negative, mantissa) = if a_negative == b_negative {
            (a_negative, a + b)
        } else {
            match a.cmp(&b) {
                Ordering::Less => (b_negative, b - a),
                Ordering::Equal => (false, 0),
                Ordering::Greater => (a_negative, a - b),
            }
        };
        match round(negative, Wide { mantissa, exponent }) {
            Self::Infinite { .. } => None,
            sum => Some(sum),
        }
    }

    /// Decimal notation with up to 17 digits behind the point, without needless zeros.
    pub(in crate::commands) fn print(self) -> Option<String> {
        let Self::Finite {
            negative,
            mantissa,
            exponent,
        } = self
        else {
            return None;
        };
        let text = if exponent >= 0 {
            (BigUint::from(mantissa) << exponent as u32).to_string()
        } else {
            print_fraction(mantissa, exponent.unsigned_abs())
        };
        let sign = if negative && text != "0" { "-" } else { "" };
        Some(format!("{sign}{text}"))
    }
}

/// `mantissa / 2^shift`, rounded to 17 digits behind the point.
fn print_fraction(mantissa: u64, shift: u32) -> String {
    // 64 bits times 10^17, which has 57, fit.
    let scaled = u128::from(mantissa) * 10u128.pow(FRACTION_DIGITS);
    let rounded = if shift < u128::BITS {
        let kept = scaled >> shift;
        let half = 1u128 << (shift - 1);
        match (scaled & (half | (half - 1))).cmp(&half) {
            Ordering::Less => kept,
            Ordering::Equal => kept + (kept & 1),
            Ordering::Greater => kept + 1,
        }
    } else {
        0
    };
    let one = 10u128.pow(FRACTION_DIGITS);
    let (whole, fraction) = (rounded / one, rounded % one);
    let text = format!("{whole}.{fraction:017}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn round(negative: bool, wide: Wide) -> LongDouble {
    let Wide {
        mut mantissa,
        mut exponent,
    } = wide;
    let zero = LongDouble::Finite {
        negative,
        mantissa: 0,
        exponent: EXPONENT_MIN,
    };
    if mantissa == 0 {
        return zero;
    }
    // The highest bit goes to the top, or as far as the least exponent allows.
    let up = i64::from(mantissa.leading_zeros()).min(exponent - i64::from(EXPONENT_MIN) + 64);
    if up >= 0 {
        mantissa <<= up;
    } else if up > -128 {
        let lost = mantissa & ((1 << -up) - 1) != 0;
        mantissa = mantissa >> -up | u128::from(lost);
    } else {
        return zero;
    }
    exponent += 64 - up;
    let (kept, rest) = ((mantissa >> 64) as u64, mantissa as u64);
    const HALF: u64 = 1 << 63;
    let is_up = rest > HALF || rest == HALF && kept & 1 == 1;
    let (kept, carry) = kept.overflowing_add(u64::from(is_up));
    let (kept, exponent) = if carry {
        (HALF, exponent + 1)
    } else {
        (kept, exponent)
    };
    if exponent > i64::from(EXPONENT_MAX) {
        return LongDouble::Infinite { negative };
    }
    LongDouble::Finite {
        negative,
        mantissa: kept,
        exponent: exponent as i32,
    }
}

/// Digits with at most one point in them, and what follows: the digits alone, and how many stood behind the point.
fn take_digits(text: &[u8], is_digit: fn(&u8) -> bool) -> Option<(Vec<u8>, i64, &[u8])> {
    let mut digits = Vec::with_capacity(text.len());
    let mut point = None;
    let mut len = 0;
    for byte in text {
        match byte {
            b'.' if point.is_none() => point = Some(digits.len()),
            digit if is_digit(digit) => digits.push(*digit),
            _ => break,
        }
        len += 1;
    }
    if digits.is_empty() {
        return None;
    }
    let fraction = digits.len() - point.unwrap_or(digits.len());
    Some((digits, fraction as i64, &text[len..]))
}

/// Reads what follows the digits: nothing, or a mark and an exponent. Exponents beyond all bounds are as good as large.
fn take_exponent(text: &[u8], mark: u8) -> Option<i64> {
    let Some((first, rest)) = text.split_first() else {
        return Some(0);
    };
    if first.to_ascii_lowercase() != mark {
        return None;
    }
    let (negative, digits) = match rest {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let magnitude = digits.iter().fold(0i64, |value, digit| {
        (value * 10 + i64::from(digit - b'0')).min(1_000_000)
    });
    Some(if negative { -magnitude } else { magnitude })
}

fn read_hexadecimal(text: &[u8]) -> Option<Wide> {
    let (digits, fraction, rest) = take_digits(text, u8::is_ascii_hexdigit)?;
    let exponent = take_exponent(rest, b'p')? - 4 * fraction;
    Some(narrow(&BigUint::parse_bytes(&digits, 16)?, exponent))
}

fn read_decimal(text: &[u8]) -> Option<Wide> {
    let (digits, fraction, rest) = take_digits(text, u8::is_ascii_digit)?;
    let power = take_exponent(rest, b'e')? - fraction;
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    let digits = &digits[zeros..];
    if digits.len() <= 18 && (-SMALL_POWER_MAX..=SMALL_POWER_MAX).contains(&power) {
        return Some(small_decimal(digits, power));
    }
    if digits.is_empty() {
        return Some(small_decimal(digits, 0));
    }
    // Far beyond both ends of the range there is no need to compute anything.
    if !(-5_000..=5_000).contains(&(digits.len() as i64 + power)) {
        return None;
    }
    let number = BigUint::parse_bytes(digits, 10)?;
    let ten_to_the = BigUint::from(10u32).pow(power.unsigned_abs() as u32);
    if power >= 0 {
        return Some(narrow(&(number * ten_to_the), 0));
    }
    // At least 100 bits of the quotient.
    let up = (100 + ten_to_the.bits()).saturating_sub(number.bits());
    let shifted = number << up;
    let quotient = &shifted / &ten_to_the;
    let mut wide = narrow(&quotient, -(up as i64));
    wide.mantissa |= u128::from(&quotient * &ten_to_the != shifted);
    Some(wide)
}

/// Fewer than 19 digits times a small power of ten, without large numbers.
fn small_decimal(digits: &[u8], power: i64) -> Wide {
    let number = digits
        .iter()
        .fold(0u128, |value, digit| value * 10 + u128::from(digit - b'0'));
    let ten_to_the = 10u128.pow(power.unsigned_abs() as u32);
    if power >= 0 || number == 0 {
        return Wide {
            mantissa: number * ten_to_the,
            exponent: 0,
        };
    }
    // With its highest bit at the top, a quotient of at least 68 bits is left.
    let up = number.leading_zeros();
    let shifted = number << up;
    let (quotient, rest) = (shifted / ten_to_the, shifted % ten_to_the);
    // A rest is far below the last bit that is kept.
    Wide {
        mantissa: quotient | u128::from(rest != 0),
        exponent: -i64::from(up),
    }
}

/// The upper 128 bits of a number; the lowest remembers whether anything is missing.
fn narrow(number: &BigUint, exponent: i64) -> Wide {
    let down = number.bits().saturating_sub(128);
    let lost = number.trailing_zeros().is_some_and(|zeros| zeros < down);
    let upper = number >> down;
    let mut digits = upper.iter_u64_digits();
    let (low, high) = (digits.next().unwrap_or(0), digits.next().unwrap_or(0));
    Wide {
        mantissa: u128::from(high) << 64 | u128::from(low) | u128::from(lost),
        exponent: exponent + down as i64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOT_A_FLOAT: &str = "not a float";
    const INFINITE: &str = "infinite";

    fn sum(a: &str, b: &str) -> String {
        let numbers = LongDouble::parse(a.as_bytes()).zip(LongDouble::parse(b.as_bytes()));
        let Some((a, b)) = numbers else {
            return NOT_A_FLOAT.to_owned();
        };
        let sum = a.add(b).and_then(LongDouble::print);
        sum.unwrap_or_else(|| INFINITE.to_owned())
    }

    /// Answers of Redis 8 on x86-64 to SET f A and INCRBYFLOAT f B.
    #[rustfmt::skip]
    const SUMS: &[(&str, &str, &str)] = &[
        ("35", "-4233555617396491825", "-4233555617396491790"),
        ("0.00040976255789181", "81071.03", "81071.03040976255789474"),
        ("-495325868048321099", "-833.6191637547907", "-495325868048321932.625"),
        ("9.784032005526988484689355", "28413891.63739205", "28413901.42142405552658602"),
        ("3731617962703026485", "-87.0", "3731617962703026398"),
        ("-0.00012260780431075", "363.2288664556472", "363.22874384784288926"),
        ("6832160259716364.0", "-6", "6832160259716358"),
        ("3.8855453429227516", "-43", "-39.1144546570772484"),
        ("-34832.00", "77", "-34755"),
        ("-6587521837315928394", "700.5995057955911", "-6587521837315927693.5"),
        ("0x196fcf8fa4d1161298.7fe3786p-50", "0.00040898557798286", "416755.89068614905704635"),
        ("41.4", "83410.47704092549", "83451.87704092549000023"),
        ("-552640693152070303", "4.00536563004633450191", "-552640693152070299"),
        ("4742380361789.6", "0", "4742380361789.59999990463256836"),
        ("1.73043e-4548", "-7.876119092389881615", "-7.87611909238988162"),
        ("26", "0x303f9d22b1412ed1fb.18b0204ep92", "4407203078098484676323675253833875062675954728960"),
        ("7.5496237471154116254177098294192173548774800271815761e-115", "41.8", "41.8"),
        ("-0.00009794540649877", "0x3bc8627b00210e4a21.16b1302p33", "9472955291779292962562391408640"),
        ("96105.99", "4608533299695e8", "460853329969500096096"),
        ("19264.01", "76.9", "19340.91000000000000014"),
        ("-1234690936266822088", "-0.00079974050977704", "-1234690936266822088"),
        ("-2.4323406184459912537931814", "-24016961358119306162e-29", "-2.43234061868616087"),
        ("980534.8373701237", "-25810.70", "954724.13737012370000912"),
        ("89", "0x99c627dbd8aa57dbe.2a58eee5p-80", "89.00014665035791076"),
        ("-6.88587487159146976117570240355288705e-3147", "-63.0", "-63"),
        ("-10171e-14", "0.00056183692705330", "0.0005618368253433"),
        ("-5935204368882852688", "0.725219384847036e-4191", "-5935204368882852688"),
        ("4.679114574857142e-10", "22", "22.00000000046791146"),
        ("57.0", "0x669f4d6d213cce221.248b5f8p50", "133211329260023599775904438838886400"),
        ("16", "-18238e15", "-18237999999999999984"),
        ("2840793403074628542", "0.00071923712260084", "2840793403074628542"),
        ("0e99999999999", "-3442162886134293680", "-3442162886134293680"),
        ("-5.6103964895578499750", "4.8", "-0.81039648955784997"),
        ("37272090466228642720604", "3e-4951", "37272090466228642719744"),
        ("0X1P3", "-266.58851791489076", "-258.58851791489076"),
        ("6.2646", "0e99999999999", "6.2646"),
        ("-4.0434438901770744e-14", "8.890324237759859e+17", "889032423775985900"),
        ("-167325820813172e-26", "0x23951ffc2b48cdca3.30823a5p60", "47297280817984281561993575441501257728"),
        ("0.011172862686506912", "668.8688255940012", "668.87999845668770693"),
        ("-46046.04", "0.016759322596851905", "-46046.02324067740314817"),
        ("-8.4", "84", "75.6"),
        ("16549789512329727049504e-25", "-8953158177316230553129039e8", "-895315817731623055337882948468736"),
        ("2.44349540716042e-3450", "1e18", "1000000000000000000"),
        ("0.01525299404279137", "1782821275532670870", "1782821275532670870"),
        ("-49.2", "-864.8361084319445", "-914.03610843194450003"),
        ("2628614343884300116", "1e+", NOT_A_FLOAT),
        ("0x", "540.6201526026218", NOT_A_FLOAT),
        ("1e-4951", "-64.2", NOT_A_FLOAT),
        ("513.0240757744293", "0x", NOT_A_FLOAT),
        ("426.09153928878777", "1.5.2", NOT_A_FLOAT),
        ("0x345e6557f71be2a283.fd03897p14", "1.5.2", NOT_A_FLOAT),
        ("inf", "-56", INFINITE),
        ("0x", "44464.55", NOT_A_FLOAT),
        ("-81031.45", "1e-99999999999", NOT_A_FLOAT),
        ("-23.6", "0x", NOT_A_FLOAT),
        ("1e5x", "-inf", NOT_A_FLOAT),
        ("0x.p1", "-0.00020340342765747", NOT_A_FLOAT),
        ("infinit", "323.50696246565303", NOT_A_FLOAT),
        ("1.18973149535723176509e4932", "-21307992504249982944e-2", NOT_A_FLOAT),
        ("-55808.68", "1e", NOT_A_FLOAT),
    ];

    #[test]
    fn sums_are_those_of_redis() {
        for (a, b, expected) in SUMS {
            assert_eq!(sum(a, b), *expected, "{a} + {b}");
        }
    }

    #[test]
    fn integers_are_exact() {
        for int in [
            0,
            1,
            -1,
            i64::MAX,
            i64::MIN,
            1 << 53,
            999_999_999_999_999_999,
        ] {
            assert_eq!(LongDouble::from_int(int).print().unwrap(), int.to_string());
            assert_eq!(
                Some(LongDouble::from_int(int)),
                LongDouble::parse(int.to_string().as_bytes())
            );
        }
    }

    #[test]
    fn ends_of_the_range() {
        let largest = "1.18973149535723176502e4932";
        assert!(LongDouble::parse(largest.as_bytes()).is_some());
        assert_eq!(sum(largest, largest), INFINITE);
        for text in [
            "1.1897314953572318e4932",
            "1e99999999999999999999",
            "1e-4951",
            "1e-99999",
        ] {
            assert_eq!(LongDouble::parse(text.as_bytes()), None, "{text}");
        }
        let least = LongDouble::parse(b"3.6e-4951").unwrap();
        assert!(matches!(
            least,
            LongDouble::Finite {
                mantissa: 1,
                exponent: EXPONENT_MIN,
                ..
            }
        ));
        assert_eq!(LongDouble::parse(&b"1".repeat(TEXT_BYTES_MAX + 1)), None);
    }
}
