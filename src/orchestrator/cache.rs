//! Answers that are kept: a request that asks for the same words each time, and whose tools do nothing,
//! is answered from the database when it comes again. Off unless `llm.cache.tasks` names its task.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{model::Call, spend};
use crate::{
    providers::{About, Choice, Request},
    store::{
        Tx,
        answers::{self, Key, Room},
        turns::Said,
    },
    types::{Span, Task, chat::Usage, effect::Effects},
};

/// `llm.cache`: answers that are kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    /// Tasks whose answers are kept; they are asked with temperature 0.
    pub tasks: Vec<Task>,
    /// How long an answer holds.
    pub max_age: Span,
    /// Megabytes that they take together.
    pub max_mb: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            tasks: Vec::new(),
            max_age: Span(Duration::from_hours(24)),
            max_mb: 64,
        }
    }
}

/// How often a request that could have been kept was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Answered from what was kept.
    pub hits: u64,
    /// Answered by a model.
    pub misses: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counter {
    hits: AtomicU64,
    misses: AtomicU64,
}

impl Counter {
    pub(super) fn counts(&self) -> Counts {
        Counts {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
        }
    }
}

/// Whether the answer to a request is kept.
pub(super) struct Kept {
    request: Option<Request>,
}

impl Kept {
    /// Looks at the task, and at what the tools do that are offered.
    pub(super) fn of(call: &Call<'_>, request: &Request) -> Self {
        let config = &call.core.parts.live().cache;
        let free = request.temperature.is_some_and(|t| t > 0.0);
        let effects = |name: &str| {
            call.work
                .map_or(Effects::ALL, |work| work.toolbox.effects(name))
        };
        let harmless = request
            .tools
            .iter()
            .all(|tool| effects(&tool.name) == Effects::NONE);
        let kept = config.tasks.contains(&call.wish.task) && harmless && !free;
        Self {
            request: kept.then(|| Request {
                temperature: Some(0.0),
                ..request.clone()
            }),
        }
    }

    /// The request as it is to be made.
    pub(super) fn request<'a>(&'a self, request: &'a Request) -> &'a Request {
        self.request.as_ref().unwrap_or(request)
    }

    /// The answer that is kept of the first provider, if there is one. It costs nothing.
    pub(super) async fn find(
        &self,
        call: &Call<'_>,
        first: Option<&Choice>,
    ) -> Option<(Said, About)> {
        let (choice, request) = (first?, self.request.as_ref()?);
        let key = key(choice, request);
        let parts = &call.core.parts;
        let began = parts.clock.now();
        let since = began.minus(parts.live().cache.max_age.0);
        let found = parts
            .store
            .read(move |c| answers::find(c, &key, since))
            .await;
        let said = found.ok().flatten().and_then(|text| read(&text));
        let Some((text, calls)) = said else {
            call.core.cached.misses.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        call.core.cached.hits.fetch_add(1, Ordering::Relaxed);
        let about = choice.about();
        spend::cached(call, &about);
        let note = move |tx: &Tx<'_>| answers::used(tx, &key, began);
        if let Err(error) = parts.store.write(note).await {
            tracing::error!(%error, "that a kept answer was used could not be written down");
        }
        let mut said = Said {
            name: choice.name(),
            text: String::new(),
            calls,
            reasoning: None,
            usage: Usage::default(),
            first_token_at: None,
        };
        super::model::hear(call, &mut said, text);
        Some((said, about))
    }

    /// Keeps an answer that is whole.
    pub(super) async fn keep(&self, call: &Call<'_>, choice: &Choice, said: &Said) {
        let whole = !said.text.ends_with(super::model::CUT);
        let Some(request) = self.request.as_ref().filter(|_| whole) else {
            return;
        };
        let parts = &call.core.parts;
        let (config, now) = (parts.live().cache.clone(), parts.clock.now());
        let room = Room {
            bytes: config.max_mb << 20,
            since: now.minus(config.max_age.0),
        };
        let (key, session) = (key(choice, request), call.bill.session);
        let kept = serde_json::json!([said.text, said.calls]).to_string();
        let write = move |tx: &Tx<'_>| answers::keep(tx, &key, (session, &kept), (room, now));
        if let Err(error) = parts.store.write(write).await {
            tracing::error!(%error, "an answer could not be kept");
        }
    }
}

type Words = (String, Vec<crate::types::chat::Call>);

fn read(text: &str) -> Option<Words> {
    serde_json::from_str(text).ok()
}

/// Of provider, model and the whole request, with everything that a later version adds to it.
fn key(choice: &Choice, request: &Request) -> Key {
    let mut hash = Sha256::new();
    hash.update(choice.name());
    hash.update([0]);
    hash.update(format!("{request:?}"));
    hash.finalize().into()
}
