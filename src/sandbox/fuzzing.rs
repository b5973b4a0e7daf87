//! What must hold of the sandbox's parsers, whatever they are given.

use super::{
    gate::fuzzing::understood,
    policy::{Policy, Word},
};

/// A policy that is understood is understood the same again.
pub(crate) fn policy(bytes: &[u8]) {
    if let Ok(policy) = Policy::decode(bytes) {
        let again = policy.encode().expect("what was decoded is not too long");
        assert_eq!(Policy::decode(&again[4..]).expect("our own"), policy);
    }
    for line in String::from_utf8_lossy(bytes).split('\n') {
        if let Some(word) = Word::parse(line) {
            assert_eq!(Word::parse(&word.line()), Some(word));
        }
    }
}

/// A request that is understood names one host in one form, and is forwarded as one request.
pub(crate) fn request(bytes: &[u8]) {
    understood(bytes);
}
