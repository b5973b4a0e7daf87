//! Speech becomes text, by OpenAI's `POST {base_url}/audio/transcriptions`, which many servers speak.
//! Such servers charge by the minute. It is counted in tokens like all that models read: ten a second of
//! sound, which is how OpenAI counts it.

mod sound;

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::{
    About,
    error::ProviderError,
    peer::{BaseUrl, Peer, Timeouts},
    prices,
};
use crate::{
    net::{Http, is_loopback},
    types::{
        Attachment, Secret,
        chat::Usage,
        money::{Price, PriceSource, Quote, Usd},
        text,
    },
};

/// How errors call the server.
const NAME: &str = "the transcription server";
/// How usage calls it.
const SECTION: &str = "transcription";
/// Tokens in a minute of sound.
const PER_MINUTE: i64 = 600;
/// OpenAI's prices for a minute, as of [`prices::as_of`]. Only its own server is known to ask them.
const LISTED: (&str, [(&str, Usd); 3]) = (
    "api.openai.com",
    [
        ("whisper-1", Usd(6_000_000)),
        ("gpt-4o-transcribe", Usd(6_000_000)),
        ("gpt-4o-mini-transcribe", Usd(3_000_000)),
    ],
);
/// How long one file may take.
const WITHIN: Duration = Duration::from_mins(2);
/// Bytes of a transcript at most.
const LONGEST: usize = 32 << 10;

/// `llm.transcription`: who writes down what is said in voice notes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct Transcription {
    /// The address that `/audio/transcriptions` is added to.
    base_url: BaseUrl,
    /// The key, if the server wants one.
    #[serde(default)]
    api_key: Option<Secret>,
    /// The model.
    #[serde(default = "whisper")]
    model: String,
    /// What a minute costs; if absent OpenAI's own prices are known, a server on this machine costs
    /// nothing, and for all others `budgets.unknown_price` stands in.
    #[serde(default)]
    usd_per_minute: Option<Usd>,
}

fn whisper() -> String {
    "whisper-1".to_owned()
}

/// What is said in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transcript {
    /// The words; empty if there are none.
    pub text: String,
    /// What it took, where the server said so.
    pub usage: Option<Usage>,
}

/// Writes down what is said.
#[derive(Debug, Clone)]
pub struct Transcriber {
    settings: Transcription,
    peer: Peer,
}

impl Transcriber {
    pub(super) fn new(settings: Transcription, http: &Http) -> Self {
        let base = settings.base_url.0.clone();
        Self {
            peer: Peer::new(NAME, base, Timeouts::default(), http),
            settings,
        }
    }

    /// What usage says of it.
    pub fn about(&self) -> About {
        About {
            name: SECTION.to_owned(),
            model: self.settings.model.clone(),
            context_tokens: 0,
            max_output_tokens: None,
            tools: false,
            images: false,
            offline: false,
            price: None,
        }
    }

    /// What it costs, if that is known.
    pub fn quote(&self) -> Option<Quote> {
        let url = &self.settings.base_url.0;
        let (host, listed) = LISTED;
        let known = listed
            .iter()
            .find(|(model, _)| *model == self.settings.model);
        let known = known.filter(|_| url.host_str() == Some(host));
        let (per_minute, source) = match (self.settings.usd_per_minute, known) {
            (Some(usd), _) => (usd, PriceSource::Configuration),
            (None, Some((_, usd))) => (*usd, PriceSource::List),
            (None, None) if is_loopback(url) => (Usd(0), PriceSource::Free),
            (None, None) => return None,
        };
        let per_token = Usd(per_minute.0.saturating_mul(1_000_000) / PER_MINUTE);
        Some(Quote {
            price: Price {
                input_per_mtok: per_token,
                output_per_mtok: Usd(0),
                cached_per_mtok: None,
            },
            source,
            as_of: (source == PriceSource::List).then(|| prices::as_of().to_owned()),
        })
    }

    /// What a file counts, in tokens; where it does not say how long it lasts, on the safe side.
    pub fn tokens(file: &Attachment) -> u64 {
        sound::tenths(&file.data)
    }

