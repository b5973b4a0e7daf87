//! The server's side of a connection whose requests are read: to exactly the address that was
//! checked, and over TLS only if it proves to be the host that was asked for.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

use super::{
    super::either_way,
    Host, PATIENCE,
    body::Body,
    meter::{Meter, Metered},
    request::Refusal,
};
use crate::net::tls;

/// A server, connected again when it has closed an idle connection.
#[derive(Debug)]
pub(super) struct Upstream {
    address: SocketAddr,
    /// Whom it must prove to be; `None` without TLS.
    name: Option<ServerName<'static>>,
    meter: Arc<Meter>,
    idle: Mutex<Option<SendRequest<Body>>>,
    tasks: Mutex<JoinSet<()>>,
}

impl Upstream {
    /// Over this connection, verified if it is for TLS.
    pub(super) async fn new(
        server: TcpStream,
        host: Option<&Host>,
        meter: Arc<Meter>,
    ) -> Result<Self, Refusal> {
        let name = match host {
            Some(Host::Name(name)) => {
                let name = ServerName::try_from(name.clone());
                Some(name.map_err(|e| Refusal::gateway(e.to_string()))?)
            }
            Some(Host::Address(ip)) => Some(ServerName::from(*ip)),
            None => None,
        };
        let upstream = Self {
            address: server.peer_addr().map_err(failed)?,
            name,
            meter,
            idle: Mutex::default(),
            tasks: Mutex::default(),
        };
        let sender = upstream.open(server).await?;
        upstream.keep(sender);
        Ok(upstream)
    }

    /// Sends a request; the answer's body may still be on its way.
    pub(super) async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, Refusal> {
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let ready = match idle {
            Some(mut sender) => sender.ready().await.is_ok().then_some(sender),
            None => None,
        };
        let mut sender = if let Some(sender) = ready {
            sender
        } else {
            let server = timeout(PATIENCE, TcpStream::connect(self.address)).await;
            let server = server.map_err(|e| Refusal::gateway(e.to_string()))?;
            self.open(server.map_err(failed)?).await?
        };
        let response = sender.send_request(request).await;
        self.keep(sender);
        response.map_err(|e| Refusal::gateway(format!("the server did not answer: {e}")))
    }

    fn keep(&self, sender: SendRequest<Body>) {
        *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
    }

    async fn open(&self, server: TcpStream) -> Result<SendRequest<Body>, Refusal> {
        let server = Metered {
            inner: server,
            meter: Arc::clone(&self.meter),
        };
        let Some(name) = &self.name else {
            return self.begin(server).await;
        };
        let config = tls::client().map_err(|e| Refusal::gateway(e.to_string()))?;
        let connecting = TlsConnector::from(config).connect(name.clone(), server);
        let server = timeout(PATIENCE, connecting)
            .await
            .map_err(|late| Refusal::gateway(format!("no TLS: {late}")))?
            .map_err(|e| Refusal::gateway(format!("the server was not believed: {e}")))?;
        self.begin(server).await
    }

    async fn begin(
        &self,
        server: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<SendRequest<Body>, Refusal> {
        let (sender, connection) = http1::handshake(TokioIo::new(server))
            .await
            .map_err(|e| Refusal::gateway(e.to_string()))?;
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        // How a connection ends is seen by the request on it.
        tasks.spawn(async move { either_way(connection.await) });
        Ok(sender)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape of map_err")]
fn failed(error: io::Error) -> Refusal {
    Refusal::gateway(format!("no connection: {error}"))
}
