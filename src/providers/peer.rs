//! The server of one provider: how it is asked, and how its streamed answer is read.
//!
//! Owns time limits, size limits and the mapping of statuses; whether to ask again is the caller's to
//! decide. What the frames of a stream mean is the [`Dialect`]'s business.

mod halves;
mod progress;
mod stream;

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use chrono::DateTime;
use reqwest::{
    Method, Response, StatusCode,
    header::{ACCEPT_ENCODING, CONTENT_TYPE, DATE, HeaderMap, HeaderValue, RETRY_AFTER},
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;

pub(super) use stream::{Dialect, Ending, Framing, Progress};

use super::{
    Answer, Pulling,
    error::{ProviderError, Report},
};
use crate::net::{CONNECT, Http};

/// How long a small request (a check, a list of models) may take.
const SMALL: Duration = Duration::from_secs(10);

/// How much is read of an error, and of the answer to a small request.
const ERROR_BODY: usize = 64 << 10;
const SMALL_BODY: usize = 4 << 20;

/// Longer than this nobody waits.
const LONGEST_WAIT: Duration = Duration::from_hours(24);

/// An `http` or `https` address in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BaseUrl(pub(super) Url);

impl<'de> Deserialize<'de> for BaseUrl {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl std::str::FromStr for BaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        match text.parse::<Url>() {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(Self(url)),
            _ => Err(format!(
                "base_url: `{text}` is not an address that begins with http:// or https://"
            )),
        }
    }
}

impl JsonSchema for BaseUrl {
    fn schema_name() -> Cow<'static, str> {
        "BaseUrl".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "uri", "pattern": "^https?://" })
    }
}

/// How long a server may take, in the settings of every provider.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
pub(super) struct Timeouts {
    /// After how many seconds a connection that does not come about is given up; 10 if absent.
    #[serde(default, rename = "connect_timeout_sec")]
    connect: Option<u64>,
    /// After how many seconds without a first word of the answer it is given up; as long as
    /// `stall_timeout_sec` if absent. Models that think long need more.
    #[serde(default, rename = "first_token_timeout_sec")]
    first: Option<u64>,
    /// After how many seconds of silence an answer counts as broken off; 120 if absent.
    #[serde(default, rename = "stall_timeout_sec")]
    stall: Option<u64>,
}

impl Timeouts {
    fn stall(self) -> Duration {
        Duration::from_secs(self.stall.unwrap_or(120).max(1))
    }

    fn first(self) -> Duration {
        self.first
            .map_or(self.stall(), |seconds| Duration::from_secs(seconds.max(1)))
    }

    fn connect(self) -> Duration {
        self.connect
            .map_or(CONNECT, |seconds| Duration::from_secs(seconds.max(1)))
    }
}

/// One server.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    /// Name of the provider, for errors.
    pub(super) name: String,
    /// What paths are added to.
    pub(super) base: Url,
    /// How long it may take for the first word of an answer.
    first: Duration,
    /// How long it may be silent in the middle of an answer.
    stall: Duration,
    /// Where clients come from.
    http: Http,
}

/// The type of a body, and the body.
pub(super) type Sent = (HeaderValue, Bytes);

/// An answer that a server has begun to send.
pub(super) struct Opened {
    response: Response,
    /// When its first word is due.
    due: Instant,
}

impl Peer {
    pub(super) fn new(name: &str, base: Url, timeouts: Timeouts, http: &Http) -> Self {
        Self {
            name: name.to_owned(),
            base,
            first: timeouts.first(),
            stall: timeouts.stall(),
            http: http.connecting_within(timeouts.connect()),
        }
    }

    /// Asks for something small and waits for all of it.
    pub(super) async fn get(&self, path: &str, headers: HeaderMap) -> Result<Value, ProviderError> {
        self.small(Method::GET, path, headers, None).await
    }

    /// Sends something small and waits for all of the answer.
    pub(super) async fn ask(
        &self,
        path: &str,
        headers: HeaderMap,
        body: &Value,
    ) -> Result<Value, ProviderError> {
        self.small(Method::POST, path, headers, Some(body)).await
    }

    async fn small(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Option<&Value>,
    ) -> Result<Value, ProviderError> {
        let whole = self.whole(method, path, headers, body.map(json));
        timeout(SMALL, whole)
            .await
            .unwrap_or_else(|_| Err(self.down("it did not answer in time")))
    }

    /// Sends something large and waits for all of a small answer.
    pub(super) async fn upload(
        &self,
        path: &str,
        headers: HeaderMap,
        body: Sent,
        within: Duration,
    ) -> Result<Value, ProviderError> {
        let whole = self.whole(Method::POST, path, headers, Some(body));
        timeout(within, whole)
            .await
            .unwrap_or_else(|_| Err(self.down("it did not answer in time")))
    }

    async fn whole(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Option<Sent>,
    ) -> Result<Value, ProviderError> {
        let response = self.send(method, path, headers, body).await?;
        let body = read_some(response, SMALL_BODY).await;
        serde_json::from_str(&body)
            .map_err(|e| ProviderError::garbled(&self.name, &format!("not JSON: {e}")))
    }

