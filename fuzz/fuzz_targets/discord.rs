//! What the gateway of Discord sends.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nexflow::fuzzing::discord(bytes));
