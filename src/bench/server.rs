//! A server on loopback for the daemon to speak to.

use axum::{Router, serve::ListenerExt as _};
use tokio::{net::TcpListener, task::JoinSet};

/// A place that is taken, where nothing answers yet.
pub(super) struct Place {
    /// Where it is, without a slash at the end.
    pub(super) url: String,
    listener: TcpListener,
}

impl Place {
    pub(super) async fn take() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        Ok(Self { url, listener })
    }

    /// Answers there from now on.
    pub(super) fn serve(self, router: Router) -> Server {
        let mut task = JoinSet::new();
        task.spawn(async move {
            let listener = self.listener;
            let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
            // It ends with the benchmark.
            drop(axum::serve(listener, router).await);
        });
        Server { _task: task }
    }
}

/// It ends when it is dropped.
pub(super) struct Server {
    _task: JoinSet<()>,
}
