//! Requests to Discord's REST interface: sent at its pace, and refused in words that a person can act on.

use std::{sync::Arc, time::Duration};

use reqwest::{
    Method, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, USER_AGENT},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::time::sleep;
use url::Url;

use super::{
    form,
    health::{Pulse, causes},
    pace::{Pace, Said, route},
};
use crate::{
    connectors::{ConnectorError, skew::Skew},
    net::Http,
    types::{Attachment, Clock, Secret},
};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long one with files may take.
const WITH_FILES: Duration = Duration::from_mins(2);
/// Waits up to this long together are waited here; longer ones are told.
const SHORT: Duration = Duration::from_secs(5);
/// How often a request that is limited is sent again here.
const TRIES: u32 = 3;
/// Where Discord is.
const DISCORD: &str = "https://discord.com";
/// Where it keeps files.
const FILES: [&str; 2] = [".discordapp.com", ".discordapp.net"];
/// What Discord wants every client to call itself.
const AGENT: &str = concat!("DiscordBot (nexflow, ", env!("CARGO_PKG_VERSION"), ")");

/// Why a request came to nothing.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Failure {
    /// It never arrived, or Discord asks to wait.
    Later(String, Option<Duration>),
    /// It may have arrived.
    Unsure(String),
    /// The token is not valid.
    Token,
    /// Discord refuses it: the status, its own code, and what it says.
    Refused {
        status: u16,
        code: u64,
        said: String,
    },
}

impl Failure {
    /// Whether Discord said this code.
    pub(super) fn is(&self, asked: u64) -> bool {
        matches!(self, Self::Refused { code, .. } if *code == asked)
    }
}

impl From<Failure> for ConnectorError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Later(reason, after) => Self::Later { reason, after },
            Failure::Unsure(reason) => Self::Unsure { reason },
            Failure::Token => Self::Later {
                reason: super::health::TOKEN.to_owned(),
                after: Some(Duration::from_mins(1)),
            },
            Failure::Refused { status, said, .. } => {
                Self::Refused(format!("Discord refused it ({status}): {said}"))
            }
        }
    }
}

/// Discord's own words for what it does not find or allow.
pub(super) const UNKNOWN_MESSAGE: u64 = 10_008;

/// One request. Not for logs: the paths of interactions hold their tokens.
pub(super) struct Ask<'a> {
    method: Method,
    path: String,
    body: Option<Value>,
    files: &'a [Attachment],
    /// The limit that it counts towards.
    route: String,
    /// Whether the token goes with it; answers to interactions carry their own, and have limits of their
    /// own too.
    signed: bool,
    /// Whether it only shows something for a while.
    shows: bool,
}

impl<'a> Ask<'a> {
    /// For what is below a channel, a server or an application, whose ids make limits of their own.
    pub(super) fn new(method: Method, path: impl Into<String>) -> Self {
        let path = path.into();
        let route = route(&method, &path);
        Self {
            method,
            path,
            body: None,
            files: &[],
            route,
            signed: true,
            shows: false,
        }
    }

    /// For what is only shown for a while if `shows`: it leaves room for what matters.
    pub(super) fn only_shown(self, shows: bool) -> Self {
        Self { shows, ..self }
    }

    pub(super) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub(super) fn json(self, body: Value) -> Self {
        Self {
            body: Some(body),
            ..self
        }
    }

    pub(super) fn files(self, files: &'a [Attachment]) -> Self {
        Self { files, ..self }
    }

    pub(super) fn unsigned(self) -> Self {
        Self {
            signed: false,
            ..self
        }
    }
}

/// The interface with one token.
pub(super) struct Rest {
    base: String,
    token: Secret,
    http: Http,
    pace: Pace,
    pulse: Arc<Pulse>,
    /// What the answers tell of this machine's clock.
    skew: Skew,
}

impl Rest {
    pub(super) fn new(base: Option<&Url>, token: Secret, http: &Http, pulse: Arc<Pulse>) -> Self {
        let base = base
            .map_or(DISCORD, Url::as_str)
            .trim_end_matches('/')
            .to_owned();
        Self {
            base,
            token,
            http: http.clone(),
            pace: Pace::default(),
            pulse,
            skew: Skew::of("Discord", Clock::system()),
        }
    }

