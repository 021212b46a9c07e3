//! From JSON to values.

use super::cjson::Options;
use super::number::parse_prefix;
use super::stack::{Failure, Outcome, Stack};

/// `cjson.decode`.
pub fn decode(stack: Stack) -> Outcome {
    if stack.top() != 1 {
        return Err(Failure::Argument(1, "expected 1 argument".into()));
    }
    let text = stack.check_text(1)?;
    if text.len() >= 2 && text[..2].contains(&0) {
        return Err(Failure::at("JSON parser does not support UTF-16 or UTF-32"));
    }
    let mut reader = Reader {
        stack,
        options: stack.host().json.get(),
        text,
        at: 0,
        depth: 0,
        string: Vec::new(),
    };
    let token = reader.token();
    reader.value(token)?;
    let token = reader.token();
    if token.kind != TokenKind::End {
        return Err(token.unexpected("the end"));
    }
    Ok(1)
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum TokenKind {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    Text,
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    Error(&'static str),
}

struct Token {
    kind: TokenKind,
    place: usize,
}

impl Token {
    fn unexpected(&self, expected: &str) -> Failure {
        let found = match self.kind {
            TokenKind::ObjectBegin => "T_OBJ_BEGIN",
            TokenKind::ObjectEnd => "T_OBJ_END",
            TokenKind::ArrayBegin => "T_ARR_BEGIN",
            TokenKind::ArrayEnd => "T_ARR_END",
            TokenKind::Text => "T_STRING",
            TokenKind::Number(_) => "T_NUMBER",
            TokenKind::Boolean(_) => "T_BOOLEAN",
            TokenKind::Null => "T_NULL",
            TokenKind::Colon => "T_COLON",
            TokenKind::Comma => "T_COMMA",
            TokenKind::End => "T_END",
            TokenKind::Error(error) => error,
        };
        let place = self.place + 1;
        Failure::at(format!(
            "Expected {expected} but found {found} at character {place}"
        ))
    }
}

struct Reader<'a> {
    stack: Stack,
    options: Options,
    text: &'a [u8],
    at: usize,
    depth: i32,
    /// The string of the last token.
    string: Vec<u8>,
}

impl Reader<'_> {
    /// The byte at a place; 0 behind the end, where a string of C ends.
    fn byte(&self, place: usize) -> u8 {
        self.text.get(place).copied().unwrap_or(0)
    }

    fn token(&mut self) -> Token {
        while matches!(self.byte(self.at), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        let mut place = self.at;
        let single = match self.byte(self.at) {
            b'{' => Some(TokenKind::ObjectBegin),
            b'}' => Some(TokenKind::ObjectEnd),
            b'[' => Some(TokenKind::ArrayBegin),
            b']' => Some(TokenKind::ArrayEnd),
            b':' => Some(TokenKind::Colon),
            b',' => Some(TokenKind::Comma),
            _ => None,
        };
        let kind = if let Some(kind) = single {
            self.at += 1;
            kind
        } else {
            match self.byte(self.at) {
                0 => TokenKind::End,
                b'"' => self.string_token(),
                b'-' | b'0'..=b'9' => {
                    if !self.options.decode_invalid && self.is_invalid_number() {
                        TokenKind::Error("invalid number")
                    } else {
                        self.number_token()
                    }
                }
                _ => self.word_token(),
            }
        };
        if matches!(kind, TokenKind::Error(_)) {
            place = self.at;
        }
        Token { kind, place }
    }

    fn word_token(&mut self) -> TokenKind {
        let words = [
            (&b"true"[..], TokenKind::Boolean(true)),
            (b"false", TokenKind::Boolean(false)),
            (b"null", TokenKind::Null),
        ];
        let rest = self.text.get(self.at..).unwrap_or_default();
        for (word, kind) in words {
            if rest.starts_with(word) {
                self.at += word.len();
                return kind;
            }
        }
        let may_be_number = matches!(rest.first(), Some(b'+' | b'i' | b'I' | b'n' | b'N'));
        if may_be_number && self.options.decode_invalid && self.is_invalid_number() {
            return self.number_token();
        }
        TokenKind::Error("invalid token")
    }

    /// True for what is read as a number though JSON does not have it.
    fn is_invalid_number(&self) -> bool {
        let mut place = self.at;
        match self.byte(place) {
            b'+' => return true,
            b'-' => place += 1,
            _ => {}
        }
        match self.byte(place) {
            b'0' => {
                let next = self.byte(place + 1);
                next | 0x20 == b'x' || next.is_ascii_digit()
            }
            byte if byte <= b'9' => false,
            _ => {
                let rest = self.text.get(place..place + 3).unwrap_or_default();
                rest.eq_ignore_ascii_case(b"inf") || rest.eq_ignore_ascii_case(b"nan")
            }
        }
    }

    fn number_token(&mut self) -> TokenKind {
        match parse_prefix(self.text.get(self.at..).unwrap_or_default()) {
            Some((number, length)) => {
                self.at += length;
                TokenKind::Number(number)
            }
            None => TokenKind::Error("invalid number"),
        }
    }

    fn string_token(&mut self) -> TokenKind {
        self.at += 1;
        self.string.clear();
        loop {
            match self.byte(self.at) {
                b'"' => break,
                0 => return TokenKind::Error("unexpected end of string"),
                b'\\' => {
                    let plain = match self.byte(self.at + 1) {
                        byte @ (b'"' | b'\\' | b'/') => byte,
                        b'b' => 8,
                        b't' => 9,
                        b'n' => 10,
                        b'f' => 12,
                        b'r' => 13,
                        b'u' => match self.unicode_escape() {
                            Some(length) => {
                                self.at += length;
                                continue;
                            }
                            None => return TokenKind::Error("invalid unicode escape code"),
                        },
                        _ => return TokenKind::Error("invalid escape code"),
                    };
                    self.string.push(plain);
                    self.at += 2;
                }
                byte => {
                    self.string.push(byte);
                    self.at += 1;
                }
            }
        }
        self.at += 1;
        TokenKind::Text
    }

    fn code_unit(&self, place: usize) -> Option<u32> {
        let digits = self.text.get(place..place + 4)?;
        digits.iter().try_fold(0, |value, byte| {
            Some(value << 4 | char::from(*byte).to_digit(16)?)
        })
    }

    /// Adds the character of an escape to the string; the bytes of the escape.
    fn unicode_escape(&mut self) -> Option<usize> {
        let first = self.code_unit(self.at + 2)?;
        let (code, length) = if first & 0xF800 == 0xD800 {
            let is_pair = first & 0x400 == 0
                && self.byte(self.at + 6) == b'\\'
                && self.byte(self.at + 7) == b'u';
            if !is_pair {
                return None;
            }
            let second = self.code_unit(self.at + 8)?;
            if second & 0xFC00 != 0xDC00 {
                return None;
            }
            (((first & 0x3FF) << 10 | second & 0x3FF) + 0x1_0000, 12)
        } else {
            (first, 6)
        };
        let character = char::from_u32(code)?;
        let mut bytes = [0; 4];
        let encoded = character.encode_utf8(&mut bytes);
        self.string.extend_from_slice(encoded.as_bytes());
        Some(length)
    }

    fn descend(&mut self) -> Result<(), Failure> {
        self.depth += 1;
        if self.depth <= self.options.decode_depth_max && self.stack.has_room(4) {
            return Ok(());
        }
        let (depth, at) = (self.depth, self.at);
        Err(Failure::at(format!(
            "Found too many nested data structures ({depth}) at character {at}"
        )))
    }

    /// Pushes the value that begins with a token.
    fn value(&mut self, token: Token) -> Result<(), Failure> {
        match token.kind {
            TokenKind::Text => self.stack.push_text(&self.string),
            TokenKind::Number(number) => self.stack.push_number(number),
            TokenKind::Boolean(value) => self.stack.push_boolean(value),
            TokenKind::Null => self.stack.push_null_pointer(),
            TokenKind::ObjectBegin => return self.object(),
            TokenKind::ArrayBegin => return self.array(),
            _ => return Err(token.unexpected("value")),
        }
        Ok(())
    }

    fn object(&mut self) -> Result<(), Failure> {
        self.descend()?;
        self.stack.push_table(0, 0);
        let mut token = self.token();
        if token.kind == TokenKind::ObjectEnd {
            self.depth -= 1;
            return Ok(());
        }
        loop {
            if token.kind != TokenKind::Text {
                return Err(token.unexpected("object key string"));
            }
            self.stack.push_text(&self.string);
            token = self.token();
            if token.kind != TokenKind::Colon {
                return Err(token.unexpected("colon"));
            }
            token = self.token();
            self.value(token)?;
            self.stack.raw_set(-3);
            token = self.token();
            match token.kind {
                TokenKind::ObjectEnd => break,
                TokenKind::Comma => token = self.token(),
                _ => return Err(token.unexpected("comma or object end")),
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn array(&mut self) -> Result<(), Failure> {
        self.descend()?;
        self.stack.push_table(0, 0);
        let mut token = self.token();
        if token.kind == TokenKind::ArrayEnd {
            self.depth -= 1;
            return Ok(());
        }
        for place in 1.. {
            self.value(token)?;
            self.stack.raw_set_at(-2, place);
            token = self.token();
            match token.kind {
                TokenKind::ArrayEnd => break,
                TokenKind::Comma => token = self.token(),
                _ => return Err(token.unexpected("comma or array end")),
            }
        }
        self.depth -= 1;
        Ok(())
    }
}
