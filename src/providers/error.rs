//! What goes wrong with a provider, by what the caller does next; and how the statuses and error
//! objects of the model APIs map to that.
//!
//! Texts are for a person. They are masked, cleaned and short, and never hold a key.

use std::{borrow::Cow, time::Duration};

use serde_json::Value;
use thiserror::Error;

use crate::types::{secret::mask, text};

/// The longest detail that is kept of what a provider said.
const DETAIL: usize = 300;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProviderError {
    /// Too many requests: ask later, or someone else.
    #[error("{provider} asks us to slow down{}: {detail}", wait(*after))]
    RateLimited {
        /// Name of the provider.
        provider: String,
        /// How long it wants us to wait.
        after: Option<Duration>,
        /// What it said.
        detail: String,
    },
    /// It does not answer, or stopped in the middle: ask someone else.
    #[error("{provider} is not available: {detail}")]
    Down {
        /// Name of the provider.
        provider: String,
        /// What was seen.
        detail: String,
    },
    /// Nothing answers at its address: ask someone else at once.
    #[error("{provider} cannot be reached: {detail}")]
    Unreachable {
        /// Name of the provider.
        provider: String,
        /// What was seen.
        detail: String,
    },
    /// The conversation does not fit: make it shorter.
    #[error(
        "the conversation is too long for {provider}: {detail}. Send a shorter message, begin a new \
         session, or set context_tokens in llm.providers.{provider}"
    )]
    TooLong {
        /// Name of the provider.
        provider: String,
        /// What it said.
        detail: String,
    },
    /// The key or the account is not accepted: only a person can mend that.
    #[error(
        "{provider} does not accept our key or account: {detail}. \
         Check llm.providers.{provider}.api_key in the configuration"
    )]
    Credentials {
        /// Name of the provider.
        provider: String,
        /// What it said.
        detail: String,
    },
    /// It will not answer this request, however often it is asked.
    #[error("{provider} refused the request: {detail}")]
    Refused {
        /// Name of the provider.
        provider: String,
        /// What it said.
        detail: String,
    },
    /// What it answered cannot be read.
    #[error("{provider} sent something that is not an answer: {detail}")]
    Garbled {
        /// Name of the provider.
        provider: String,
        /// What was seen.
        detail: String,
    },
}

fn wait(after: Option<Duration>) -> String {
    after.map_or_else(String::new, |after| {
        format!(" for {} s", after.as_secs().max(1))
    })
}

impl ProviderError {
    /// One word for logs, metrics and status pages.
    pub fn word(&self) -> &'static str {
        match self {
            Self::RateLimited { .. } => "rate_limited",
            Self::Down { .. } => "down",
            Self::Unreachable { .. } => "unreachable",
            Self::TooLong { .. } => "too_long",
            Self::Credentials { .. } => "credentials",
            Self::Refused { .. } => "refused",
            Self::Garbled { .. } => "garbled",
        }
    }

    /// What was said or seen.
    pub(super) fn detail(&self) -> &str {
        match self {
            Self::RateLimited { detail, .. }
            | Self::Down { detail, .. }
            | Self::Unreachable { detail, .. }
            | Self::TooLong { detail, .. }
            | Self::Credentials { detail, .. }
            | Self::Refused { detail, .. }
            | Self::Garbled { detail, .. } => detail,
        }
    }

    /// Whether it says something about the provider, so that another one may do better with the
    /// same request; a conversation that is too long is the request's own fault.
    pub fn concerns_provider(&self) -> bool {
        !matches!(self, Self::TooLong { .. })
    }

    pub(super) fn down(provider: &str, detail: &str) -> Self {
        Self::Down {
            provider: provider.to_owned(),
            detail: presentable(detail),
        }
    }

    pub(super) fn garbled(provider: &str, detail: &str) -> Self {
        Self::Garbled {
            provider: provider.to_owned(),
            detail: presentable(detail),
        }
    }

    pub(super) fn credentials(provider: &str, detail: &str) -> Self {
        Self::Credentials {
            provider: provider.to_owned(),
            detail: presentable(detail),
        }
    }

    /// From a frame that is no frame of this dialect: an error object, or nothing at all.
    pub(super) fn unreadable(provider: &str, data: &str) -> Self {
        let value: Value = serde_json::from_str(data).unwrap_or(Value::Null);
        let value = value.get(0).unwrap_or(&value);
        match value.get("error").filter(|error| !error.is_null()) {
            Some(error) => Self::reported(provider, &Report::of(error)),
            None => Self::garbled(provider, data),
        }
    }

    /// What became of a request, without the address (which may carry more than a host).
    pub(super) fn transport(provider: &str, error: reqwest::Error) -> Self {
        let error = error.without_url();
        let mut detail = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !detail.contains(&cause_text) {
                detail.push_str(": ");
                detail.push_str(&cause_text);
            }
            source = cause.source();
        }
        if error.is_connect() {
            return Self::Unreachable {
                provider: provider.to_owned(),
                detail: presentable(&detail),
            };
        }
        Self::down(provider, &detail)
    }

    /// From an error that the provider reported, by status or inside a stream.
    pub(super) fn reported(provider: &str, report: &Report) -> Self {
        let detail = report.detail();
        let provider = provider.to_owned();
        match report.class() {
            Class::RateLimited => Self::RateLimited {
                provider,
                after: report.after,
                detail,
            },
            Class::Down => Self::Down { provider, detail },
            Class::TooLong => Self::TooLong { provider, detail },
            Class::Credentials => Self::Credentials { provider, detail },
            Class::Refused => Self::Refused { provider, detail },
        }
    }
}

