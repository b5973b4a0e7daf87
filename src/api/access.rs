//! Who may come in: request ids, `Host` and `Origin`, callers and their roles, headers, the access log.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr as _,
};

use axum::{
    extract::{ConnectInfo, FromRequestParts, Request, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts, uri::Authority,
    },
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use sha2::{Digest as _, Sha256};
use tracing::Instrument as _;
use uuid::Uuid;

use super::{App, audit, error::ApiError};
use crate::{
    store::{
        tokens::{self, Kind},
        users::{self, Role, User},
    },
    types::{Secret, UserId},
};

/// The page's cookie.
pub(super) const COOKIE: &str = "nexflow_session";

/// Through which door requests come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// TCP: callers show a token or a cookie.
    Network,
    /// A Unix socket that only the daemon's user can open: callers are the owner.
    Local,
}

/// Who calls.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// Account.
    pub user: UserId,
    /// Display name.
    pub name: String,
    /// What they may do through this token.
    pub role: Role,
    /// Through which connector their messages count as coming: `web` or `cli`.
    pub channel: &'static str,
    /// The address that they call from, over the network.
    pub peer: Option<IpAddr>,
}

impl Caller {
    /// Passes if the caller has this role or more.
    pub(super) fn need(&self, role: Role) -> Result<(), ApiError> {
        if self.role >= role {
            return Ok(());
        }
        let text = format!(
            "this needs the role {}, yours is {}",
            role.as_str(),
            self.role.as_str()
        );
        Err(ApiError::forbidden(text))
    }

    /// Whose rows the caller may see: their own, or everybody's for the owner.
    pub(super) fn scope(&self) -> Option<UserId> {
        (self.role != Role::Owner).then_some(self.user)
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let door = parts
            .extensions
            .get::<Door>()
            .copied()
            .unwrap_or(Door::Network);
        if door == Door::Local {
            return Ok(owner(app).await?.1);
        }
        let now = app.clock().now();
        let peer = peer(&parts.extensions);
        let (kind, secret) = credential(&parts.headers).ok_or_else(|| {
            ApiError::unauthorized(
                "sign in, or send `Authorization: Bearer TOKEN` (`nexflow token create` makes one)",
            )
        })?;
        let hash = hash(&secret);
        let found = app.store().read(move |c| {
            let Some(token) = tokens::find(c, kind, &hash, now)? else {
                return Ok(None);
            };
            Ok(users::get(c, token.user_id)?.map(|user| (token, user)))
        });
        let Some((token, user)) = found.await? else {
            audit::refused(app, peer, "an unknown or ended token").await;
            return Err(ApiError::unauthorized(
                "this token is not known, was revoked or has expired",
            ));
        };
        if token
            .used_at
            .is_none_or(|at| now.since(at).as_secs() > 3600)
        {
            app.store()
                .write(move |tx| tokens::touch(tx, token.id, now))
                .await?;
        }
        let role = token.role.min(user.role);
        Ok(Self {
            user: user.id,
            name: user.name,
            role,
            channel: "web",
            peer,
        })
    }
}

/// The owner's account, for the local door.
pub(super) async fn owner(app: &App) -> Result<(User, Caller), ApiError> {
    let now = app.clock().now();
    let user = match app.store().read(users::find_owner).await? {
        Some(user) => user,
        None => app.store().write(move |tx| users::owner(tx, now)).await?,
    };
    let caller = Caller {
        user: user.id,
        name: user.name.clone(),
        role: Role::Owner,
        channel: "cli",
        peer: None,
    };
    Ok((user, caller))
}

/// The address that a request comes from.
pub(super) fn peer(extensions: &http::Extensions) -> Option<IpAddr> {
    let info = extensions.get::<ConnectInfo<SocketAddr>>();
    info.map(|ConnectInfo(address)| address.ip().to_canonical())
}

/// The hash under which a token is stored.
pub(super) fn hash(token: &Secret) -> Vec<u8> {
    Sha256::digest(token.expose().as_bytes()).to_vec()
}

fn credential(headers: &HeaderMap) -> Option<(Kind, Secret)> {
    let text = |name: HeaderName| headers.get(name).and_then(|v| v.to_str().ok());
    let bearer = text(header::AUTHORIZATION)
        .and_then(|v| v.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    let key = bearer.or_else(|| text(HeaderName::from_static("x-api-key")).map(str::trim));
    if let Some(token) = key {
        return Some((Kind::Api, Secret::new(token)));
    }
    cookie(headers).map(|value| (Kind::Session, value))
}

/// The page's session, if the request has one.
pub(super) fn cookie(headers: &HeaderMap) -> Option<Secret> {
    let all = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|v| v.to_str().ok());
    let mut pairs = all
        .flat_map(|line| line.split(';'))
        .filter_map(|p| p.trim().split_once('='));
    pairs
        .find(|(name, _)| *name == COOKIE)
        .map(|(_, value)| Secret::new(value))
}

