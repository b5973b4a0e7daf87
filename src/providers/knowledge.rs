//! What models can do and cost: the owner's word, then the provider's own list, then a dated file.

use std::{
    collections::HashMap,
    pin::pin,
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use super::About;
use crate::types::money::{Price, Usd};

/// After this long a provider that did not tell is asked again.
const AGAIN: Duration = Duration::from_mins(10);

/// What is known of a model; nothing where nobody said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
pub(super) struct Facts {
    /// What fits the model's window, in tokens; else what the provider's list says.
    #[serde(default)]
    pub(super) context_tokens: Option<u32>,
    /// What the model can write in one answer, in tokens; else what the provider's list says.
    #[serde(default)]
    pub(super) max_output_tokens: Option<u32>,
    /// Whether the model can call tools; with `false` they are described to it in words.
    #[serde(default)]
    pub(super) tools: Option<bool>,
    /// Whether the model sees images; else they are described to it in words.
    #[serde(default)]
    pub(super) images: Option<bool>,
    /// What the model costs.
    #[serde(default)]
    pub(super) price: Option<Price>,
}

impl Facts {
    /// These, and where they say nothing, the others.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            context_tokens: self.context_tokens.or(other.context_tokens),
            max_output_tokens: self.max_output_tokens.or(other.max_output_tokens),
            tools: self.tools.or(other.tools),
            images: self.images.or(other.images),
            price: self.price.or(other.price),
        }
    }

    fn complete(self) -> bool {
        let counts = self.context_tokens.is_some() && self.max_output_tokens.is_some();
        counts && self.tools.is_some() && self.images.is_some() && self.price.is_some()
    }
}

/// What one provider knows of its models.
#[derive(Debug)]
pub(super) struct Knowledge {
    kind: &'static str,
    model: String,
    stated: Facts,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    models: HashMap<String, Facts>,
    asked: HashMap<String, Instant>,
}

impl Knowledge {
    /// For a kind of provider, with what the owner says of the model of the section.
    pub(super) fn new(kind: &'static str, model: &str, stated: Facts) -> Self {
        Self {
            kind,
            model: model.to_owned(),
            stated,
            told: Mutex::default(),
        }
    }

    /// The model of the section.
    pub(super) fn model(&self) -> &str {
        &self.model
    }

    /// What is known of a model now.
    pub(super) fn of(&self, model: &str) -> Facts {
        self.first_hand(model).or(listed(self.kind, model))
    }

    /// What the owner and the provider itself say of a model.
    fn first_hand(&self, model: &str) -> Facts {
        let told = self.told(|told| told.models.get(model).copied());
        let told = told.unwrap_or_default();
        if model == self.model {
            return self.stated.or(told);
        }
        told
    }

    /// A model as it is shown; `unknown` stands in for what nobody said.
    pub(super) fn about(&self, name: &str, model: &str, unknown: Facts) -> About {
        let facts = self.of(model).or(unknown);
        About {
            name: name.to_owned(),
            model: model.to_owned(),
            context_tokens: facts.context_tokens.unwrap_or(32_000),
            max_output_tokens: facts.max_output_tokens,
            tools: facts.tools.unwrap_or(true),
            images: facts.images.unwrap_or(false),
            offline: false,
            // A price from the dated file is told as such: see `Providers::price`.
            price: self.first_hand(model).or(unknown).price,
        }
    }

    /// Whether the provider's list is to be asked for this model, which counts as asked then.
    pub(super) fn wants(&self, model: &str) -> bool {
        if model == self.model && self.stated.complete() {
            return false;
        }
        let now = Instant::now();
        self.told(|told| {
            let fresh = |at: &Instant| now.saturating_duration_since(*at) < AGAIN;
            if told.models.contains_key(model) || told.asked.get(model).is_some_and(fresh) {
                return false;
            }
            told.asked.insert(model.to_owned(), now);
            true
        })
    }

    /// What the provider says of a model.
    pub(super) fn tell(&self, model: &str, facts: Facts) {
        self.told(|told| told.models.insert(model.to_owned(), facts));
    }

    fn told<T>(&self, with: impl FnOnce(&mut Told) -> T) -> T {
        with(&mut self.told.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Waits for an answer and learns meanwhile. The answer waits for nothing: what was not learnt by then
/// is not.
pub(super) async fn meanwhile<T>(
    answer: impl Future<Output = T>,
    learn: impl Future<Output = ()>,
) -> T {
    let mut answer = pin!(answer);
    tokio::select! {
        biased;
        out = &mut answer => return out,
        () = learn => {}
    }
    answer.await
}

/// A whole number in a provider's answer.
pub(super) fn tokens(value: &Value, pointer: &str) -> Option<u32> {
    let number = value.pointer(pointer)?.as_u64()?;
    u32::try_from(number).ok().filter(|number| *number > 0)
}

/// The file in the repository.
#[derive(Default, Deserialize)]
struct File {
    date: String,
    models: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    kind: String,
    /// The beginning of the model's name; the longest that fits counts.
    model: String,
    #[serde(flatten)]
    facts: Facts,
    /// US dollars for a million tokens: read, written, read from the cache.
    #[serde(default)]
    usd: Option<(Usd, Usd, Usd)>,
}

impl File {
    fn get() -> &'static Self {
        static FILE: OnceLock<File> = OnceLock::new();
        FILE.get_or_init(|| serde_json::from_str(include_str!("models.json")).unwrap_or_default())
    }
}

/// The day on which the dated file was made.
pub(super) fn as_of() -> &'static str {
    &File::get().date
}

/// What the dated file says of a model.
pub(super) fn listed(kind: &str, model: &str) -> Facts {
    let fitting = File::get()
        .models
        .iter()
        .filter(|row| row.kind == kind && named(model, &row.model));
    let Some(row) = fitting.max_by_key(|row| row.model.len()) else {
        return Facts::default();
    };
    let price = row.usd.map(|(input, output, cached)| Price {
        input_per_mtok: input,
        output_per_mtok: output,
        cached_per_mtok: Some(cached),
    });
    Facts { price, ..row.facts }
}

/// The name itself, or with a date after it: `gpt-4o-2024-08-06` is `gpt-4o`, and `o3-pro` is not
/// `o3`.
fn named(model: &str, beginning: &str) -> bool {
    let rest = model.strip_prefix(beginning);
    rest.is_some_and(|rest| {
        let dated = |c: char| c.is_ascii_digit() || c == '-';
        rest.is_empty()
            || matches!(rest, "-latest" | "-preview")
            || rest.starts_with('-') && rest.chars().all(dated)
    })
}

#[cfg(test)]
mod tests;
