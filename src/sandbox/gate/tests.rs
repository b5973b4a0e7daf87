use std::net::IpAddr;

use proptest::prelude::*;

use super::{
    super::Rule,
    Host,
    address::{is_public, within},
    host,
    request::{Kind, parse},
};

/// Forms that some reader takes for a host and that we refuse.
const NOT_HOSTS: &[&str] = &[
    "",
    ".",
    "..",
    "localhost",
    "a",
    "a..example.org",
    ".example.org",
    "example.org..",
    "example.org\0",
    "evil.org\0.example.org",
    "example.org\n",
    "exa mple.org",
    " example.org",
    "example.org ",
    "example.org\t",
    "user@example.org",
    "example.org@evil.org",
    "example.org%00",
    "ex%61mple.org",
    "example.org#",
    "evil.org#.example.org",
    "example.org/",
    "example.org?",
    "example.org\\",
    "evil.org\\.example.org",
    "example.org:80",
    "exämple.org",
    "example。org",
    "ⓔxample.org",
    "example.org\u{200b}",
    "-example.org",
    "example-.org",
    "127.1",
    "127.0.1",
    "127.0.0.1.",
    "0177.0.0.1",
    "127.0.0.01",
    "0x7f.0.0.1",
    "0x7f000001",
    "0x7f.1",
    "127.0.0.0x1",
    "2130706433",
    "017700000001",
    "256.1.1.1",
    "1.2.3.4.5",
    "1.2.3",
    "999999999999",
    "::1",
    "[::1",
    "::1]",
    "[]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[fe80::1%eth0]",
    "[fe80::1%25eth0]",
    "[::1]]",
    "[v1.x]",
    "127.0.0.1\0",
    "１２７.0.0.1",
    "a.b.c.1",
    "example.0x1",
];

#[test]
fn what_readers_disagree_about_is_no_host() {
    assert!(NOT_HOSTS.len() > 40);
    for text in NOT_HOSTS {
        assert!(host(text).is_err(), "{text:?} passed");
    }
    let long = format!("{}.org", "a".repeat(64));
    assert!(host(&long).is_err());
    assert!(host(&"a.".repeat(127)).is_ok());
    assert!(host(&"a.".repeat(128)).is_err());
}

#[test]
fn a_host_has_one_form() {
    let name = |text: &str| host(text).unwrap().to_string();
    assert_eq!(name("Example.ORG"), "example.org");
    assert_eq!(name("example.org."), "example.org");
    assert_eq!(name("xn--bcher-kva.example"), "xn--bcher-kva.example");
    assert_eq!(name("_dmarc.example.org"), "_dmarc.example.org");
    assert_eq!(name("127.0.0.1"), "127.0.0.1");
    assert_eq!(name("[::1]"), "[::1]");
    assert_eq!(name("[2001:0DB8:0:0::1]"), "[2001:db8::1]");
    assert_eq!(name("1e100.net"), "1e100.net");
}

#[test]
fn private_and_special_addresses_are_not_public() {
    for text in [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "::7f00:1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2001:10::1",
        "2002:7f00:1::",
        "3fff::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "5f00::1",
    ] {
        assert!(!is_public(text.parse().unwrap()), "{text}");
    }
    for text in [
        "1.1.1.1",
        "8.8.8.8",
        "100.63.255.255",
        "100.128.0.1",
        "172.15.0.1",
        "172.32.0.1",
        "192.167.1.1",
        "223.255.255.254",
        "2606:4700::1111",
        "2001:4860:4860::8888",
        "2a00::1",
    ] {
        assert!(is_public(text.parse().unwrap()), "{text}");
    }
}

#[test]
fn blocks_end_where_their_length_says() {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    assert!(within(ip("10.1.2.3"), 8, ip("10.255.0.1")));
    assert!(!within(ip("10.1.2.3"), 8, ip("11.0.0.1")));
    assert!(within(ip("0.0.0.0"), 0, ip("8.8.8.8")));
    assert!(within(ip("10.1.2.3"), 32, ip("10.1.2.3")));
    assert!(!within(ip("10.1.2.3"), 32, ip("10.1.2.2")));
    assert!(within(ip("fd00::"), 8, ip("fdff::1")));
    assert!(!within(ip("fd00::"), 8, ip("10.0.0.1")));
}

