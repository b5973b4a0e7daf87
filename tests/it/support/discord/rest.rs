//! The REST interface.

use std::time::{Duration, Instant};

use axum::{
    body::Bytes,
    extract::State,
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri},
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};

use super::{
    APPLICATION, BOT_ROLE, GUILD, ME, Seen, Shared, World, channel_object, guild_of, person,
};

/// A status and a body.
type Said = (u16, Value);

fn error(status: u16, code: u64, message: &str) -> Said {
    (status, json!({ "message": message, "code": code }))
}

pub(super) async fn answer(
    State(world): State<Shared>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut world = world.lock().unwrap();
    if !world.mood.up {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    if let Some(name) = uri.path().strip_prefix("/files/") {
        world.fetched.push(name.to_owned());
        let file = world.files.get(name).cloned();
        return file.map_or_else(
            || StatusCode::NOT_FOUND.into_response(),
            axum::response::IntoResponse::into_response,
        );
    }
    let Some(path) = uri.path().strip_prefix("/api/v10/") else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let parts: Vec<&str> = path.split('/').collect();
    let (payload, files) = read(&headers, &body);
    let mut request = Request {
        method: method.as_str(),
        parts: &parts,
        query: uri.query().unwrap_or_default(),
        headers: &headers,
        payload: payload.clone(),
        files: files.clone(),
    };
    let (said, limits) = world.limited(&mut request);
    world.seen.push(Seen {
        method: method.to_string(),
        path: path.to_owned(),
        at: Instant::now(),
        body: payload.unwrap_or_default(),
        files,
        status: said.0,
    });
    let status = StatusCode::from_u16(said.0).unwrap();
    let text = if said.0 == 204 {
        String::new()
    } else {
        said.1.to_string()
    };
    // As RFC 9110 wants it, by its own clock.
    let date = world.now().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let told = [("content-type", "application/json"), ("date", &date)];
    let mut answer = (status, told, text).into_response();
    for (name, value) in limits {
        answer
            .headers_mut()
            .insert(name, HeaderValue::from_str(&value).unwrap());
    }
    answer
}

struct Request<'a> {
    method: &'a str,
    parts: &'a [&'a str],
    query: &'a str,
    headers: &'a HeaderMap,
    /// None where the content type is not one that Discord takes.
    payload: Option<Value>,
    files: Vec<(String, Vec<u8>)>,
}

/// Numbers are taken where text is.
fn as_text(value: &Value) -> String {
    let text = value.as_str().map(str::to_owned);
    text.or_else(|| value.as_u64().map(|n| n.to_string()))
        .unwrap_or_default()
}

/// The JSON of a request and its files.
fn read(headers: &HeaderMap, body: &[u8]) -> (Option<Value>, Vec<(String, Vec<u8>)>) {
    if body.is_empty() {
        return (Some(Value::Null), Vec::new());
    }
    let kind = headers
        .get("content-type")
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    if kind == "application/json" {
        return (serde_json::from_slice(body).ok(), Vec::new());
    }
    let Some(boundary) = kind.strip_prefix("multipart/form-data; boundary=") else {
        return (None, Vec::new());
    };
    let mark = format!("--{boundary}").into_bytes();
    let starts: Vec<usize> = (0..body.len().saturating_sub(mark.len() - 1))
        .filter(|at| body[*at..].starts_with(&mark))
        .collect();
    let (mut payload, mut files) = (None, Vec::new());
    for pair in starts.windows(2) {
        let part = &body[pair[0] + mark.len() + 2..pair[1] - 2];
        let split = part.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        let (head, content) = (String::from_utf8_lossy(&part[..split]), &part[split + 4..]);
        let value = |key: &str| {
            let (_, after) = head.split_once(&format!("{key}=\""))?;
            after.split('"').next().map(str::to_owned)
        };
        match value(" name").as_deref() {
            Some("payload_json") => payload = serde_json::from_slice(content).ok(),
            Some(name) if name.starts_with("files[") => {
                files.push((value("filename").unwrap(), content.to_vec()));
            }
            other => panic!("a part of a form is called {other:?}"),
        }
    }
    (payload, files)
}

