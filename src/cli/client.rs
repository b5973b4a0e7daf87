//! The API as the command line reaches it: over the daemon's Unix socket, or, where no daemon runs,
//! in this process with the data directory opened (and locked) for as long as the command takes.

use std::io::ErrorKind;

use anyhow::{Context as _, Result};
use axum::{Router, body::Body};
use futures_util::StreamExt as _;
use http::{Method, Request, Response, header};
use serde_json::Value;
use tokio::net::UnixStream;
use tower::ServiceExt as _;

use super::{Setup, trouble::Trouble};
use crate::{app, config::Loaded, net::sse};

/// Answers larger than this are refused.
const LARGEST: usize = 64 << 20;

/// Speaks to the API as the owner.
pub(super) struct Client {
    door: Door,
}

enum Door {
    Socket(reqwest::Client),
    Here {
        router: Router,
        local: Option<app::Local>,
    },
}

/// Runs `work` with a client that is closed afterwards, whatever came of it.
pub(super) async fn with<T>(
    setup: &Setup,
    work: impl AsyncFnOnce(&Client) -> Result<T>,
) -> Result<T> {
    let client = Client::open(setup.load()?).await?;
    let done = work(&client).await;
    client.close().await;
    done
}

impl Client {
    /// Reaches the daemon, or opens the data directory.
    pub(super) async fn open(mut loaded: Loaded) -> Result<Self> {
        let path = loaded.config.socket_path();
        match UnixStream::connect(&path).await {
            Ok(_answers) => {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "a client of our own socket, which `net` has no use for"
                )]
                let client = reqwest::Client::builder()
                    .unix_socket(path)
                    .no_proxy()
                    .build()?;
                Ok(Self {
                    door: Door::Socket(client),
                })
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                let what = format!("cannot open the socket {}: {error}", path.display());
                Err(Trouble::new(what)
                    .hint("run this as the user that runs nexflow")
                    .into())
            }
            Err(_nobody) => {
                // What a daemon tells its log is too much for someone who waits for an answer.
                if loaded.config.logging.level == "info" {
                    "warn".clone_into(&mut loaded.config.logging.level);
                }
                let local = Box::pin(app::local(loaded)).await?;
                Ok(Self {
                    door: Door::Here {
                        router: local.router.clone(),
                        local: Some(local),
                    },
                })
            }
        }
    }

    /// Around a router that is not the daemon's.
    #[cfg(test)]
    pub(super) fn around(router: Router) -> Self {
        Self {
            door: Door::Here {
                router,
                local: None,
            },
        }
    }

    /// Whether a daemon answers.
    pub(super) fn running(&self) -> bool {
        matches!(self.door, Door::Socket(_))
    }

    /// Lets go of the data directory.
    pub(super) async fn close(self) {
        if let Door::Here {
            local: Some(local), ..
        } = self.door
        {
            local.close().await;
        }
    }

    /// Reads.
    pub(super) async fn get(&self, path: &str) -> Result<Value> {
        self.request(Method::GET, path, None).await
    }

    /// Reads what is no JSON.
    pub(super) async fn text(&self, path: &str) -> Result<String> {
        let response = self.send(Method::GET, path, None).await?;
        let bytes = axum::body::to_bytes(response.into_body(), LARGEST).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Sends.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.request(Method::POST, path, Some(body)).await
    }

    /// Changes.
    pub(super) async fn patch(&self, path: &str, body: &Value) -> Result<Value> {
        self.request(Method::PATCH, path, Some(body)).await
    }

    /// Removes.
    pub(super) async fn delete(&self, path: &str) -> Result<Value> {
        self.request(Method::DELETE, path, None).await
    }

    /// One request; an error of the API is an error with its message. Null where there is no body.
    pub(super) async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value> {
        let response = self.send(method, path, body).await?;
        let bytes = axum::body::to_bytes(response.into_body(), LARGEST).await?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).context("nexflow answered something that is no JSON")
    }

    /// Sends and reads the answer's events as they come.
    pub(super) async fn events(&self, path: &str, body: &Value) -> Result<Events> {
        let response = self.send(Method::POST, path, Some(body)).await?;
        let body = response.into_body().into_data_stream();
        Ok(Events {
            body,
            parser: sse::Parser::default(),
            ready: Vec::new(),
            over: false,
        })
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Response<Body>> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(format!("http://localhost{path}"))
            .header(header::HOST, "localhost")
            .header(header::CONTENT_TYPE, "application/json");
        let response = match &self.door {
            Door::Socket(client) => {
                let request = reqwest::Request::try_from(request.body(body)?)?;
                let answer = client.execute(request).await;
                let answer = answer.context("the daemon did not answer on its socket")?;
                Response::<reqwest::Body>::from(answer).map(Body::new)
            }
            Door::Here { router, .. } => {
                router
                    .clone()
                    .oneshot(request.body(Body::from(body))?)
                    .await?
            }
        };
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let bytes = axum::body::to_bytes(response.into_body(), LARGEST).await?;
        Err(Trouble::api(status, &serde_json::from_slice(&bytes).unwrap_or_default()).into())
    }
}

