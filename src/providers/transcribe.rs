//! Speech becomes text, by OpenAI's `POST {base_url}/audio/transcriptions`, which many servers speak.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::{
    error::ProviderError,
    peer::{BaseUrl, Peer, Timeouts},
};
use crate::{
    net::Http,
    types::{Attachment, Secret, text},
};

/// How errors call the server.
const NAME: &str = "the transcription server";
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
}

fn whisper() -> String {
    "whisper-1".to_owned()
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

    /// What is said in a file; empty if nothing is. Asks once and waits two minutes at most.
    ///
    /// # Errors
    /// For a person: what the server said or did, and what to mend.
    pub async fn transcribe(&self, file: &Attachment) -> Result<String, String> {
        self.ask(file).await.map_err(|error| match error {
            ProviderError::Credentials { detail, .. } => format!(
                "{NAME} does not accept our key or account: {detail}. Check llm.transcription.api_key in the configuration"
            ),
            other => other.to_string(),
        })
    }

    async fn ask(&self, file: &Attachment) -> Result<String, ProviderError> {
        let mut headers = HeaderMap::new();
        if let Some(key) = &self.settings.api_key {
            let bearer = format!("Bearer {}", key.expose());
            headers.insert(AUTHORIZATION, self.peer.key_header(&bearer)?);
        }
        let form = form(&self.settings.model, file);
        let answer = self
            .peer
            .upload("audio/transcriptions", headers, form, WITHIN)
            .await?;
        let Some(said) = answer.get("text").and_then(Value::as_str) else {
            return Err(ProviderError::garbled(NAME, "there is no `text` in it"));
        };
        Ok(text::shorten(text::clean(said).trim(), LONGEST))
    }
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
