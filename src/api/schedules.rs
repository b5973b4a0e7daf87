//! Reminders and repeated jobs.

use axum::{Json as Answer, extract::State, http::StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    App,
    access::Caller,
    chat::own,
    error::{ApiError, ApiResult, Json, Path},
};
use crate::{
    schedule::{Job, ScheduleError},
    store::{
        schedules::{self, Kind, Schedule},
        sessions, users,
        users::Role,
    },
    types::{Address, Place, ScheduleId, SessionId},
};

/// What still fires.
pub(super) async fn list(State(app): State<App>, caller: Caller) -> ApiResult<Answer<Value>> {
    let found = app.agent.parts().kit.schedules.list(caller.scope()).await?;
    Ok(Answer(json!({ "schedules": found })))
}

#[derive(Deserialize)]
pub(super) struct New {
    when: String,
    text: Option<String>,
    skill: Option<String>,
    input: Option<Value>,
    prompt: Option<String>,
    session_id: Option<SessionId>,
}

/// A reminder (`text`), a skill (`skill`, `input`) or a question to the agent (`prompt`).
pub(super) async fn add(
    State(app): State<App>,
    caller: Caller,
    Json(new): Json<New>,
) -> ApiResult<(StatusCode, Answer<Schedule>)> {
    caller.need(Role::Member)?;
    let job = match (new.text, new.skill, new.prompt) {
        (Some(text), None, None) => Job {
            kind: Kind::Reminder,
            skill: None,
            input: text.into(),
        },
        (None, Some(skill), None) => {
            if app.agent.parts().kit.catalog.get(&skill).is_none() {
                return Err(ApiError::not_found(&format!("skill `{skill}`")));
            }
            let input = new.input.unwrap_or_else(|| json!({}));
            Job {
                kind: Kind::Skill,
                skill: Some(skill),
                input,
            }
        }
        (None, None, Some(prompt)) => Job {
            kind: Kind::Prompt,
            skill: None,
            input: prompt.into(),
        },
        _ => return Err(ApiError::invalid("send one of `text`, `skill` or `prompt`")),
    };
    let place = place(&app, &caller, new.session_id).await?;
    let made = app
        .agent
        .parts()
        .kit
        .schedules
        .add(&place, job, &new.when)
        .await?;
    Ok((StatusCode::CREATED, Answer(made)))
}

/// Where something that the caller asks for happens: the named session, or the one that is kept for
/// what they do outside conversations.
pub(super) async fn place(
    app: &App,
    caller: &Caller,
    session: Option<SessionId>,
) -> ApiResult<Place> {
    if let Some(named) = session {
        own(app, caller, named).await?;
    }
    let (user, channel, now) = (caller.user, caller.channel, app.clock().now());
    let read = app.store().write(move |tx| {
        let outside = Address::new(channel, "outside", user.to_string());
        let session = match session {
            Some(named) => named,
            None => sessions::at(tx, &outside, user, now)?,
        };
        let address = sessions::place(tx, session)?.map(|(_, address)| address);
        let address = address.unwrap_or(outside);
        let room = sessions::room(tx, session)?.is_some();
        Ok((session, address, room, users::get(tx, user)?))
    });
    let (session, address, room, found) = read.await?;
    Ok(Place {
        session,
        user,
        person: found.map_or(user, |u| u.person),
        address,
        external_user: user.to_string(),
        room,
    })
}

/// Removes one.
pub(super) async fn remove(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> ApiResult<StatusCode> {
    caller.need(Role::Member)?;
    app.agent
        .parts()
        .kit
        .schedules
        .remove(caller.scope(), &id)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Fires one now, besides its times.
pub(super) async fn run(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<ScheduleId>,
) -> ApiResult<StatusCode> {
    caller.need(Role::Member)?;
    let found = app.store().read(move |c| schedules::get(c, id)).await?;
    let schedule = found.filter(|s| caller.scope().is_none_or(|own| own == s.user_id));
    let schedule = schedule.ok_or_else(|| ApiError::not_found("such schedule"))?;
    app.agent.fire_now(schedule).await?;
    Ok(StatusCode::ACCEPTED)
}

impl From<ScheduleError> for ApiError {
    fn from(error: ScheduleError) -> Self {
        match error {
            ScheduleError::When(_) => Self::invalid(error.to_string()),
            ScheduleError::TooMany => {
                Self::new(StatusCode::CONFLICT, "TOO_MANY", error.to_string())
            }
            ScheduleError::Unknown(_) => Self::not_found("such schedule"),
            ScheduleError::Store(store) => store.into(),
        }
    }
}