    /// What is said in a file. Asks once and waits two minutes at most.
    ///
    /// # Errors
    /// What the server said or did.
    pub async fn transcribe(&self, file: &Attachment) -> Result<Transcript, ProviderError> {
        let answer = self.ask(file).await?;
        let Some(said) = answer.get("text").and_then(Value::as_str) else {
            return Err(ProviderError::garbled(NAME, "there is no `text` in it"));
        };
        Ok(Transcript {
            text: text::shorten(text::clean(said).trim(), LONGEST),
            usage: usage(&answer),
        })
    }

    /// An error in the words of the section that it concerns.
    pub fn why(error: &ProviderError) -> String {
        match error {
            ProviderError::Credentials { detail, .. } => format!(
                "{NAME} does not accept our key or account: {detail}. Check llm.transcription.api_key in the configuration"
            ),
            other => other.to_string(),
        }
    }

    async fn ask(&self, file: &Attachment) -> Result<Value, ProviderError> {
        let mut headers = HeaderMap::new();
        if let Some(key) = &self.settings.api_key {
            let bearer = format!("Bearer {}", key.expose());
            headers.insert(AUTHORIZATION, self.peer.key_header(&bearer)?);
        }
        let form = form(&self.settings.model, file);
        self.peer
            .upload("audio/transcriptions", headers, form, WITHIN)
            .await
    }
}

/// What the server says that it charges, if it counts in time: by tokens of other kinds its minutes are
/// only estimated.
fn usage(answer: &Value) -> Option<Usage> {
    let told = answer.get("usage")?;
    let seconds = told.get("seconds")?.as_f64()?;
    if !(0.0..=1e6).contains(&seconds) {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked just before"
    )]
    let input_tokens = (seconds * 10.0).ceil() as u64;
    Some(Usage {
        input_tokens,
        ..Usage::default()
    })
}

/// The form and its type, which names a boundary that is nowhere in it.
fn form(model: &str, file: &Attachment) -> (HeaderValue, Bytes) {
    let boundary = Uuid::new_v4().simple().to_string();
    let one_line = |text: &str| text.replace(['"', '\r', '\n', '\\'], "_");
    let mut body = Vec::with_capacity(file.data.len() + 512);
    for (name, value) in [("model", model), ("response_format", "json")] {
        let part = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        );
        body.extend_from_slice(part.as_bytes());
    }
    let head = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{}\"\r\nContent-Type: {}\r\n\r\n",
        one_line(&file.name),
        one_line(&file.media_type),
    );
    body.extend_from_slice(head.as_bytes());
    body.extend_from_slice(&file.data);
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    let kind = format!("multipart/form-data; boundary={boundary}");
    let kind = HeaderValue::from_str(&kind)
        .unwrap_or_else(|_| HeaderValue::from_static("multipart/form-data"));
    (kind, Bytes::from(body))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn per_minute(settings: Value) -> Option<(Usd, PriceSource)> {
        let settings: Transcription = serde_json::from_value(settings).unwrap();
        let quote = Transcriber::new(settings, &Http::new()).quote()?;
        let minute = Usage {
            input_tokens: 600,
            ..Usage::default()
        };
        Some((quote.price.of(minute), quote.source))
    }

    #[test]
    fn a_minute_has_its_price() {
        let openai = "https://api.openai.com/v1";
        let listed = Some((Usd(6_000_000), PriceSource::List));
        assert_eq!(per_minute(json!({ "base_url": openai })), listed);
        let own = json!({ "base_url": openai, "usd_per_minute": "0.01" });
        let configured = Some((Usd(10_000_000), PriceSource::Configuration));
        assert_eq!(per_minute(own), configured);
        let here = json!({ "base_url": "http://127.0.0.1:8000/v1" });
        assert_eq!(per_minute(here), Some((Usd(0), PriceSource::Free)));
        let elsewhere = json!({ "base_url": "https://speech.example.org/v1" });
        assert_eq!(per_minute(elsewhere), None);
    }

    #[test]
    fn the_time_that_a_server_charges_is_believed() {
        let told = |usage: Value| super::usage(&json!({ "usage": usage }));
        let timed = told(json!({ "type": "duration", "seconds": 3.12 }));
        assert_eq!(
            timed.map(|u| (u.input_tokens, u.estimated)),
            Some((32, false))
        );
        for odd in [
            json!({ "seconds": -1 }),
            json!({ "seconds": "3" }),
            json!(null),
        ] {
            assert_eq!(told(odd), None);
        }
    }
}
