//! Webhooks: signed requests in, signed answers out. Documented in `docs/webhook.md`.

use std::collections::BTreeMap;

use async_trait::async_trait;
use hmac::{Hmac, KeyInit as _, Mac as _};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use sha2::Sha256;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{
    Abilities, Connector, ConnectorError, Hook, HookError, Hooked, Inbox, Posts, Resend, Spec,
    served_elsewhere,
};
use crate::{
    net::Http,
    types::{Address, Attachment, Inbound, Outgoing, Secret, WhenBusy},
};

/// How long the receiver may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

/// `channels.webhook`.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Config {
    /// By name: the last part of the path of `POST /hooks/{name}`.
    #[serde(default)]
    endpoints: BTreeMap<String, Endpoint>,
}

/// One endpoint.
#[derive(Debug, Deserialize, JsonSchema)]
struct Endpoint {
    /// Both sides sign with it.
    secret: Secret,
    /// Where answers are posted.
    reply_url: Url,
    /// What comes here was written by strangers (a public form, a mailing list), whoever signs it: the
    /// flow gate takes it for untrusted.
    #[serde(default)]
    untrusted: bool,
    /// Whether it is told, apart from the answer, that a message waits for the owner's decision.
    #[serde(default)]
    notices: bool,
}

/// The connector.
pub(super) struct Webhook {
    endpoints: BTreeMap<String, Endpoint>,
    http: Http,
}

/// What a request says.
#[derive(Debug, Deserialize)]
struct Request {
    id: String,
    user: String,
    text: String,
    #[serde(default)]
    attachments: Vec<Attachment>,
    mode: Option<WhenBusy>,
}

impl Spec for Webhook {
    const NAME: &'static str = "webhook";
    const EXAMPLE: &'static str = "webhook:
  endpoints:
    # POST /hooks/home with X-Signature-256: sha256=<hex HMAC-SHA256 of the body>
    home:
      secret: ${WEBHOOK_HOME_SECRET}
      reply_url: http://127.0.0.1:9000/nexflow
";
    type Config = Config;

    fn new(config: Config, http: &Http) -> Self {
        Self {
            endpoints: config.endpoints,
            http: http.clone(),
        }
    }
}

/// What is posted: an answer, or a notice, which says that it is one.
fn post(what: &Outgoing) -> String {
    let mut body = json!({
        "id": what.idempotency_key,
        "in_reply_to": what.in_reply_to,
        "session_id": what.session,
        "user": what.user,
        "text": what.said(),
    });
    if let Some(body) = body.as_object_mut() {
        if !what.also_in_reply_to.is_empty() {
            body.insert("also_in_reply_to".to_owned(), json!(what.also_in_reply_to));
        }
        if !what.files.is_empty() {
            body.insert("attachments".to_owned(), json!(what.files));
        }
        if what.notice {
            body.insert("kind".to_owned(), "notice".into());
        }
    }
    body.to_string()
}

#[async_trait]
impl Connector for Webhook {
    async fn run(
        &self,
        _inbox: &dyn Inbox,
        cancel: CancellationToken,
    ) -> Result<(), ConnectorError> {
        served_elsewhere(cancel).await
    }

    async fn send(
        &self,
        to: &Address,
        what: &Outgoing,
        _posts: &dyn Posts,
    ) -> Result<(), ConnectorError> {
        let Some(endpoint) = self.endpoints.get(&to.account) else {
            let gone = format!(
                "channels.webhook.endpoints.{} is no longer configured",
                to.account
            );
            return Err(ConnectorError::Later {
                reason: gone,
                after: None,
            });
        };
        let body = post(what);
        let later = |reason: String| ConnectorError::Later {
            reason,
            after: None,
        };
        let client = self
            .http
            .client(&endpoint.reply_url)
            .map_err(|e| later(e.to_string()))?;
        // The receiver knows a repeated key, so a second try is never a second answer.
        let unsure = |reason: String| ConnectorError::Unsure { reason };
        let request = client
            .post(endpoint.reply_url.clone())
            .timeout(PATIENCE)
            .header("content-type", "application/json")
            .header("idempotency-key", &what.idempotency_key)
            .header("x-signature-256", sign(&endpoint.secret, body.as_bytes()))
            .body(body);
        let answer = request.send().await.map_err(|e| {
            let arrived = !(e.is_connect() || e.is_builder());
            let reason = e.without_url().to_string();
            if arrived {
                unsure(reason)
            } else {
                later(reason)
            }
        })?;
        let status = answer.status();
        let said = format!(
            "{} answered {status}",
            endpoint.reply_url.host_str().unwrap_or("it")
        );
        if status.is_success() {
            Ok(())
        } else if status.is_client_error() {
            Err(ConnectorError::Refused(said))
        } else {
            Err(later(said))
        }
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            resend: Resend::WithKey,
            ..Abilities::default()
        }
    }

    fn wants_notices(&self, at: &Address) -> bool {
        let endpoint = self.endpoints.get(&at.account);
        endpoint.is_some_and(|endpoint| endpoint.notices)
    }

    async fn hook(&self, inbox: &dyn Inbox, request: Hook) -> Result<Hooked, HookError> {
        let endpoint = self
            .endpoints
            .get(&request.name)
            .ok_or(HookError::Unknown)?;
        check(&endpoint.secret, &request)?;
        let said = parse(&request.body)?;
        let from = Address::new(Self::NAME, &request.name, &said.user);
        let message = Inbound {
            attachments: said.attachments,
            mode: said.mode,
            vouched: !endpoint.untrusted,
            ..Inbound::new(from, said.id, said.user, said.text)
        };
        Ok(Hooked::Message(inbox.accept(message).await?))
    }
}

