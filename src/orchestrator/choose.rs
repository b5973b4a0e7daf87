//! `/model`: which models there are, and choosing one for oneself or for a conversation.

use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Live, Parts, flow};
use crate::{
    store::{Store, models, users::Role},
    tools::{Done, Scope, Tool},
    types::{Place, chat::ToolSpec, effect::Effects},
};

/// The tool.
pub(super) struct Choose {
    replaceable: Arc<ArcSwap<Live>>,
    store: Store,
}

#[derive(Deserialize)]
struct Wanted {
    /// Empty: list them.
    #[serde(default)]
    model: String,
    /// For this conversation alone.
    #[serde(default)]
    here: bool,
}

impl Choose {
    pub(super) fn new(parts: &Parts) -> Self {
        Self {
            replaceable: Arc::clone(&parts.replaceable),
            store: parts.store.clone(),
        }
    }

    async fn list(&self, place: &Place) -> crate::store::Result<Done> {
        let (session, user) = (place.session, place.user);
        let read = self
            .store
            .read(move |c| Ok((models::of_session(c, session)?, models::of_person(c, user)?)));
        let (here, own) = read.await?;
        let live = self.replaceable.load_full();
        let first = live.providers.pick().await;
        let mut text = "Models that can be asked:\n".to_owned();
        for state in live.providers.states() {
            let name = format!("{}/{}", state.name, state.model);
            let left_alone = state.circuits.iter().any(|c| c.state != "closed");
            let word = if left_alone {
                "left alone for a while"
            } else {
                state.condition.word()
            };
            text.push_str(&format!("\n- `{name}` ({word})"));
        }
        let chosen = |name: Option<String>| name.map_or("none".to_owned(), |n| format!("`{n}`"));
        text.push_str(&format!(
            "\n\nChosen for this conversation: {}; by you: {}; otherwise `{}/{}` answers.\n\n\
             `/model NAME` chooses for you, `/model here NAME` for this conversation, `auto` instead \
             of a name leaves it to the configuration. A name is PROVIDER or PROVIDER/MODEL.",
            chosen(here),
            chosen(own),
            first.name,
            first.model
        ));
        Ok(Done::text(text))
    }

    async fn choose(&self, place: &Place, wanted: Wanted) -> crate::store::Result<Done> {
        let providers = &self.replaceable.load_full().providers;
        let automatic = matches!(wanted.model.as_str(), "auto" | "default");
        let choice = providers.choice(&wanted.model).filter(|_| !automatic);
        if choice.is_none() && !automatic {
            return Ok(Done::failed(providers.unknown(&wanted.model)));
        }
        let model = (!automatic).then_some(wanted.model);
        let (session, user, here) = (place.session, place.user, wanted.here);
        let room = place.room;
        let write = self.store.write(move |tx| {
            if here && room && flow::role(tx, user)? != Role::Owner {
                return Ok(false);
            }
            if here {
                models::choose_for_session(tx, session, model.as_deref())?;
            } else {
                models::choose_for_person(tx, user, model.as_deref())?;
            }
            Ok(true)
        });
        if !write.await? {
            let why =
                "Which model a room asks is for the owner to say; `/model NAME` chooses for you.";
            return Ok(Done::failed(why.to_owned()));
        }
        let whose = if here {
            "In this conversation"
        } else {
            "In your conversations"
        };
        Ok(Done::text(match choice {
            Some(choice) => format!(
                "{whose} `{}` is asked first from now on; others only if it fails.",
                choice.name()
            ),
            None => format!("{whose} the configuration says from now on who is asked."),
        }))
    }
}

#[async_trait]
impl Tool for Choose {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "choose_model".to_owned(),
            description: "List the models, or choose one.".to_owned(),
            input_schema: json!({ "type": "object", "properties": {
                "model": { "type": "string" }, "here": { "type": "boolean" } } }),
        }
    }

    /// Which model is asked is for people to say.
    fn for_models(&self) -> bool {
        false
    }

    fn idempotent(&self) -> bool {
        true
    }

    fn effects(&self) -> Effects {
        Effects::NONE
    }

    async fn call(&self, scope: Scope, args: Value) -> Done {
        let wanted: Wanted = match serde_json::from_value(args) {
            Ok(wanted) => wanted,
            Err(error) => return Done::failed(format!("wrong arguments: {error}")),
        };
        let done = if wanted.model.is_empty() {
            self.list(&scope.place).await
        } else {
            self.choose(&scope.place, wanted).await
        };
        done.unwrap_or_else(|error| Done::failed(error.to_string()))
    }
}
