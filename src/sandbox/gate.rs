//! The egress gate: an HTTP proxy that the daemon serves on a listener inside the run's own
//! network namespace. It is the run's only way out, and every connection is decided and recorded
//! here. It looks into TLS only towards hosts for which the run has handles of secrets, and it does
//! not authenticate: nobody else reaches it.

pub(super) mod address;
mod authority;
mod body;
mod forward;
mod hello;
mod host;
mod mask;
mod meter;
mod proxy;
mod relay;
mod request;
mod swap;
mod upstream;
mod usage;
mod way;

use std::{
    fmt, io,
    net::IpAddr,
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::select_all;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, lookup_host},
    sync::mpsc,
    task::JoinSet,
    time::timeout,
};

pub use authority::Authority;
pub(super) use forward::{Forward, forwards};
pub(super) use host::{Host, host};
pub use swap::Handle;
pub use usage::Usage;

use super::{Config, Reach, either_way};
use meter::Meter;
use request::{Refusal, Request, parse};
use way::Way;

/// Longest request head.
const MAX_HEAD: usize = 16 << 10;
/// Connections of one run at a time.
const AT_ONCE: usize = 64;
/// For a head to arrive, a name to resolve, a connection to stand.
const PATIENCE: Duration = Duration::from_secs(10);

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
    /// Whether a secret took the place of its handle.
    pub handle: bool,
}

/// How the gate turns names into addresses.
#[async_trait::async_trait]
pub trait Resolve: fmt::Debug + Send + Sync {
    /// All addresses of a name.
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The system's resolver.
#[derive(Debug)]
struct System;

#[async_trait::async_trait]
impl Resolve for System {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        // The dot keeps search domains out.
        Ok(lookup_host((format!("{name}."), 0))
            .await?
            .map(|a| a.ip())
            .collect())
    }
}

/// The gate of one run.
#[derive(Debug)]
pub(super) struct Guard {
    run: Arc<Run>,
}

/// What all connections of a run share.
#[derive(Debug)]
struct Run {
    reach: Reach,
    label: String,
    resolver: Arc<dyn Resolve>,
    records: Option<mpsc::Sender<Egress>>,
    usage: Usage,
    allowance: usage::Allowance,
    budget: AtomicU64,
}

impl Guard {
    /// A gate with these rules, before its listener is there.
    pub(super) fn new(config: &Config, reach: Reach, label: String) -> Self {
        let resolver = config.resolver.clone();
        let most = (config.egress_per_minute, config.egress_mb_per_hour << 20);
        Self {
            run: Arc::new(Run {
                reach,
                allowance: config.usage.of(&label, most),
                usage: config.usage.clone(),
                label,
                resolver: resolver.unwrap_or_else(|| Arc::new(System)),
                records: config.egress.clone(),
                budget: AtomicU64::new(config.max_egress_mb << 20),
            }),
        }
    }

    /// Serves until dropped: the proxy at the first listener, and at each other one the host that
    /// it stands for.
    pub(super) async fn serve(self, listeners: Vec<OwnedFd>, forwards: Vec<Forward>) {
        let stands_for = std::iter::once(None).chain(forwards.into_iter().map(Some));
        let mut doors = Vec::new();
        for (listener, forward) in listeners.into_iter().zip(stands_for) {
            let Ok(listener) = TcpListener::from_std(listener.into()) else {
                return;
            };
            doors.push((listener, forward));
        }
        let mut open = JoinSet::new();
        loop {
            let coming = doors.iter().map(|(listener, forward)| {
                Box::pin(async move { (listener.accept().await, forward) })
            });
            tokio::select! {
                ((accepted, forward), ..) = select_all(coming),
                    if open.len() < AT_ONCE && !doors.is_empty() => {
                    if let Ok((client, _)) = accepted {
                        let (run, forward) = (Arc::clone(&self.run), forward.clone());
                        open.spawn(async move { run.serve(client, forward).await });
                    }
                }
                Some(_) = open.join_next() => {}
            }
        }
    }
}

/// One connection's record, sent when the connection ends however it ends.
#[derive(Debug)]
struct Record {
    egress: Egress,
    meter: Arc<Meter>,
}

impl Record {
    fn new(run: &Arc<Run>) -> Self {
        Self {
            egress: Egress {
                label: run.label.clone(),
                host: String::new(),
                port: 0,
                allowed: false,
                reason: "the request did not arrive".to_owned(),
                bytes_up: 0,
                bytes_down: 0,
                handle: false,
            },
            meter: Arc::new(Meter::new(run)),
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let (mut egress, meter) = (self.egress.clone(), &self.meter);
        egress.bytes_up = meter.up.load(Ordering::Relaxed);
        egress.bytes_down = meter.down.load(Ordering::Relaxed);
        egress.handle = meter.swapped.load(Ordering::Relaxed);
        let note = meter.note();
        if !note.is_empty() {
            egress.reason = format!("{}; {note}", egress.reason);
        }
        tracing::debug!(
            skill = egress.label,
            host = egress.host,
            port = egress.port,
            allowed = egress.allowed,
            reason = egress.reason,
            "egress"
        );
        let run = &meter.run;
        if meter.refused.load(Ordering::Relaxed) {
            egress.allowed = false;
        }
        if let Some(records) = &run.records
            && records.try_send(egress).is_err()
        {
            let lost = run.usage.lost();
            tracing::warn!(skill = run.label, lost, "an egress record was lost");
        }
    }
}

impl Run {
    async fn serve(self: Arc<Self>, mut client: TcpStream, forward: Option<Forward>) {
        // A socket that is never used is nothing to decide about. Who connects to a forward may
        // wait for the server to speak first.
        if forward.is_none() && !matches!(client.peek(&mut [0]).await, Ok(count) if count > 0) {
            return;
        }
        let mut record = Record::new(&self);
        let silent = forward.is_some();
        let opened = match forward {
            Some(forward) => self.decide(forward.request(), &mut record).await,
            None => self.open(&mut client, &mut record).await,
        };
        let answer = match opened {
            Ok(way) => return way.take(client, &record.meter).await,
            Err(refusal) => refusal,
        };
        record.egress.allowed = false;
        record.egress.reason.clone_from(&answer.reason);
        if silent {
            // There are no words in which it would understand why.
            return;
        }
        let text = format!("The sandbox refused this connection: {}\n", answer.reason);
        let head = format!(
            "HTTP/1.1 {}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{text}",
            answer.status,
            text.len(),
        );
        either_way(timeout(PATIENCE, client.write_all(head.as_bytes())).await);
        either_way(client.shutdown().await);
        relay::linger(client).await;
    }

