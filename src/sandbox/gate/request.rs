//! The one parser of proxy requests. It takes the plain form of `CONNECT` and of `http://` requests
//! and refuses everything that another parser could read differently.

use super::host::{Host, host};

/// Why a request is not served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: &'static str,
    pub(super) reason: String,
}

impl Refusal {
    /// It cannot be read in exactly one way.
    pub(super) fn bad(reason: String) -> Self {
        Self {
            status: "400 Bad Request",
            reason,
        }
    }

    /// It is not granted.
    pub(super) fn forbidden(reason: String) -> Self {
        Self {
            status: "403 Forbidden",
            reason,
        }
    }

    /// The skill has used up what it may.
    pub(super) fn too_much(reason: String) -> Self {
        Self {
            status: "429 Too Many Requests",
            reason,
        }
    }

    /// The other side cannot be reached.
    pub(super) fn gateway(reason: String) -> Self {
        Self {
            status: "502 Bad Gateway",
            reason,
        }
    }
}

/// A request that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) host: Host,
    pub(super) port: u16,
    pub(super) kind: Kind,
    /// What the client sent behind the head.
    pub(super) rest: Vec<u8>,
}

impl Request {
    /// What connecting to a listener of its own means.
    pub(super) fn direct(host: Host, port: u16) -> Self {
        Self {
            host,
            port,
            kind: Kind::Direct,
            rest: Vec::new(),
        }
    }
}

/// What to do once connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// Say so, then pass bytes both ways.
    Tunnel,
    /// Pass bytes both ways: nobody asked in words.
    Direct,
    /// Send this head and that much of a body, then pass the answer back.
    Forward { head: Vec<u8>, body: u64 },
}

const END: &[u8] = b"\r\n\r\n";

/// The head has arrived.
pub(super) fn complete(bytes: &[u8]) -> bool {
    find_end(bytes).is_some()
}

fn find_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(END.len()).position(|w| w == END)
}

/// Reads a request: its head, and what came behind it.
pub(super) fn parse(bytes: &[u8]) -> Result<Request, Refusal> {
    let bad = |why: &str| Refusal::bad(why.to_owned());
    let end = find_end(bytes).ok_or_else(|| bad("the request is not complete"))?;
    let (head, rest) = bytes.split_at(end);
    let rest = rest.get(END.len()..).unwrap_or_default().to_vec();
    let head = std::str::from_utf8(head).map_err(|e| Refusal::bad(format!("not text: {e}")))?;
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    if head
        .split("\r\n")
        .any(|l| l.chars().any(|c| c.is_control() && c != '\t'))
    {
        return Err(bad("a control character"));
    }
    let mut words = first.split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(bad("not METHOD TARGET VERSION"));
    };
    if version != "HTTP/1.1" && version != "HTTP/1.0" {
        return Err(bad("not HTTP/1.1"));
    }
    let length = 1..=20;
    if !length.contains(&method.len()) || !method.bytes().all(|b| b.is_ascii_uppercase()) {
        return Err(bad("not a method"));
    }
    if !target.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(bad("a character that no address has"));
    }
    let headers = headers(lines)?;
    if method == "CONNECT" {
        let (host, port) = authority(target, None)?;
        return Ok(Request {
            host,
            port,
            kind: Kind::Tunnel,
            rest,
        });
    }
    forward(method, target, &headers, rest)
}

type Headers<'a> = Vec<(&'a str, &'a str)>;

fn headers<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Headers<'a>, Refusal> {
    let mut all = Vec::new();
    for line in lines {
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| Refusal::bad("a header without a colon".to_owned()))?;
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if name.is_empty() || !name.bytes().all(token) {
            return Err(Refusal::bad("a header whose name is none".to_owned()));
        }
        all.push((name, value.trim_matches([' ', '\t'])));
    }
    Ok(all)
}

/// `host:port`, the port being optional where there is a usual one.
pub(super) fn authority(text: &str, usual: Option<u16>) -> Result<(Host, u16), Refusal> {
    let bare = text.starts_with('[') && text.ends_with(']');
    let (name, port) = match text.rsplit_once(':').filter(|_| !bare) {
        Some((name, port)) => (name, Some(port)),
        None => (text, None),
    };
    let port = match (port, usual) {
        (Some(digits), _) => number(digits).ok_or_else(|| Refusal::bad("not a port".to_owned()))?,
        (None, Some(usual)) => usual,
        (None, None) => return Err(Refusal::bad("no port".to_owned())),
    };
    Ok((host(name).map_err(Refusal::bad)?, port))
}

fn number(digits: &str) -> Option<u16> {
    let plain = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    digits.parse().ok().filter(|_| plain)
}

/// Headers that are between client and proxy, and those that we write ourselves.
const DROPPED: &[&str] = &[
    "connection",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
    "http2-settings",
];

fn forward(
    method: &str,
    target: &str,
    headers: &Headers<'_>,
    rest: Vec<u8>,
) -> Result<Request, Refusal> {
    let bad = |why: &str| Refusal::bad(why.to_owned());
    let place = target
        .strip_prefix("http://")
        .ok_or_else(|| bad("only CONNECT and http:// pass; for https use CONNECT"))?;
    if target.contains(['#', '\\']) {
        return Err(bad("a character that readers disagree about"));
    }
    let split = place.find(['/', '?']).unwrap_or(place.len());
    let (server, path) = place.split_at(split);
    let (host, port) = authority(server, Some(80))?;
    let many = |name: &str| {
        headers
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .count()
    };
    if many("host") > 1 || many("content-length") > 1 {
        return Err(bad("a header that may stand once stands twice"));
    }
    if many("transfer-encoding") > 0 {
        return Err(Refusal {
            status: "411 Length Required",
            reason: "send a Content-Length instead of a Transfer-Encoding".to_owned(),
        });
    }
    let mut body = 0;
    let mut head = format!("{method} ");
    if !path.starts_with('/') {
        head.push('/');
    }
    head.push_str(path);
    head.push_str(" HTTP/1.1\r\n");
    let named = if port == 80 {
        host.to_string()
    } else {
        format!("{host}:{port}")
    };
    head.extend(["Host: ", &named, "\r\n"]);
    for (name, value) in headers {
        if DROPPED.iter().any(|d| name.eq_ignore_ascii_case(d)) {
            continue;
        }
        if name.eq_ignore_ascii_case("content-length") {
            let plain = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
            let length = value.parse().ok().filter(|_| plain);
            body = length.ok_or_else(|| bad("not a Content-Length"))?;
        }
        head.extend([name, ": ", value, "\r\n"]);
    }
    head.push_str("Connection: close\r\n\r\n");
    Ok(Request {
        host,
        port,
        kind: Kind::Forward {
            head: head.into_bytes(),
            body,
        },
        rest,
    })
}