    pub(super) fn token(&self) -> &Secret {
        &self.token
    }

    /// Whether an address may be one of Discord's files.
    pub(super) fn is_ours(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default();
        let base = Url::parse(&self.base).ok();
        let own = base.as_ref().and_then(Url::host_str) == Some(host);
        own || (url.scheme() == "https" && FILES.iter().any(|end| host.ends_with(end)))
    }

    pub(super) fn http(&self) -> &Http {
        &self.http
    }

    /// That Discord lets nothing be sent for a while that a person notices, in words.
    pub(super) fn held(&self) -> Option<String> {
        let wait = self.pace.held().filter(|wait| *wait > SHORT)?;
        let wait = wait.as_secs();
        Some(format!(
            "Discord takes no more for {wait} s, because too much was asked; what waits is sent then"
        ))
    }

    pub(super) fn skew(&self) -> &Skew {
        &self.skew
    }

    /// Sends a request and reads the answer; waits a little where Discord asks for it.
    pub(super) async fn ask<T: DeserializeOwned>(&self, ask: Ask<'_>) -> Result<T, Failure> {
        let body = self.send(&ask).await?;
        serde_json::from_slice(&body).map_err(|error| {
            Failure::Unsure(format!(
                "what Discord answered to {} is not understood: {error}",
                ask.route
            ))
        })
    }

    /// Sends a request whose answer says nothing.
    pub(super) async fn tell(&self, ask: Ask<'_>) -> Result<(), Failure> {
        self.send(&ask).await.map(drop)
    }

    async fn send(&self, ask: &Ask<'_>) -> Result<Vec<u8>, Failure> {
        if ask.signed && self.pulse.is_token_wrong() && ask.path != "/users/@me" {
            return Err(Failure::Token);
        }
        let (mut tries, mut waited) = (0, Duration::ZERO);
        loop {
            let place = match (ask.signed, ask.shows) {
                (false, _) => Ok(()),
                (true, true) => self.pace.take_to_show(&ask.route),
                (true, false) => self.pace.take(&ask.route),
            };
            let wait = match place {
                Ok(()) => {
                    tries += 1;
                    match self.once(ask).await? {
                        Ok(body) => return Ok(body),
                        Err(wait) => wait,
                    }
                }
                Err(wait) => wait,
            };
            waited += wait;
            if waited > SHORT || tries > TRIES {
                let reason = format!(
                    "Discord asks to wait {} s before the next {}",
                    wait.as_secs(),
                    ask.route
                );
                return Err(Failure::Later(reason, Some(wait)));
            }
            sleep(wait).await;
        }
    }

    /// One try: the body, or how long to wait.
    async fn once(&self, ask: &Ask<'_>) -> Result<Result<Vec<u8>, Duration>, Failure> {
        let request = self.request(ask)?;
        let reads = ask.method == Method::GET;
        let failed = |error: reqwest::Error| {
            let never = reads || error.is_connect() || error.is_builder();
            let slow = if error.is_timeout() {
                "it took too long: "
            } else {
                ""
            };
            let reason = format!(
                "Discord was not reached: {slow}{}",
                causes(&error.without_url())
            );
            if never {
                Failure::Later(reason, None)
            } else {
                Failure::Unsure(reason)
            }
        };
        let answer = request.send().await.map_err(failed)?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        self.skew.heard(headers.get(DATE));
        let body = answer.bytes().await.map_err(failed)?;
        self.pulse.heard();
        let said = said(status, &headers, &body);
        if ask.signed {
            self.pace.heard(&ask.route, &said);
        }
        if status.is_success() {
            return Ok(Ok(body.to_vec()));
        }
        if status == StatusCode::TOO_MANY_REQUESTS {
            let wait = said.retry_after.unwrap_or(Duration::from_secs(1));
            tracing::info!(
                route = ask.route,
                wait_ms = wait.as_millis(),
                global = said.global,
                "Discord asks to wait"
            );
            return Ok(Err(wait));
        }
        Err(self.refusal(ask, status, &body))
    }

