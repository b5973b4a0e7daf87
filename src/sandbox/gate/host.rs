//! The one parser of host names: what it accepts has exactly one reading, for us, for the resolver
//! and for the server. Everything else is refused rather than interpreted.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// A host in canonical form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sandbox) enum Host {
    /// Lower case, at least two labels, no dot at the end.
    Name(String),
    Address(IpAddr),
}

impl fmt::Display for Host {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => out.write_str(name),
            Self::Address(IpAddr::V4(ip)) => ip.fmt(out),
            Self::Address(IpAddr::V6(ip)) => write!(out, "[{ip}]"),
        }
    }
}

/// Reads a host as it stands in a permission or a request: a name, an IPv4 address, or an IPv6
/// address in brackets.
pub(in crate::sandbox) fn host(text: &str) -> Result<Host, String> {
    let bad = |why: &str| Err(format!("{text:?} is not a host: {why}"));
    if text.is_empty() || text.len() > 254 {
        return bad("wrong length");
    }
    if let Some(inner) = text.strip_prefix('[') {
        let Some(inner) = inner.strip_suffix(']') else {
            return bad("unclosed bracket");
        };
        return match inner.parse::<Ipv6Addr>() {
            Ok(ip) if ip.to_ipv4_mapped().is_some() || ip.to_ipv4().is_some() && !small(ip) => {
                bad("an IPv4 address in IPv6 form")
            }
            Ok(ip) => Ok(Host::Address(ip.into())),
            Err(_) => bad("not an IPv6 address"),
        };
    }
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    if !name
        .bytes()
        .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.'))
    {
        return bad("only letters, digits, hyphens and dots may stand in it");
    }
    let labels: Vec<&str> = name.split('.').collect();
    for label in &labels {
        if label.is_empty() || label.len() > 63 {
            return bad("a label of wrong length");
        }
        if label.starts_with('-') || label.ends_with('-') {
            return bad("a hyphen at the edge of a label");
        }
    }
    let last = labels.last().copied().unwrap_or_default();
    if last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x") {
        // Resolvers read octal, hexadecimal and short forms as addresses; we read one form.
        return match name.parse::<Ipv4Addr>() {
            Ok(ip) if text == name => Ok(Host::Address(ip.into())),
            _ => bad("not an IPv4 address in its usual form"),
        };
    }
    if labels.len() < 2 {
        return bad("a name needs a domain");
    }
    if name.len() > 253 {
        return bad("too long");
    }
    Ok(Host::Name(name))
}

/// `::` and `::1`, which look like old embedded IPv4 addresses but are not.
fn small(ip: Ipv6Addr) -> bool {
    ip.is_loopback() || ip.is_unspecified()
}
