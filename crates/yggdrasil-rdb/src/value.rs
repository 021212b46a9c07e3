//! The extent of values, by their types.

use std::io::Read;

use crate::error::{Fault, RdbError};
use crate::opcode::{MODULE, MODULE_2};
use crate::source::Source;

// The parts of the value of a module.
const END: u64 = 0;
const SIGNED: u64 = 1;
const UNSIGNED: u64 = 2;
const FLOAT: u64 = 3;
const DOUBLE: u64 = 4;
const STRING: u64 = 5;

/// Bytes of the identity of an entry of a stream, and of a time.
const ID_BYTES: u64 = 16;
const TIME_BYTES: u64 = 8;
const DOUBLE_BYTES: u64 = 8;
/// What stands for scores that have no text, from here on.
const NO_TEXT: u8 = 253;

/// Passes over a value. Gives the number that names the module's type, where it is one of a module.
pub fn pass<R: Read>(kind: u8, source: &mut Source<R>) -> Result<Option<u64>, RdbError> {
    match kind {
        0 | 9..=13 | 16 | 17 | 20 | 23 => source.string()?,
        1 | 2 | 14 => strings(source, 1)?,
        3 => {
            for _ in 0..source.number()? {
                source.string()?;
                let len = source.byte()?;
                if len < NO_TEXT {
                    source.pass(u64::from(len))?;
                }
            }
        }
        4 => strings(source, 2)?,
        5 => {
            for _ in 0..source.number()? {
                source.string()?;
                source.pass(DOUBLE_BYTES)?;
            }
        }
        15 | 19 | 21 => stream(kind, source)?,
        18 => {
            for _ in 0..source.number()? {
                source.number()?;
                source.string()?;
            }
        }
        22 => timed_fields(source)?,
        24 => {
            source.pass(TIME_BYTES)?;
            timed_fields(source)?;
        }
        25 => {
            source.pass(TIME_BYTES)?;
            source.string()?;
        }
        MODULE_2 => {
            let id = source.number()?;
            module_parts(source)?;
            return Ok(Some(id));
        }
        MODULE => return Err(source.failed(Fault::OldModule)),
        other => return Err(source.failed(Fault::Type(other))),
    }
    Ok(None)
}

fn strings<R: Read>(source: &mut Source<R>, each: u64) -> Result<(), RdbError> {
    for _ in 0..source.number()? {
        for _ in 0..each {
            source.string()?;
        }
    }
    Ok(())
}

fn timed_fields<R: Read>(source: &mut Source<R>) -> Result<(), RdbError> {
    for _ in 0..source.number()? {
        source.number()?;
        source.string()?;
        source.string()?;
    }
    Ok(())
}

/// Listpacks, the numbers of the stream, and its groups with what their consumers have not acknowledged.
fn stream<R: Read>(kind: u8, source: &mut Source<R>) -> Result<(), RdbError> {
    let (has_numbers, has_active_times) = (kind >= 19, kind >= 21);
    strings(source, 2)?;
    let numbers = if has_numbers { 8 } else { 3 };
    for _ in 0..numbers {
        source.number()?;
    }
    for _ in 0..source.number()? {
        source.string()?;
        for _ in 0..if has_numbers { 3 } else { 2 } {
            source.number()?;
        }
        for _ in 0..source.number()? {
            source.pass(ID_BYTES + TIME_BYTES)?;
            source.number()?;
        }
        for _ in 0..source.number()? {
            source.string()?;
            source.pass(if has_active_times { 2 } else { 1 } * TIME_BYTES)?;
            for _ in 0..source.number()? {
                source.pass(ID_BYTES)?;
            }
        }
    }
    Ok(())
}

/// Passes over what a module has written, up to its end.
pub fn module_parts<R: Read>(source: &mut Source<R>) -> Result<(), RdbError> {
    loop {
        match source.number()? {
            END => return Ok(()),
            SIGNED | UNSIGNED => drop(source.number()?),
            FLOAT => source.pass(4)?,
            DOUBLE => source.pass(DOUBLE_BYTES)?,
            STRING => source.string()?,
            _ => return Err(source.failed(Fault::Length)),
        }
    }
}

/// The name of a module's type: nine letters of six bits, above ten bits of a version.
pub fn module_name(id: u64) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let letter = |place: u32| char::from(LETTERS[(id >> (10 + 6 * place) & 0x3f) as usize]);
    (0..9).rev().map(letter).collect()
}
