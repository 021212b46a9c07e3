//! The library `cjson`: its functions and options. Texts are written by [`json_write`](super::json_write) and read by
//! [`json_read`](super::json_read).

use super::json_read;
use super::json_write;
use super::stack::{Failure, Function, Kind, Outcome, Stack};

/// What is done with numbers that JSON does not have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Invalid {
    Refuse,
    Allow,
    Null,
}

/// The options that scripts may change; they hold for all scripts.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Sparse arrays become objects; otherwise they are refused.
    pub sparse_convert: bool,
    pub sparse_ratio: i32,
    pub sparse_safe: i32,
    pub encode_depth_max: i32,
    pub decode_depth_max: i32,
    pub precision: i32,
    pub keep_buffer: bool,
    pub encode_invalid: Invalid,
    pub decode_invalid: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sparse_convert: false,
            sparse_ratio: 2,
            sparse_safe: 10,
            encode_depth_max: 1000,
            decode_depth_max: 1000,
            precision: 14,
            keep_buffer: true,
            encode_invalid: Invalid::Refuse,
            decode_invalid: true,
        }
    }
}

/// Functions by name.
pub const FUNCTIONS: &[(&str, Function)] = &[
    ("encode", json_write::encode),
    ("decode", json_read::decode),
    ("encode_sparse_array", encode_sparse_array),
    ("encode_max_depth", |stack| {
        integer_option(stack, i32::MAX, |options| &mut options.encode_depth_max)
    }),
    ("decode_max_depth", |stack| {
        integer_option(stack, i32::MAX, |options| &mut options.decode_depth_max)
    }),
    ("encode_number_precision", |stack| {
        integer_option(stack, 14, |options| &mut options.precision)
    }),
    ("encode_keep_buffer", |stack| {
        switch_option(stack, |options| &mut options.keep_buffer)
    }),
    ("encode_invalid_numbers", encode_invalid_numbers),
    ("decode_invalid_numbers", |stack| {
        switch_option(stack, |options| &mut options.decode_invalid)
    }),
];

fn check_count(stack: Stack, most: i32) -> Result<(), Failure> {
    if stack.top() > most {
        return Err(Failure::Argument(
            most + 1,
            "found too many arguments".into(),
        ));
    }
    Ok(())
}

/// An integer that an argument sets, if it is there.
fn set_integer(
    stack: Stack,
    argument: i32,
    range: std::ops::RangeInclusive<i32>,
    place: &mut i32,
) -> Result<(), Failure> {
    if matches!(stack.kind(argument), Kind::None | Kind::Nil) {
        return Ok(());
    }
    let value = i32::try_from(stack.check_integer(argument)?).ok();
    let Some(value) = value.filter(|value| range.contains(value)) else {
        let (low, high) = (range.start(), range.end());
        return Err(Failure::Argument(
            argument,
            format!("expected integer between {low} and {high}"),
        ));
    };
    *place = value;
    Ok(())
}

/// The choice that an argument makes, if it is there: a boolean, or one of these words.
fn choice(stack: Stack, argument: i32, words: &[&str]) -> Result<Option<usize>, Failure> {
    match stack.kind(argument) {
        Kind::None | Kind::Nil => Ok(None),
        Kind::Boolean => Ok(Some(usize::from(stack.boolean(argument)))),
        _ => {
            let given = stack.check_text(argument)?;
            let found = words.iter().position(|word| word.as_bytes() == given);
            found.map(Some).ok_or_else(|| {
                let given = String::from_utf8_lossy(given);
                Failure::Argument(argument, format!("invalid option '{given}'"))
            })
        }
    }
}

fn integer_option(stack: Stack, most: i32, place: fn(&mut Options) -> &mut i32) -> Outcome {
    check_count(stack, 1)?;
    let mut options = stack.host().json.get();
    set_integer(stack, 1, 1..=most, place(&mut options))?;
    stack.push_number(f64::from(*place(&mut options)));
    stack.host().json.set(options);
    Ok(1)
}

fn switch_option(stack: Stack, place: fn(&mut Options) -> &mut bool) -> Outcome {
    check_count(stack, 1)?;
    let mut options = stack.host().json.get();
    if let Some(choice) = choice(stack, 1, &["off", "on"])? {
        *place(&mut options) = choice == 1;
    }
    stack.push_boolean(*place(&mut options));
    stack.host().json.set(options);
    Ok(1)
}

fn encode_sparse_array(stack: Stack) -> Outcome {
    check_count(stack, 3)?;
    let mut options = stack.host().json.get();
    if let Some(choice) = choice(stack, 1, &["off", "on"])? {
        options.sparse_convert = choice == 1;
    }
    set_integer(stack, 2, 0..=i32::MAX, &mut options.sparse_ratio)?;
    set_integer(stack, 3, 0..=i32::MAX, &mut options.sparse_safe)?;
    stack.push_boolean(options.sparse_convert);
    stack.push_number(f64::from(options.sparse_ratio));
    stack.push_number(f64::from(options.sparse_safe));
    stack.host().json.set(options);
    Ok(3)
}

fn encode_invalid_numbers(stack: Stack) -> Outcome {
    check_count(stack, 1)?;
    let mut options = stack.host().json.get();
    options.encode_invalid = match choice(stack, 1, &["off", "on", "null"])? {
        None => options.encode_invalid,
        Some(0) => Invalid::Refuse,
        Some(1) => Invalid::Allow,
        Some(_) => Invalid::Null,
    };
    match options.encode_invalid {
        Invalid::Refuse => stack.push_boolean(false),
        Invalid::Allow => stack.push_boolean(true),
        Invalid::Null => stack.push_text(b"null"),
    }
    stack.host().json.set(options);
    Ok(1)
}
