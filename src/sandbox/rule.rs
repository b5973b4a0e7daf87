//! What a `network…` permission grants, as the gate enforces it.

use std::net::IpAddr;

use super::gate::{Host, address, host};

/// One grant of the gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// Any host with public addresses, on 80 and 443.
    Public,
    /// This name.
    Name(String, Ports),
    /// Names below this one, never itself.
    Below(String, Ports),
    /// This address, private or not.
    Address(IpAddr, Ports),
    /// These addresses, private or not.
    Block(IpAddr, u8, Ports),
    /// The run's own loopback.
    Loopback,
}

/// Ports of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ports {
    /// All.
    Any,
    /// These.
    These(Vec<u16>),
}

impl Ports {
    fn parse(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let port = |p: &str| match p.parse::<u16>() {
            Ok(port) if port > 0 && !p.starts_with(['0', '+']) => Ok(port),
            _ => Err(format!(
                "{p:?} is not a port; write a number, several with commas, or *"
            )),
        };
        text.split(',')
            .map(port)
            .collect::<Result<_, _>>()
            .map(Self::These)
    }

    fn has(&self, port: u16) -> bool {
        match self {
            Self::Any => true,
            Self::These(ports) => ports.contains(&port),
        }
    }
}

impl Rule {
    /// The rule in what follows the word `network` of a permission: nothing, or `:target`.
    ///
    /// # Errors
    /// What is wrong with it, for the author of the skill.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::Public);
        }
        let target = text
            .strip_prefix(':')
            .ok_or_else(|| format!("after \"network\" comes \":\", not {text:?}"))?;
        if target == "loopback" {
            return Ok(Self::Loopback);
        }
        let (place, ports) = target
            .rsplit_once(':')
            .ok_or_else(|| format!("{target:?} has no port; write host:443 or host:*"))?;
        let ports = Ports::parse(ports)?;
        if place.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(format!("{place:?}: write host names in lower case"));
        }
        if let Some(below) = place.strip_prefix("*.") {
            return match host(below)? {
                Host::Name(name) if !below.ends_with('.') => Ok(Self::Below(name, ports)),
                _ => Err(format!("{place:?} is not *. and a host name")),
            };
        }
        if let Some((base, length)) = place.rsplit_once('/') {
            return Self::block(base, length, ports);
        }
        match host(place)? {
            Host::Name(_) if place.ends_with('.') => Err(format!("{place:?} ends in a dot")),
            Host::Name(name) => Ok(Self::Name(name, ports)),
            Host::Address(address) => Ok(Self::Address(address, ports)),
        }
    }

    fn block(base: &str, length: &str, ports: Ports) -> Result<Self, String> {
        let bare = base.trim_start_matches('[').trim_end_matches(']');
        let parsed = if bare.contains(':') {
            host(&format!("[{bare}]"))?
        } else {
            host(base)?
        };
        let Host::Address(address) = parsed else {
            return Err(format!("{base:?} is not an address"));
        };
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = length.parse::<u8>().ok().filter(|bits| *bits <= most);
        let bits = bits.ok_or_else(|| format!("/{length} is not a prefix length"))?;
        Ok(Self::Block(address, bits, ports))
    }

    /// Something on the daemon's machine itself is granted.
    pub(super) fn is_loopback_address(&self) -> bool {
        match self {
            Self::Address(address, _) | Self::Block(address, ..) => address.is_loopback(),
            _ => false,
        }
    }

    /// This host and port are granted by name or literally. Whether the addresses of a name may be
    /// used is another question ([`Rule::reaches`]).
    pub(super) fn names(&self, host: &Host, port: u16) -> bool {
        match (self, host) {
            (Self::Public, Host::Name(_)) => port == 80 || port == 443,
            (Self::Public, Host::Address(ip)) => {
                (port == 80 || port == 443) && address::is_public(*ip)
            }
            (Self::Name(name, ports), Host::Name(host)) => name == host && ports.has(port),
            (Self::Below(name, ports), Host::Name(host)) => {
                let below = host
                    .strip_suffix(name.as_str())
                    .and_then(|h| h.strip_suffix('.'));
                below.is_some_and(|label| !label.is_empty()) && ports.has(port)
            }
            (Self::Address(..) | Self::Block(..), Host::Address(ip)) => self.reaches(*ip, port),
            _ => false,
        }
    }

    /// This very address is granted literally.
    pub(super) fn reaches(&self, ip: IpAddr, port: u16) -> bool {
        match self {
            Self::Address(granted, ports) => *granted == ip && ports.has(port),
            Self::Block(base, bits, ports) => address::within(*base, *bits, ip) && ports.has(port),
            _ => false,
        }
    }
}
