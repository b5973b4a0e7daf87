//! What comes in from platforms, through everything but a platform: the daemon in this process, fed as a
//! connector feeds it.

#[expect(
    unreachable_pub,
    dead_code,
    clippy::too_many_lines,
    reason = "shared with the integration tests, which use all of it"
)]
#[path = "../../tests/it/support/model.rs"]
mod model;

mod amend;
mod commands;
mod people;
mod rooms;

use super::*;
use crate::{
    config::{Source, load},
    connectors::{AcceptError, Inbox as _, PressError},
    store::{
        inbox::Accepted,
        outbox::{self, Parcel},
    },
    types::{
        Address, Admission, ApprovalId, Inbound, MessageId, Press, Room, SessionId, frame::Frame,
    },
};
use model::{Act, Model};
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// A daemon, and a folder that it lives in.
struct Rig {
    daemon: Daemon,
    folder: tempfile::TempDir,
    model: Model,
}

impl Rig {
    /// With a model that does as it is told.
    async fn start(acts: impl IntoIterator<Item = Act>) -> Self {
        Self::with("", acts).await
    }

    async fn with(config: &str, acts: impl IntoIterator<Item = Act>) -> Self {
        let (folder, model) = (tempfile::tempdir().unwrap(), Model::start(acts).await);
        let skills = folder.path().join("skills");
        std::fs::create_dir_all(&skills).unwrap();
        let text = format!(
            "scheduler: {{ time_zone: UTC }}\n{}{config}",
            model.config()
        );
        std::fs::write(folder.path().join("config.yml"), text).unwrap();
        let daemon = Self::build(&folder).await;
        Self {
            daemon,
            folder,
            model,
        }
    }

    async fn build(folder: &tempfile::TempDir) -> Daemon {
        let loaded = load(&Source {
            file: Some(folder.path().join("config.yml")),
            data_dir: Some(folder.path().join("data")),
        });
        Daemon::build(loaded.unwrap(), None).await.unwrap()
    }

    /// Stopped, and started again.
    async fn restart(self) -> Self {
        let Self {
            daemon,
            folder,
            model,
        } = self;
        daemon.stop().await;
        let daemon = Self::build(&folder).await;
        Self {
            daemon,
            folder,
            model,
        }
    }

    fn agent(&self) -> &Orchestrator {
        &self.daemon.shared.agent
    }

    async fn accept(&self, message: Inbound) -> Result<Accepted, AcceptError> {
        self.agent().accept(message).await
    }

    /// Takes a message, which must be taken.
    async fn hear(&self, message: Inbound) -> (MessageId, SessionId) {
        self.accept(message).await.unwrap().ids()
    }

    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&rusqlite::Connection) -> store::Result<T> + Send + 'static,
    ) -> T {
        self.daemon.store.read(query).await.unwrap()
    }

    /// Everything that was put in the outbox, the oldest first.
    async fn outbox(&self) -> Vec<Parcel> {
        let mut all = self.read(|c| outbox::list(c, true, None, 1000)).await;
        all.reverse();
        all
    }

    /// What was sent to a chat.
    async fn told(&self, chat: &str) -> Vec<String> {
        let all = self.outbox().await.into_iter();
        all.filter(|p| p.to.chat == chat).map(|p| p.text).collect()
    }

    /// Waits until so many were sent to a chat; the last of them.
    async fn answer(&self, chat: &str, count: usize) -> String {
        for _ in 0..1500 {
            let told = self.told(chat).await;
            if told.len() >= count {
                return told.last().cloned().unwrap();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!(
            "{count} were never sent to {chat}: {:?}",
            self.told(chat).await
        );
    }

    /// A request of the owner.
    async fn api(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let router = api::router(Arc::clone(&self.daemon.shared), Door::Local);
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .body(axum::body::Body::from(body.to_string()))
            .unwrap();
        let answer = router.oneshot(request).await.unwrap();
        let status = answer.status().as_u16();
        let bytes = axum::body::to_bytes(answer.into_body(), 1 << 20).await;
        let value = serde_json::from_slice(&bytes.unwrap()).unwrap_or_default();
        (status, value)
    }

    /// Frames of a session.
    async fn frames(&self, session: SessionId) -> Vec<Frame> {
        self.read(move |c| store::frames::between(c, session, (0, i64::MAX), 1000))
            .await
    }

    /// What the model was asked last, as text.
    fn asked(&self) -> String {
        let requests = self.model.requests();
        requests.last().map(Value::to_string).unwrap_or_default()
    }

    /// What the audit says was done, the oldest first.
    async fn deeds(&self) -> Vec<String> {
        let lines = self.read(|c| store::audit::after(c, 0, 1000)).await;
        lines.into_iter().map(|line| line.action).collect()
    }
}

/// A message in a conversation of two: the chat has the name of its person.
fn says(user: &str, id: &str, text: &str, admission: Admission) -> Inbound {
    Inbound {
        name: format!("{user} by name"),
        admission,
        ..Inbound::new(Address::new("chat", "bot", user), id, user, text)
    }
}

/// A message in a room.
fn says_in_room(user: &str, id: &str, text: &str, admission: Admission) -> Inbound {
    Inbound {
        from: Address::new("chat", "bot", "room"),
        room: Some(Room {
            name: "Kitchen".to_owned(),
            skills: None,
        }),
        ..says(user, id, text, admission)
    }
}
