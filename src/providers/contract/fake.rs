//! A scripted server: each request gets the next reply, byte by byte as it was written down.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, Method, Response},
    serve::ListenerExt as _,
};
use futures_util::{StreamExt as _, stream};
use serde_json::Value;
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet};

/// How a scripted body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::providers) enum Close {
    /// As it should.
    Well,
    /// As it should, a moment after the last piece.
    Late,
    /// The connection breaks.
    Cut,
    /// It never does.
    Hang,
}

/// One scripted reply.
#[derive(Debug, Clone)]
pub(in crate::providers) struct Reply {
    pub(in crate::providers) status: u16,
    pub(in crate::providers) headers: Vec<(&'static str, String)>,
    pub(in crate::providers) chunks: Vec<Bytes>,
    pub(in crate::providers) close: Close,
}

impl Reply {
    /// A body of one piece.
    pub(in crate::providers) fn new(status: u16, kind: &str, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: vec![("content-type", kind.to_owned())],
            chunks: vec![body.into()],
            close: Close::Well,
        }
    }

    /// JSON with a status.
    pub(in crate::providers) fn json(status: u16, body: &Value) -> Self {
        Self::new(status, "application/json", body.to_string())
    }

    pub(in crate::providers) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(in crate::providers) fn closing(mut self, close: Close) -> Self {
        self.close = close;
        self
    }

    pub(in crate::providers) fn in_chunks(mut self, chunks: Vec<Bytes>) -> Self {
        self.chunks = chunks;
        self
    }
}

/// The bytes in pieces of a size.
pub(in crate::providers) fn chunked(bytes: &[u8], size: usize) -> Vec<Bytes> {
    bytes.chunks(size).map(Bytes::copy_from_slice).collect()
}

/// What a request was.
#[derive(Debug, Clone)]
pub(in crate::providers) struct Seen {
    pub(in crate::providers) from: SocketAddr,
    pub(in crate::providers) method: Method,
    pub(in crate::providers) path: String,
    pub(in crate::providers) headers: HeaderMap,
    pub(in crate::providers) body: Value,
}

#[derive(Clone)]
struct Script {
    replies: Arc<Mutex<VecDeque<Reply>>>,
    /// What is answered to a path whenever it is asked.
    always: Arc<Mutex<Vec<(&'static str, Reply)>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
    gone: mpsc::Sender<()>,
}

/// The server; it ends when it is dropped.
pub(in crate::providers) struct Fake {
    pub(in crate::providers) url: String,
    script: Script,
    gone: mpsc::Receiver<()>,
    _server: JoinSet<()>,
}

impl Fake {
    pub(in crate::providers) async fn start(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (gone_sender, gone) = mpsc::channel(16);
        let script = Script {
            replies: Arc::new(Mutex::new(replies.into())),
            always: Arc::default(),
            seen: Arc::default(),
            gone: gone_sender,
        };
        let router = Router::new().fallback(answer).with_state(script.clone());
        // As the real ones do; else the end of an answer waits for an acknowledgement.
        let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
        let router = router.into_make_service_with_connect_info::<SocketAddr>();
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            url,
            script,
            gone,
            _server: server,
        }
    }

    /// Answers a path so, however often it is asked, beside the script.
    pub(in crate::providers) fn always(self, path: &'static str, reply: Reply) -> Self {
        self.script.always.lock().unwrap().push((path, reply));
        self
    }

    /// Every request so far.
    pub(in crate::providers) fn seen(&self) -> Vec<Seen> {
        self.script.seen.lock().unwrap().clone()
    }

    /// Waits until a body that was being sent is no longer wanted, or is done.
    pub(in crate::providers) async fn closed(&mut self) {
        self.gone.recv().await.unwrap();
    }
}

async fn answer(
    State(script): State<Script>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    script.seen.lock().unwrap().push(Seen {
        from,
        method: parts.method,
        path: parts.uri.to_string(),
        headers: parts.headers,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    });
    let always = script
        .always
        .lock()
        .unwrap()
        .iter()
        .find(|(at, _)| *at == path)
        .cloned();
    let reply = match always {
        Some((_, reply)) => Some(reply),
        None => script.replies.lock().unwrap().pop_front(),
    };
    let reply = reply.unwrap_or_else(|| Reply::new(418, "text/plain", "nothing is scripted"));
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(*name, value);
    }
    let guard = Guard(script.gone);
    let pieces = stream::iter(reply.chunks).map(Ok);
    let body = match reply.close {
        Close::Well => pieces.boxed(),
        Close::Late => pieces.chain(stream::once(late())).boxed(),
        Close::Cut => pieces.chain(stream::once(cut())).boxed(),
        Close::Hang => pieces.chain(stream::pending()).boxed(),
    };
    let body = body.map(move |piece: Result<Bytes, &str>| {
        let _ = &guard;
        piece
    });
    response.body(Body::from_stream(body)).unwrap()
}

async fn late() -> Result<Bytes, &'static str> {
    tokio::time::sleep(Duration::from_millis(3)).await;
    Ok(Bytes::new())
}

/// After what came before it had the time to be sent.
async fn cut() -> Result<Bytes, &'static str> {
    tokio::time::sleep(Duration::from_millis(30)).await;
    Err("cut")
}

/// Tells when the body is dropped.
struct Guard(mpsc::Sender<()>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.try_send(()).ok();
    }
}
