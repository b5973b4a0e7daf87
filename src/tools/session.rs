//! Beginning a new conversation.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Done, Kit, Scope, Tool};
use crate::{
    store::{Store, sessions},
    types::{Clock, chat::ToolSpec, effect::Effects},
};

struct BeginNew {
    store: Store,
    clock: Clock,
}

pub(super) fn begin_new(kit: &Kit) -> Arc<dyn Tool> {
    Arc::new(BeginNew {
        store: kit.store.clone(),
        clock: kit.clock.clone(),
    })
}

#[async_trait]
impl Tool for BeginNew {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "new_session".to_owned(),
            description: "Begin a new conversation.".to_owned(),
            input_schema: json!({ "type": "object", "properties": {} }),
        }
    }

    fn for_models(&self) -> bool {
        false
    }

    fn idempotent(&self) -> bool {
        true
    }

    fn effects(&self) -> Effects {
        Effects::NONE
    }

    async fn call(&self, scope: Scope, _args: Value) -> Done {
        let (place, now) = (scope.place, self.clock.now());
        let begun = self.store.write(move |tx| {
            if place.address.chat != place.session.to_string() {
                sessions::retire(tx, place.session)?;
                return Ok(None);
            }
            // The page and the command line name their session: there the new one needs a link.
            sessions::create(tx, &place.address.connector, place.user, now).map(Some)
        });
        match begun.await {
            Ok(None) => Done::text(
                "A new conversation begins with your next message here. What was said so far is kept.",
            ),
            Ok(Some(id)) => Done::text(format!(
                "[A new conversation is open](#/s/{id}). What was said so far is kept. (`nexflow chat --session {id}`)"
            )),
            Err(error) => Done::failed(error.to_string()),
        }
    }
}
