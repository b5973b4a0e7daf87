//! How a connection goes on once it is granted: passed as it is, or read because a secret may go
//! into it.

use std::{io, sync::Arc};

use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::timeout};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

use super::{
    super::either_way,
    PATIENCE, address,
    meter::{Early, Meter},
    proxy::{Origin, Proxy},
    relay::Relay,
    request::{Kind, Refusal, Request},
    swap::Swap,
    upstream::Upstream,
};

/// A connection that may pass, with its server.
#[derive(Debug)]
pub(super) enum Way {
    /// Nothing in it is looked at.
    Closed(Request, TcpStream),
    /// TLS ends here, and begins anew towards the server.
    Tls(Request, Box<Proxy>, Arc<ServerConfig>),
    /// Plain HTTP.
    Plain(Request, Box<Proxy>),
}

impl Way {
    /// Decides by the host, and by what was granted.
    pub(super) async fn choose(
        request: Request,
        server: TcpStream,
        meter: &Arc<Meter>,
    ) -> Result<Self, Refusal> {
        let reach = &meter.run.reach;
        let Some(swap) = Swap::new(&reach.handles, &request.host, request.port) else {
            return Ok(Self::Closed(request, server));
        };
        let tunnel = request.kind == Kind::Tunnel;
        if !tunnel && !is_near(&server, &request, meter) {
            meter.tell("secrets are not filled in: the way there is not encrypted");
            return Ok(Self::Closed(request, server));
        }
        let Some(authority) = reach.authority.as_ref().filter(|_| tunnel) else {
            if tunnel {
                return Ok(Self::Closed(request, server));
            }
            let upstream = Upstream::new(server, None, Arc::clone(meter)).await?;
            let proxy = proxy(&request, swap, upstream, meter);
            return Ok(Self::Plain(request, Box::new(proxy)));
        };
        let config = authority
            .server(&request.host)
            .map_err(|e| Refusal::gateway(format!("no certificate of the gate: {e}")))?;
        let upstream = Upstream::new(server, Some(&request.host), Arc::clone(meter)).await?;
        let proxy = proxy(&request, swap, upstream, meter);
        Ok(Self::Tls(request, Box::new(proxy), config))
    }

    /// Until the connection ends. One that breaks is the program's affair.
    pub(super) async fn take(self, client: TcpStream, meter: &Meter) {
        match self {
            Self::Closed(request, server) => {
                either_way(Relay { meter }.run(request, client, server).await);
            }
            Self::Plain(request, proxy) => {
                let Kind::Forward { mut head, .. } = request.kind else {
                    return;
                };
                head.extend(request.rest);
                either_way(proxy.serve(early(head, client)).await);
            }
            Self::Tls(request, proxy, config) => {
                if let Err(error) = terminate(request, (client, config), proxy).await {
                    meter.tell(&format!("no TLS between the program and the gate: {error}"));
                }
            }
        }
    }
}

/// On this machine or its own network, as it was granted: nobody reads along.
fn is_near(server: &TcpStream, request: &Request, meter: &Meter) -> bool {
    server.peer_addr().is_ok_and(|peer| {
        let ip = peer.ip().to_canonical();
        !address::is_public(ip) && meter.run.reach.reaches(ip, request.port)
    })
}

fn proxy(request: &Request, swap: Swap, upstream: Upstream, meter: &Arc<Meter>) -> Proxy {
    let scheme = match request.kind {
        Kind::Tunnel => "https",
        Kind::Forward { .. } => "http",
    };
    Proxy {
        origin: Origin {
            scheme,
            host: request.host.clone(),
            port: request.port,
        },
        swap,
        upstream,
        meter: Arc::clone(meter),
    }
}

fn early(bytes: Vec<u8>, inner: TcpStream) -> Early<TcpStream> {
    Early {
        bytes: io::Cursor::new(bytes),
        inner,
    }
}

async fn terminate(
    request: Request,
    (mut client, config): (TcpStream, Arc<ServerConfig>),
    proxy: Box<Proxy>,
) -> io::Result<()> {
    let said = b"HTTP/1.1 200 Connection established\r\n\r\n";
    client.write_all(said).await?;
    let accepting = TlsAcceptor::from(config).accept(early(request.rest, client));
    let client = timeout(PATIENCE, accepting).await??;
    // Requests tell by themselves how they failed.
    either_way(proxy.serve(client).await);
    Ok(())
}
