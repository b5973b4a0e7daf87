//! Conversations: lists, one of them, what was said in it.

use axum::{Json as Answer, extract::State, http::StatusCode};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    App,
    access::Caller,
    chat::own,
    error::{ApiError, ApiResult, Path, Query},
};
use crate::{
    store::{
        Result, audit, frames, inbox,
        messages::{self, Author},
        sessions::{self, Filter},
        turns::{self, StepKind},
        usage,
        users::Role,
    },
    types::{
        MessageId, SessionId, Timestamp, TurnId,
        frame::{AttachmentInfo, UsageInfo},
    },
};

#[derive(Deserialize)]
pub(super) struct Page {
    limit: Option<u32>,
    cursor: Option<i64>,
    q: Option<String>,
}

/// The caller's sessions, newest first.
pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(page): Query<Page>,
) -> ApiResult<Answer<Value>> {
    let limit = page.limit.unwrap_or(50).clamp(1, 200);
    let filter = Filter {
        limit,
        before: page.cursor.map(Timestamp),
        words: page.q.filter(|q| !q.trim().is_empty()),
        user: caller.scope(),
    };
    let found = app
        .store()
        .read(move |c| sessions::list(c, &filter))
        .await?;
    let more = found.len() == limit as usize;
    let next = found.last().filter(|_| more).map(|s| s.updated_at.0);
    Ok(Answer(json!({ "sessions": found, "next_cursor": next })))
}

/// One session.
pub(super) async fn show(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<SessionId>,
) -> ApiResult<Answer<sessions::Session>> {
    own(&app, &caller, id).await?;
    let found = app.store().read(move |c| sessions::get(c, id)).await?;
    found
        .map(Answer)
        .ok_or_else(|| ApiError::not_found("such session"))
}

/// Removes a session with everything said in it.
pub(super) async fn remove(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<SessionId>,
) -> ApiResult<StatusCode> {
    caller.need(Role::Member)?;
    own(&app, &caller, id).await?;
    let running = app.store().read(move |c| turns::running(c, id)).await?;
    if let Some(turn) = running {
        app.agent.cancel(turn.id);
    }
    let now = app.clock().now();
    let (deed, origin) = (caller.deed(now, "session.delete", id), caller.origin());
    app.store()
        .write(move |tx| {
            sessions::delete(tx, id)?;
            audit::append_from(tx, &deed, &origin)
        })
        .await?;
    // What its skills made goes with it. Links in there are removed, not followed.
    let workspace = app.agent.parts().kit.workspaces.join(id.to_string());
    if let Err(error) = tokio::fs::remove_dir_all(&workspace).await
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(session_id = %id, %error, "the workspace of a deleted session is left behind");
    }
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
pub(super) struct History {
    limit: Option<u32>,
    before: Option<MessageId>,
}

#[derive(Serialize)]
struct Said {
    id: MessageId,
    role: &'static str,
    text: String,
    at: Timestamp,
    turn_id: Option<TurnId>,
    status: String,
    channel: String,
    attachments: Vec<AttachmentInfo>,
    tool_calls: Vec<Call>,
    provider: Option<String>,
    model: Option<String>,
    usage: Option<UsageInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    edited_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_at: Option<Timestamp>,
}

#[derive(Serialize)]
struct Call {
    id: String,
    skill: String,
    status: &'static str,
    input: Value,
    output: Value,
    duration_ms: u64,
}

/// What was said, oldest first, and the number after which to follow the session. While a turn runs
/// that number is before its beginning: all of it comes through the stream.
pub(super) async fn messages(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<SessionId>,
    Query(page): Query<History>,
) -> ApiResult<Answer<Value>> {
    own(&app, &caller, id).await?;
    let limit = page.limit.unwrap_or(200).clamp(1, 500);
    let read = app.store().read(move |c| {
        let found = messages::latest(c, id, page.before, limit)?;
        let more = found.len() == limit as usize;
        let next = found.first().filter(|_| more).map(|m| m.id);
        let channel = sessions::place(c, id)?
            .map(|(_, at)| at.connector)
            .unwrap_or_default();
        let shown: Result<Vec<Said>> = found.into_iter().map(|m| said(c, m, &channel)).collect();
        let seq = match turns::running(c, id)? {
            Some(turn) => frames::before_turn(c, id, turn.id)?,
            None => frames::last_of(c, id)?,
        };
        Ok(json!({ "messages": shown?, "seq": seq, "next_cursor": next }))
    });
    Ok(Answer(read.await?))
}

fn said(c: &Connection, message: messages::Message, channel: &str) -> Result<Said> {
    let user = message.author == Author::User;
    let turn = match message.turn {
        Some(id) if !user => turns::get(c, id)?,
        _ => None,
    };
    let mut shown = Said {
        id: message.id,
        role: if user { "user" } else { "assistant" },
        text: message.text,
        at: message.at,
        turn_id: message.turn,
        status: message.status,
        channel: channel.to_owned(),
        attachments: messages::attachment_infos(c, message.id)?,
        tool_calls: Vec::new(),
        provider: None,
        model: None,
        usage: None,
        edited_at: None,
        deleted_at: None,
    };
    if user {
        let note = messages::note(c, message.id)?;
        (shown.edited_at, shown.deleted_at) = (note.edited_at, note.deleted_at);
        if let Some((state, _)) = inbox::state(c, message.id)? {
            shown.status = match state.as_str() {
                "answered" => "ok".to_owned(),
                // The answer is that of the turn it joined.
                "merged" => match message
                    .turn
                    .map(|id| turns::get(c, id))
                    .transpose()?
                    .flatten()
                {
                    Some(turn) if turn.state != "answered" => turn.state,
                    _ => "ok".to_owned(),
                },
                _ => state,
            };
        }
    }
    if let Some(turn) = turn {
        let (used, cost) = usage::of_turn(c, turn.id)?;
        shown.usage = Some(UsageInfo::new(used, cost));
        shown.tool_calls = calls(c, turn.id)?;
        shown.provider = turn.provider;
        shown.model = turn.model;
    }
    Ok(shown)
}

fn calls(c: &Connection, turn: TurnId) -> Result<Vec<Call>> {
    let steps = turns::steps(c, turn)?.into_iter();
    Ok(steps
        .filter_map(|step| {
            let took = step
                .finished_at
                .unwrap_or(step.started_at)
                .since(step.started_at);
            let StepKind::Tool { call, detail, .. } = step.kind else {
                return None;
            };
            Some(Call {
                id: call.id,
                skill: call.tool,
                status: step.status.as_str(),
                input: call.args,
                output: detail,
                duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            })
        })
        .collect())
}
