//! What a decision is bound to.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::types::SessionId;

/// SHA-256 of tool, arguments, hash of the skill and session, as hexadecimal digits.
pub fn of(tool: &str, args: &Value, hash: &str, session: SessionId) -> String {
    let whole = Value::from(vec![tool, &canonical(args), hash, &session.to_string()]);
    let digest = Sha256::digest(whole.to_string().as_bytes());
    digest
        .iter()
        .fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// The same text for the same value, however its keys are ordered.
pub(super) fn canonical(value: &Value) -> String {
    let mut value = value.clone();
    value.sort_all_objects();
    value.to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_changes_with_everything_but_the_order_of_keys() {
        let (one, other) = (SessionId::new(), SessionId::new());
        let args = json!({ "a": 1, "b": { "c": 2, "d": 3 } });
        let print = of("x", &args, "h", one);
        assert_eq!(print.len(), 64);
        assert_eq!(
            print,
            of("x", &json!({ "b": { "d": 3, "c": 2 }, "a": 1 }), "h", one)
        );
        for changed in [
            of("y", &args, "h", one),
            of("x", &json!({ "a": 2 }), "h", one),
            of("x", &args, "i", one),
            of("x", &args, "h", other),
        ] {
            assert_ne!(print, changed);
        }
    }
}
