//! Whatever comes as an update of Telegram.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nexflow::fuzzing::telegram(bytes));
