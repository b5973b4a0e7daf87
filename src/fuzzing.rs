//! The parsers of what strangers send, for the fuzzer (`make fuzz`), each with what must hold.

use crate::{connectors, sandbox, skills::manifest};

/// Any bytes as a SKILL.md: a document, or a fault with a line of the file.
pub fn manifest(bytes: &[u8]) {
    match manifest::parse(bytes, "folder") {
        Ok(document) => assert!(document.manifest.permissions.len() <= 64),
        Err(fault) => assert!(!fault.to_string().is_empty()),
    }
}

/// Any bytes as what the launcher is told.
pub fn policy(bytes: &[u8]) {
    sandbox::fuzzing::policy(bytes);
}

/// Any bytes as a request to the gate.
pub fn request(bytes: &[u8]) {
    sandbox::fuzzing::request(bytes);
}

/// Any bytes as what the gateway of Discord sends.
pub fn discord(bytes: &[u8]) {
    connectors::fuzzing::discord(bytes);
}
