//! Calls of the Bot API over HTTP, and what their failures mean. No retry: who calls knows what may be
//! done twice.

use std::time::Duration;

use bytes::BytesMut;
use futures_util::StreamExt as _;
use reqwest::{RequestBuilder, header::DATE, multipart::Form};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use url::Url;

use crate::{
    connectors::skew::Skew,
    net::Http,
    types::{Clock, Secret},
};

/// How long a call may take that waits for nothing.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// One bot at one server.
pub(super) struct Api {
    http: Http,
    base: Url,
    token: Secret,
    /// What the answers tell of this machine's clock.
    pub skew: Skew,
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// It did not leave.
    Unreachable(String),
    /// It left, and nothing is known of it.
    Cut(String),
    /// The server refused it.
    Refused(Refusal),
}

/// What the server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub code: u16,
    pub description: String,
    /// Not before this.
    pub after: Option<Duration>,
    /// The group has another id now.
    pub moved_to: Option<i64>,
}

impl Fault {
    /// The refusal with this code, in lower case.
    pub(super) fn says(&self, code: u16, words: &[&str]) -> bool {
        let Self::Refused(refusal) = self else {
            return false;
        };
        let said = refusal.description.to_lowercase();
        refusal.code == code && words.iter().any(|word| said.contains(word))
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable(why) => write!(f, "Telegram cannot be reached: {why}"),
            Self::Cut(why) => write!(f, "Telegram did not answer: {why}"),
            Self::Refused(said) => {
                write!(f, "Telegram answered {}: {}", said.code, said.description)
            }
        }
    }
}

#[derive(Deserialize)]
struct Envelope {
    ok: bool,
    result: Option<Value>,
    error_code: Option<u16>,
    description: Option<String>,
    parameters: Option<Parameters>,
}

#[derive(Deserialize)]
struct Parameters {
    retry_after: Option<u64>,
    migrate_to_chat_id: Option<i64>,
}

impl Api {
    /// No I/O.
    pub(super) fn new(http: &Http, (base, token): (Url, Secret), clock: Clock) -> Self {
        Self {
            http: http.clone(),
            base,
            token,
            skew: Skew::of("Telegram", clock),
        }
    }

    /// Calls a method.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        body: &Value,
        patience: Duration,
    ) -> Result<T, Fault> {
        let request = self.request(method)?;
        self.read(request.timeout(patience).json(body)).await
    }

    /// Calls a method with files.
    pub(super) async fn upload<T: DeserializeOwned>(
        &self,
        method: &str,
        form: Form,
        patience: Duration,
    ) -> Result<T, Fault> {
        let request = self.request(method)?;
        self.read(request.timeout(patience).multipart(form)).await
    }

    /// The content of a file, of at most `limit` bytes.
    pub(super) async fn file(
        &self,
        path: &str,
        limit: u64,
        patience: Duration,
    ) -> Result<Vec<u8>, Fault> {
        let url = self.url(&["file", &self.bot(), path])?;
        let client = self.http.client(&url).map_err(unreachable)?;
        let answer = client.get(url).timeout(patience).send().await;
        let answer = answer.map_err(|e| fault(&e))?;
        if !answer.status().is_success() {
            return Err(refused(answer.status().as_u16(), "the file is not there"));
        }
        let mut pieces = answer.bytes_stream();
        let mut data = BytesMut::new();
        while let Some(piece) = pieces.next().await {
            data.extend_from_slice(&piece.map_err(|e| fault(&e))?);
            if data.len() as u64 > limit {
                return Err(refused(413, "the file is too large"));
            }
        }
        Ok(data.into())
    }

    fn bot(&self) -> String {
        format!("bot{}", self.token.expose())
    }

    fn url(&self, parts: &[&str]) -> Result<Url, Fault> {
        let base = self.base.as_str().trim_end_matches('/');
        // By hand: the colon of a token stays a colon, and a file's path keeps its slashes.
        let url = format!("{base}/{}", parts.join("/"));
        url.parse()
            .map_err(|e| Fault::Unreachable(format!("channels.telegram.api_url: {e}")))
    }

    fn request(&self, method: &str) -> Result<RequestBuilder, Fault> {
        let url = self.url(&[&self.bot(), method])?;
        Ok(self.http.client(&url).map_err(unreachable)?.post(url))
    }

    async fn read<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Fault> {
        let answer = request.send().await.map_err(|e| fault(&e))?;
        self.skew.heard(answer.headers().get(DATE));
        let status = answer.status().as_u16();
        let body = answer.bytes().await.map_err(|e| fault(&e))?;
        let Ok(envelope) = serde_json::from_slice::<Envelope>(&body) else {
            // A proxy, or no Bot API at all.
            return Err(refused(status, "its answer is not one of the Bot API"));
        };
        if envelope.ok {
            let result = envelope.result.unwrap_or(Value::Null);
            return serde_json::from_value(result)
                .map_err(|e| Fault::Cut(format!("its answer: {e}")));
        }
        let more = envelope.parameters;
        Err(Fault::Refused(Refusal {
            code: envelope.error_code.unwrap_or(status),
            description: envelope.description.unwrap_or_default(),
            after: more
                .as_ref()
                .and_then(|p| p.retry_after)
                .map(Duration::from_secs),
            moved_to: more.and_then(|p| p.migrate_to_chat_id),
        }))
    }
}

/// The URL holds the token: no error shows it.
fn unreachable(error: reqwest::Error) -> Fault {
    Fault::Unreachable(error.without_url().to_string())
}

fn fault(error: &reqwest::Error) -> Fault {
    let mut why = String::new();
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
    if error.is_timeout() {
        why.push_str("it took too long");
    }
    while let Some(next) = cause {
        if !why.is_empty() {
            why.push_str(": ");
        }
        why.push_str(&next.to_string());
        cause = next.source();
    }
    if error.is_connect() || error.is_builder() {
        Fault::Unreachable(why)
    } else {
        Fault::Cut(why)
    }
}

/// A refusal in our own words.
pub(super) fn refused(code: u16, description: &str) -> Fault {
    Fault::Refused(Refusal {
        code,
        description: description.to_owned(),
        after: None,
        moved_to: None,
    })
}
