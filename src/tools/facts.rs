//! Keeping, finding and forgetting facts.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Done, Kit, Scope, Tool, arguments, short, strings};
use crate::{
    memory::Memory,
    schedule::Schedules,
    store::memories::Search,
    types::{chat::ToolSpec, effect::Effects},
};

#[derive(Clone, Copy, PartialEq)]
enum Action {
    Remember,
    Recall,
    Forget,
    List,
}

struct Facts {
    action: Action,
    memory: Memory,
    schedules: Schedules,
}

fn make(kit: &Kit, action: Action) -> Arc<dyn Tool> {
    Arc::new(Facts {
        action,
        memory: kit.memory.clone(),
        schedules: kit.schedules.clone(),
    })
}

pub(super) fn remember(kit: &Kit) -> Arc<dyn Tool> {
    make(kit, Action::Remember)
}

pub(super) fn recall(kit: &Kit) -> Arc<dyn Tool> {
    make(kit, Action::Recall)
}

pub(super) fn forget(kit: &Kit) -> Arc<dyn Tool> {
    make(kit, Action::Forget)
}

pub(super) fn list(kit: &Kit) -> Arc<dyn Tool> {
    make(kit, Action::List)
}

#[derive(Deserialize)]
struct Text {
    text: String,
}

#[derive(Deserialize)]
struct Query {
    query: String,
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

#[async_trait]
impl Tool for Facts {
    fn spec(&self) -> ToolSpec {
        let (name, description, input_schema) = match self.action {
            Action::Remember => (
                "remember",
                "Keep a fact about the person for later conversations. Only when they ask for it or state a lasting preference.",
                strings(&[("text", "One self-contained sentence")]),
            ),
            Action::Recall => (
                "recall",
                "Search kept facts and earlier conversations by words.",
                strings(&[("query", "Words to look for")]),
            ),
            Action::Forget => (
                "forget",
                "Forget a kept fact by its id from recall.",
                strings(&[("id", "The fact's id")]),
            ),
            Action::List => (
                "list_memories",
                "List kept facts.",
                json!({ "type": "object", "properties": {} }),
            ),
        };
        ToolSpec {
            name: name.to_owned(),
            description: description.to_owned(),
            input_schema,
        }
    }

    fn personal(&self) -> bool {
        true
    }

    fn for_models(&self) -> bool {
        self.action != Action::List
    }

    fn idempotent(&self) -> bool {
        // A fact is kept once however often it is told; looking changes nothing.
        self.action != Action::Forget
    }

    fn effects(&self) -> Effects {
        match self.action {
            Action::Remember | Action::Forget => Effects::CHANGES_STATE,
            Action::Recall | Action::List => Effects::READS_PRIVATE,
        }
    }

    async fn call(&self, scope: Scope, args: Value) -> Done {
        let done = match self.action {
            Action::Remember => self.remember(&scope, args).await,
            Action::Recall => self.recall(&scope, args).await,
            Action::Forget => self.forget(&scope, args).await,
            Action::List => self.list(&scope).await,
        };
        done.unwrap_or_else(|failed| failed)
    }
}

fn broken(error: &dyn std::fmt::Display) -> Done {
    Done::failed(format!("memory is not available: {error}"))
}

impl Facts {
    async fn remember(&self, scope: &Scope, args: Value) -> Result<Done, Done> {
        let Text { text } = arguments(args)?;
        if text.trim().is_empty() {
            return Err(Done::failed("there is nothing to remember"));
        }
        let kept = self
            .memory
            .add(scope.place.person, &text, scope.message)
            .await;
        let fact = kept.map_err(|e| broken(&e))?;
        Ok(Done::text(format!(
            "Remembered: {} ({})",
            fact.text,
            short(&fact.id)
        )))
    }

    async fn recall(&self, scope: &Scope, args: Value) -> Result<Done, Done> {
        let Query { query } = arguments(args)?;
        let search = Search {
            person: scope.place.person,
            words: query.clone(),
            except: scope.message,
            except_session: None,
            limit: 10,
        };
        let hits = self.memory.search(search).await.map_err(|e| broken(&e))?;
        if hits.is_empty() {
            return Ok(Done::text(format!("I found nothing about “{query}”.")));
        }
        let mut text = format!("What I found about “{query}”:\n");
        for hit in &hits {
            let at = self.schedules.show(hit.at);
            let source = match hit.kind {
                "fact" => format!("kept fact {}", short(&hit.id)),
                _ => format!("you said, {at}"),
            };
            text.push_str(&format!("\n- {} *({source})*", hit.text));
        }
        let detail = json!({ "text": text, "hits": hits });
        Ok(Done {
            detail,
            ..Done::text(text)
        })
    }

    async fn forget(&self, scope: &Scope, args: Value) -> Result<Done, Done> {
        let Id { id } = arguments(args)?;
        let gone = self
            .memory
            .forget(scope.place.person, &id)
            .await
            .map_err(|e| broken(&e))?;
        Ok(match gone {
            Some(fact) => Done::text(format!("Forgotten: {}", fact.text)),
            None => Done::failed(format!(
                "There is no kept fact {id}; `/memory list` shows them."
            )),
        })
    }

    async fn list(&self, scope: &Scope) -> Result<Done, Done> {
        let facts = self
            .memory
            .list(scope.place.person, 100)
            .await
            .map_err(|e| broken(&e))?;
        if facts.is_empty() {
            return Ok(Done::text(
                "I keep no facts about you yet. Say “remember that …” and I will.",
            ));
        }
        let mut text = "What I keep:\n".to_owned();
        for fact in &facts {
            text.push_str(&format!("\n- {} `{}`", fact.text, short(&fact.id)));
        }
        text.push_str("\n\n`/memory forget ID` forgets one.");
        Ok(Done {
            detail: json!({ "text": text, "facts": facts }),
            ..Done::text(text)
        })
    }
}
