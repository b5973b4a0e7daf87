//! The HTTP side: tokens, polls, files, and what is pushed to a webhook.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::{Path, Request, State},
    http::{StatusCode, header::DATE},
    response::{IntoResponse as _, Response},
    routing::get,
};
use serde_json::{Map, Value, json};
use tokio::{net::TcpListener, task::JoinHandle, time::Instant};

use super::{
    Call, Shared, Trick,
    methods::{self, Input, Refusal, refuse},
    multipart,
};

/// What a bot may send in one request.
const LARGEST: usize = 50 << 20;

#[expect(clippy::disallowed_methods, reason = "the server ends with the test")]
pub async fn start(shared: Arc<Shared>) -> (SocketAddr, JoinHandle<()>) {
    let router = Router::new()
        .route("/file/{bot}/{*path}", get(download))
        .route("/{bot}/{method}", get(call).post(call))
        .with_state(Arc::clone(&shared));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        tokio::select! {
            ended = async { axum::serve(listener, router).await } => ended.unwrap(),
            () = push(&shared) => {}
        }
    });
    (address, task)
}

fn answer(result: Result<Value, Refusal>) -> Response {
    let refusal = match result {
        Ok(result) => return Json(json!({ "ok": true, "result": result })).into_response(),
        Err(refusal) => refusal,
    };
    let mut body =
        json!({ "ok": false, "error_code": refusal.code, "description": refusal.description });
    if let Some(parameters) = refusal.parameters {
        body["parameters"] = parameters;
    }
    (StatusCode::from_u16(refusal.code).unwrap(), Json(body)).into_response()
}

/// What the server says to a bot with another token.
fn check(shared: &Shared, bot: &str) -> Result<(), Refusal> {
    let Some(token) = bot.strip_prefix("bot") else {
        return Err(refuse(404, "Not Found"));
    };
    // A colon that came percent-encoded is another token for the real server as well.
    let well_formed = token
        .split_once(':')
        .is_some_and(|(id, _)| id.parse::<i64>().is_ok());
    if !well_formed {
        return Err(refuse(404, "Not Found"));
    }
    if token == shared.world.lock().unwrap().token {
        Ok(())
    } else {
        Err(refuse(401, "Unauthorized"))
    }
}

/// As the real one, it says when it answered.
async fn call(
    State(shared): State<Arc<Shared>>,
    path: Path<(String, String)>,
    request: Request,
) -> Response {
    let mut answer = called(&shared, path, request).await;
    let now = chrono::DateTime::from_timestamp(shared.world.lock().unwrap().now(), 0);
    let date = now.unwrap().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    answer.headers_mut().insert(DATE, date.parse().unwrap());
    answer
}

async fn called(
    shared: &Shared,
    Path((bot, method)): Path<(String, String)>,
    request: Request,
) -> Response {
    if let Err(refusal) = check(shared, &bot) {
        return answer(Err(refusal));
    }
    let method = method.to_lowercase();
    let input = match read(request).await {
        Ok(input) => input,
        Err(refusal) => return answer(Err(refusal)),
    };
    let trick = {
        let mut world = shared.world.lock().unwrap();
        world.calls.push(Call {
            method: method.clone(),
            body: Value::Object(input.fields.clone()),
            at: std::time::Instant::now(),
        });
        world
            .tricks
            .get_mut(&method)
            .and_then(std::collections::VecDeque::pop_front)
    };
    match trick {
        Some(Trick::Refuse(code, description, after)) => {
            let parameters = after.map(|s| json!({ "retry_after": s }));
            answer(Err(Refusal {
                code,
                description: description.to_owned(),
                parameters,
            }))
        }
        Some(Trick::Garbage) => {
            (StatusCode::BAD_GATEWAY, "<html>bad gateway</html>").into_response()
        }
        Some(Trick::DoneThenCut) => {
            drop(run(shared, &method, &input).await);
            let cut = std::io::Error::other("cut");
            let body = futures_util::stream::once(async { Err::<&str, _>(cut) });
            Body::from_stream(body).into_response()
        }
        None => answer(run(shared, &method, &input).await),
    }
}

async fn run(shared: &Shared, method: &str, input: &Input) -> Result<Value, Refusal> {
    let result = if method == "getupdates" {
        updates(shared, input).await
    } else {
        methods::run(&mut shared.world.lock().unwrap(), method, input)
    };
    if matches!(method, "setwebhook" | "deletewebhook") {
        shared.news.notify_waiters();
    }
    result
}

