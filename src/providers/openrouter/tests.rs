use serde_json::json;

use super::*;

#[test]
fn prices_are_read_exactly() {
    for (text, expected) in [
        ("0.0000025", Some("2.5")),
        ("0.000000001", Some("0.001")),
        ("0", Some("0.0")),
        ("0.00015", Some("150.0")),
        ("1", Some("1000000.0")),
        ("-1", None),
        ("2.5e-6", None),
        ("", None),
    ] {
        let found = per_million(text).map(|usd| usd.to_string());
        assert_eq!(found.as_deref(), expected, "{text}");
    }
}

/// An entry as its documentation shows it.
#[test]
fn an_entry_of_its_list_is_understood() {
    let entry = json!({
        "id": "vendor/model", "context_length": 128_000,
        "architecture": { "input_modalities": ["text", "image"], "output_modalities": ["text"] },
        "pricing": { "prompt": "0.0000007", "completion": "0.0000007", "request": "0", "image": "0" },
        "top_provider": { "context_length": 128_000, "max_completion_tokens": 16_384, "is_moderated": true },
        "supported_parameters": ["tools", "tool_choice", "max_tokens"],
    });
    let found = facts(&entry);
    assert_eq!(found.context_tokens, Some(128_000));
    assert_eq!(found.max_output_tokens, Some(16_384));
    assert_eq!((found.tools, found.images), (Some(true), Some(true)));
    let price = found.price.unwrap();
    assert_eq!(price.input_per_mtok.to_string(), "0.7");
    let auto =
        json!({ "id": "openrouter/auto", "pricing": { "prompt": "-1", "completion": "-1" } });
    assert_eq!(facts(&auto).price, None);
}
