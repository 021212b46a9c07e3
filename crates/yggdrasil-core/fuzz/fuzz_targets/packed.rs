//! The check of packed collections, driven by libFuzzer.
#![no_main]

#[path = "../checks/packed.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::packed(data));
