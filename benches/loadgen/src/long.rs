//! One client that writes or reads long values in turn, over and over, and checks all of them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::error::Error;
use crate::hold;
use crate::probe::stop_at_line;

/// The value is this block again and again.
const BLOCK_BYTES: usize = 1 << 20;

/// What is done, and for how long.
#[derive(Clone, Debug)]
pub struct Options {
    pub address: String,
    pub value_bytes: usize,
    /// So many values in turn.
    pub keys: u64,
    /// Reads; otherwise writes.
    pub reads: bool,
    /// Ends after so many; without both limits, when a line arrives on standard input.
    pub ops: Option<u64>,
    pub duration: Option<Duration>,
}

pub fn run(options: &Options) -> Result<Value, Error> {
    let stop = stop_at_line(options.ops.is_some() || options.duration.is_some());
    let block = block();
    let mut stream = hold::connect(&options.address)?;
    let failed = |source| Error::Connection {
        address: options.address.clone(),
        source,
    };
    let mut errors = 0;
    let bytes = options.value_bytes;
    for key in 0..if options.reads { options.keys } else { 0 } {
        if !is_there(&mut stream, key, bytes).map_err(failed)? {
            errors += u64::from(!write(&mut stream, key, bytes, &block).map_err(failed)?);
        }
    }
    let (mut operations, mut buffer) = (0, vec![0; BLOCK_BYTES]);
    let start = Instant::now();
    loop {
        let is_over = match (options.ops, options.duration) {
            (Some(ops), _) => operations >= ops,
            (None, Some(duration)) => start.elapsed() >= duration,
            (None, None) => stop.load(Ordering::Relaxed),
        };
        if is_over {
            break;
        }
        let key = operations % options.keys;
        let right = if options.reads {
            read(&mut stream, key, bytes, &block, &mut buffer)
        } else {
            write(&mut stream, key, bytes, &block)
        };
        errors += u64::from(!right.map_err(failed)?);
        operations += 1;
    }
    Ok(json!({
        "operations": operations,
        "bytes": operations * bytes as u64,
        "seconds": start.elapsed().as_secs_f64(),
        "errors": errors,
    }))
}

fn block() -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(BLOCK_BYTES).collect()
}

/// A key as an argument of a request.
fn name(key: u64) -> String {
    let name = format!("long:{key}");
    format!("${}\r\n{name}\r\n", name.len())
}

/// Whether the value was written already: then a measurement of reads sees nothing else.
fn is_there(stream: &mut TcpStream, key: u64, bytes: usize) -> std::io::Result<bool> {
    stream.write_all(format!("*2\r\n$6\r\nSTRLEN\r\n{}", name(key)).as_bytes())?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        answer.extend(byte);
    }
    Ok(answer == format!(":{bytes}\r\n").as_bytes())
}

fn write(stream: &mut TcpStream, key: u64, bytes: usize, block: &[u8]) -> std::io::Result<bool> {
    let name = name(key);
    stream.write_all(format!("*3\r\n$3\r\nSET\r\n{name}${bytes}\r\n").as_bytes())?;
    let mut left = bytes;
    while left > 0 {
        let piece = &block[..left.min(block.len())];
        stream.write_all(piece)?;
        left -= piece.len();
    }
    stream.write_all(b"\r\n")?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer)?;
    Ok(answer == *b"+OK\r\n")
}

fn read(
    stream: &mut TcpStream,
    key: u64,
    bytes: usize,
    block: &[u8],
    buffer: &mut [u8],
) -> std::io::Result<bool> {
    stream.write_all(format!("*2\r\n$3\r\nGET\r\n{}", name(key)).as_bytes())?;
    let header = format!("${bytes}\r\n");
    let mut found = vec![0; header.len()];
    stream.read_exact(&mut found)?;
    let mut right = found == header.as_bytes();
    let mut left = bytes;
    while left > 0 {
        let piece = &mut buffer[..left.min(block.len())];
        stream.read_exact(piece)?;
        right &= piece == &block[..piece.len()];
        left -= piece.len();
    }
    let mut end = [0; 2];
    stream.read_exact(&mut end)?;
    Ok(right && end == *b"\r\n")
}
