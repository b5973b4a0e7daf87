//! What a program in a sandbox sends to the gate.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nexflow::fuzzing::request(bytes));