    /// Asks for an answer that streams.
    pub(super) async fn stream(
        &self,
        path: &str,
        headers: HeaderMap,
        body: &Value,
    ) -> Result<Opened, ProviderError> {
        let due = Instant::now() + self.first;
        let sent = self.send(Method::POST, path, headers, Some(json(body)));
        let sent = timeout_at(due, sent).await;
        let response = sent.unwrap_or_else(|_| Err(self.down(&not_begun(self.first))))?;
        Ok(Opened { response, due })
    }

    /// Reads the answer of a model as it comes.
    pub(super) fn read<D: Dialect>(
        &self,
        opened: Opened,
        framing: Framing,
        (model, dialect): (&str, D),
    ) -> Result<Answer, ProviderError> {
        stream::read(self, opened, framing, (model, dialect))
    }

    /// Reads the lines of a long piece of work until one says that it is done.
    pub(super) fn watch(&self, opened: Opened, line: progress::Line) -> Pulling {
        progress::read(self, opened, line)
    }

    /// Who thinks when this model of ours does: [`crate::types::chat::Reasoning::by`].
    pub(super) fn by(&self, model: &str) -> String {
        format!("{}/{model}", self.name)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        mut headers: HeaderMap,
        body: Option<Sent>,
    ) -> Result<Response, ProviderError> {
        let url = self.url(path);
        let client = self.http.client(&url).map_err(|e| self.transport(e))?;
        // A compressed stream comes in lumps.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let mut request = client.request(method, url).headers(headers);
        if let Some((kind, body)) = body {
            request = request.header(CONTENT_TYPE, kind).body(body);
        }
        let response = request.send().await.map_err(|e| self.transport(e))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.refusal(response).await)
    }

    /// The base with a path added, and its query; a query in the base stays.
    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/{path}"));
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            url.query_pairs_mut().append_pair(key, value);
        }
        url
    }

    async fn refusal(&self, response: Response) -> ProviderError {
        let status = response.status();
        if status.is_redirection() {
            return ProviderError::Refused {
                provider: self.name.clone(),
                detail: format!("it sent us to another address (HTTP {status}); check base_url"),
            };
        }
        let after = retry_after(response.headers());
        let body = timeout(SMALL, read_some(response, ERROR_BODY))
            .await
            .unwrap_or_default();
        let mut report = Report::read(status.as_u16(), &body);
        report.after = after.or(report.after.map(|after| after.min(LONGEST_WAIT)));
        if status == StatusCode::NOT_FOUND && report.message.is_empty() {
            "no such address; check base_url".clone_into(&mut report.message);
        }
        ProviderError::reported(&self.name, &report)
    }

    /// It does not answer.
    pub(super) fn down(&self, detail: &str) -> ProviderError {
        ProviderError::down(&self.name, detail)
    }

    fn transport(&self, error: reqwest::Error) -> ProviderError {
        ProviderError::transport(&self.name, error)
    }

    /// A header with a key, which logs do not show.
    pub(super) fn key_header(&self, value: &str) -> Result<HeaderValue, ProviderError> {
        let mut header = HeaderValue::from_str(value).map_err(|_invalid| {
            ProviderError::credentials(&self.name, "the key has characters that no key has")
        })?;
        header.set_sensitive(true);
        Ok(header)
    }
}

fn json(body: &Value) -> Sent {
    let kind = HeaderValue::from_static("application/json");
    (kind, Bytes::from(body.to_string()))
}

fn not_begun(within: Duration) -> String {
    let seconds = within.as_secs();
    format!("it did not begin to answer within {seconds} s")
}

/// The first bytes of a body, as text; what is cut off or broken is missing at the end.
async fn read_some(mut response: Response, limit: usize) -> String {
    let mut body = Vec::new();
    while let Ok(Some(bytes)) = response.chunk().await {
        body.extend_from_slice(&bytes);
        if body.len() >= limit {
            body.truncate(limit);
            break;
        }
    }
    String::from_utf8_lossy(&body).into_owned()
}

/// How long a provider wants us to wait: milliseconds, seconds or a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .map(str::trim)
    };
    let number = |text: &str| text.parse::<f64>().ok().filter(|n| n.is_finite());
    let seconds = if let Some(ms) = text("retry-after-ms").and_then(number) {
        ms / 1_000.0
    } else {
        let value = text(RETRY_AFTER.as_str())?;
        match number(value) {
            Some(seconds) => seconds,
            // Against the server's own clock, so that ours may be wrong.
            None => seconds_between(text(DATE.as_str())?, value)?,
        }
    };
    Duration::try_from_secs_f64(seconds.max(0.0))
        .ok()
        .map(|after| after.min(LONGEST_WAIT))
}

fn seconds_between(now: &str, then: &str) -> Option<f64> {
    let now = DateTime::parse_from_rfc2822(now).ok()?;
    let then = DateTime::parse_from_rfc2822(then).ok()?;
    (then - now).to_std().ok().map(|d| d.as_secs_f64())
}

#[cfg(test)]
mod tests;
