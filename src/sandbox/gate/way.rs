//! How a connection goes on once it is granted: passed as it is, or read because a secret may go
//! into it.

use std::{io, net::IpAddr, sync::Arc};

use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::timeout};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

use super::{
    super::{Reach, either_way},
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
        let tunnel = !matches!(request.kind, Kind::Forward { .. });
        let peer = server.peer_addr().map(|peer| peer.ip().to_canonical());
        let near = peer.is_ok_and(|ip| is_near(reach, ip, request.port));
        if !tunnel && !near {
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
fn is_near(reach: &Reach, ip: IpAddr, port: u16) -> bool {
    !address::is_public(ip) && reach.reaches(ip, port)
}

fn proxy(request: &Request, swap: Swap, upstream: Upstream, meter: &Arc<Meter>) -> Proxy {
    let scheme = match request.kind {
        Kind::Tunnel | Kind::Direct => "https",
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
    if request.kind == Kind::Tunnel {
        let said = b"HTTP/1.1 200 Connection established\r\n\r\n";
        client.write_all(said).await?;
    }
    let accepting = TlsAcceptor::from(config).accept(early(request.rest, client));
    let client = timeout(PATIENCE, accepting).await??;
    // Requests tell by themselves how they failed.
    either_way(proxy.serve(client).await);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::Rule;

    #[test]
    fn plain_http_is_near_where_a_private_address_was_granted_as_a_number() {
        let rules = [":10.0.0.5:80", ":8.8.8.8:80", ":192.168.0.0/16:8080", ""];
        let rules: Vec<Rule> = rules.iter().map(|r| Rule::parse(r).unwrap()).collect();
        let reach = Reach::from(rules);
        let near = |ip: &str, port| is_near(&reach, ip.parse().unwrap(), port);
        assert!(near("10.0.0.5", 80) && near("192.168.3.4", 8080));
        assert!(!near("10.0.0.6", 80) && !near("10.0.0.5", 8080));
        assert!(!near("8.8.8.8", 80) && !near("1.1.1.1", 80));
    }
}
