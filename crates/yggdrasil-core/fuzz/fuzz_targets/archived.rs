//! The check of archived objects, driven by libFuzzer.
#![no_main]

#[path = "../checks/archived.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::archived(data));