impl World {
    /// Whether a request comes at the right pace, and what it is answered.
    fn limited(&mut self, request: &mut Request<'_>) -> (Said, Vec<(&'static str, String)>) {
        let own = matches!(request.parts.first(), Some(&("interactions" | "webhooks")));
        if self.mood.storm.0 > 0 && !own {
            self.mood.storm.0 -= 1;
            let (_, wait, global) = self.mood.storm;
            let body = json!({ "message": "You are being rate limited.", "retry_after": wait, "global": global });
            let scope = if global { "global" } else { "user" };
            return (
                (429, body),
                vec![
                    ("x-ratelimit-scope", scope.to_owned()),
                    ("retry-after", wait.ceil().to_string()),
                ],
            );
        }
        if let Some(wait) = self.together(own) {
            self.too_fast += 1;
            let body = json!({ "message": "You are being rate limited.", "retry_after": wait.as_secs_f64(), "global": true });
            return (
                (429, body),
                vec![
                    ("x-ratelimit-scope", "global".to_owned()),
                    ("x-ratelimit-global", "true".to_owned()),
                    ("retry-after", wait.as_secs_f64().ceil().to_string()),
                ],
            );
        }
        let (most, length) = self.mood.window;
        let major = request
            .parts
            .iter()
            .take(3)
            .copied()
            .collect::<Vec<_>>()
            .join("/");
        let bucket = format!("{} {major}", request.method);
        let now = Instant::now();
        let (began, used) = self.windows.entry(bucket.clone()).or_insert((now, 0));
        if now.duration_since(*began) >= length {
            (*began, *used) = (now, 0);
        }
        *used += 1;
        let (left, used) = (length.saturating_sub(now.duration_since(*began)), *used);
        let mut limits = vec![
            ("x-ratelimit-limit", most.to_string()),
            (
                "x-ratelimit-remaining",
                most.saturating_sub(used).to_string(),
            ),
            (
                "x-ratelimit-reset-after",
                format!("{:.3}", left.as_secs_f64()),
            ),
            ("x-ratelimit-bucket", format!("{:x}", bucket.len())),
        ];
        if used > most {
            self.too_fast += 1;
            limits.push(("x-ratelimit-scope", "user".to_owned()));
            let body = json!({ "message": "You are being rate limited.", "retry_after": left.as_secs_f64(), "global": false });
            return ((429, body), limits);
        }
        (self.routed(request), limits)
    }

    /// How long to wait where a bot asks too much over all routes; interactions do not count.
    fn together(&mut self, own: bool) -> Option<Duration> {
        let now = Instant::now();
        if now.duration_since(self.second.0) >= Duration::from_secs(1) {
            self.second = (now, 0);
        }
        self.second.1 += u32::from(!own);
        let over = !own && self.second.1 > self.mood.together;
        over.then(|| Duration::from_secs(1).saturating_sub(now.duration_since(self.second.0)))
    }

    fn routed(&mut self, request: &mut Request<'_>) -> Said {
        let header = |name: &str| {
            request
                .headers
                .get(name)
                .and_then(|v| v.to_str().ok())
                .unwrap_or_default()
        };
        let Some(payload) = request.payload.clone() else {
            return error(
                400,
                50035,
                "Expected \"Content-Type\" header to be one of {'application/json'}.",
            );
        };
        let own = matches!(request.parts, ["interactions" | "webhooks" | "gateway", ..]);
        // What needs no bot comes from programs of all names.
        if !own && !header("user-agent").starts_with("DiscordBot (") {
            return error(403, 40333, "internal network error");
        }
        if !own && header("authorization") != format!("Bot {}", self.mood.token) {
            return error(401, 0, "401: Unauthorized");
        }
        match (request.method, request.parts) {
            ("GET", ["gateway"]) => (
                200,
                json!({ "url": format!("{}/gateway", self.url.replacen("http", "ws", 1)) }),
            ),
            ("GET", ["gateway", "bot"]) => (
                200,
                json!({
                    "url": format!("{}/gateway", self.url.replacen("http", "ws", 1)), "shards": 1,
                    "session_start_limit": { "total": 1000, "remaining": 999, "reset_after": 1, "max_concurrency": 1 },
                }),
            ),
            ("GET", ["users", "@me"]) => (200, person(ME)),
            ("GET", ["applications", "@me"] | ["oauth2", "applications", "@me"]) => {
                let flags = if self.mood.content { 1 << 19 } else { 0 };
                (
                    200,
                    json!({
                        "id": APPLICATION, "name": "Nexflow", "flags": flags, "icon": null, "description": "", "bot_public": true,
                        "bot_require_code_grant": false, "verify_key": "00", "owner": person(super::OWNER), "summary": "",
                    }),
                )
            }
            ("GET", ["applications", APPLICATION, "commands"]) => (200, self.commands.clone()),
            ("PUT", ["applications", APPLICATION, "commands"]) => self.set_commands(payload),
            ("GET", ["channels", channel]) => (200, channel_object(channel)),
            ("GET", ["guilds", GUILD, "roles"]) => (200, self.guild_roles()),
            ("GET", ["guilds", GUILD, "members", user]) => {
                let mut member = self.member(user);
                if *user == ME {
                    member["roles"] = json!([BOT_ROLE]);
                }
                member["user"] = person(user);
                (200, member)
            }
            ("GET", ["channels", channel, "messages"]) => self.history(channel, request.query),
            ("POST", ["channels", channel, "messages"]) => self.post(channel, &payload, request),
            ("PATCH", ["channels", channel, "messages", id]) => self.patch(channel, id, &payload),
            ("POST", ["channels", _, "typing"]) => (204, Value::Null),
            ("POST", ["interactions", id, token, "callback"]) => {
                let said = self.acknowledge(token, &payload);
                let asks = ["with_response=1", "with_response=true"];
                if said.0 == 204 && request.query.split('&').any(|q| asks.contains(&q)) {
                    return (
                        200,
                        json!({ "interaction": { "id": id, "type": 2, "response_message_loading": true } }),
                    );
                }
                said
            }
            ("PATCH", ["webhooks", APPLICATION, token, "messages", "@original"]) => {
                self.tell_giver(token, &payload)
            }
            (method, parts) => error(
                404,
                0,
                &format!("404: Not Found: {method} {}", parts.join("/")),
            ),
        }
    }

    fn set_commands(&mut self, given: Value) -> Said {
        for command in given.as_array().unwrap() {
            let name = command["name"].as_str().unwrap();
            let good = !name.is_empty()
                && name.len() <= 32
                && name
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b == b'-' || b == b'_');
            let described =
                |v: &Value| (1..=100).contains(&v["description"].as_str().unwrap().chars().count());
            let options = command["options"].as_array().into_iter().flatten();
            if !good || !described(command) || !options.clone().all(described) {
                return error(400, 50035, "Invalid Form Body");
            }
        }
        self.commands = given;
        for at in 0..self.commands.as_array().unwrap().len() {
            let id = self.id();
            self.commands[at]["id"] = id.into();
            self.commands[at]["application_id"] = APPLICATION.into();
        }
        (200, self.commands.clone())
    }

    fn may(&self, channel: &str, right: u64) -> bool {
        guild_of(channel).is_none() || self.mood.denied & right == 0
    }

    fn history(&self, channel: &str, query: &str) -> Said {
        if !self.may(channel, 1 << 16) {
            return (200, json!([]));
        }
        let of = |key: &str| {
            query
                .split('&')
                .find_map(|pair| pair.strip_prefix(key)?.parse::<u64>().ok())
        };
        let limit = of("limit=").unwrap_or(50);
        if !(1..=100).contains(&limit) {
            return error(400, 50035, "Invalid Form Body");
        }
        let limit = usize::try_from(limit).unwrap();
        let id = |m: &Value| m["id"].as_str().unwrap().parse::<u64>().unwrap();
        let all = self.messages.get(channel).cloned().unwrap_or_default();
        let mut page: Vec<Value> = if let Some(after) = of("after=") {
            let later = all.into_iter().filter(|m| id(m) > after);
            later.take(limit).collect()
        } else {
            let skip = all.len().saturating_sub(limit);
            all.into_iter().skip(skip).collect()
        };
        // The newest first.
        page.sort_by_key(|m| std::cmp::Reverse(id(m)));
        (200, page.into())
    }

    fn post(&mut self, channel: &str, payload: &Value, request: &Request<'_>) -> Said {
        if let Some(refused) = self.refused(channel, payload, &request.files) {
            return refused;
        }
        let nonce = as_text(&payload["nonce"]);
        if nonce.len() > 25 {
            return error(
                400,
                50035,
                "Invalid Form Body: nonce: Must be 25 or fewer in length.",
            );
        }
        let key = format!("{channel}/{nonce}");
        if payload["enforce_nonce"] == true
            && let Some(made) = self.nonces.get(&key).cloned()
        {
            let all = self.messages.get(channel).into_iter().flatten();
            let mut all = all.filter(|m| m["id"] == made);
            if let Some(made) = all.next() {
                return (200, made.clone());
            }
        }
        let reference = &payload["message_reference"];
        let known = self.messages.get(channel).into_iter().flatten();
        let referred = as_text(&reference["message_id"]);
        let known = known.clone().any(|m| m["id"] == referred);
        if !reference.is_null() && !known && reference["fail_if_not_exists"] != false {
            return error(
                400,
                50035,
                "Invalid Form Body: message_reference: Unknown message",
            );
        }
        let mut message = self.message(
            channel,
            ME,
            payload["content"].as_str().unwrap_or_default().trim(),
        );
        for key in ["embeds", "components"] {
            if payload[key].is_array() {
                message[key] = payload[key].clone();
            }
        }
        message["flags"] = (payload["flags"].as_u64().unwrap_or_default() & 4).into();
        if known {
            message["type"] = 19.into();
            message["message_reference"] = json!({ "message_id": referred, "channel_id": channel });
        }
        let files = request.files.iter().enumerate();
        let files: Vec<Value> = files
            .map(|(at, (name, data))| json!({ "id": at.to_string(), "filename": name, "size": data.len(), "url": "", "proxy_url": "" }))
            .collect();
        message["attachments"] = files.into();
        self.keep(&message);
        let id = message["id"].as_str().unwrap().to_owned();
        self.nonces.insert(key, id);
        let told = self.with_member(message.clone());
        self.tell("MESSAGE_CREATE", &told);
        if self.mood.made_and_lost > 0 {
            self.mood.made_and_lost -= 1;
            return error(502, 0, "502: Bad Gateway");
        }
        // Only who made it is told its nonce.
        message["nonce"] = nonce.into();
        (200, message)
    }

    /// What Discord refuses in a message.
    fn refused(&self, channel: &str, payload: &Value, files: &[(String, Vec<u8>)]) -> Option<Said> {
        let content = payload["content"].as_str().unwrap_or_default();
        let embeds = payload["embeds"].as_array().map_or(&[][..], Vec::as_slice);
        let described = embeds.iter().map(|e| {
            e["description"]
                .as_str()
                .unwrap_or_default()
                .chars()
                .count()
        });
        if !self.may(channel, 1 << 10) {
            return Some(error(403, 50001, "Missing Access"));
        }
        let rights = [
            (1 << 11, true),
            (1 << 14, !embeds.is_empty()),
            (1 << 15, !files.is_empty()),
        ];
        if rights
            .iter()
            .any(|(right, needed)| *needed && !self.may(channel, *right))
        {
            return Some(error(403, 50013, "Missing Permissions"));
        }
        if content.chars().count() > 2000 || described.clone().any(|n| n > 4096) {
            return Some(error(
                400,
                50035,
                "Invalid Form Body: content: Must be 2000 or fewer in length.",
            ));
        }
        if content.trim().is_empty() && embeds.is_empty() && files.is_empty() {
            return Some(error(400, 50006, "Cannot send an empty message"));
        }
        if files.len() > 10 || files.iter().any(|(_, data)| data.len() > 10 << 20) {
            return Some(error(413, 40005, "Request entity too large"));
        }
        let rows = payload["components"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        for button in rows
            .iter()
            .flat_map(|row| row["components"].as_array().unwrap())
        {
            let (id, label) = (
                button["custom_id"].as_str().unwrap(),
                button["label"].as_str().unwrap(),
            );
            if !(1..=100).contains(&id.len()) || !(1..=80).contains(&label.chars().count()) {
                return Some(error(400, 50035, "Invalid Form Body: components"));
            }
        }
        let rows_good = rows.len() <= 5
            && rows
                .iter()
                .all(|r| (1..=5).contains(&r["components"].as_array().unwrap().len()));
        (!rows_good).then(|| error(400, 50035, "Invalid Form Body: components"))
    }

    fn patch(&mut self, channel: &str, id: &str, payload: &Value) -> Said {
        if let Some(refused) = self.refused(channel, payload, &[]) {
            return refused;
        }
        let all = self.messages.get_mut(channel).into_iter().flatten();
        let mut found = all.filter(|m| m["id"] == id);
        let Some(message) = found.next() else {
            return error(404, 10008, "Unknown Message");
        };
        if message["author"]["id"] != ME {
            return error(403, 50005, "Cannot edit a message authored by another user");
        }
        for key in ["content", "embeds", "components", "flags"] {
            if !payload[key].is_null() {
                message[key] = payload[key].clone();
            }
        }
        message["edited_timestamp"] = super::chrono_now().into();
        let message = message.clone();
        let told = self.with_member(message.clone());
        self.tell("MESSAGE_UPDATE", &told);
        (200, message)
    }

    fn acknowledge(&mut self, token: &str, payload: &Value) -> Said {
        let Some((_, began, given)) = self.given.get_mut(token) else {
            return error(404, 10062, "Unknown interaction");
        };
        if began.elapsed() > Duration::from_secs(3) {
            return error(404, 10062, "Unknown interaction");
        }
        if given.acknowledged.is_some() {
            return error(400, 40060, "Interaction has already been acknowledged.");
        }
        given.acknowledged = Some(began.elapsed());
        given.flags = payload["data"]["flags"].as_u64().unwrap_or_default();
        (204, Value::Null)
    }

    fn tell_giver(&mut self, token: &str, payload: &Value) -> Said {
        let Some((channel, _, given)) = self.given.get_mut(token) else {
            return error(404, 10015, "Unknown Webhook");
        };
        if given.acknowledged.is_none() {
            return error(404, 10015, "Unknown Webhook");
        }
        given.said = payload["content"].as_str().map(str::to_owned);
        let (channel, text) = (channel.clone(), given.said.clone().unwrap_or_default());
        (200, self.message(&channel, ME, &text))
    }
}
