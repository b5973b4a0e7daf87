//! All providers of a configuration, and which of them is asked.
//!
//! Owns the choice and what is known of each one's health. Asks nobody while nobody asks it: an
//! idle daemon sends nothing. The fallback itself is the caller's: it goes through [`Providers::chain`].

mod slot;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, future, stream::FuturesOrdered};

use super::{About, Offline, Provider, ProviderError, prices};
use crate::{
    net::Http,
    types::{Clock, Entry, money::Price},
};
use slot::{BAD, GOOD, Slot, build, local_ollama};

/// A provider that is told to slow down is not left alone for longer than this.
const LONGEST_BREAK: Duration = Duration::from_mins(10);

/// What the set is made of.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The configured sections, in their order.
    pub entries: Vec<Entry>,
    /// Name of a section, `offline`, or `auto`: the first that answers.
    pub default_provider: String,
    /// Who is asked if the first does not answer, in order.
    pub fallback: Vec<String>,
    /// Prices by model; they go before what a section says.
    pub prices: BTreeMap<String, Price>,
    /// Where `auto` looks for an Ollama that nobody configured.
    pub ollama_url: Option<String>,
    /// For the offline provider, which tells the time.
    pub clock: Clock,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            default_provider: "auto".to_owned(),
            fallback: Vec::new(),
            prices: BTreeMap::new(),
            ollama_url: Some("http://127.0.0.1:11434".to_owned()),
            clock: Clock::system(),
        }
    }
}

/// How a provider does, as far as we know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Nobody has asked it yet.
    Unknown,
    /// It answered when it was last asked.
    Ready,
    /// It did not; the text says why.
    Failing(String),
    /// Its section cannot be used; the text says why.
    Misconfigured(String),
}

impl Condition {
    /// One word for status pages.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Ready => "ready",
            Self::Failing(_) => "failing",
            Self::Misconfigured(_) => "misconfigured",
        }
    }
}

/// One line of a status page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Name of the section.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// The model; empty if unknown.
    pub model: String,
    /// How it does.
    pub condition: Condition,
}

/// The providers of a configuration. Cheap to clone.
#[derive(Clone)]
pub struct Providers {
    inner: Arc<Inner>,
}

struct Inner {
    slots: Vec<Slot>,
    broken: Vec<State>,
    default: String,
    fallback: Vec<String>,
    prices: BTreeMap<String, Price>,
    offline: Arc<dyn Provider>,
}

impl Providers {
    /// Makes every provider; reaches for none. A section that cannot be used is left out and shown
    /// by [`Providers::states`].
    pub fn new(settings: Settings, http: &Http) -> Self {
        let (mut slots, mut broken) = (Vec::new(), Vec::new());
        for entry in settings.entries {
            match build(&entry, http) {
                Ok(provider) => slots.push(Slot::new(&entry, provider)),
                Err(why) => broken.push(State {
                    name: entry.name,
                    kind: entry.kind,
                    model: String::new(),
                    condition: Condition::Misconfigured(why),
                }),
            }
        }
        let taken = |slot: &Slot| slot.kind == "ollama" || slot.name == "ollama";
        if !slots.iter().any(taken) {
            slots.extend(settings.ollama_url.and_then(|url| local_ollama(&url, http)));
        }
        let offline: Arc<dyn Provider> = Arc::new(Offline::new(settings.clock));
        Self {
            inner: Arc::new(Inner {
                slots,
                broken,
                default: settings.default_provider,
                fallback: settings.fallback,
                prices: settings.prices,
                offline,
            }),
        }
    }

    /// The one to ask: the default if it is named, else the first that answers, else the offline
    /// provider. One that failed a moment ago is passed over if there is another.
    pub async fn pick(&self) -> Arc<dyn Provider> {
        let Some(named) = self.named_default() else {
            return self.first_ready().await;
        };
        let mut candidates = vec![named];
        candidates.extend(self.fallback());
        let well = candidates.iter().find(|slot| !slot.failing());
        let chosen = well.or(candidates.first());
        chosen.map_or_else(|| self.offline(), |slot| slot.provider.clone())
    }

    /// Whether a model is there as far as is known without asking anybody.
    pub fn has_model(&self) -> bool {
        self.named_default().is_some()
            || self.inner.default != super::offline::NAME
                && self.inner.slots.iter().any(Slot::ready)
    }