    /// Reads the request, decides, connects.
    async fn open(&self, client: &mut TcpStream, record: &mut Record) -> Result<Way, Refusal> {
        let bytes = timeout(PATIENCE, head(client))
            .await
            .map_err(|late| Refusal::bad(format!("the request took too long ({late})")))??;
        self.decide(parse(&bytes)?, record).await
    }

    /// Whether a request may pass, and how it goes on.
    async fn decide(&self, request: Request, record: &mut Record) -> Result<Way, Refusal> {
        record.egress.host = request.host.to_string();
        record.egress.port = request.port;
        let allowed = self.allowance.connect(Instant::now());
        allowed.map_err(Refusal::too_much)?;
        let rules = &self.reach.rules;
        if !rules.iter().any(|r| r.names(&request.host, request.port)) {
            let asked = format!("{}:{}", request.host, request.port);
            return Err(Refusal::forbidden(format!("{asked} is not granted")));
        }
        let addresses = self.addresses(&request).await?;
        let server = connect(&addresses, request.port).await?;
        record.egress.allowed = true;
        "granted".clone_into(&mut record.egress.reason);
        Way::choose(request, server, &record.meter).await
    }

    /// Resolves once; every address must be allowed, because which one is used would otherwise be
    /// the name server's choice.
    async fn addresses(&self, request: &Request) -> Result<Vec<IpAddr>, Refusal> {
        let found = match &request.host {
            Host::Address(ip) => vec![*ip],
            Host::Name(name) => timeout(PATIENCE, self.resolver.resolve(name))
                .await
                .map_err(|late| Refusal::gateway(format!("{name} was not resolved: {late}")))?
                .map_err(|error| Refusal::gateway(format!("{name} was not resolved: {error}")))?,
        };
        let found: Vec<IpAddr> = found.into_iter().map(|ip| ip.to_canonical()).collect();
        let granted =
            |ip: &IpAddr| address::is_public(*ip) || self.reach.reaches(*ip, request.port);
        match found.iter().find(|ip| !granted(ip)) {
            Some(ip) => Err(Refusal::forbidden(format!(
                "{} is at {ip}, which is not public and not granted literally",
                request.host
            ))),
            None if found.is_empty() => {
                Err(Refusal::gateway(format!("{} has no address", request.host)))
            }
            None => Ok(found),
        }
    }
}

/// To the first address that answers: exactly those that were checked.
async fn connect(addresses: &[IpAddr], port: u16) -> Result<TcpStream, Refusal> {
    let mut last = String::new();
    for ip in addresses.iter().take(4) {
        match timeout(PATIENCE, TcpStream::connect((*ip, port))).await {
            Ok(Ok(server)) => return Ok(server),
            Ok(Err(error)) => last = error.to_string(),
            Err(late) => last = late.to_string(),
        }
    }
    Err(Refusal::gateway(format!("no connection: {last}")))
}

/// Reads up to the end of the head; what came after it comes along.
async fn head(client: &mut TcpStream) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::with_capacity(1024);
    while !request::complete(&bytes) {
        if bytes.len() >= MAX_HEAD {
            return Err(Refusal::bad("the request's head is too long".to_owned()));
        }
        match client.read_buf(&mut bytes).await {
            Ok(count) if count > 0 => {}
            _ => return Err(Refusal::bad("the request is not complete".to_owned())),
        }
    }
    Ok(bytes)
}

#[cfg(fuzzing)]
pub(super) mod fuzzing {
    //! What must hold of a request that is let further.

    use super::{
        Host, host,
        request::{Kind, parse},
    };

    pub(in crate::sandbox) fn understood(bytes: &[u8]) {
        let Ok(request) = parse(bytes) else { return };
        assert_eq!(host(&request.host.to_string()), Ok(request.host.clone()));
        if let Host::Name(name) = &request.host {
            assert!(name.parse::<std::net::IpAddr>().is_err());
        }
        if let Kind::Forward { head, .. } = &request.kind {
            let text = std::str::from_utf8(head).expect("text");
            assert_eq!(text.matches("\r\n\r\n").count(), 1);
            assert_eq!(text.matches("\r\nHost: ").count(), 1);
        }
    }
}

#[cfg(test)]
mod tests;
