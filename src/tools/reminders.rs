//! Reminders as commands set them. Models use the `reminder` skill, which does the same through its
//! `schedule` permission.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Done, Kit, Scope, Tool, arguments, short, strings};
use crate::{
    schedule::{Job, Schedules},
    store::schedules::{Kind, Schedule},
    types::{chat::ToolSpec, effect::Effects},
};

#[derive(Clone, Copy)]
enum Action {
    Set,
    List,
    Cancel,
}

struct Reminders {
    action: Action,
    schedules: Schedules,
}

pub(super) fn set(kit: &Kit) -> Arc<dyn Tool> {
    Arc::new(Reminders {
        action: Action::Set,
        schedules: kit.schedules.clone(),
    })
}

pub(super) fn list(kit: &Kit) -> Arc<dyn Tool> {
    Arc::new(Reminders {
        action: Action::List,
        schedules: kit.schedules.clone(),
    })
}

pub(super) fn cancel(kit: &Kit) -> Arc<dyn Tool> {
    Arc::new(Reminders {
        action: Action::Cancel,
        schedules: kit.schedules.clone(),
    })
}

#[derive(Deserialize)]
struct New {
    when: String,
    text: String,
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

#[async_trait]
impl Tool for Reminders {
    fn spec(&self) -> ToolSpec {
        let (name, description, input_schema) = match self.action {
            Action::Set => (
                "remind",
                "Set a reminder.",
                strings(&[("when", "Such as `in 20 minutes`"), ("text", "What to say")]),
            ),
            Action::List => (
                "list_reminders",
                "List reminders.",
                json!({ "type": "object", "properties": {} }),
            ),
            Action::Cancel => (
                "cancel_reminder",
                "Cancel a reminder.",
                strings(&[("id", "Its id")]),
            ),
        };
        ToolSpec {
            name: name.to_owned(),
            description: description.to_owned(),
            input_schema,
        }
    }

    fn personal(&self) -> bool {
        !matches!(self.action, Action::Set)
    }

    fn for_models(&self) -> bool {
        false
    }

    fn effects(&self) -> Effects {
        match self.action {
            Action::Set | Action::Cancel => Effects::CHANGES_STATE,
            Action::List => Effects::READS_PRIVATE,
        }
    }

    async fn call(&self, scope: Scope, args: Value) -> Done {
        let done = match self.action {
            Action::Set => self.set(&scope, args).await,
            Action::List => self.list(&scope).await,
            Action::Cancel => self.cancel(&scope, args).await,
        };
        done.unwrap_or_else(|failed| failed)
    }
}

impl Reminders {
    async fn set(&self, scope: &Scope, args: Value) -> Result<Done, Done> {
        let New { when, text } = arguments(args)?;
        let text = text.trim();
        if text.is_empty() {
            return Err(Done::failed(
                "There is nothing to remind you of: `/remind in 20 minutes take the bread out`.",
            ));
        }
        let job = Job {
            kind: Kind::Reminder,
            skill: None,
            input: Value::from(text),
        };
        let made = self.schedules.add(&scope.place, job, &when).await;
        let schedule = made.map_err(|e| Done::failed(e.to_string()))?;
        let text = format!("I will remind you {}: {text}", self.time(&schedule));
        Ok(Done {
            detail: json!({ "text": text, "schedule": schedule }),
            ..Done::text(text)
        })
    }

    async fn list(&self, scope: &Scope) -> Result<Done, Done> {
        let listed = self.schedules.list(Some(scope.place.user)).await;
        let schedules = listed.map_err(|e| Done::failed(e.to_string()))?;
        if schedules.is_empty() {
            return Ok(Done::text(
                "No reminders are set. `/remind in 20 minutes …` sets one.",
            ));
        }
        let mut text = "Reminders:\n".to_owned();
        for schedule in &schedules {
            let what = schedule
                .input
                .as_str()
                .map_or_else(|| schedule.input.to_string(), str::to_owned);
            text.push_str(&format!(
                "\n- {}: {what} `{}`",
                self.time(schedule),
                short(&schedule.id)
            ));
        }
        text.push_str("\n\n`/remind cancel ID` removes one.");
        Ok(Done {
            detail: json!({ "text": text, "schedules": schedules }),
            ..Done::text(text)
        })
    }

    async fn cancel(&self, scope: &Scope, args: Value) -> Result<Done, Done> {
        let Id { id } = arguments(args)?;
        let gone = self.schedules.remove(Some(scope.place.user), &id).await;
        let schedule = gone.map_err(|e| Done::failed(e.to_string()))?;
        Ok(Done::text(format!(
            "Cancelled: {}",
            schedule.input.as_str().unwrap_or("the job")
        )))
    }

    fn time(&self, schedule: &Schedule) -> String {
        let next = schedule
            .next_at
            .map(|at| self.schedules.show(at))
            .unwrap_or_default();
        match &schedule.cron {
            Some(cron) => format!("by `{cron}`, next {next}"),
            None if next.starts_with(|c: char| c.is_ascii_digit()) => format!("at {next}"),
            None => next,
        }
    }
}
