//! The library `struct`: numbers and strings to bytes and back, by a format.

use super::stack::{Failure, Kind, Outcome, Stack};

/// Functions by name.
pub const FUNCTIONS: &[(&str, super::stack::Function)] =
    &[("pack", pack), ("unpack", unpack), ("size", size)];

/// Bytes of an integer at most.
const INTEGER_BYTES_MAX: usize = 32;
/// The strictest alignment of the machine.
const ALIGNMENT_MAX: usize = 8;

/// A reader of formats.
struct Format<'a> {
    rest: &'a [u8],
    is_little: bool,
    alignment: usize,
}

/// An element of a format.
struct Element {
    option: u8,
    size: usize,
}

impl<'a> Format<'a> {
    fn new(format: &'a [u8]) -> Self {
        // As a string of C ends.
        let end = memchr::memchr(0, format).unwrap_or(format.len());
        Self {
            rest: &format[..end],
            is_little: cfg!(target_endian = "little"),
            alignment: 1,
        }
    }

    fn count(&mut self, default: usize) -> Result<usize, Failure> {
        let digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit());
        let count = digits.count();
        if count == 0 {
            return Ok(default);
        }
        let (digits, rest) = self.rest.split_at(count);
        self.rest = rest;
        let number = std::str::from_utf8(digits).ok();
        let number = number.and_then(|digits| digits.parse::<i32>().ok());
        let number = number.ok_or_else(|| Failure::at("integral size overflow"))?;
        Ok(number as usize)
    }

    fn next(&mut self) -> Result<Option<Element>, Failure> {
        let Some((&option, rest)) = self.rest.split_first() else {
            return Ok(None);
        };
        self.rest = rest;
        let size = match option {
            b'B' | b'b' | b'x' => 1,
            b'H' | b'h' => 2,
            b'L' | b'l' | b'T' | b'd' => 8,
            b'f' => 4,
            b'c' => self.count(1)?,
            b'i' | b'I' => {
                let size = self.count(4)?;
                if size > INTEGER_BYTES_MAX {
                    return Err(Failure::at(format!(
                        "integral size {size} is larger than limit of {INTEGER_BYTES_MAX}"
                    )));
                }
                size
            }
            _ => 0,
        };
        Ok(Some(Element { option, size }))
    }

    /// Bytes before an element at a place.
    fn padding(&self, place: usize, element: &Element) -> usize {
        if element.size == 0 || element.option == b'c' {
            return 0;
        }
        let size = element.size.min(self.alignment);
        size.wrapping_sub(place & size.wrapping_sub(1)) & size.wrapping_sub(1)
    }

    /// Carries out an option that is no element.
    fn control(&mut self, option: u8) -> Result<(), Failure> {
        match option {
            b' ' => {}
            b'>' => self.is_little = false,
            b'<' => self.is_little = true,
            b'!' => {
                let alignment = self.count(ALIGNMENT_MAX)?;
                if !alignment.is_power_of_two() {
                    return Err(Failure::at(format!(
                        "alignment {} is not a power of 2",
                        alignment as i32
                    )));
                }
                self.alignment = alignment;
            }
            _ => {
                let option = char::from(option);
                return Err(Failure::Argument(
                    1,
                    format!("invalid format option '{option}'"),
                ));
            }
        }
        Ok(())
    }
}

fn integer_bytes(number: f64, size: usize, is_little: bool) -> [u8; INTEGER_BYTES_MAX] {
    let value = if number < 0.0 {
        number as i64 as u64
    } else {
        number as u64
    };
    let mut bytes = [0; INTEGER_BYTES_MAX];
    bytes[..8].copy_from_slice(&value.to_le_bytes());
    if !is_little {
        bytes[..size].reverse();
    }
    bytes
}

fn integer_of(bytes: &[u8], is_little: bool, is_signed: bool) -> f64 {
    let fold = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
    let mut value = if is_little {
        bytes.iter().rev().fold(0, fold)
    } else {
        bytes.iter().fold(0, fold)
    };
    if !is_signed {
        return value as f64;
    }
    // Integers of more than eight bytes have lost their upper ones already.
    if let 1..8 = bytes.len() {
        let mask = u64::MAX << (bytes.len() * 8 - 1);
        if value & mask != 0 {
            value |= mask;
        }
    }
    value as i64 as f64
}