    fn refusal(&self, ask: &Ask<'_>, status: StatusCode, body: &[u8]) -> Failure {
        if status == StatusCode::UNAUTHORIZED && ask.signed {
            self.pulse.token_is_wrong();
            return Failure::Token;
        }
        if status.is_server_error() {
            let reason = format!("Discord answered {status}");
            // Whether a message was made before it failed is not said.
            let makes = ask.method == Method::POST;
            return if makes {
                Failure::Unsure(reason)
            } else {
                Failure::Later(reason, None)
            };
        }
        let answer: Refusal = serde_json::from_slice(body).unwrap_or_default();
        let mut said = answer.message;
        if let Some(errors) = answer.errors {
            said.push_str(&format!(": {errors}"));
        }
        Failure::Refused {
            status: status.as_u16(),
            code: answer.code,
            said,
        }
    }

    fn request(&self, ask: &Ask<'_>) -> Result<reqwest::RequestBuilder, Failure> {
        let invalid =
            |error: String| Failure::Later(format!("channels.discord.api_url: {error}"), None);
        let url = format!("{}/api/v10{}", self.base, ask.path);
        let url: Url = url
            .parse()
            .map_err(|e: url::ParseError| invalid(e.to_string()))?;
        let client = self.http.client(&url).map_err(|e| invalid(e.to_string()))?;
        let mut request = client
            .request(ask.method.clone(), url)
            .timeout(if ask.files.is_empty() {
                PATIENCE
            } else {
                WITH_FILES
            })
            .header(USER_AGENT, AGENT);
        if ask.signed {
            request = request.header(AUTHORIZATION, format!("Bot {}", self.token.expose()));
        }
        Ok(match &ask.body {
            Some(body) if !ask.files.is_empty() => {
                let (kind, bytes) = form::with_files(body, ask.files);
                request.header(CONTENT_TYPE, kind).body(bytes)
            }
            Some(body) => request
                .header(CONTENT_TYPE, "application/json")
                .body(body.to_string()),
            None => request,
        })
    }
}

/// What Discord says when it does not do something.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Refusal {
    message: String,
    code: u64,
    errors: Option<Value>,
    /// Seconds.
    retry_after: Option<f64>,
    global: bool,
}

/// What an answer says about the pace.
fn said(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Said {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let seconds = |text: &str| {
        let seconds: f64 = text.parse().ok()?;
        Duration::try_from_secs_f64(seconds).ok()
    };
    let mut said = Said {
        remaining: text("x-ratelimit-remaining").and_then(|n| n.parse().ok()),
        reset_after: text("x-ratelimit-reset-after").and_then(seconds),
        ..Said::default()
    };
    match status {
        StatusCode::TOO_MANY_REQUESTS => {
            let answer: Refusal = serde_json::from_slice(body).unwrap_or_default();
            said.retry_after = answer
                .retry_after
                .and_then(|s| Duration::try_from_secs_f64(s).ok())
                .or_else(|| text("retry-after").and_then(seconds))
                .or(Some(Duration::from_secs(1)));
            let scope = text("x-ratelimit-scope");
            said.global =
                answer.global || text("x-ratelimit-global").is_some() || scope == Some("global");
            said.refused = scope != Some("shared");
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => said.refused = true,
        _ => {}
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_429_says_is_understood() {
        let mut headers = HeaderMap::new();
        headers.insert("x-ratelimit-scope", "shared".parse().unwrap());
        let body = br#"{"message":"x","retry_after":1.5,"global":false}"#;
        let heard = said(StatusCode::TOO_MANY_REQUESTS, &headers, body);
        assert_eq!(heard.retry_after, Some(Duration::from_millis(1500)));
        assert!(!heard.global && !heard.refused);
        let body = br#"{"retry_after":2,"global":true}"#;
        let heard = said(StatusCode::TOO_MANY_REQUESTS, &HeaderMap::new(), body);
        assert!(heard.global && heard.refused);
        // A page of a proxy in between.
        let heard = said(StatusCode::TOO_MANY_REQUESTS, &HeaderMap::new(), b"<html>");
        assert_eq!(heard.retry_after, Some(Duration::from_secs(1)));
    }
}
