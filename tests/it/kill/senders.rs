//! Senders as real ones are: what was not acknowledged is sent again under the same id, and sometimes
//! what was.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::{SinkExt as _, StreamExt as _};
use hmac::{Hmac, KeyInit as _, Mac as _};
use rand::{Rng as _, rngs::StdRng};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{self, client::IntoClientRequest as _},
};

use super::world::{SECRET, Shared};
use crate::support::string;

/// Messages of one sender that may wait for their answers.
const WAITING: usize = 2;

fn sign(body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    let bytes = mac.finalize().into_bytes();
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    format!("sha256={hex}")
}

fn verb(random: &mut StdRng) -> &'static str {
    ["say", "both", "chain", "asks"][random.random_range(0..4)]
}

#[expect(clippy::disallowed_methods, reason = "tests make their own clients")]
fn client() -> reqwest::Client {
    let patience = Duration::from_secs(5);
    let builder = reqwest::Client::builder().no_proxy().timeout(patience);
    builder.build().unwrap()
}

/// Posts a message once; its id and session if it was acknowledged.
pub async fn post(
    http: &reqwest::Client,
    shared: &Shared,
    (user, name, text): (&str, &str, &str),
) -> Option<(String, String)> {
    let body = json!({ "id": name, "user": user, "text": text }).to_string();
    let request = http
        .post(format!("{}/hooks/home", shared.url()))
        .header("x-signature-256", sign(&body))
        .body(body);
    let answer = request.send().await.ok()?;
    if answer.status().as_u16() != 202 {
        return None;
    }
    let body: Value = answer.json().await.ok()?;
    Some((string(&body, "message_id"), string(&body, "session_id")))
}

/// Posts until it is acknowledged.
pub async fn insist(shared: &Shared, user: &str, name: &str, text: &str) {
    let http = client();
    loop {
        if let Some((message, session)) = post(&http, shared, (user, name, text)).await {
            shared.accept(name, message, session);
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Decides whatever waits, in time or again after a restart: no to what ends so, yes to all else.
pub async fn at_the_approvals(shared: Arc<Shared>) {
    let http = client();
    loop {
        tokio::time::sleep(Duration::from_millis(15)).await;
        let list = format!("{}/api/v1/approvals?state=pending", shared.url());
        let Ok(answer) = http.get(list).bearer_auth(&shared.token).send().await else {
            continue;
        };
        let Ok(listed) = answer.json::<Value>().await else {
            continue;
        };
        for one in listed["approvals"].as_array().into_iter().flatten() {
            let line = one["args"]["line"].as_str().unwrap_or_default();
            let no = line.ends_with("/no");
            if !no {
                shared.allowed.lock().unwrap().insert(line.to_owned());
            }
            let decision = json!({ "decision": if no { "deny" } else { "once" } });
            let url = format!("{}/api/v1/approvals/{}", shared.url(), string(one, "id"));
            let post = http.post(url).bearer_auth(&shared.token).json(&decision);
            if post.send().await.is_ok_and(|a| a.status().is_success()) {
                shared.decisions.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

pub async fn at_the_webhook(shared: Arc<Shared>, me: usize, mut random: StdRng) {
    let user = format!("person-{me}");
    let mut waiting: Vec<String> = Vec::new();
    for n in 0.. {
        while !shared.stopped() && waiting.len() >= WAITING {
            tokio::time::sleep(Duration::from_millis(5)).await;
            waiting.retain(|name| !shared.receiver.has(name));
        }
        if shared.stopped() {
            return;
        }
        let name = format!("w{me}-{n}");
        let text = format!("{} {name}", verb(&mut random));
        insist(&shared, &user, &name, &text).await;
        if random.random_bool(0.1) {
            insist(&shared, &user, &name, &text).await;
        }
        waiting.push(name);
        let rest = Duration::from_millis(random.random_range(0..60));
        tokio::time::sleep(rest).await;
    }
}

type Connection = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

/// Connects, again and again; the connection and its session.
async fn connect(shared: &Shared, session: Option<&str>) -> (Connection, String) {
    loop {
        let url = shared.url().replacen("http", "ws", 1);
        let url = format!("{url}/ws/chat/{}", session.unwrap_or("new"));
        let mut request = url.into_client_request().unwrap();
        let bearer = format!("Bearer {}", shared.token);
        request
            .headers_mut()
            .insert("authorization", bearer.parse().unwrap());
        if let Ok((mut connection, _)) = tokio_tungstenite::connect_async(request).await
            && let Some(opened) = next(&mut connection, Duration::from_secs(2)).await
        {
            return (connection, string(&opened, "session_id"));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The next frame; none when the connection ended or nothing came.
async fn next(connection: &mut Connection, patience: Duration) -> Option<Value> {
    loop {
        match tokio::time::timeout(patience, connection.next())
            .await
            .ok()?
        {
            Some(Ok(tungstenite::Message::Text(text))) => {
                return Some(serde_json::from_str(&text).unwrap());
            }
            Some(Ok(tungstenite::Message::Close(_)) | Err(_)) | None => return None,
            Some(Ok(_)) => {}
        }
    }
}

pub async fn at_a_page(shared: Arc<Shared>, me: usize, mut random: StdRng) {
    let (mut connection, mut session) = connect(&shared, None).await;
    for n in 0.. {
        if shared.stopped() {
            return;
        }
        let name = format!("p{me}-{n}");
        let text = format!("{} {name}", verb(&mut random));
        let frame = json!({ "type": "message", "text": text, "client_id": name }).to_string();
        let mut again = random.random_bool(0.1);
        let mut accepted = false;
        loop {
            let sent = connection
                .send(tungstenite::Message::text(frame.clone()))
                .await;
            let message = match sent {
                Ok(()) => acknowledged(&mut connection, &name).await,
                Err(_) => None,
            };
            if let Some(message) = message {
                shared.accept(&name, message, session.clone());
                accepted = true;
                if !std::mem::take(&mut again) {
                    break;
                }
            } else {
                // A session in which nothing was said yet may be given up.
                let known = accepted || n > 0;
                let wanted = known.then_some(session.as_str());
                (connection, session) = connect(&shared, wanted).await;
            }
        }
        // Mostly waits for its answer, sometimes speaks on.
        if random.random_bool(0.8) {
            let patience = Duration::from_secs(2);
            while let Some(frame) = next(&mut connection, patience).await {
                if frame["type"] == "message.completed" || frame["type"] == "turn.failed" {
                    break;
                }
            }
        }
    }
}

async fn acknowledged(connection: &mut Connection, name: &str) -> Option<String> {
    loop {
        let frame = next(connection, Duration::from_secs(2)).await?;
        if frame["type"] == "message.accepted" && frame["client_id"] == name {
            return Some(string(&frame, "message_id"));
        }
    }
}
