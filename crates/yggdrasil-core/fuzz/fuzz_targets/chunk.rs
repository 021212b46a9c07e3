//! The check of chunks, driven by libFuzzer.
#![no_main]

#[path = "../checks/chunk.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::chunk(data));
