//! The one place that makes HTTP clients, and the framings that model servers stream in.
//!
//! Owns connection settings. Does not know what is asked of whom: no retry, no status mapping.

pub mod lines;
pub mod sse;
pub mod tls;

use std::{
    net::IpAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use reqwest::{Client, ClientBuilder, redirect};
use url::{Host, Url};

/// How long a connection may take to come about, where nobody says.
pub const CONNECT: Duration = Duration::from_secs(10);

/// How long an unused connection is kept for the next request.
const KEEP: Duration = Duration::from_mins(1);

/// HTTP clients, made on first use. Cheap to clone; all clones share their connections.
///
/// There is no overall time limit, because an answer may stream for minutes: whoever asks sets
/// the limit that fits. Redirects are not followed: a key must not travel to another host.
#[derive(Debug, Clone)]
pub struct Http {
    clients: Arc<Clients>,
    connect: Duration,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            clients: Arc::default(),
            connect: CONNECT,
        }
    }
}

#[derive(Debug, Default)]
struct Clients {
    /// Plain HTTP to this machine: no proxy, and no certificates to load.
    local: OnceLock<Client>,
    /// Everything else: the proxy of the environment, Mozilla's roots and the system's.
    outside: OnceLock<Client>,
}

impl Http {
    /// Nothing is loaded yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// With another limit on how long a connection may take to come about; connections are shared
    /// only with those that have the same limit.
    #[must_use]
    pub fn connecting_within(&self, connect: Duration) -> Self {
        if connect == self.connect {
            return self.clone();
        }
        Self {
            clients: Arc::default(),
            connect,
        }
    }

    /// The client for this address.
    pub fn client(&self, url: &Url) -> Result<Client, reqwest::Error> {
        if url.scheme() == "http" && is_loopback(url) {
            made(&self.clients.local, || {
                settings(self.connect)
                    .no_proxy()
                    .tls_built_in_root_certs(false)
            })
        } else {
            made(&self.clients.outside, || settings(self.connect))
        }
    }
}

fn made(
    place: &OnceLock<Client>,
    settings: impl FnOnce() -> ClientBuilder,
) -> Result<Client, reqwest::Error> {
    if let Some(client) = place.get() {
        return Ok(client.clone());
    }
    // Two that come at once both build; one of the two is kept.
    let client = settings().build()?;
    Ok(place.get_or_init(|| client).clone())
}

fn settings(connect: Duration) -> ClientBuilder {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that makes HTTP clients"
    )]
    Client::builder()
        .user_agent(concat!("nexflow/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(connect)
        .pool_idle_timeout(KEEP)
        .pool_max_idle_per_host(4)
        .tcp_nodelay(true)
        .redirect(redirect::Policy::none())
        .referer(false)
}

/// Whether the address names this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        // RFC 6761, 6.3. The parser has lowered its letters.
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => IpAddr::from(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::from(ip).is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loopback() {
        let is = |url: &str| is_loopback(&url.parse().unwrap());
        assert!(is("http://LOCALHOST:11434/x"));
        assert!(is("http://llm.localhost/v1"));
        assert!(is("http://127.0.0.1"));
        assert!(is("http://[::1]:80"));
        assert!(!is("http://localhost.example.com"));
        assert!(!is("http://192.168.1.2"));
    }

    #[test]
    fn clients_are_made_once() {
        let http = Http::new();
        assert!(http.clients.outside.get().is_none());
        http.client(&"http://127.0.0.1:1".parse().unwrap()).unwrap();
        assert!(http.clients.outside.get().is_none());
        assert!(http.clone().clients.local.get().is_some());
    }
}
