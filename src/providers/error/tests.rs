use super::*;
use crate::types::Secret;

#[test]
fn texts_are_for_a_person_and_hold_no_secret() {
    let _key = Secret::new("sk-very-secret-key");
    let long = format!(
        "{{\"error\":{{\"message\":\"bad sk-very-secret-key\\n\\u001b[1m {}\"}}}}",
        "x".repeat(900)
    );
    let error = ProviderError::reported("openai", &Report::read(401, &long));
    let text = error.to_string();
    assert!(
        text.starts_with("openai does not accept our key or account: bad [secret] xxx"),
        "{text}"
    );
    assert!(
        text.contains("llm.providers.openai.api_key") && text.len() < 500,
        "{text}"
    );
}

#[test]
fn a_page_instead_of_an_error_is_not_repeated() {
    let error = ProviderError::reported("p", &Report::read(502, "<html><body>nginx</body></html>"));
    assert_eq!(error.to_string(), "p is not available: HTTP 502");
    let error = ProviderError::reported("p", &Report::read(503, "busy now"));
    assert_eq!(error.to_string(), "p is not available: busy now (HTTP 503)");
    let error = ProviderError::reported("p", &Report::default());
    assert_eq!(
        error.to_string(),
        "p refused the request: it did not say why"
    );
}

#[test]
fn waiting_is_said() {
    let mut report = Report::read(429, "{\"error\":\"slow\"}");
    report.after = Some(Duration::from_secs(7));
    let error = ProviderError::reported("p", &report);
    assert_eq!(
        error.to_string(),
        "p asks us to slow down for 7 s: slow (HTTP 429)"
    );
    assert!(error.concerns_provider());
}
