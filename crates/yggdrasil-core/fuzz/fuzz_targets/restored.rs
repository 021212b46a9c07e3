//! The check of RESTORE, driven by libFuzzer.
#![no_main]

#[path = "../checks/restored.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::restored(data));