fn grants(rule: &str, place: &str, port: u16) -> bool {
    Rule::parse(rule)
        .unwrap()
        .names(&host(place).unwrap(), port)
}

#[test]
fn rules_grant_what_they_say() {
    for (rule, place, port) in [
        ("", "example.org", 443),
        ("", "example.org", 80),
        ("", "8.8.8.8", 443),
        (":api.example.org:443", "API.example.org.", 443),
        (":*.example.org:443,8443", "a.b.example.org", 8443),
        (":example.org:*", "example.org", 1),
        (":10.0.0.5:8080", "10.0.0.5", 8080),
        (":10.0.0.0/8:8080", "10.9.9.9", 8080),
        (":[fd00::1]:443", "[fd00::1]", 443),
        (":fd00::/8:443", "[fd12::1]", 443),
    ] {
        assert!(
            grants(rule, place, port),
            "network{rule} and {place}:{port}"
        );
    }
}

#[test]
fn rules_grant_nothing_else() {
    for (rule, place, port) in [
        ("", "example.org", 8080),
        ("", "10.0.0.1", 443),
        (":api.example.org:443", "api.example.org", 80),
        (":api.example.org:443", "example.org", 443),
        (":api.example.org:443", "x.api.example.org", 443),
        (":api.example.org:443", "xapi.example.org", 443),
        (":*.example.org:443", "example.org", 443),
        (":*.example.org:443", "evilexample.org", 443),
        (":*.example.org:443", "example.org.evil.org", 443),
        (":10.0.0.5:8080", "10.0.0.6", 8080),
        (":10.0.0.0/8:8080", "ten.example.org", 8080),
        (":loopback", "127.0.0.1", 80),
    ] {
        assert!(
            !grants(rule, place, port),
            "network{rule} and {place}:{port}"
        );
    }
}

#[test]
fn a_rule_that_is_not_understood_grants_nothing() {
    for text in [
        ":",
        "x",
        ":example.org",
        ":example.org:",
        ":example.org:0",
        ":example.org:65536",
        ":example.org:+80",
        ":example.org:080",
        ":example.org:80,",
        ":example.org: 80",
        ":example.org:80-90",
        ":*:443",
        ":*.:443",
        ":*.org:443",
        ":a.*.org:443",
        ":EXAMPLE.org:443",
        ":example.org.:443",
        ":http://example.org:443",
        ":127.1:80",
        ":10.0.0.0/33:80",
        ":example.org/8:80",
        ":localhost:80",
        ":[::1:80",
        ":\0.org:80",
        ":loopback:80",
    ] {
        assert!(Rule::parse(text).is_err(), "{text:?} passed");
    }
}

fn one(head: &str) -> Result<(String, u16), String> {
    parse(head.as_bytes())
        .map(|r| (r.host.to_string(), r.port))
        .map_err(|r| r.reason)
}

#[test]
fn the_two_plain_forms_are_understood() {
    let connect = one("CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n");
    assert_eq!(connect, Ok(("example.org".to_owned(), 443)));
    let get = parse(
        b"GET http://Example.org/a?b=http://x@y HTTP/1.1\r\nHost: evil.org\r\n\
          Proxy-Authorization: x\r\nAccept: */*\r\n\r\n",
    )
    .unwrap();
    let Kind::Forward { head, body } = get.kind else {
        panic!("not forwarded");
    };
    assert_eq!(body, 0);
    assert_eq!(
        String::from_utf8(head).unwrap(),
        "GET /a?b=http://x@y HTTP/1.1\r\nHost: example.org\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n"
    );
    assert_eq!(
        one("GET http://[2001:db8::1]?q HTTP/1.1\r\n\r\n"),
        Ok(("[2001:db8::1]".to_owned(), 80))
    );
}