/// Events of one answer.
pub(super) struct Events {
    body: axum::body::BodyDataStream,
    parser: sse::Parser,
    /// Read and not yet taken, the next one last.
    ready: Vec<sse::Event>,
    over: bool,
}

impl Events {
    /// The next frame; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Value>> {
        loop {
            if let Some(event) = self.ready.pop() {
                return Ok(Some(serde_json::from_str(&event.data)?));
            }
            if self.over {
                return Ok(None);
            }
            if let Some(bytes) = self.body.next().await {
                self.parser.push(&bytes?, &mut self.ready)?;
            } else {
                self.over = true;
                self.parser.finish(&mut self.ready);
            }
            self.ready.reverse();
        }
    }
}

/// A path of the API, with its parts and values escaped.
pub(super) fn path(parts: &[&str], query: &[(&str, &str)]) -> Result<String> {
    let mut url = url::Url::parse("http://localhost/api/v1")?;
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.extend(parts);
    }
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    Ok(url[url::Position::BeforePath..].to_owned())
}

#[cfg(test)]
mod tests {
    use axum::{
        Json,
        http::StatusCode,
        routing::{delete, get, post},
    };
    use serde_json::json;

    use super::*;

    fn router() -> Router {
        let refusal = || json!({ "error": { "code": "NOT_FOUND", "message": "no such thing" } });
        Router::new()
            .route(
                "/api/v1/echo",
                post(|Json(body): Json<Value>| async { Json(body) }),
            )
            .route("/api/v1/gone", delete(|| async { StatusCode::NO_CONTENT }))
            .route(
                "/api/v1/no",
                get(move || async move { (StatusCode::NOT_FOUND, Json(refusal())) }),
            )
            .route(
                "/api/v1/live",
                post(|| async { "data: {\"n\":1}\n\ndata: {\"n\":2}\n\n: x\n\n" }),
            )
    }

    #[tokio::test]
    async fn answers_and_errors_are_told_apart() {
        let client = Client::around(router());
        let body = json!({ "a": 1 });
        assert_eq!(client.post("/api/v1/echo", &body).await.unwrap(), body);
        assert_eq!(client.delete("/api/v1/gone").await.unwrap(), Value::Null);
        let error = client.get("/api/v1/no").await.unwrap_err();
        assert_eq!(error.to_string(), "no such thing");
        assert!(error.is::<Trouble>());
        assert!(!client.running());
    }

    #[tokio::test]
    async fn events_come_in_order() {
        let client = Client::around(router());
        let mut events = client.events("/api/v1/live", &json!({})).await.unwrap();
        let mut seen = Vec::new();
        while let Some(frame) = events.next().await.unwrap() {
            seen.push(frame["n"].clone());
        }
        assert_eq!(seen, [json!(1), json!(2)]);
    }

    #[tokio::test]
    async fn the_same_goes_through_a_socket() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("nexflow.sock");
        let listener = tokio::net::UnixListener::bind(&file).unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async { axum::serve(listener, router()).await });
        #[expect(clippy::disallowed_methods, reason = "as the client does")]
        let socket = reqwest::Client::builder()
            .unix_socket(file)
            .no_proxy()
            .build()
            .unwrap();
        let client = Client {
            door: Door::Socket(socket),
        };
        let body = json!({ "a": 1 });
        assert_eq!(client.post("/api/v1/echo", &body).await.unwrap(), body);
        assert_eq!(
            client.get("/api/v1/no").await.unwrap_err().to_string(),
            "no such thing"
        );
        let mut events = client.events("/api/v1/live", &json!({})).await.unwrap();
        assert_eq!(events.next().await.unwrap().unwrap()["n"], 1);
    }

    #[test]
    fn paths_are_escaped() {
        let path = |parts: &[&str], query: &[(&str, &str)]| path(parts, query).unwrap();
        assert_eq!(path(&["skills", "a/b c"], &[]), "/api/v1/skills/a%2Fb%20c");
        assert_eq!(
            path(&["memory"], &[("q", "a&b=ü")]),
            "/api/v1/memory?q=a%26b%3D%C3%BC"
        );
    }
}