fn parse(body: &[u8]) -> Result<Request, HookError> {
    let request: Request =
        serde_json::from_slice(body).map_err(|e| HookError::Invalid(e.to_string()))?;
    let invalid = |text: &str| Err(HookError::Invalid(text.to_owned()));
    if request.id.is_empty() || request.id.len() > 256 {
        return invalid("`id` must have 1 to 256 bytes");
    }
    if request.user.is_empty() || request.user.len() > 256 {
        return invalid("`user` must have 1 to 256 bytes");
    }
    if request.text.trim().is_empty() && request.attachments.is_empty() {
        return invalid("`text` is empty");
    }
    Ok(request)
}

fn mac(secret: &Secret, body: &[u8]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).ok()?;
    mac.update(body);
    Some(mac)
}

fn sign(secret: &Secret, body: &[u8]) -> String {
    let hex = mac(secret, body).map(|mac| hex(&mac.finalize().into_bytes()));
    format!("sha256={}", hex.unwrap_or_default())
}

fn check(secret: &Secret, request: &Hook) -> Result<(), HookError> {
    let wrong = HookError::Signature(
        "X-Signature-256 must be `sha256=` and the hex HMAC-SHA256 of the body with the endpoint's secret",
    );
    let given = request
        .signature
        .as_deref()
        .and_then(|s| s.strip_prefix("sha256="));
    let given = given.and_then(unhex);
    // The comparison takes the same time wherever they differ.
    let right = given
        .zip(mac(secret, &request.body))
        .is_some_and(|(g, m)| m.verify_slice(&g).is_ok());
    if right { Ok(()) } else { Err(wrong) }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
            out.push_str(&format!("{byte:02x}"));
            out
        })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    let pairs = text.as_bytes().chunks_exact(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(signature: Option<&str>, body: &str) -> Hook {
        Hook {
            name: "home".to_owned(),
            signature: signature.map(str::to_owned),
            token: None,
            body: body.as_bytes().to_vec(),
        }
    }

    #[test]
    fn only_the_right_signature_passes() {
        // HMAC-SHA256 test case 2 of RFC 4231.
        let secret = Secret::new("Jefe");
        let body = "what do ya want for nothing?";
        let right = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(sign(&secret, body.as_bytes()), right);
        assert!(check(&secret, &hook(Some(right), body)).is_ok());
        let upper = right.to_uppercase().replace("SHA256", "sha256");
        assert!(check(&secret, &hook(Some(&upper), body)).is_ok());
        for wrong in [
            None,
            Some(""),
            Some("sha256="),
            Some("sha256=zz"),
            Some(&right[..69]),
            Some("sha1=00"),
        ] {
            assert!(check(&secret, &hook(wrong, body)).is_err(), "{wrong:?}");
        }
        assert!(check(&secret, &hook(Some(right), "another body")).is_err());
    }

    #[test]
    fn a_body_that_is_not_one_is_explained() {
        for (body, word) in [
            ("{", "EOF"),
            (r#"{"id":"1","user":"u"}"#, "text"),
            (r#"{"id":"","user":"u","text":"x"}"#, "`id`"),
            (r#"{"id":"1","user":"u","text":"  "}"#, "empty"),
            (r#"{"id":1,"user":"u","text":"x"}"#, "string"),
        ] {
            let error = parse(body.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
