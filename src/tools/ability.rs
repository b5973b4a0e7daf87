//! What the daemon itself can do for a skill that was granted it. The runner has checked the grant.

pub(super) mod mind;
mod post;
mod think;

use async_trait::async_trait;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{Kit, Scope};
use crate::{
    memory::Memory,
    schedule::{Job, Schedules},
    store::{
        memories::Search,
        schedules::{Kind, Schedule},
    },
    types::{MessageId, Place},
};
use post::Outgoing;
use think::Thoughts;

/// The daemon's abilities, in the name of one session.
pub(super) struct Abilities {
    schedules: Schedules,
    memory: Memory,
    place: Place,
    message: Option<MessageId>,
    outgoing: Outgoing,
    thoughts: Thoughts,
}

impl Abilities {
    /// For one run of a skill.
    pub(super) fn new(kit: &Kit, scope: &Scope, skill: &str) -> Self {
        Self {
            thoughts: Thoughts::new(kit, scope, skill),
            outgoing: Outgoing::new(kit, &scope.place, skill),
            schedules: kit.schedules.clone(),
            memory: kit.memory.clone(),
            place: scope.place.clone(),
            message: scope.message,
        }
    }
}

#[derive(Deserialize)]
struct Reminder {
    when: String,
    text: String,
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

#[derive(Deserialize)]
struct Text {
    text: String,
}

#[derive(Deserialize)]
struct Query {
    query: String,
}

fn read<T: DeserializeOwned>(params: Value) -> Result<T, String> {
    serde_json::from_value(params).map_err(|e| format!("wrong parameters: {e}"))
}

#[async_trait]
impl crate::skills::run::Abilities for Abilities {
    async fn call(&self, method: &str, params: Value) -> Result<Value, String> {
        if self.place.room && method.starts_with("memory.") {
            return Err("what is remembered of a person is not told in a room".to_owned());
        }
        match method {
            "schedule.add" => self.remind(read(params)?).await,
            "schedule.list" => self.reminders().await,
            "schedule.cancel" => {
                let Id { id } = read(params)?;
                self.may_cancel(&id).await?;
                let gone = self.schedules.remove(Some(self.place.user), &id).await;
                gone.map(|s| json!({ "id": s.id, "text": s.input }))
                    .map_err(|e| e.to_string())
            }
            "memory.search" => self.search(read(params)?).await,
            "memory.add" => {
                let Text { text } = read(params)?;
                let kept = self
                    .memory
                    .add(self.place.person, &text, self.message)
                    .await;
                kept.map(|fact| json!({ "id": fact.id, "text": fact.text }))
                    .map_err(|e| e.to_string())
            }
            "message.send" => {
                let Text { text } = read(params)?;
                let sent = self.outgoing.send(&text).await;
                sent.map(|id| json!({ "id": id }))
            }
            "llm" => self.thoughts.think(read(params)?).await,
            other => Err(format!("`{other}` is not an ability of this version")),
        }
    }
}

impl Abilities {
    async fn remind(&self, wanted: Reminder) -> Result<Value, String> {
        if wanted.text.trim().is_empty() {
            return Err("there is nothing to remind of".to_owned());
        }
        let job = Job {
            kind: Kind::Reminder,
            skill: None,
            input: wanted.text.trim().into(),
        };
        let made = self.schedules.add(&self.place, job, &wanted.when).await;
        let made = made.map_err(|e| e.to_string())?;
        Ok(json!({
            "id": made.id,
            "text": made.input,
            "at": made.next_at,
            "shown": made.next_at.map(|at| self.schedules.show(at)),
            "cron": made.cron,
            "time_zone": made.time_zone,
        }))
    }

    /// The person's reminders; in a room those of the room.
    async fn own(&self) -> Result<Vec<Schedule>, String> {
        let found = self.schedules.list(Some(self.place.user)).await;
        let mut found = found.map_err(|e| e.to_string())?;
        if self.place.room {
            found.retain(|one| one.session_id == self.place.session);
        }
        Ok(found)
    }

    /// Passes for what [`Self::own`] shows.
    async fn may_cancel(&self, id: &str) -> Result<(), String> {
        if !self.place.room {
            return Ok(());
        }
        let wanted = id.trim().to_lowercase();
        let here = |one: &Schedule| wanted.len() >= 4 && one.id.to_string().ends_with(&wanted);
        if self.own().await?.iter().any(here) {
            return Ok(());
        }
        Err(format!("there is no reminder {id} in this room"))
    }

    async fn reminders(&self) -> Result<Value, String> {
        let found = self.own().await?;
        let shown = found.iter().map(|s| {
            json!({ "id": s.id, "text": s.input, "at": s.next_at, "cron": s.cron,
                    "shown": s.next_at.map(|at| self.schedules.show(at)) })
        });
        Ok(json!({ "schedules": shown.collect::<Vec<_>>() }))
    }

    async fn search(&self, wanted: Query) -> Result<Value, String> {
        let search = Search {
            person: self.place.person,
            words: wanted.query,
            except: self.message,
            except_session: None,
            limit: 10,
        };
        let hits = self
            .memory
            .search(search)
            .await
            .map_err(|e| e.to_string())?;
        Ok(json!({ "hits": hits }))
    }
}
