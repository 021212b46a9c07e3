//! Speed and ratio of blocks at every level of vector instructions.
//!
//! `cargo bench -p mithril-kernels [-- FILE]` takes a file of raw bf16 weights, or else makes some.

use std::time::{Duration, Instant};

use mithril_kernels::block::{Scratch, decode, encode};
use mithril_kernels::{Element, Level};

const BLOCK_BYTES: usize = 256 * 1024;
const ROUNDS: usize = 5;

fn main() {
    let path = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'));
    let raw = match path {
        Some(path) => std::fs::read(path).expect("a readable file"),
        None => weights(16 << 20),
    };
    let raw = &raw[..raw.len() / 2 * 2];
    let moved = nudged(raw);
    for level in Level::available() {
        run("bf16", level, raw, None);
        run("bf16 delta", level, &moved, Some(raw));
    }
}

/// Weights with a normal distribution, from the sum of twelve uniform ones.
fn weights(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32
    };
    (0..count)
        .flat_map(|_| {
            let normal: f32 = (0..12).map(|_| uniform()).sum::<f32>() - 6.0;
            ((normal * 0.02).to_bits() >> 16).to_le_bytes()[..2].to_vec()
        })
        .collect()
}

/// One weight of eight moved by one in its last place.
fn nudged(raw: &[u8]) -> Vec<u8> {
    let mut moved = raw.to_vec();
    for bytes in moved.chunks_exact_mut(2).step_by(8) {
        bytes[0] ^= 1;
    }
    moved
}

fn run(name: &str, level: Level, raw: &[u8], base: Option<&[u8]>) {
    let mut scratch = Scratch::default();
    let mut codes = Vec::new();
    let mut out = vec![0; raw.len()];
    let (mut encoding, mut decoding) = (Duration::MAX, Duration::MAX);
    let mut ends = Vec::new();
    for _ in 0..ROUNDS {
        codes.clear();
        ends.clear();
        let start = Instant::now();
        for (index, block) in raw.chunks(BLOCK_BYTES).enumerate() {
            let from = index * BLOCK_BYTES;
            let base = base.map(|base| &base[from..from + block.len()]);
            encode(&mut scratch, level, Element::Bf16, block, base, &mut codes);
            ends.push(codes.len());
        }
        encoding = encoding.min(start.elapsed());
        let start = Instant::now();
        let mut from = 0;
        for (index, (target, &end)) in out.chunks_mut(BLOCK_BYTES).zip(&ends).enumerate() {
            let at = index * BLOCK_BYTES;
            let base = base.map(|base| &base[at..at + target.len()]);
            decode(
                &mut scratch,
                level,
                Element::Bf16,
                &codes[from..end],
                base,
                target,
            )
            .expect("a whole code");
            from = end;
        }
        decoding = decoding.min(start.elapsed());
        assert_eq!(out, raw, "the decoded bytes differ");
    }
    let gigabytes = raw.len() as f64 / 1e9;
    println!(
        "{name:<12} {:<8} ratio {:.4}  encode {:.2} GB/s  decode {:.2} GB/s",
        level.name(),
        raw.len() as f64 / codes.len() as f64,
        gigabytes / encoding.as_secs_f64(),
        gigabytes / decoding.as_secs_f64(),
    );
}
