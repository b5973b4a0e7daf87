//! Start, wait, stop.

use std::{net::SocketAddr, path::Path, sync::Arc};

use anyhow::Context as _;
use axum::{Router, serve::ListenerExt as _};
use tokio::{
    net::{TcpListener, UnixListener},
    signal::unix::{Signal, SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

use super::{Daemon, Ready};
use crate::{
    api::{self, Door},
    config::{Loaded, Severity},
    logging,
};

pub(super) async fn serve(loaded: Loaded, announce: impl FnOnce(&Ready)) -> anyhow::Result<()> {
    #[cfg(feature = "failpoints")]
    if let Some(wanted) = crate::config::failpoint() {
        crate::fail::arm(&wanted).map_err(anyhow::Error::msg)?;
    }
    logging::start(&loaded.config.logging);
    tell_problems(&loaded);
    let mut asked = Asked::new()?;
    // A port that is taken is told before anything else happens.
    let listener = listen(&loaded).await?;
    let address = listener.local_addr()?;
    let socket = loaded.config.socket_path();
    let data_dir = loaded.config.data_dir.clone();
    let mut daemon = Daemon::build(loaded, Some(address)).await?;
    open_doors(&mut daemon, listener, &socket);
    let login_url = api::owner_login(&daemon.shared).await?;
    announce(&Ready {
        url: daemon.shared.url.clone(),
        login_url,
        data_dir,
    });
    tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "ready");
    let failed = until_asked(&mut daemon, &mut asked).await;
    tracing::info!(reason = failed.as_deref().unwrap_or("asked to"), "stopping");
    stop(daemon, &mut asked).await;
    // The next start makes it anew; a leftover is harmless.
    drop(std::fs::remove_file(&socket));
    failed.map_or(Ok(()), |why| Err(anyhow::anyhow!(why)))
}

/// Waits until the daemon is to stop: asked to, or because something in it failed.
async fn until_asked(daemon: &mut Daemon, asked: &mut Asked) -> Option<String> {
    tokio::select! {
        () = asked.stop() => None,
        why = daemon.intake.failed() => Some(why),
        why = daemon.work.failed() => Some(why),
    }
}

async fn stop(daemon: Daemon, asked: &mut Asked) {
    tokio::select! {
        () = daemon.stop() => {}
        // Nothing is lost: the next start goes on from what is on disk.
        () = asked.stop() => tracing::warn!("asked again: stopping at once"),
    }
}

/// The signals that ask the daemon to stop.
struct Asked {
    terminate: Signal,
    interrupt: Signal,
}

impl Asked {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn tell_problems(loaded: &Loaded) {
    for problem in &loaded.problems {
        match problem.severity {
            Severity::Warning => tracing::warn!("configuration: {problem}"),
            Severity::Error => tracing::error!("configuration: {problem}"),
        }
    }
}

async fn listen(loaded: &Loaded) -> anyhow::Result<TcpListener> {
    let server = &loaded.config.server;
    let address = SocketAddr::new(server.host, server.port);
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}; is another nexflow running? Choose another port with server.port or NEXFLOW__SERVER__PORT")
    })
}

/// The network and the Unix socket, both over the same routes.
fn open_doors(daemon: &mut Daemon, tcp: TcpListener, socket: &Path) {
    let network = api::router(Arc::clone(&daemon.shared), Door::Network);
    daemon
        .intake
        .vital("http", |cancel| serve_tcp(tcp, network, cancel));
    match listen_locally(socket) {
        Ok(unix) => {
            let local = api::router(Arc::clone(&daemon.shared), Door::Local);
            daemon.intake.vital("command line", |cancel| async move {
                axum::serve(unix, local)
                    .with_graceful_shutdown(cancel.cancelled_owned())
                    .await
            });
        }
        Err(error) => {
            tracing::error!(socket = %socket.display(), %error, "the command line cannot reach this daemon; choose a data directory with a shorter path");
        }
    }
}

async fn serve_tcp(
    tcp: TcpListener,
    router: Router,
    cancel: CancellationToken,
) -> std::io::Result<()> {
    // Small frames go out at once.
    let tcp = tcp.tap_io(|stream| drop(stream.set_nodelay(true)));
    let router = router.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(tcp, router)
        .with_graceful_shutdown(cancel.cancelled_owned())
        .await
}

/// A socket that only the daemon's user can open. The lock of the data directory is ours, so a file
/// that is there is a leftover.
fn listen_locally(path: &Path) -> std::io::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt as _;
    if path.exists() {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}
