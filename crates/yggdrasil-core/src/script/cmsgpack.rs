//! The library `cmsgpack`: values to MessagePack and back.

use super::stack::{Failure, Function, Kind, Outcome, Stack};

/// Functions by name.
pub const FUNCTIONS: &[(&str, Function)] = &[
    ("pack", pack),
    ("unpack", |stack| unpack(stack, None, 0)),
    ("unpack_one", |stack| {
        let offset = stack.integer_or(2, 0)?;
        stack.set_top(1);
        unpack(stack, Some(1), offset)
    }),
    ("unpack_limit", |stack| {
        let limit = stack.check_integer(2)?;
        let offset = stack.integer_or(3, 0)?;
        stack.set_top(1);
        unpack(stack, Some(limit), offset)
    }),
];

/// Tables in tables; deeper ones become nil.
const NESTING_MAX: usize = 16;
/// Elements that a table gets room for before they are there.
const PREPARED_MAX: usize = 16;

fn no_room(what: &str) -> Failure {
    Failure::at(format!("stack overflow ({what})"))
}

fn pack(stack: Stack) -> Outcome {
    let arguments = stack.top();
    if arguments == 0 {
        return Err(Failure::Argument(0, "MessagePack pack needs input.".into()));
    }
    let mut out = Vec::new();
    for argument in 1..=arguments {
        if !stack.has_room(1) {
            return Err(no_room("in function mp_check"));
        }
        stack.push_copy(argument);
        write(stack, &mut out, 0)?;
    }
    stack.push_text(&out);
    Ok(1)
}

/// Writes the value on the top, and takes it from there.
fn write(stack: Stack, out: &mut Vec<u8>, level: usize) -> Result<(), Failure> {
    match stack.kind(-1) {
        Kind::Text => {
            let text = stack.text(-1).unwrap_or_default();
            write_length(out, text.len(), &[(31, 0xa0), (0xff, 0xd9)], 0xda, 0xdb);
            out.extend_from_slice(text);
        }
        Kind::Boolean => out.push(if stack.boolean(-1) { 0xc3 } else { 0xc2 }),
        Kind::Number => write_number(out, stack.number(-1)),
        Kind::Table if level < NESTING_MAX => write_table(stack, out, level)?,
        _ => out.push(0xc0),
    }
    stack.pop(1);
    Ok(())
}

/// Writes a length: inside of the first byte or in the one behind it as `short` says, else in two or four bytes.
fn write_length(out: &mut Vec<u8>, length: usize, short: &[(usize, u8)], two: u8, four: u8) {
    match short {
        [(most, code), ..] if length <= *most => out.push(code | length as u8),
        [_, (most, code)] if length <= *most => out.extend([*code, length as u8]),
        _ if length <= 0xffff => {
            out.push(two);
            out.extend((length as u16).to_be_bytes());
        }
        _ => {
            out.push(four);
            out.extend((length as u32).to_be_bytes());
        }
    }
}

fn write_number(out: &mut Vec<u8>, number: f64) {
    let integer = number as i64;
    if integer as f64 == number && number < i64::MAX as f64 {
        write_integer(out, integer);
    } else if f64::from(number as f32) == number {
        out.push(0xca);
        out.extend((number as f32).to_be_bytes());
    } else {
        out.push(0xcb);
        out.extend(number.to_be_bytes());
    }
}

