//! The check of logs, driven by libFuzzer.
#![no_main]

#[path = "../checks/log.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::log(data));
