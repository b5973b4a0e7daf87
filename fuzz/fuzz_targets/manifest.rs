//! Any file may lie in a skills folder under the name SKILL.md.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nexflow::fuzzing::manifest(bytes));
