use super::*;

#[test]
fn addresses_are_http_or_https() {
    assert!("http://x".parse::<BaseUrl>().is_ok());
    assert!(" https://x/v1 ".parse::<BaseUrl>().is_ok());
    for text in ["", "localhost:1", "ftp://x", "file:///etc/passwd", "//x"] {
        assert!(text.parse::<BaseUrl>().is_err(), "{text}");
    }
}

#[test]
fn a_key_with_a_line_break_is_refused_before_it_is_sent() {
    let base = "http://127.0.0.1:1".parse().unwrap();
    let peer = Peer::new("p", base, Timeouts::default(), &Http::new());
    assert_eq!(peer.key_header("a\nb").unwrap_err().word(), "credentials");
    assert!(peer.key_header("abc").unwrap().is_sensitive());
}

#[test]
fn a_first_word_may_take_as_long_as_a_pause_if_nobody_says() {
    let read = |settings| serde_json::from_value::<Timeouts>(settings).unwrap();
    let all = |t: Timeouts| {
        (
            t.connect().as_secs(),
            t.first().as_secs(),
            t.stall().as_secs(),
        )
    };
    assert_eq!(all(read(serde_json::json!({}))), (10, 120, 120));
    let stall = serde_json::json!({ "stall_timeout_sec": 7, "connect_timeout_sec": 0 });
    assert_eq!(all(read(stall)), (1, 7, 7));
    let first = serde_json::json!({ "first_token_timeout_sec": 300 });
    assert_eq!(all(read(first)), (10, 300, 120));
}
