//! Signing in and out, login links, API tokens.

use std::{net::IpAddr, time::Duration};

use axum::{
    Json as Answer,
    extract::State,
    http::{Extensions, HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    App,
    access::{COOKIE, Caller, cookie, hash, new_token, peer},
    error::{ApiError, ApiResult, Json, Path},
};
use crate::{
    store::{
        audit::{self, Origin},
        tokens::{self, Kind, Token},
        users::{self, Role},
    },
    types::{Secret, Timestamp, TokenId, UserId},
};

/// How long a login link is good.
const LINK: Duration = Duration::from_mins(10);
/// How long a browser stays signed in.
const SESSION: Duration = Duration::from_hours(24 * 90);

#[derive(Deserialize)]
pub(super) struct Login {
    code: Option<Secret>,
    token: Option<Secret>,
}

/// A code or token for a cookie.
pub(super) async fn login(
    State(app): State<App>,
    extensions: Extensions,
    Json(login): Json<Login>,
) -> ApiResult<Response> {
    let (now, peer) = (app.clock().now(), peer(&extensions));
    let (kind, given) = match (login.code, login.token) {
        (Some(code), None) => (Kind::Link, code),
        (None, Some(token)) => (Kind::Api, token),
        _ => return Err(ApiError::invalid("send either `code` or `token`")),
    };
    let (session, given) = (new_token("nxs_"), hash(&given));
    let stored = hash(&session);
    let signed_in = app.store().write(move |tx| {
        let Some(token) = tokens::find(tx, kind, &given, now)? else {
            return Ok(None);
        };
        if kind == Kind::Link {
            tokens::remove(tx, token.id)?;
        }
        let row = row(
            "browser",
            token.user_id,
            token.role,
            (now, Some(now.plus(SESSION))),
        );
        tokens::insert(tx, Kind::Session, &stored, &row)?;
        let user = users::get(tx, token.user_id)?;
        if let Some(user) = &user {
            let entry = audit::Entry::new(now, &user.name, "auth.login", token.name);
            audit::append_from(tx, &entry, &web(peer))?;
        }
        Ok(user)
    });
    let Some(user) = signed_in.await? else {
        super::audit::refused(&app, peer, "a wrong code or token at the login").await;
        return Err(ApiError::unauthorized(
            "this code or token is not valid: a login link works once and for ten minutes; `nexflow init` prints a new one",
        ));
    };
    let mut response = Answer(json!({ "user": user })).into_response();
    set_cookie(&mut response, session.expose(), SESSION.as_secs());
    Ok(response)
}

/// Ends the browser's session.
pub(super) async fn logout(
    State(app): State<App>,
    extensions: Extensions,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let (now, peer) = (app.clock().now(), peer(&extensions));
    if let Some(value) = cookie(&headers) {
        let hash = hash(&value);
        app.store()
            .write(move |tx| {
                if let Some(token) = tokens::find(tx, Kind::Session, &hash, now)? {
                    tokens::remove(tx, token.id)?;
                    let name = users::get(tx, token.user_id)?.map(|user| user.name);
                    let actor = name.unwrap_or_default();
                    let entry = audit::Entry::new(now, &actor, "auth.logout", token.name);
                    audit::append_from(tx, &entry, &web(peer))?;
                }
                Ok(())
            })
            .await?;
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    set_cookie(&mut response, "", 0);
    Ok(response)
}

fn web(peer: Option<IpAddr>) -> Origin {
    Origin::from(peer.map_or_else(|| "web".to_owned(), |ip| format!("web {ip}")))
}

fn set_cookie(response: &mut Response, value: &str, age: u64) {
    let cookie = format!("{COOKIE}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict");
    if let Ok(value) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
}

fn row(
    name: &str,
    user_id: UserId,
    role: Role,
    (now, end): (Timestamp, Option<Timestamp>),
) -> Token {
    Token {
        id: TokenId::new(),
        user_id,
        name: name.to_owned(),
        role,
        created_at: now,
        expires_at: end,
        used_at: None,
    }
}

/// A one-time login link for the caller.
pub(super) async fn link(State(app): State<App>, caller: Caller) -> ApiResult<Answer<Value>> {
    let (url, expires_at) = make_link(&app, caller.user, caller.role).await?;
    Ok(Answer(json!({ "url": url, "expires_at": expires_at })))
}

/// Makes a login link; its code is not registered as a secret that outlives ten minutes.
pub(super) async fn make_link(
    app: &App,
    user: UserId,
    role: Role,
) -> ApiResult<(String, Timestamp)> {
    let now = app.clock().now();
    let (code, end) = (new_token(""), now.plus(LINK));
    let stored = hash(&code);
    app.store()
        .write(move |tx| {
            tokens::insert(
                tx,
                Kind::Link,
                &stored,
                &row("login link", user, role, (now, Some(end))),
            )
        })
        .await?;
    Ok((format!("{}/#code={}", app.url, code.expose()), end))
}

#[derive(Deserialize)]
pub(super) struct New {
    name: String,
    role: Option<Role>,
}

/// Makes an API token; its value is in this answer alone.
pub(super) async fn create(
    State(app): State<App>,
    caller: Caller,
    Json(new): Json<New>,
) -> ApiResult<Response> {
    caller.need(Role::Owner)?;
    if new.name.trim().is_empty() || new.name.len() > 100 {
        return Err(ApiError::invalid("`name` must have 1 to 100 bytes"));
    }
    let (value, now) = (new_token("nxf_"), app.clock().now());
    let stored = hash(&value);
    let token = row(
        new.name.trim(),
        caller.user,
        new.role.unwrap_or(Role::Owner),
        (now, None),
    );
    let detail = json!({ "role": token.role, "id": token.id });
    let deed = caller.deed(now, "token.create", &token.name).with(detail);
    let (kept, origin) = (token.clone(), caller.origin());
    app.store()
        .write(move |tx| {
            tokens::insert(tx, Kind::Api, &stored, &kept)?;
            audit::append_from(tx, &deed, &origin)
        })
        .await?;
    let body =
        json!({ "id": token.id, "name": token.name, "role": token.role, "token": value.expose() });
    Ok((StatusCode::CREATED, Answer(body)).into_response())
}

/// API tokens without their values.
pub(super) async fn list(State(app): State<App>, caller: Caller) -> ApiResult<Answer<Value>> {
    caller.need(Role::Owner)?;
    Ok(Answer(
        json!({ "tokens": app.store().read(tokens::list).await? }),
    ))
}

/// Ends a token.
pub(super) async fn revoke(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<TokenId>,
) -> ApiResult<StatusCode> {
    caller.need(Role::Owner)?;
    let now = app.clock().now();
    let (deed, origin) = (caller.deed(now, "token.revoke", id), caller.origin());
    let gone = app.store().write(move |tx| {
        let gone = tokens::remove(tx, id)?;
        if gone {
            audit::append_from(tx, &deed, &origin)?;
        }
        Ok(gone)
    });
    if gone.await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(ApiError::not_found("such token"))
    }
}
