//! The gateway's side of a connection.

use std::time::Duration;

use axum::{
    extract::{
        Query, State, WebSocketUpgrade,
        ws::{CloseFrame, Message, WebSocket},
    },
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use flate2::{Compress, Compression, FlushCompress};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{APPLICATION, GUILD, ME, MESSAGE_CONTENT, Order, Session, Shared, World, person};

pub(super) async fn open(
    State(world): State<Shared>,
    Query(query): Query<Vec<(String, String)>>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let of = |key: &str| {
        query
            .iter()
            .find(|(k, _)| k == key)
            .map(|(_, v)| v.as_str())
    };
    if of("v") != Some("10") || of("encoding") != Some("json") {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let packed = match of("compress") {
        None => None,
        Some("zlib-stream") => Some(Compress::new(Compression::fast(), true)),
        Some(_) => return StatusCode::BAD_REQUEST.into_response(),
    };
    if !world.lock().unwrap().mood.up {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    upgrade.on_upgrade(move |socket| async move {
        let mut connection = Connection {
            world,
            socket,
            packed,
            session: None,
        };
        connection.run().await;
    })
}

struct Connection {
    world: Shared,
    socket: WebSocket,
    /// One stream over all frames of the connection, where the client asked for it.
    packed: Option<Compress>,
    session: Option<String>,
}

impl Connection {
    async fn run(&mut self) {
        let beat = self.world.lock().unwrap().mood.heartbeat_ms;
        self.send(json!({ "op": 10, "d": { "heartbeat_interval": beat, "_trace": [] } }))
            .await;
        let (orders, mut ordered) = mpsc::channel(10_000);
        // Discord closes a connection that does not beat.
        let silence = Duration::from_millis(beat * 3);
        loop {
            tokio::select! {
                order = ordered.recv() => match order {
                    Some(Order::Send(text)) => {
                        let frame = self.packed(text);
                        if self.socket.send(frame).await.is_err() {
                            return;
                        }
                    }
                    Some(Order::Close(code)) => return self.close(code).await,
                    Some(Order::Cut) | None => return,
                },
                frame = tokio::time::timeout(silence, self.socket.recv()) => match frame {
                    Err(_) => return self.close(4009).await,
                    Ok(Some(Ok(Message::Text(text)))) => {
                        if !self.frame(&text, &orders).await {
                            return;
                        }
                    }
                    Ok(Some(Ok(Message::Close(frame)))) => {
                        // A normal end is the end of the session.
                        if frame.is_some_and(|frame| matches!(frame.code, 1000 | 1001)) && let Some(session) = &self.session {
                            self.world.lock().unwrap().sessions.remove(session);
                        }
                        return;
                    }
                    Ok(Some(Ok(_))) => {}
                    Ok(Some(Err(_)) | None) => return,
                },
            }
        }
    }

    async fn send(&mut self, frame: Value) {
        let frame = self.packed(frame.to_string());
        drop(self.socket.send(frame).await);
    }

    /// A frame as it goes out. In a stream each ends with a flush, by which a client knows it is whole.
    fn packed(&mut self, text: String) -> Message {
        let Some(packed) = &mut self.packed else {
            return Message::text(text);
        };
        let mut out = Vec::with_capacity(text.len() + 64);
        let (mut left, begun) = (text.as_bytes(), packed.total_in());
        loop {
            packed
                .compress_vec(left, &mut out, FlushCompress::Sync)
                .unwrap();
            let read = usize::try_from(packed.total_in() - begun).unwrap();
            left = &text.as_bytes()[read..];
            // With room to spare, everything is flushed.
            if left.is_empty() && out.len() < out.capacity() {
                return Message::binary(out);
            }
            out.reserve(text.len() + 64);
        }
    }

    async fn close(&mut self, code: u16) {
        let frame = CloseFrame {
            code,
            reason: format!("the fake says {code}").into(),
        };
        drop(self.socket.send(Message::Close(Some(frame))).await);
    }

    /// What the client sent; whether the connection goes on.
    async fn frame(&mut self, text: &str, orders: &mpsc::Sender<Order>) -> bool {
        let Ok(frame) = serde_json::from_str::<Value>(text) else {
            self.close(4002).await;
            return false;
        };
        match frame["op"].as_u64() {
            Some(1) => self.beat(&frame["d"]).await,
            Some(2) if self.session.is_some() => self.refuse(4005).await,
            Some(2) => self.identify(&frame["d"], orders).await,
            Some(6) => self.resume(&frame["d"], orders).await,
            Some(3 | 4 | 8) if self.session.is_none() => self.refuse(4003).await,
            Some(3 | 4 | 8) => true,
            _ => self.refuse(4001).await,
        }
    }

    async fn refuse(&mut self, code: u16) -> bool {
        self.close(code).await;
        false
    }

    async fn beat(&mut self, seq: &Value) -> bool {
        let (acks, sent) = {
            let world = self.world.lock().unwrap();
            let session = self.session.as_ref().and_then(|id| world.sessions.get(id));
            (world.mood.acks, session.map(|session| session.seq))
        };
        if seq
            .as_u64()
            .zip(sent)
            .is_some_and(|(told, sent)| told > sent)
        {
            return self.refuse(4007).await;
        }
        if acks {
            self.send(json!({ "op": 11 })).await;
        }
        true
    }

    fn token_is_right(&self, data: &Value) -> bool {
        let given = data["token"].as_str().unwrap_or_default();
        given.trim_start_matches("Bot ") == self.world.lock().unwrap().mood.token
    }

    async fn identify(&mut self, data: &Value, orders: &mpsc::Sender<Order>) -> bool {
        if !self.token_is_right(data) {
            return self.refuse(4004).await;
        }
        let Some(intents) = data["intents"]
            .as_u64()
            .filter(|_| data["properties"].is_object())
        else {
            return self.refuse(4002).await;
        };
        if intents >> 26 != 0 {
            return self.refuse(4013).await;
        }
        let begun = self
            .world
            .lock()
            .unwrap()
            .begin(intents, &data["shard"], orders);
        match begun {
            Ok(id) => self.session = Some(id),
            Err(code) => return self.refuse(code).await,
        }
        true
    }

    async fn resume(&mut self, data: &Value, orders: &mpsc::Sender<Order>) -> bool {
        if !self.token_is_right(data) {
            return self.refuse(4004).await;
        }
        let id = data["session_id"].as_str().unwrap_or_default().to_owned();
        let after = data["seq"].as_u64().unwrap_or_default();
        let known = {
            let mut world = self.world.lock().unwrap();
            let known = world
                .sessions
                .get_mut(&id)
                .filter(|session| after <= session.seq);
            let resumed = known.map(|session| {
                let missed = session.events.iter().filter(|(seq, _)| *seq > after);
                for (_, event) in missed {
                    drop(orders.try_send(Order::Send(event.clone())));
                }
                session.live = Some(orders.clone());
                session.tell("RESUMED", &json!({ "_trace": [] }), true);
            });
            world.resumed += u32::from(resumed.is_some());
            resumed.is_some()
        };
        if known {
            self.session = Some(id);
        } else {
            self.send(json!({ "op": 9, "d": false })).await;
        }
        true
    }
}

impl World {
    /// A new session. At once, so that no event falls in between.
    fn begin(
        &mut self,
        intents: u64,
        shard: &Value,
        orders: &mpsc::Sender<Order>,
    ) -> Result<String, u16> {
        if intents & MESSAGE_CONTENT != 0 && !self.mood.content {
            return Err(4014);
        }
        self.identified += 1;
        let id = format!("session-{}", self.identified);
        let ready = json!({
            "v": 10, "user": person(ME), "guilds": [{ "id": GUILD, "unavailable": true }], "session_id": id,
            "resume_gateway_url": format!("{}/resume", self.url.replacen("http", "ws", 1)),
            "application": { "id": APPLICATION, "flags": 1 << 19 }, "private_channels": [], "relationships": [],
            "shard": shard, "_trace": [],
        });
        let mut session = Session {
            live: Some(orders.clone()),
            ..Session::default()
        };
        session.tell("READY", &ready, true);
        session.tell("GUILD_CREATE", &self.guild(), true);
        self.sessions.insert(id.clone(), session);
        Ok(id)
    }
}