async fn read(request: Request) -> Result<Input, Refusal> {
    let kind = request.headers().get("content-type");
    let kind = kind
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let body = to_bytes(request.into_body(), LARGEST + (1 << 20)).await;
    let Ok(body) = body else {
        return Err(refuse(413, "Request Entity Too Large"));
    };
    let mut fields = Map::new();
    let mut files = HashMap::new();
    if kind.starts_with("multipart/form-data") {
        let parts = multipart::fields(&kind, &body);
        for part in parts.ok_or_else(|| refuse(400, "Bad Request: invalid multipart"))? {
            if let Some(file) = part.file {
                if part.data.len() > LARGEST {
                    return Err(refuse(413, "Request Entity Too Large"));
                }
                files.insert(part.name, (file, part.data));
            } else {
                let Ok(text) = String::from_utf8(part.data) else {
                    return Err(refuse(400, "Bad Request: strings must be encoded in UTF-8"));
                };
                let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
                fields.insert(part.name, value);
            }
        }
    } else if !body.is_empty() {
        let parsed: Result<Value, _> = serde_json::from_slice(&body);
        match parsed {
            Ok(Value::Object(object)) => fields = object,
            _ => return Err(refuse(400, "Bad Request: can't parse JSON object")),
        }
    }
    Ok(Input { fields, files })
}

async fn updates(shared: &Shared, input: &Input) -> Result<Value, Refusal> {
    let number = |key: &str| input.fields.get(key).and_then(Value::as_i64);
    let limit = usize::try_from(number("limit").unwrap_or(100))
        .unwrap()
        .clamp(1, 100);
    let wait = u64::try_from(number("timeout").unwrap_or(0))
        .unwrap()
        .min(50);
    let until = Instant::now() + Duration::from_secs(wait);
    let mine = {
        let mut world = shared.world.lock().unwrap();
        if world.webhook.is_some() {
            return Err(refuse(
                409,
                "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first",
            ));
        }
        if let Some(allowed) = input
            .fields
            .get("allowed_updates")
            .and_then(Value::as_array)
        {
            let names = allowed.iter().filter_map(Value::as_str).map(str::to_owned);
            world.allowed = Some(names.collect());
        }
        if let Some(offset) = number("offset").filter(|o| *o > 0) {
            world.confirm(offset);
        }
        world.poll += 1;
        world.poll
    };
    shared.news.notify_waiters();
    loop {
        let news = shared.news.notified();
        tokio::pin!(news);
        news.as_mut().enable();
        {
            let world = shared.world.lock().unwrap();
            if world.poll != mine {
                return Err(refuse(
                    409,
                    "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running",
                ));
            }
            if !world.updates.is_empty() || Instant::now() >= until {
                return Ok(world.updates.iter().take(limit).cloned().collect());
            }
        }
        drop(tokio::time::timeout_at(until, news).await);
    }
}

async fn download(
    State(shared): State<Arc<Shared>>,
    Path((bot, path)): Path<(String, String)>,
) -> Response {
    if let Err(refusal) = check(&shared, &bot) {
        return answer(Err(refusal));
    }
    let world = shared.world.lock().unwrap();
    let mut files = world.files.values();
    match files.find(|(at, _)| *at == path) {
        Some((_, data)) => data.clone().into_response(),
        None => answer(Err(refuse(404, "Not Found"))),
    }
}

/// Pushes to the webhook, one after the other, each until it is taken.
#[expect(clippy::disallowed_methods, reason = "tests make their own clients")]
async fn push(shared: &Shared) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    loop {
        let news = shared.news.notified();
        tokio::pin!(news);
        news.as_mut().enable();
        let next = {
            let world = shared.world.lock().unwrap();
            world.webhook.clone().zip(world.updates.front().cloned())
        };
        let Some(((url, secret), update)) = next else {
            news.await;
            continue;
        };
        let request = http
            .post(url)
            .header("x-telegram-bot-api-secret-token", secret)
            .json(&update)
            .timeout(Duration::from_secs(10));
        let answer = request.send().await;
        let status = answer.map_or_else(|e| e.to_string(), |a| a.status().as_u16().to_string());
        let taken = status.starts_with('2');
        {
            let mut world = shared.world.lock().unwrap();
            world.webhook_error =
                (!taken).then(|| format!("Wrong response from the webhook: {status}"));
            if taken {
                world.confirm(update["update_id"].as_i64().unwrap() + 1);
            }
        }
        if !taken {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}
