//! The check of files of Redis, driven by libFuzzer.
#![no_main]

#[path = "../checks/rdb.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::rdb(data));
