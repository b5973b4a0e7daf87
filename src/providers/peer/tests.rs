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
    let peer = Peer {
        name: "p".to_owned(),
        base: "http://127.0.0.1:1".parse().unwrap(),
        stall: Duration::from_secs(1),
        http: Http::new(),
    };
    assert_eq!(peer.key_header("a\nb").unwrap_err().word(), "credentials");
    assert!(peer.key_header("abc").unwrap().is_sensitive());
}