/// What a provider said about an error.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// HTTP status, or the numeric code inside a stream; 0 where there is none.
    pub(super) status: u16,
    /// Its codes and types, joined; lower case.
    pub(super) code: String,
    /// Its message.
    pub(super) message: String,
    /// How long it wants us to wait.
    pub(super) after: Option<Duration>,
}

enum Class {
    RateLimited,
    Down,
    TooLong,
    Credentials,
    Refused,
}

impl Report {
    /// Reads the error objects of all dialects: `{"error": {...}}`, `{"error": "text"}`, a list
    /// of one of these, or plain text.
    pub(super) fn read(status: u16, body: &str) -> Self {
        let value: Value = serde_json::from_str(body).unwrap_or(Value::Null);
        let value = value.get(0).unwrap_or(&value);
        let mut report = Self::of(value.get("error").unwrap_or(value));
        if report.message.is_empty() && !body.trim_start().starts_with('<') {
            body.trim().clone_into(&mut report.message);
        }
        if status != 0 {
            report.status = status;
        }
        report
    }

    /// Reads the error object itself.
    pub(super) fn of(error: &Value) -> Self {
        if let Value::String(message) = error {
            return Self {
                message: message.clone(),
                ..Self::default()
            };
        }
        let text = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default();
        let message = [text("message"), text("detail"), text("error")]
            .into_iter()
            .find(|m| !m.is_empty());
        // OpenRouter wraps what the vendor behind it said.
        let raw = error.pointer("/metadata/raw").and_then(Value::as_str);
        let number = error.get("code").and_then(Value::as_u64);
        let number = number.or_else(|| business(text("code")));
        Self {
            status: number.and_then(|n| u16::try_from(n).ok()).unwrap_or(0),
            code: [text("type"), text("code"), text("status")]
                .join(" ")
                .to_lowercase(),
            message: match (message, raw) {
                (Some(message), Some(raw)) => format!("{message} ({raw})"),
                (message, raw) => message.or(raw).unwrap_or_default().to_owned(),
            },
            after: retry_delay(error),
        }
    }

    fn detail(&self) -> String {
        let message = if self.message.trim().is_empty() {
            self.code.trim()
        } else {
            self.message.trim()
        };
        let status = match self.status {
            0 => String::new(),
            status => format!("HTTP {status}"),
        };
        match (message, status.as_str()) {
            ("", "") => "it did not say why".to_owned(),
            ("", status) => status.to_owned(),
            (message, "") => presentable(message),
            (message, status) => format!("{} ({status})", presentable(message)),
        }
    }

    fn class(&self) -> Class {
        if let Some(class) = self.class_by_words() {
            return class;
        }
        match self.status {
            401..=403 => Class::Credentials,
            408 | 425 | 500.. => Class::Down,
            413 => Class::TooLong,
            429 => Class::RateLimited,
            0 if self.has(&[
                "server_error",
                "api_error",
                "internal",
                "unavailable",
                "timeout",
            ]) =>
            {
                Class::Down
            }
            _ => Class::Refused,
        }
    }

    fn class_by_words(&self) -> Option<Class> {
        // Out of credit comes as 429 from some: waiting does not help there.
        if self.has(&[
            "insufficient_quota",
            "insufficient balance",
            "billing",
            "credit balance is too low",
        ]) {
            return Some(Class::Credentials);
        }
        if self.status != 429 && self.says_too_long() {
            return Some(Class::TooLong);
        }
        if self.status != 0 && self.status != 200 && self.status != 400 {
            return None;
        }
        if self.has(&["overloaded"]) {
            Some(Class::Down)
        } else if self.has(&[
            "rate_limit",
            "rate limit",
            "too many requests",
            "resource_exhausted",
        ]) {
            Some(Class::RateLimited)
        } else if self.has(&[
            "authentication",
            "permission",
            "invalid_api_key",
            "api key not valid",
        ]) {
            Some(Class::Credentials)
        } else {
            None
        }
    }

    fn says_too_long(&self) -> bool {
        self.has(&[
            "context_length_exceeded",
            "context length",
            "context window",
            "context size",
            "request_too_large",
            "prompt is too long",
            "input is too long",
            "too many tokens",
            "maximum number of tokens",
            "exceeds the maximum number of input tokens",
            "input token count",
            "reduce the length",
            "prompt exceeds max length",
        ])
    }

    fn has(&self, words: &[&str]) -> bool {
        let message = self.message.to_lowercase();
        words
            .iter()
            .any(|word| self.code.contains(word) || message.contains(word))
    }
}

/// The status that a code of z.ai stands for: it has codes of its own in front of HTTP's.
fn business(code: &str) -> Option<u64> {
    let number: u64 = code.parse().ok()?;
    Some(match number {
        1000..=1004 | 1110..=1121 => 401,
        1230 | 1234 => 503,
        1261 => 413,
        1302..=1305 | 1308..=1310 | 1312 | 1313 => 429,
        1200..=1301 => 400,
        other => other,
    })
}

/// How long Google wants us to wait: `{"retryDelay": "7.5s"}` among the details.
fn retry_delay(error: &Value) -> Option<Duration> {
    let details = error.get("details")?.as_array()?;
    let delay = details.iter().find_map(|d| d.get("retryDelay")?.as_str())?;
    let seconds: f64 = delay.strip_suffix('s')?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// Without secrets, control characters and length.
fn presentable(detail: &str) -> String {
    let masked: Cow<'_, str> = mask(detail);
    let line = text::clean(&masked)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    text::shorten(line.trim_end_matches('.'), DETAIL)
}

#[cfg(test)]
mod tests;