fn write_integer(out: &mut Vec<u8>, integer: i64) {
    match integer {
        0..=127 => out.push(integer as u8),
        128..=0xff => out.extend([0xcc, integer as u8]),
        0x100..=0xffff => {
            out.push(0xcd);
            out.extend((integer as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(0xce);
            out.extend((integer as u32).to_be_bytes());
        }
        0x1_0000_0000.. => {
            out.push(0xcf);
            out.extend(integer.to_be_bytes());
        }
        -32..=-1 => out.push(integer as u8),
        -128..=-33 => out.extend([0xd0, integer as u8]),
        -32768..=-129 => {
            out.push(0xd1);
            out.extend((integer as i16).to_be_bytes());
        }
        -2_147_483_648..=-32769 => {
            out.push(0xd2);
            out.extend((integer as i32).to_be_bytes());
        }
        _ => {
            out.push(0xd3);
            out.extend(integer.to_be_bytes());
        }
    }
}

fn write_table(stack: Stack, out: &mut Vec<u8>, level: usize) -> Result<(), Failure> {
    if !stack.has_room(5) {
        return Err(no_room("in function mp_encode_lua_table_as_map"));
    }
    let (is_array, count) = shape(stack);
    if is_array {
        write_length(out, count, &[(15, 0x90)], 0xdc, 0xdd);
        for place in 1..=count {
            stack.raw_get_at(-1, place as i32);
            write(stack, out, level + 1)?;
        }
        return Ok(());
    }
    write_length(out, count, &[(15, 0x80)], 0xde, 0xdf);
    stack.push_nil();
    while stack.next(-2) {
        stack.push_copy(-2);
        write(stack, out, level + 1)?;
        write(stack, out, level + 1)?;
    }
    Ok(())
}

/// Whether the table on the top has the keys 1 to n only, and its elements.
fn shape(stack: Stack) -> (bool, usize) {
    let (mut is_array, mut count, mut most) = (true, 0, 0.0_f64);
    stack.push_nil();
    while stack.next(-2) {
        stack.pop(1);
        count += 1;
        let key = (stack.kind(-1) == Kind::Number).then(|| stack.number(-1));
        match key {
            Some(key) if key > 0.0 && f64::from(key as i32) == key => most = most.max(key),
            _ => is_array = false,
        }
    }
    (is_array && most == count as f64, count)
}

/// Why a value cannot be read.
enum Unreadable {
    Short,
    Unknown,
    Failed(Failure),
}

impl From<Unreadable> for Failure {
    fn from(error: Unreadable) -> Self {
        match error {
            Unreadable::Short => Self::at("Missing bytes in input."),
            Unreadable::Unknown => Self::at("Bad data format in input."),
            Unreadable::Failed(failure) => failure,
        }
    }
}

fn unpack(stack: Stack, limit: Option<i64>, offset: i64) -> Outcome {
    let text = stack.check_text(1)?;
    let length = text.len();
    if offset < 0 || limit.is_some_and(|limit| limit < 0) {
        return Err(Failure::at(format!(
            "Invalid request to unpack with offset of {} and limit of {}.",
            offset as i32, length as i32
        )));
    }
    if offset as usize > length {
        return Err(Failure::at(format!(
            "Start offset {} greater than input length {length}.",
            offset as i32
        )));
    }
    let decode_all = limit.is_none_or(|limit| limit == 0 && offset == 0);
    let limit = if decode_all {
        i64::from(i32::MAX)
    } else {
        limit.unwrap_or(0)
    };
    let mut reader = Reader {
        stack,
        rest: &text[offset as usize..],
    };
    let mut results = 0;
    while !reader.rest.is_empty() && i64::from(results) < limit {
        reader.value()?;
        results += 1;
    }
    if !decode_all {
        let read = length - reader.rest.len();
        let next = if reader.rest.is_empty() {
            -1.0
        } else {
            read as f64
        };
        if !stack.has_room(1) {
            return Err(no_room("in function mp_unpack_full"));
        }
        stack.push_number(next);
        stack.insert(2);
        results += 1;
    }
    Ok(results)
}

struct Reader<'a> {
    stack: Stack,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], Unreadable> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Unreadable::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        self.bytes(N)?.try_into().map_err(|_| Unreadable::Short)
    }

    fn length(&mut self, bytes: usize) -> Result<usize, Unreadable> {
        let bytes = self.bytes(bytes)?;
        Ok(bytes
            .iter()
            .fold(0, |length, byte| length << 8 | usize::from(*byte)))
    }

    /// Pushes the next value.
    fn value(&mut self) -> Result<(), Unreadable> {
        let [code] = self.array()?;
        if !self.stack.has_room(4) {
            let what = "too many return values at once; use unpack_one or unpack_limit instead.";
            return Err(Unreadable::Failed(no_room(what)));
        }
        let number = match code {
            0x00..=0x7f => f64::from(code),
            0xe0..=0xff => f64::from(code as i8),
            0xcc => f64::from(u8::from_be_bytes(self.array()?)),
            0xcd => f64::from(u16::from_be_bytes(self.array()?)),
            0xce => f64::from(u32::from_be_bytes(self.array()?)),
            0xcf => u64::from_be_bytes(self.array()?) as f64,
            0xd0 => f64::from(i8::from_be_bytes(self.array()?)),
            0xd1 => f64::from(i16::from_be_bytes(self.array()?)),
            0xd2 => f64::from(i32::from_be_bytes(self.array()?)),
            0xd3 => i64::from_be_bytes(self.array()?) as f64,
            0xca => f64::from(f32::from_be_bytes(self.array()?)),
            0xcb => f64::from_be_bytes(self.array()?),
            _ => return self.other(code),
        };
        self.stack.push_number(number);
        Ok(())
    }

    /// What is no number.
    fn other(&mut self, code: u8) -> Result<(), Unreadable> {
        match code {
            0xc0 => self.stack.push_nil(),
            0xc2 | 0xc3 => self.stack.push_boolean(code == 0xc3),
            0xa0..=0xbf => return self.text(usize::from(code & 0x1f)),
            0xd9..=0xdb => {
                let length = self.length(1 << (code - 0xd9))?;
                return self.text(length);
            }
            0x90..=0x9f => return self.list(usize::from(code & 0xf)),
            0xdc | 0xdd => {
                let length = self.length(2 << (code - 0xdc))?;
                return self.list(length);
            }
            0x80..=0x8f => return self.map(usize::from(code & 0xf)),
            0xde | 0xdf => {
                let length = self.length(2 << (code - 0xde))?;
                return self.map(length);
            }
            _ => return Err(Unreadable::Unknown),
        }
        Ok(())
    }

    fn text(&mut self, length: usize) -> Result<(), Unreadable> {
        let text = self.bytes(length)?;
        self.stack.push_text(text);
        Ok(())
    }

    fn list(&mut self, length: usize) -> Result<(), Unreadable> {
        self.stack.push_table(length.min(PREPARED_MAX), 0);
        for place in 1..=length {
            self.value()?;
            self.stack.raw_set_at(-2, place as i32);
        }
        Ok(())
    }

    fn map(&mut self, length: usize) -> Result<(), Unreadable> {
        self.stack.push_table(0, length.min(PREPARED_MAX));
        for _ in 0..length {
            self.value()?;
            let key = self.stack.kind(-1);
            let is_nan = key == Kind::Number && self.stack.number(-1).is_nan();
            if key == Kind::Nil || is_nan {
                let what = if is_nan { "NaN" } else { "nil" };
                return Err(Unreadable::Failed(Failure::at(format!(
                    "table index is {what}"
                ))));
            }
            self.value()?;
            self.stack.raw_set(-3);
        }
        Ok(())
    }
}
