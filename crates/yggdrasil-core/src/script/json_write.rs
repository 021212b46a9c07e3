//! From values to JSON.

use super::cjson::{Invalid, Options};
use super::number::write_general;
use super::stack::{Failure, Kind, Outcome, Stack};

/// `cjson.encode`.
pub fn encode(stack: Stack) -> Outcome {
    if stack.top() != 1 {
        return Err(Failure::Argument(1, "expected 1 argument".into()));
    }
    let mut writer = Writer {
        stack,
        options: stack.host().json.get(),
        out: Vec::new(),
    };
    writer.value(0)?;
    stack.push_text(&writer.out);
    Ok(1)
}

/// Bytes of a text, about: a table that is in many places can be written as more than there is memory.
const TEXT_BYTES_MAX: usize = 512 * 1024 * 1024;

struct Writer {
    stack: Stack,
    options: Options,
    out: Vec<u8>,
}

impl Writer {
    fn unfit(&self, index: i32, why: &str) -> Failure {
        let kind = self.stack.kind_name(index);
        Failure::at(format!("Cannot serialise {kind}: {why}"))
    }

    /// Writes the value on the top.
    fn value(&mut self, depth: i32) -> Result<(), Failure> {
        match self.stack.kind(-1) {
            Kind::Text => self.text(-1),
            Kind::Number => self.number(-1)?,
            Kind::Boolean if self.stack.boolean(-1) => self.out.extend_from_slice(b"true"),
            Kind::Boolean => self.out.extend_from_slice(b"false"),
            Kind::Table => self.table(depth + 1)?,
            Kind::Nil => self.out.extend_from_slice(b"null"),
            Kind::Pointer if self.stack.pointer(-1).is_null() => {
                self.out.extend_from_slice(b"null");
            }
            _ => return Err(self.unfit(-1, "type not supported")),
        }
        Ok(())
    }

    fn table(&mut self, depth: i32) -> Result<(), Failure> {
        if self.out.len() > TEXT_BYTES_MAX {
            return Err(Failure::at("Cannot serialise, the text is too long"));
        }
        if depth > self.options.encode_depth_max || !self.stack.has_room(4) {
            return Err(Failure::at(format!(
                "Cannot serialise, excessive nesting ({depth})"
            )));
        }
        match self.array_length()? {
            Some(length) if length > 0 => self.array(depth, length),
            _ => self.object(depth),
        }
    }

    /// The length of the array on the top; None where it is none.
    fn array_length(&self) -> Result<Option<i32>, Failure> {
        let (mut most, mut items) = (0_i32, 0_i64);
        self.stack.push_nil();
        while self.stack.next(-2) {
            let key = (self.stack.kind(-2) == Kind::Number).then(|| self.stack.number(-2));
            let place = key.filter(|key| *key >= 1.0 && key.floor() == *key);
            let Some(place) = place else {
                self.stack.pop(2);
                return Ok(None);
            };
            most = most.max(place as i32);
            items += 1;
            self.stack.pop(1);
        }
        let options = &self.options;
        let is_sparse = options.sparse_ratio > 0
            && i64::from(most) > items * i64::from(options.sparse_ratio)
            && most > options.sparse_safe;
        if !is_sparse {
            return Ok(Some(most));
        }
        if options.sparse_convert {
            return Ok(None);
        }
        Err(self.unfit(-1, "excessively sparse array"))
    }

    fn array(&mut self, depth: i32, length: i32) -> Result<(), Failure> {
        self.out.push(b'[');
        for place in 1..=length {
            if place > 1 {
                self.out.push(b',');
            }
            self.stack.raw_get_at(-1, place);
            self.value(depth)?;
            self.stack.pop(1);
        }
        self.out.push(b']');
        Ok(())
    }

    fn object(&mut self, depth: i32) -> Result<(), Failure> {
        self.out.push(b'{');
        let mut is_first = true;
        self.stack.push_nil();
        while self.stack.next(-2) {
            if !std::mem::take(&mut is_first) {
                self.out.push(b',');
            }
            match self.stack.kind(-2) {
                Kind::Number => {
                    self.out.push(b'"');
                    self.number(-2)?;
                    self.out.extend_from_slice(b"\":");
                }
                Kind::Text => {
                    self.text(-2);
                    self.out.push(b':');
                }
                _ => return Err(self.unfit(-2, "table key must be a number or string")),
            }
            self.value(depth)?;
            self.stack.pop(1);
        }
        self.out.push(b'}');
        Ok(())
    }

    fn number(&mut self, index: i32) -> Result<(), Failure> {
        let number = self.stack.number(index);
        match self.options.encode_invalid {
            _ if number.is_finite() => {}
            Invalid::Refuse => return Err(self.unfit(index, "must not be NaN or Inf")),
            Invalid::Null => {
                self.out.extend_from_slice(b"null");
                return Ok(());
            }
            Invalid::Allow if number.is_nan() => {
                self.out.extend_from_slice(b"nan");
                return Ok(());
            }
            Invalid::Allow => {}
        }
        write_general(&mut self.out, number, self.options.precision as usize);
        Ok(())
    }

    fn text(&mut self, index: i32) {
        let Some(text) = self.stack.text(index) else {
            return;
        };
        self.out.reserve(text.len() + 2);
        self.out.push(b'"');
        for &byte in text {
            let escape: &[u8] = match byte {
                b'"' => b"\\\"",
                b'\\' => b"\\\\",
                b'/' => b"\\/",
                8 => b"\\b",
                9 => b"\\t",
                10 => b"\\n",
                12 => b"\\f",
                13 => b"\\r",
                0..=31 | 127 => {
                    const DIGITS: &[u8; 16] = b"0123456789abcdef";
                    self.out.extend_from_slice(b"\\u00");
                    self.out.push(DIGITS[usize::from(byte >> 4)]);
                    self.out.push(DIGITS[usize::from(byte & 15)]);
                    continue;
                }
                _ => {
                    self.out.push(byte);
                    continue;
                }
            };
            self.out.extend_from_slice(escape);
        }
        self.out.push(b'"');
    }
}
