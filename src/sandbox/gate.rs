//! The egress gate: an HTTP proxy that the daemon serves on a listener inside the run's own
//! network namespace. It is the run's only way out, and every connection is decided and recorded
//! here.

pub(super) mod address;
mod host;

pub(super) use host::{Host, host};

use std::{fmt, io, net::IpAddr};

/// What the gate decided about one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Egress {
    /// The job's label.
    pub label: String,
    /// Host as asked for, in canonical form if it has one.
    pub host: String,
    /// Port as asked for; 0 if none could be read.
    pub port: u16,
    /// Whether it was let through.
    pub allowed: bool,
    /// Why.
    pub reason: String,
    /// Bytes that the program sent.
    pub bytes_up: u64,
    /// Bytes that it received.
    pub bytes_down: u64,
}

/// How the gate turns names into addresses.
#[async_trait::async_trait]
pub trait Resolve: fmt::Debug + Send + Sync {
    /// All addresses of a name.
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The gate of one run, before its listener is there.
#[derive(Debug)]
pub(super) struct Guard {
    rules: Vec<super::Rule>,
    label: String,
}

impl Guard {
    pub(super) fn new(_config: &super::Config, rules: Vec<super::Rule>, label: String) -> Self {
        Self { rules, label }
    }

    pub(super) async fn serve(self, _listener: std::os::fd::OwnedFd) {
        drop((self.rules, self.label));
        futures_util::future::pending::<()>().await;
    }
}
