//! `POST /api/v1/chat`: a message in, the answer out, whole or as server-sent events.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Json as Answer,
    extract::State,
    http::StatusCode,
    response::{
        IntoResponse as _, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    App,
    access::Caller,
    error::{ApiError, ApiResult, Json, Path},
    stream::{Following, follow},
};
use crate::{
    connectors::Inbox as _,
    store::{
        inbox, messages, sessions,
        turns::{self, StepKind},
        usage,
        users::Role,
    },
    types::{
        Address, Attachment, Inbound, MessageId, SessionId, TurnId, WhenBusy,
        frame::{Body, Frame, UsageInfo},
    },
};

/// Files with a message at most.
const FILES: usize = 8;
/// The longest text in bytes.
const LONGEST: usize = 256 << 10;

#[derive(Deserialize)]
pub(super) struct Request {
    message: String,
    session_id: Option<SessionId>,
    model: Option<String>,
    agent: Option<String>,
    #[serde(default)]
    attachments: Vec<Attachment>,
    #[serde(default)]
    stream: bool,
    mode: Option<WhenBusy>,
    #[serde(default)]
    plan: bool,
}

/// A message of the page, the API or the command line.
pub(super) struct Said {
    pub(super) text: String,
    pub(super) attachments: Vec<Attachment>,
    pub(super) session: SessionId,
    pub(super) client_id: String,
    pub(super) model: Option<String>,
    pub(super) mode: Option<WhenBusy>,
    pub(super) plan: bool,
}

/// Checks a message and puts it in the inbox.
pub(super) async fn accept(app: &App, caller: &Caller, said: Said) -> ApiResult<inbox::Accepted> {
    caller.need(Role::Member)?;
    if said.text.trim().is_empty() && said.attachments.is_empty() {
        return Err(ApiError::invalid("the message is empty"));
    }
    if said.text.len() > LONGEST {
        return Err(ApiError::invalid(format!(
            "the message is longer than {LONGEST} bytes"
        )));
    }
    if said.attachments.len() > FILES {
        return Err(ApiError::invalid(format!(
            "at most {FILES} files go with a message"
        )));
    }
    let odd = said.attachments.iter().find(|f| {
        !["image/", "audio/"]
            .iter()
            .any(|kind| f.media_type.starts_with(kind))
    });
    if let Some(file) = odd {
        return Err(ApiError::invalid(format!(
            "{} is {}: this version takes images and sound only",
            file.name, file.media_type
        )));
    }
    let from = Address::new(caller.channel, "", said.session.to_string());
    let external_id = format!("{}/{}", said.session, said.client_id);
    let inbound = Inbound {
        person: Some(caller.user),
        attachments: said.attachments,
        session: Some(said.session),
        model: said.model,
        mode: said.mode,
        plan: said.plan,
        ..Inbound::new(from, external_id, caller.user.to_string(), said.text)
    };
    Ok(app.agent.accept(inbound).await?)
}

/// The named session, if the caller may use it; else a new one.
pub(super) async fn session_for(
    app: &App,
    caller: &Caller,
    named: Option<SessionId>,
) -> ApiResult<SessionId> {
    let Some(id) = named else {
        let (channel, user, now) = (caller.channel, caller.user, app.clock().now());
        return Ok(app
            .store()
            .write(move |tx| sessions::create(tx, channel, user, now))
            .await?);
    };
    own(app, caller, id).await?;
    Ok(id)
}

/// Passes if the session exists and the caller may see it.
pub(super) async fn own(app: &App, caller: &Caller, id: SessionId) -> ApiResult<()> {
    let place = app.store().read(move |c| sessions::place(c, id)).await?;
    match place {
        Some((user, _)) if caller.scope().is_none_or(|own| own == user) => Ok(()),
        _ => Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "SESSION_NOT_FOUND",
            format!("there is no session {id}; leave it out to begin a new one"),
        )),
    }
}

/// Passes if there is an agent of this name.
pub(super) fn known_agent(name: Option<&str>) -> ApiResult<()> {
    match name.filter(|name| *name != "default") {
        None => Ok(()),
        Some(agent) => Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "AGENT_NOT_FOUND",
            format!("there is no agent `{agent}`"),
        )),
    }
}

/// The endpoint.
pub(super) async fn send(
    State(app): State<App>,
    caller: Caller,
    Json(request): Json<Request>,
) -> ApiResult<Response> {
    caller.need(Role::Member)?;
    known_agent(request.agent.as_deref())?;
    let session = session_for(&app, &caller, request.session_id).await?;
    // Follows before it speaks, so that nothing of the answer is missed.
    let following = follow(&app, session, None).await?;
    let said = Said {
        text: request.message,
        attachments: request.attachments,
        session,
        client_id: Uuid::now_v7().to_string(),
        model: request.model,
        mode: request.mode,
        plan: request.plan,
    };
    let (message, _) = accept(&app, &caller, said).await?.ids();
    if request.stream {
        return Ok(events(message, following).into_response());
    }
    let waited = tokio::select! {
        biased;
        waited = wait(message, following) => waited?,
        () = app.stopped.cancelled() => return Err(put_down(message)),
    };
    match waited {
        Waited::Over(turn) => {
            Ok(Answer(reply(&app, session, message, turn).await?).into_response())
        }
        Waited::Asks(turn, approval) => {
            let asks = json!({ "session_id": session, "message_id": message, "turn_id": turn,
                               "approval": approval });
            Ok((StatusCode::ACCEPTED, Answer(asks)).into_response())
        }
    }
}

