//! The check of the parser, driven by libFuzzer.
#![no_main]

#[path = "../checks/resp.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::resp(data));
