//! What the launcher reads from its socket.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nexflow::fuzzing::policy(bytes));
