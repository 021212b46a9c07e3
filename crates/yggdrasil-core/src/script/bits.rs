//! The library `bit`: operations on numbers of 32 bits.

use super::stack::{Outcome, Stack};

/// Functions by name.
pub const FUNCTIONS: &[(&str, super::stack::Function)] = &[
    ("tobit", |stack| push(stack, bits(stack, 1)?)),
    ("bnot", |stack| push(stack, !bits(stack, 1)?)),
    ("band", |stack| fold(stack, |a, b| a & b)),
    ("bor", |stack| fold(stack, |a, b| a | b)),
    ("bxor", |stack| fold(stack, |a, b| a ^ b)),
    ("lshift", |stack| shift(stack, |a, by| a << by)),
    ("rshift", |stack| shift(stack, |a, by| a >> by)),
    ("arshift", |stack| {
        shift(stack, |a, by| ((a as i32) >> by) as u32)
    }),
    ("rol", |stack| shift(stack, u32::rotate_left)),
    ("ror", |stack| shift(stack, u32::rotate_right)),
    ("bswap", |stack| push(stack, bits(stack, 1)?.swap_bytes())),
    ("tohex", to_hex),
];

/// Added to a number, it leaves the integer next to it in the lower bits.
const MAGIC: f64 = 6_755_399_441_055_744.0;

fn bits(stack: Stack, argument: i32) -> Result<u32, super::stack::Failure> {
    Ok((stack.check_number(argument)? + MAGIC).to_bits() as u32)
}

fn push(stack: Stack, value: u32) -> Outcome {
    stack.push_number(f64::from(value as i32));
    Ok(1)
}

fn fold(stack: Stack, operation: fn(u32, u32) -> u32) -> Outcome {
    let mut value = bits(stack, 1)?;
    for argument in 2..=stack.top() {
        value = operation(value, bits(stack, argument)?);
    }
    push(stack, value)
}

fn shift(stack: Stack, operation: fn(u32, u32) -> u32) -> Outcome {
    let value = bits(stack, 1)?;
    let by = bits(stack, 2)? & 31;
    push(stack, operation(value, by))
}

fn to_hex(stack: Stack) -> Outcome {
    let value = bits(stack, 1)?;
    let digits = match stack.top() {
        1 => 8,
        _ => bits(stack, 2)? as i32,
    };
    let width = digits.unsigned_abs().min(8) as usize;
    let text = if digits < 0 {
        format!("{value:08X}")
    } else {
        format!("{value:08x}")
    };
    stack.push_text(&text.as_bytes()[8 - width..]);
    Ok(1)
}