    /// [`Providers::pick`], and after it everyone to turn to if it fails; the offline provider is
    /// last.
    pub async fn chain(&self) -> Vec<Arc<dyn Provider>> {
        let first = self.pick().await;
        let mut names = vec![first.about().name];
        let mut chain = vec![first];
        let auto = self.named_default().is_none() && !chain.iter().any(|p| p.about().offline);
        let others = self.inner.slots.iter().filter(|slot| auto && slot.ready());
        let mut rest: Vec<&Slot> = self.named_default().into_iter().collect();
        rest.extend(self.fallback());
        rest.extend(others);
        rest.sort_by_key(|slot| slot.failing());
        for slot in rest {
            if !names.contains(&slot.name) {
                names.push(slot.name.clone());
                chain.push(slot.provider.clone());
            }
        }
        if chain.iter().all(|provider| !provider.about().offline) {
            chain.push(self.offline());
        }
        chain
    }

    /// The provider of this name; `offline` is always there.
    pub fn get(&self, name: &str) -> Option<Arc<dyn Provider>> {
        if let Some(slot) = self.slot(name) {
            return Some(slot.provider.clone());
        }
        (name == super::offline::NAME).then(|| self.offline())
    }

    /// The provider that needs no model.
    pub fn offline(&self) -> Arc<dyn Provider> {
        self.inner.offline.clone()
    }

    /// What a model costs with this provider, where that is known: the configuration's word, then
    /// the list.
    pub fn price(&self, about: &About, model: &str) -> Option<Price> {
        let configured = self.inner.prices.get(model).copied();
        let own = about
            .price
            .filter(|price| about.model == model || *price == Price::FREE);
        let kind = self.slot(&about.name).map(|slot| slot.kind.as_str());
        configured
            .or(own)
            .or_else(|| prices::listed(kind.unwrap_or_default(), model))
    }

    /// Tells the set that a provider did not answer.
    pub fn failed(&self, name: &str, error: &ProviderError) {
        let pause = match error {
            ProviderError::RateLimited { after, .. } => after.unwrap_or(BAD).min(LONGEST_BREAK),
            ProviderError::TooLong { .. } | ProviderError::Refused { .. } => return,
            _ => BAD,
        };
        if let Some(slot) = self.slot(name) {
            slot.note(Err(error.clone()), pause);
        }
    }

    /// Tells the set that a provider answered, which spares a check.
    pub fn answered(&self, name: &str) {
        if let Some(slot) = self.slot(name) {
            slot.note(Ok(()), GOOD);
        }
    }

    /// What is known of each, without asking; the offline provider is last.
    pub fn states(&self) -> Vec<State> {
        let known = self.inner.slots.iter();
        // A server that nobody configured and that is not there is no news.
        let known = known.filter(|slot| slot.knock.is_none() || slot.ready());
        let mut states: Vec<State> = known.map(Slot::state).collect();
        states.extend(self.inner.broken.iter().cloned());
        let about = self.inner.offline.about();
        states.push(State {
            name: about.name,
            kind: super::offline::NAME.to_owned(),
            model: about.model,
            condition: Condition::Ready,
        });
        states
    }

    /// Asks each of them, all at once, and says how they do.
    pub async fn check(&self) -> Vec<State> {
        future::join_all(self.inner.slots.iter().map(Slot::check)).await;
        self.states()
    }

    /// Names in the settings that no provider has.
    pub fn unknown_names(&self) -> Vec<String> {
        let special = |name: &str| matches!(name, "auto" | super::offline::NAME);
        let named = std::iter::once(&self.inner.default).chain(&self.inner.fallback);
        named
            .filter(|name| !special(name) && self.slot(name).is_none())
            .cloned()
            .collect()
    }

    /// None: `auto`, or a name whose section is missing or cannot be used.
    fn named_default(&self) -> Option<&Slot> {
        self.slot(&self.inner.default)
    }

    fn fallback(&self) -> impl Iterator<Item = &Slot> {
        self.inner
            .fallback
            .iter()
            .filter_map(|name| self.slot(name))
    }

    fn slot(&self, name: &str) -> Option<&Slot> {
        self.inner.slots.iter().find(|slot| slot.name == name)
    }

    async fn first_ready(&self) -> Arc<dyn Provider> {
        if self.inner.default == super::offline::NAME {
            return self.offline();
        }
        // All are asked at once, but the first in order that answers is taken.
        let mut checks: FuturesOrdered<_> = self
            .inner
            .slots
            .iter()
            .map(|slot| async move { slot.fresh_or_check().await.then_some(slot) })
            .collect();
        while let Some(slot) = checks.next().await {
            if let Some(slot) = slot {
                return slot.provider.clone();
            }
        }
        self.offline()
    }
}

#[cfg(test)]
mod tests;