/// What the guard knows.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) shared: App,
    pub(super) door: Door,
}

/// Around every request.
pub(super) async fn guard(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let id = Uuid::now_v7().to_string();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let span = tracing::info_span!("request", request_id = %id);
    let began = tokio::time::Instant::now();
    request.extensions_mut().insert(gate.door);
    let work = async {
        let response = match admit(&gate, &request) {
            Ok(()) => next.run(request).await,
            Err(error) => error.into_response(),
        };
        let response = finish(&gate, response, &id);
        let (status, took) = (response.status(), began.elapsed());
        gate.shared.metrics.request(&method, status);
        tracing::debug!(%method, path, status = status.as_u16(), duration_ms = took.as_secs_f64() * 1000.0, "request");
        response
    };
    work.instrument(span).await
}

/// A page of another origin must not reach us, neither by a foreign `Origin` nor by a name that was
/// made to point here (DNS rebinding): names are refused unless they are known, addresses are not names.
fn admit(gate: &Gate, request: &Request) -> Result<(), ApiError> {
    if gate.shared.stopping.is_cancelled() {
        return Err(ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "STOPPING",
            "nexflow is stopping",
        ));
    }
    if gate.door == Door::Local {
        return Ok(());
    }
    let text = |name: HeaderName| request.headers().get(name).and_then(|v| v.to_str().ok());
    let host = text(header::HOST).or_else(|| request.uri().authority().map(Authority::as_str));
    let host = host.unwrap_or_default();
    if !known_host(&gate.shared.config, host) {
        let text = format!("the host `{host}` is not known here; add it to server.allowed_hosts");
        return Err(ApiError::new(StatusCode::FORBIDDEN, "UNKNOWN_HOST", text));
    }
    if let Some(origin) = text(header::ORIGIN) {
        let same = origin
            .split_once("://")
            .is_some_and(|(_, o)| o.eq_ignore_ascii_case(host));
        let public = gate.shared.config.public_url.as_ref();
        let public = public.is_some_and(|url| url.origin().ascii_serialization() == origin);
        if !same && !public {
            let text = format!("requests from pages of `{origin}` are not taken");
            return Err(ApiError::new(StatusCode::FORBIDDEN, "FOREIGN_ORIGIN", text));
        }
    }
    Ok(())
}

fn known_host(config: &super::Config, host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split_once(']').map_or(v6, |(address, _)| address),
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || IpAddr::from_str(&name).is_ok()
        || config
            .allowed_hosts
            .iter()
            .any(|known| known.eq_ignore_ascii_case(&name))
        || config
            .public_url
            .as_ref()
            .is_some_and(|url| url.host_str() == Some(&name))
}

/// Error bodies, security headers, the request id.
fn finish(gate: &Gate, mut response: Response, id: &str) -> Response {
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        let timestamp = gate.shared.clock().now().to_string();
        let status = response.status();
        let retry = status == StatusCode::SERVICE_UNAVAILABLE;
        response = (status, axum::Json(error.body(id, &timestamp))).into_response();
        if retry {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
    }
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    if let Ok(value) = HeaderValue::from_str(id) {
        headers.insert(HeaderName::from_static("x-request-id"), value);
    }
    response
}

const HEADERS: [(&str, &str); 5] = [
    (
        "content-security-policy",
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; connect-src 'self' ws: wss:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// A new token with 256 random bits.
pub(super) fn new_token(prefix: &str) -> Secret {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let bytes: [u8; 32] = rand::random();
    Secret::new(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_were_made_to_point_here_are_refused() {
        let config = super::super::Config {
            allowed_hosts: vec!["nas.lan".to_owned()],
            ..Default::default()
        };
        for host in [
            "localhost:8080",
            "127.0.0.1",
            "[::1]:8080",
            "192.168.1.5:8080",
            "NAS.lan:80",
            "a.localhost",
        ] {
            assert!(known_host(&config, host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:8080",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "1.2.3.4.5",
        ] {
            assert!(!known_host(&config, host), "{host}");
        }
    }
}
