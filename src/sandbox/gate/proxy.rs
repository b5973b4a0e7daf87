//! Requests to a host that has handles: read, filled in, sent to that host alone, and answered
//! without the values.

use std::{
    convert::Infallible,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{
        ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST,
        RANGE, TRANSFER_ENCODING, UPGRADE,
    },
};
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    Host,
    body::{self, Body},
    meter::Meter,
    request::{Refusal, authority},
    swap::{Form, Swap},
    upstream::Upstream,
};

/// Largest body that is looked into on its way out, and that is put together on its way in.
const WHOLE: u64 = 1 << 20;

/// Headers that are between two neighbours, and those that are ours to write.
const DROPPED: &[&str] = &[
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Where all requests of a connection must go.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) scheme: &'static str,
    pub(super) host: Host,
    pub(super) port: u16,
}

impl Origin {
    fn usual(&self) -> u16 {
        if self.scheme == "https" { 443 } else { 80 }
    }

    /// `text` names this host and port and nothing else.
    fn is(&self, text: &str) -> bool {
        authority(text, Some(self.usual()))
            .is_ok_and(|(host, port)| host == self.host && port == self.port)
    }

    fn header(&self) -> String {
        if self.port == self.usual() {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// One connection of a program.
#[derive(Debug)]
pub(super) struct Proxy {
    pub(super) origin: Origin,
    pub(super) swap: Swap,
    pub(super) upstream: Upstream,
    pub(super) meter: Arc<Meter>,
}

impl Proxy {
    /// Answers requests until the connection ends.
    pub(super) async fn serve(
        self,
        client: impl AsyncRead + AsyncWrite + Unpin,
    ) -> Result<(), hyper::Error> {
        let proxy = &self;
        let answer = |request| async move { Ok::<_, Infallible>(proxy.answer(request).await) };
        http1::Builder::new()
            .serve_connection(TokioIo::new(client), service_fn(answer))
            .await
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        match self.pass(request).await {
            Ok(response) => response,
            Err(refusal) => {
                self.meter
                    .tell(&format!("a request failed: {}", refusal.reason));
                refused(&refusal)
            }
        }
    }

    async fn pass(&self, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
        self.check(&request)?;
        let bodiless = request.method() == Method::HEAD;
        let request = self.outgoing(request).await?;
        let response = self.upstream.send(request).await?;
        self.incoming(response, bodiless).await
    }

    /// Another host on the same connection would get what is not for it.
    fn check(&self, request: &Request<Incoming>) -> Result<(), Refusal> {
        let headers = request.headers();
        let mut hosts = headers.get_all(HOST).iter();
        let named = match (hosts.next().map(HeaderValue::to_str), hosts.next()) {
            (Some(Ok(host)), None) => self.origin.is(host),
            _ => false,
        };
        let uri = request.uri();
        let absolute = uri.authority().is_none_or(|authority| {
            self.origin.is(authority.as_str()) && uri.scheme_str() == Some(self.origin.scheme)
        });
        if !named || !absolute {
            return Err(Refusal {
                status: "421 Misdirected Request",
                reason: format!("this connection is for {} alone", self.origin.header()),
            });
        }
        if request.method() == Method::CONNECT || headers.contains_key(UPGRADE) {
            let reason = "on a connection with a secret only plain requests pass, no CONNECT and \
                          no Upgrade";
            return Err(Refusal::forbidden(reason.to_owned()));
        }
        Ok(())
    }

    /// The request as the server gets it.
    async fn outgoing(&self, request: Request<Incoming>) -> Result<Request<Body>, Refusal> {
        let (head, incoming) = request.into_parts();
        let mut headers = HeaderMap::new();
        let host = HeaderValue::from_str(&self.origin.header());
        headers.insert(HOST, host.map_err(unfit)?);
        // What comes back is read: it must be plain, and in one piece.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let ours = [HOST, ACCEPT_ENCODING, EXPECT, RANGE, CONTENT_LENGTH];
        for (name, value) in passing(&head.headers) {
            if ours.contains(name) || name == "if-range" {
                continue;
            }
            let swapped = self.swap.header(name.as_str(), value.as_bytes());
            headers.append(name, self.used(swapped, value.clone())?);
        }
        let target = head.uri.path_and_query().map_or("/", |p| p.as_str());
        let uri = match self.swap.bytes(target.as_bytes(), Form::Percent) {
            Some(swapped) => {
                self.meter.swapped.store(true, Ordering::Relaxed);
                Uri::try_from(swapped).map_err(unfit)?
            }
            None => Uri::try_from(target).map_err(unfit)?,
        };
        let announced = head.headers.contains_key(CONTENT_LENGTH);
        let (body, length) = self.body(incoming, &head.headers).await?;
        if let Some(length) = length.filter(|_| announced) {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        let mut request = Request::new(body);
        (*request.method_mut(), *request.uri_mut()) = (head.method, uri);
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// A header's new value, if it has one.
    fn used(&self, swapped: Option<Vec<u8>>, value: HeaderValue) -> Result<HeaderValue, Refusal> {
        let Some(swapped) = swapped else {
            return Ok(value);
        };
        self.meter.swapped.store(true, Ordering::Relaxed);
        HeaderValue::try_from(swapped).map_err(unfit)
    }

    /// A body of known and moderate length is looked into, any other streams as it is.
    async fn body(
        &self,
        incoming: Incoming,
        headers: &HeaderMap,
    ) -> Result<(Body, Option<u64>), Refusal> {
        let length = hyper::body::Body::size_hint(&incoming).exact();
        if length.is_none_or(|length| length > WHOLE) {
            return Ok((incoming.boxed(), length));
        }
        let broken = |e: hyper::Error| Refusal::bad(format!("the body is not complete: {e}"));
        let whole = incoming.collect().await.map_err(broken)?.to_bytes();
        let kind = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
        let form = Form::of(kind.unwrap_or_default());
        let whole = match self.swap.bytes(&whole, form) {
            Some(swapped) => {
                self.meter.swapped.store(true, Ordering::Relaxed);
                Bytes::from(swapped)
            }
            None => whole,
        };
        let length = whole.len() as u64;
        Ok((body::full(whole), Some(length)))
    }

    /// The answer as the program gets it.
    async fn incoming(
        &self,
        response: Response<Incoming>,
        bodiless: bool,
    ) -> Result<Response<Body>, Refusal> {
        let (head, incoming) = response.into_parts();
        readable(&head.headers)?;
        let status = head.status;
        if status.is_informational() {
            return Err(Refusal::gateway(format!("the server answered {status}")));
        }
        let mut headers = HeaderMap::new();
        for (name, value) in passing(&head.headers) {
            if self.masked(name.as_str().as_bytes()).1 > 0 {
                continue;
            }
            let (masked, found) = self.masked(value.as_bytes());
            let value = match found {
                0 => value.clone(),
                _ => HeaderValue::try_from(masked).map_err(unfit)?,
            };
            headers.append(name, value);
        }
        let empty = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status);
        let length = hyper::body::Body::size_hint(&incoming).exact();
        let body = if bodiless || empty {
            body::full(Bytes::new())
        } else if length.is_some_and(|length| length <= WHOLE) {
            let broken =
                |e: hyper::Error| Refusal::gateway(format!("the answer is not complete: {e}"));
            let whole = incoming.collect().await.map_err(broken)?.to_bytes();
            let (masked, _) = self.masked(&whole);
            headers.insert(CONTENT_LENGTH, masked.len().into());
            body::full(masked.into())
        } else {
            // Its length is not known before its end: it goes in chunks.
            headers.remove(CONTENT_LENGTH);
            body::Masked::new(incoming, self.swap.mask()).boxed()
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }

    fn masked(&self, bytes: &[u8]) -> (Vec<u8>, usize) {
        let mut mask = self.swap.mask();
        let mut out = mask.push(bytes);
        out.extend(mask.finish());
        (out, mask.found())
    }
}

/// What cannot be read cannot be kept free of secrets.
fn readable(headers: &HeaderMap) -> Result<(), Refusal> {
    let only = |name: HeaderName, word: &str| {
        let mut values = headers.get_all(name).iter();
        values.all(|v| v.as_bytes().eq_ignore_ascii_case(word.as_bytes()))
    };
    if only(CONTENT_ENCODING, "identity") && only(TRANSFER_ENCODING, "chunked") {
        Ok(())
    } else {
        let reason = "the server sent its answer compressed although it was asked not to, so it \
                      cannot be searched for secrets";
        Err(Refusal::gateway(reason.to_owned()))
    }
}

/// Without what is between two neighbours, and what `Connection` names as such.
fn passing(headers: &HeaderMap) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    let named: Vec<String> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(',').map(|name| name.trim().to_ascii_lowercase()))
        .collect();
    headers.iter().filter(move |(name, _)| {
        let name = name.as_str();
        !DROPPED.contains(&name) && !named.iter().any(|n| n == name)
    })
}

/// The value has a character that has no place where its handle stood. The error is not told: it
/// could hold the value.
fn unfit<E>(_: E) -> Refusal {
    Refusal::bad("the secret cannot be written where its handle stands".to_owned())
}

fn refused(refusal: &Refusal) -> Response<Body> {
    let text = format!("The sandbox refused this request: {}\n", refusal.reason);
    let mut response = Response::new(body::full(text.into()));
    let code = refusal.status.get(..3).unwrap_or_default();
    *response.status_mut() =
        StatusCode::from_bytes(code.as_bytes()).unwrap_or(StatusCode::BAD_GATEWAY);
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
    response
}