/// What a caller that waits for a whole answer gets.
enum Waited {
    Over(TurnId),
    /// The turn waits for a person.
    Asks(TurnId, Value),
}

/// Follows one message through its turn: tells which frames belong to it.
struct Watch {
    message: MessageId,
    turn: Option<TurnId>,
    over: bool,
}

impl Watch {
    fn new(message: MessageId) -> Self {
        Self {
            message,
            turn: None,
            over: false,
        }
    }

    fn concerns(&mut self, frame: &Frame) -> bool {
        match &frame.body {
            Body::Accepted { message_id, .. } => *message_id == self.message,
            Body::Joined {
                turn_id,
                message_id,
            }
            | Body::Started {
                turn_id,
                message_id,
                ..
            } if *message_id == self.message => {
                self.turn = Some(*turn_id);
                true
            }
            body => {
                let ours = self.turn.is_some() && body.turn() == self.turn;
                self.over |= ours && body.ends_turn();
                ours
            }
        }
    }
}

/// The daemon stops before the answer is there.
fn put_down(message: MessageId) -> ApiError {
    ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "STOPPING",
        format!(
            "nexflow is stopping; the message {message} is kept and answered after the next start"
        ),
    )
}

async fn wait(message: MessageId, mut following: Following) -> ApiResult<Waited> {
    let mut watch = Watch::new(message);
    while let Some(frame) = following.next().await {
        let ours = watch.concerns(&frame);
        if let (true, Some(turn)) = (watch.over, watch.turn) {
            return Ok(Waited::Over(turn));
        }
        if let (
            true,
            Body::ApprovalRequested {
                turn_id, approval, ..
            }
            | Body::PlanProposed {
                turn_id, approval, ..
            },
        ) = (ours, &frame.body)
        {
            return Ok(Waited::Asks(*turn_id, approval.clone()));
        }
    }
    Err(ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "BEHIND",
        format!(
            "the answer to {message} is not lost, but could not be followed; read it from its session"
        ),
    ))
}

fn events(
    message: MessageId,
    following: Following,
) -> Sse<impl stream::Stream<Item = Result<Event, Infallible>>> {
    let state = (Watch::new(message), Box::pin(following.into_stream()));
    let frames = stream::unfold(state, |(mut watch, mut frames)| async move {
        if watch.over {
            return None;
        }
        loop {
            let frame: Arc<Frame> = frames.next().await?;
            if watch.concerns(&frame) {
                let data = serde_json::to_string(&*frame).unwrap_or_default();
                return Some((Ok(Event::default().data(data)), (watch, frames)));
            }
        }
    });
    Sse::new(frames).keep_alive(KeepAlive::default())
}

#[derive(Serialize)]
struct CallInfo {
    id: String,
    skill: String,
    status: &'static str,
}

async fn reply(
    app: &App,
    session: SessionId,
    message: MessageId,
    turn_id: TurnId,
) -> ApiResult<Value> {
    let read = app.store().read(move |c| {
        let turn = turns::get(c, turn_id)?;
        let steps = turns::steps(c, turn_id)?;
        Ok((
            turn,
            steps,
            messages::answer_of(c, turn_id)?,
            usage::of_turn(c, turn_id)?,
        ))
    });
    let (turn, steps, answer, (used, cost)) = read.await?;
    let calls: Vec<CallInfo> = steps
        .into_iter()
        .filter_map(|step| match step.kind {
            StepKind::Tool { call, .. } => Some(CallInfo {
                id: call.id,
                skill: call.tool,
                status: step.status.as_str(),
            }),
            StepKind::Model { .. } => None,
        })
        .collect();
    let answer = answer.map(|m| (m.text, m.status)).unwrap_or_default();
    let turn = turn.ok_or_else(|| ApiError::not_found("such turn"))?;
    if turn.error.as_deref() == Some("BUDGET") {
        let error = ApiError::new(StatusCode::PAYMENT_REQUIRED, "BUDGET", answer.0);
        return Err(
            error.with(json!({ "session_id": session, "message_id": message, "turn_id": turn_id }))
        );
    }
    Ok(json!({
        "session_id": session,
        "message_id": message,
        "turn_id": turn_id,
        "reply": answer.0,
        "status": answer.1,
        "error": turn.error,
        "tool_calls": calls,
        "usage": UsageInfo::new(used, cost),
        "provider": turn.provider,
        "model": turn.model,
    }))
}

/// Stops a running turn.
pub(super) async fn cancel(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<TurnId>,
) -> ApiResult<StatusCode> {
    stop(&app, &caller, id).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Stops a running turn of a session that the caller may use.
pub(super) async fn stop(app: &App, caller: &Caller, id: TurnId) -> ApiResult<()> {
    caller.need(Role::Member)?;
    let turn = app.store().read(move |c| turns::get(c, id)).await?;
    let Some(turn) = turn else {
        return Err(ApiError::not_found("such turn"));
    };
    own(app, caller, turn.session).await?;
    // Both: it may begin to wait for a person just now.
    let runs = app.agent.cancel(id);
    if app.agent.cancel_parked(id).await? || runs {
        return Ok(());
    }
    let turn = app.store().read(move |c| turns::get(c, id)).await?;
    if turn.is_some_and(|turn| turn.state == "running") {
        app.agent.cancel_soon(id);
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::CONFLICT,
        "NOT_RUNNING",
        "this turn does not run any more",
    ))
}
