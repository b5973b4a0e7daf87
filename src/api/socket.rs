//! `/ws/chat/{session}`: frames out, messages in.

use std::{str::FromStr as _, time::Duration};

use axum::{
    extract::{
        State, WebSocketUpgrade,
        ws::{CloseFrame, Message, WebSocket},
    },
    response::Response,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    App,
    access::Caller,
    approvals::{self, Answered},
    chat::{self, Said, session_for},
    error::{ApiError, ApiResult, Path, Query},
    stream::{Following, follow},
};
use crate::{
    store::{frames, inbox::Accepted},
    types::{Attachment, SessionId, TurnId, WhenBusy},
};

/// Silence after which the connection is looked at.
const PING: Duration = Duration::from_secs(25);
/// A page that takes nothing for this long is gone.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Deserialize)]
pub(super) struct After {
    after: Option<i64>,
}

/// What a page sends.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Sent {
    Message {
        text: String,
        #[serde(default)]
        attachments: Vec<Attachment>,
        client_id: String,
        model: Option<String>,
        mode: Option<WhenBusy>,
        #[serde(default)]
        plan: bool,
    },
    Cancel {
        turn_id: TurnId,
    },
    Approval(Answered),
    Ping,
}

/// The upgrade; a session that does not exist or is not the caller's is refused before it.
pub(super) async fn chat(
    State(app): State<App>,
    caller: Caller,
    Path(session): Path<String>,
    Query(After { after }): Query<After>,
    upgrade: WebSocketUpgrade,
) -> ApiResult<Response> {
    let named = match session.as_str() {
        "new" => None,
        id => Some(SessionId::from_str(id).map_err(|_invalid| {
            ApiError::invalid(format!("`{id}` is no session id; `new` makes a session"))
        })?),
    };
    let session = session_for(&app, &caller, named).await?;
    let following = follow(&app, session, after).await?;
    let last_seq = app
        .store()
        .read(move |c| frames::last_of(c, session))
        .await?;
    let limit = app.config.max_body_bytes;
    Ok(upgrade
        .max_message_size(limit)
        .max_frame_size(limit)
        .on_upgrade(move |socket| {
            let opened = json!({
                "type": "session.opened", "seq": 0, "session_id": session, "last_seq": last_seq,
            });
            let talk = Talk {
                app,
                caller,
                session,
                socket,
            };
            talk.run(opened, following)
        }))
}

struct Talk {
    app: App,
    caller: Caller,
    session: SessionId,
    socket: WebSocket,
}

impl Talk {
    async fn run(mut self, opened: Value, mut following: Following) {
        let stopping = self.app.stopping.clone();
        let mut alive = self.send(&opened).await;
        while alive {
            alive = tokio::select! {
                frame = following.next() => match frame {
                    Some(frame) => self.send(&*frame).await,
                    // Fell behind: the page comes again with the last number it saw.
                    None => false,
                },
                message = self.socket.recv() => match message {
                    Some(Ok(message)) => self.take(message).await,
                    _ => false,
                },
                () = tokio::time::sleep(PING) => self.write(Message::Ping(Vec::new().into())).await,
                () = stopping.cancelled() => false,
            };
        }
        let close = CloseFrame {
            code: 1012,
            reason: "come again".into(),
        };
        self.write(Message::Close(Some(close))).await;
    }

    async fn take(&mut self, message: Message) -> bool {
        let sent = match message {
            Message::Text(text) => serde_json::from_str::<Sent>(&text),
            Message::Binary(bytes) => serde_json::from_slice::<Sent>(&bytes),
            Message::Ping(_) | Message::Pong(_) => return true,
            Message::Close(_) => return false,
        };
        let (client_id, done) = match sent {
            Ok(Sent::Ping) => return self.send(&self.plain("pong")).await,
            Ok(Sent::Message {
                text,
                attachments,
                client_id,
                model,
                mode,
                plan,
            }) => {
                let said = Said {
                    text,
                    attachments,
                    session: self.session,
                    client_id: client_id.clone(),
                    model,
                    mode,
                    plan,
                };
                (Some(client_id), self.accept(said).await)
            }
            Ok(Sent::Cancel { turn_id }) => {
                (None, chat::stop(&self.app, &self.caller, turn_id).await)
            }
            Ok(Sent::Approval(answered)) => {
                let decided = approvals::answer(&self.app, &self.caller, answered).await;
                (None, decided.map(drop))
            }
            Err(error) => (
                None,
                Err(ApiError::bad(format!(
                    "this frame is not understood: {error}"
                ))),
            ),
        };
        match done {
            Ok(()) => true,
            Err(error) => self.send(&self.refusal(&error, client_id)).await,
        }
    }

    /// A message that was there already is told of again: the page did not see it.
    async fn accept(&mut self, said: Said) -> ApiResult<()> {
        let accepted = chat::accept(&self.app, &self.caller, said).await?;
        if let Accepted::Again(id, session) = accepted {
            let found = self
                .app
                .store()
                .read(move |c| frames::of_message(c, session, id))
                .await?;
            if let Some(frame) = found {
                self.send(&frame).await;
            }
        }
        Ok(())
    }

    fn plain(&self, kind: &str) -> Value {
        json!({ "type": kind, "seq": 0, "session_id": self.session })
    }

    fn refusal(&self, error: &ApiError, client_id: Option<String>) -> Value {
        let mut frame = self.plain("error");
        let body = error.body("", "");
        if let (Some(frame), Some(error)) = (frame.as_object_mut(), body.get("error")) {
            for key in ["code", "message"] {
                frame.insert(key.to_owned(), error.get(key).cloned().unwrap_or_default());
            }
            if let Some(id) = client_id {
                frame.insert("client_id".to_owned(), id.into());
            }
        }
        frame
    }

    async fn send(&mut self, frame: &impl Serialize) -> bool {
        match serde_json::to_string(frame) {
            Ok(text) => self.write(Message::Text(text.into())).await,
            Err(error) => {
                tracing::error!(%error, "a frame could not be written as JSON");
                true
            }
        }
    }

    async fn write(&mut self, message: Message) -> bool {
        matches!(
            tokio::time::timeout(PATIENCE, self.socket.send(message)).await,
            Ok(Ok(()))
        )
    }
}