#[test]
fn requests_with_two_readings_are_refused() {
    for head in [
        "CONNECT example.org HTTP/1.1\r\n\r\n",
        "CONNECT example.org:443:80 HTTP/1.1\r\n\r\n",
        "CONNECT example.org:443 HTTP/2\r\n\r\n",
        "CONNECT  example.org:443 HTTP/1.1\r\n\r\n",
        "CONNECT example.org:443\tHTTP/1.1\r\n\r\n",
        "CONNECT example.org:443 HTTP/1.1 x\r\n\r\n",
        "connect example.org:443 HTTP/1.1\r\n\r\n",
        "CONNECT example.org:0443 HTTP/1.1\r\n\r\n",
        "CONNECT example.org:+443 HTTP/1.1\r\n\r\n",
        "CONNECT example.org:99999 HTTP/1.1\r\n\r\n",
        "CONNECT user@example.org:443 HTTP/1.1\r\n\r\n",
        "CONNECT http://example.org:443 HTTP/1.1\r\n\r\n",
        "CONNECT evil.org\0.example.org:443 HTTP/1.1\r\n\r\n",
        "CONNECT 0x7f.1:80 HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
        "GET //example.org/ HTTP/1.1\r\n\r\n",
        "GET https://example.org/ HTTP/1.1\r\n\r\n",
        "GET ftp://example.org/ HTTP/1.1\r\n\r\n",
        "GET http://evil.org#@example.org/ HTTP/1.1\r\n\r\n",
        "GET http://example.org\\@evil.org/ HTTP/1.1\r\n\r\n",
        "GET http://a@example.org/ HTTP/1.1\r\n\r\n",
        "GET http:///example.org HTTP/1.1\r\n\r\n",
        "GET http://example.org/\r\nX: y HTTP/1.1\r\n\r\n",
        "GET http://example.org/ HTTP/1.1\nHost: x\r\n\r\n",
        "GET http://example.org/ HTTP/1.1\r\n folded: x\r\n\r\n",
        "GET http://example.org/ HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
        "GET http://example.org/ HTTP/1.1\r\nA : b\r\n\r\n",
        "GET http://example.org/ HTTP/1.1\r\nHost: a.org\r\nHost: b.org\r\n\r\n",
        "POST http://example.org/ HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "POST http://example.org/ HTTP/1.1\r\nContent-Length: +1\r\n\r\n",
        "POST http://example.org/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET http://example.org/\u{e9} HTTP/1.1\r\n\r\n",
        "GET http://example.org/ HTTP/1.1\r\nA: \x1b[0m\r\n\r\n",
        "\r\n\r\n",
        "GET\r\n\r\n",
    ] {
        assert!(one(head).is_err(), "{head:?} passed");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut bytes = bytes;
        bytes.extend(b"\r\n\r\n");
        drop(parse(&bytes));
    }

    #[test]
    fn what_passes_has_a_host_that_passes_again(
        target in "[ -~]{1,60}",
        connect in any::<bool>(),
    ) {
        let head = if connect {
            format!("CONNECT {target} HTTP/1.1\r\n\r\n")
        } else {
            format!("GET http://{target} HTTP/1.1\r\n\r\n")
        };
        if let Ok(request) = parse(head.as_bytes()) {
            let text = request.host.to_string();
            prop_assert_eq!(host(&text).unwrap(), request.host.clone());
            if let Host::Name(name) = &request.host {
                prop_assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)));
                prop_assert!(name.parse::<IpAddr>().is_err());
            }
            if let Kind::Forward { head, .. } = &request.kind {
                // The forwarded head holds one request.
                let text = String::from_utf8(head.clone()).unwrap();
                prop_assert_eq!(text.matches("\r\n\r\n").count(), 1);
                prop_assert_eq!(text.matches("Host: ").count(), 1);
            }
        }
    }

    #[test]
    fn any_text_is_a_rule_or_an_error(text in "\\PC{0,40}") {
        drop(Rule::parse(&text));
    }
}
