//! The check of records, driven by libFuzzer.
#![no_main]

#[path = "../checks/effect.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::effect(data));