fn pack(stack: Stack) -> Outcome {
    let format = stack.check_text(1)?.to_vec();
    // An argument that is missing is called nil.
    stack.push_nil();
    let mut format = Format::new(&format);
    let mut packed = Vec::new();
    let mut argument = 1;
    while let Some(element) = format.next()? {
        let padding = format.padding(packed.len(), &element);
        packed.resize(packed.len() + padding, 0);
        match element.option {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                argument += 1;
                let number = stack.check_number(argument)?;
                let bytes = integer_bytes(number, element.size, format.is_little);
                packed.extend_from_slice(&bytes[..element.size]);
            }
            b'x' => packed.push(0),
            b'f' => {
                argument += 1;
                let value = stack.check_number(argument)? as f32;
                packed.extend(if format.is_little {
                    value.to_le_bytes()
                } else {
                    value.to_be_bytes()
                });
            }
            b'd' => {
                argument += 1;
                let value = stack.check_number(argument)?;
                packed.extend(if format.is_little {
                    value.to_le_bytes()
                } else {
                    value.to_be_bytes()
                });
            }
            b'c' | b's' => {
                argument += 1;
                let text = stack.check_text(argument)?;
                let size = if element.size == 0 {
                    text.len()
                } else {
                    element.size
                };
                let text = text
                    .get(..size)
                    .ok_or_else(|| Failure::Argument(argument + 1, "string too short".into()))?;
                packed.extend_from_slice(text);
                if element.option == b's' {
                    packed.push(0);
                }
            }
            option => format.control(option)?,
        }
    }
    stack.push_text(&packed);
    Ok(1)
}

fn too_short() -> Failure {
    Failure::Argument(2, "data string too short".into())
}

fn unpack(stack: Stack) -> Outcome {
    let format = stack.check_text(1)?.to_vec();
    let data = stack.check_text(2)?.to_vec();
    let place = stack.integer_or(3, 1)?;
    if place <= 0 {
        return Err(Failure::Argument(3, "offset must be 1 or greater".into()));
    }
    let mut place = place as usize - 1;
    let mut format = Format::new(&format);
    let mut results = 0;
    while let Some(element) = format.next()? {
        place = place.saturating_add(format.padding(place, &element));
        let rest = data.get(place..).ok_or_else(too_short)?;
        let bytes = rest.get(..element.size).ok_or_else(too_short)?;
        if !stack.has_room(2) {
            return Err(Failure::at("stack overflow (too many results)"));
        }
        let mut size = element.size;
        let (is_little, is_signed) = (format.is_little, element.option.is_ascii_lowercase());
        match element.option {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                stack.push_number(integer_of(bytes, is_little, is_signed));
                results += 1;
            }
            b'x' => {}
            b'f' => {
                let bytes = bytes.try_into().map_err(|_| too_short())?;
                stack.push_number(f64::from(if is_little {
                    f32::from_le_bytes(bytes)
                } else {
                    f32::from_be_bytes(bytes)
                }));
                results += 1;
            }
            b'd' => {
                let bytes = bytes.try_into().map_err(|_| too_short())?;
                stack.push_number(if is_little {
                    f64::from_le_bytes(bytes)
                } else {
                    f64::from_be_bytes(bytes)
                });
                results += 1;
            }
            b'c' => {
                if size == 0 {
                    let known = (results > 0).then(|| stack.as_number(-1)).flatten();
                    size = known.ok_or_else(|| Failure::at("format 'c0' needs a previous size"))?
                        as usize;
                    stack.pop(1);
                    results -= 1;
                }
                stack.push_text(rest.get(..size).ok_or_else(too_short)?);
                results += 1;
            }
            b's' => {
                let end = memchr::memchr(0, rest);
                let end = end.ok_or_else(|| Failure::at("unfinished string in data"))?;
                stack.push_text(&rest[..end]);
                results += 1;
                size = end + 1;
            }
            option => format.control(option)?,
        }
        place += size;
    }
    stack.push_number((place + 1) as f64);
    Ok(results + 1)
}

fn size(stack: Stack) -> Outcome {
    let format = stack.check_text(1)?.to_vec();
    let mut format = Format::new(&format);
    let mut place = 0_usize;
    while let Some(element) = format.next()? {
        place = place.saturating_add(format.padding(place, &element));
        match (element.option, element.size) {
            (b's', _) => {
                return Err(Failure::Argument(1, "option 's' has no fixed size".into()));
            }
            (b'c', 0) => {
                return Err(Failure::Argument(1, "option 'c0' has no fixed size".into()));
            }
            (option, _) if !option.is_ascii_alphanumeric() => format.control(option)?,
            _ => {}
        }
        place = place.saturating_add(element.size);
    }
    stack.push_number(place as f64);
    debug_assert_ne!(stack.kind(-1), Kind::None);
    Ok(1)
}
