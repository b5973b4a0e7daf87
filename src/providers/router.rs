//! All providers of a configuration, and which of them is asked.
//!
//! Owns the order in which they are asked, the queue of each, and what is known of each one's health.
//! Asks nobody while nobody asks it: an idle daemon sends nothing. Asking, and turning to the next, is
//! the caller's: it goes through [`Providers::route`].

mod breaker;
mod choice;
mod probe;
mod queue;
mod slot;
mod state;
mod task;

use std::{collections::BTreeMap, sync::Arc};

use futures_util::{StreamExt as _, future, stream::FuturesOrdered};

use super::{About, Offline, Provider, Transcriber, Transcription, prices};
use crate::{
    net::Http,
    types::{Clock, Entry, Task, money::Price},
};
pub use breaker::{Blocked, Circuit, Class, Rules};
pub use choice::{Choice, Pass};
pub use probe::{Finding, Probe, Verdict};
use slot::{Slot, build, knock, local_ollama};
pub use state::{Condition, State};
pub use task::{Tasks, Wish};

/// What the router is made of.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The configured sections, in their order.
    pub entries: Vec<Entry>,
    /// Name of a section, `offline`, or `auto`: the first that answers.
    pub default_provider: String,
    /// Who is asked if the first does not answer, in order.
    pub fallback: Vec<String>,
    /// Who is asked for what, in order; a task without a list takes that of `chat`, which without one
    /// takes the default provider and the fallback.
    pub tasks: Tasks,
    /// When a provider is left alone.
    pub breaker: Rules,
    /// Prices by model; they go before what a section says.
    pub prices: BTreeMap<String, Price>,
    /// Where `auto` looks for an Ollama that nobody configured.
    pub ollama_url: Option<String>,
    /// Who writes down what is said in voice notes.
    pub transcription: Option<Transcription>,
    /// For the offline provider, which tells the time.
    pub clock: Clock,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            default_provider: "auto".to_owned(),
            fallback: Vec::new(),
            tasks: Tasks::new(),
            breaker: Rules::default(),
            prices: BTreeMap::new(),
            ollama_url: Some("http://127.0.0.1:11434".to_owned()),
            transcription: None,
            clock: Clock::system(),
        }
    }
}

/// The providers of a configuration. Cheap to clone.
#[derive(Clone)]
pub struct Providers {
    inner: Arc<Inner>,
}

struct Inner {
    slots: Vec<Arc<Slot>>,
    broken: Vec<State>,
    default: String,
    fallback: Vec<String>,
    tasks: Tasks,
    rules: Rules,
    prices: BTreeMap<String, Price>,
    offline: Arc<dyn Provider>,
    transcriber: Option<Transcriber>,
}

impl Providers {
    /// Makes every provider; reaches for none. A section that cannot be used is left out and shown
    /// by [`Providers::states`].
    pub fn new(settings: Settings, http: &Http) -> Self {
        Self::after(None, settings, http)
    }

    /// The same in place of earlier ones: a section that did not change keeps its circuits, its queue
    /// and what is known of its health.
    pub fn after(earlier: Option<&Self>, settings: Settings, http: &Http) -> Self {
        let rules = settings.breaker;
        let earlier = earlier.filter(|earlier| earlier.inner.rules == rules);
        let kept = |entry: &Entry| {
            let slots = &earlier?.inner.slots;
            let same = slots.iter().find(|slot| slot.entry == *entry)?;
            Some(Arc::clone(same))
        };
        let (mut slots, mut broken) = (Vec::new(), Vec::new());
        for entry in settings.entries {
            if let Some(slot) = kept(&entry) {
                slots.push(slot);
                continue;
            }
            match build(&entry, http) {
                Ok(provider) => slots.push(Arc::new(Slot::new(&entry, provider, rules))),
                Err(why) => {
                    let condition = Condition::Misconfigured(why);
                    let (name, kind) = (entry.name, entry.kind);
                    broken.push(State::plain(name, kind, String::new(), condition));
                }
            }
        }
        let taken = |slot: &Arc<Slot>| slot.entry.kind == "ollama" || slot.name() == "ollama";
        if let Some(url) = settings.ollama_url.filter(|_| !slots.iter().any(taken)) {
            let entry = local_ollama(&url);
            slots.extend(kept(&entry).or_else(|| {
                let mut slot = Slot::new(&entry, build(&entry, http).ok()?, rules);
                slot.knock = Some(knock(&url)?);
                Some(Arc::new(slot))
            }));
        }
        let offline: Arc<dyn Provider> = Arc::new(Offline::new(settings.clock));
        Self {
            inner: Arc::new(Inner {
                slots,
                broken,
                default: settings.default_provider,
                fallback: settings.fallback,
                tasks: settings.tasks,
                rules,
                prices: settings.prices,
                offline,
                transcriber: settings.transcription.map(|s| Transcriber::new(s, http)),
            }),
        }
    }

    /// Who answers a person if nobody says anything else: for status pages.
    pub async fn pick(&self) -> About {
        let first = self.first(&Wish::default()).await;
        first.unwrap_or_else(|_| self.offline().about())
    }

    /// Who would be asked first now.
    ///
    /// # Errors
    /// As [`Providers::route`].
    pub async fn first(&self, wish: &Wish) -> Result<About, String> {
        let chain = self.route(wish).await?;
        let well = chain.iter().find(|choice| choice.blocked().is_none());
        let first = well.or(chain.first());
        Ok(first.map_or_else(|| self.offline().about(), Choice::about))
    }

    /// The configured provider of this name.
    pub fn get(&self, name: &str) -> Option<Arc<dyn Provider>> {
        self.slot(name).map(|slot| Arc::clone(&slot.provider))
    }

    /// Who writes down what is said in voice notes, if somebody does.
    pub fn transcriber(&self) -> Option<&Transcriber> {
        self.inner.transcriber.as_ref()
    }

    /// Whether a model is there as far as is known without asking anybody.
    pub fn has_model(&self) -> bool {
        let listed = task::list(&self.inner.tasks, Task::Chat);
        let listed = listed.iter().filter_map(|name| self.choice(name));
        self.named_default().is_some()
            || listed.into_iter().any(|choice| choice.slot.is_some())
            || self.inner.default != super::offline::NAME
                && self.inner.slots.iter().any(|slot| slot.ready())
    }

    /// Everyone to turn to, in order; the built-in provider is last, unless one was named for this
    /// message alone. What the conversation or the person chose and is not there any more is passed
    /// over.
    ///
    /// # Errors
    /// When nobody has the name that the message asks for; the text says what to write.
    pub async fn route(&self, wish: &Wish) -> Result<Vec<Choice>, String> {
        if let Some(name) = &wish.exact {
            let named = self.choice(name).ok_or_else(|| self.unknown(name))?;
            return Ok(vec![named]);
        }
        let mut chain = Vec::new();
        for name in &wish.preferred {
            if let Some(choice) = self.choice(name) {
                join(&mut chain, choice);
            } else {
                tracing::info!(name, "a chosen model is not there; another is asked");
            }
        }
        let listed = task::list(&self.inner.tasks, wish.task);
        let listed: Vec<Choice> = listed.iter().filter_map(|n| self.choice(n)).collect();
        if listed.is_empty() {
            self.by_default(&mut chain).await;
        }
        for choice in listed {
            join(&mut chain, choice);
        }
        join(&mut chain, self.built_in());
        Ok(chain)
    }

    /// The default provider and the fallback, or whoever answers.
    async fn by_default(&self, chain: &mut Vec<Choice>) {
        let Some(named) = self.named_default() else {
            let Some(first) = self.first_ready().await else {
                return;
            };
            join(chain, of(&first));
            let fallback = self.inner.fallback.iter().filter_map(|n| self.choice(n));
            fallback.for_each(|choice| join(chain, choice));
            let others = self.inner.slots.iter().filter(|slot| slot.ready());
            others.for_each(|slot| join(chain, of(slot)));
            return;
        };
        join(chain, of(named));
        let fallback = self.inner.fallback.iter().filter_map(|n| self.choice(n));
        fallback.for_each(|choice| join(chain, choice));
    }

    /// Who is meant by `PROVIDER`, `PROVIDER/MODEL` or the name of a model that one of them uses.
    pub fn choice(&self, name: &str) -> Option<Choice> {
        if name == super::offline::NAME {
            return Some(self.built_in());
        }
        if let Some(slot) = self.slot(name) {
            return Some(of(slot));
        }
        let by_prefix = name.split_once('/').and_then(|(provider, model)| {
            let slot = self.slot(provider).filter(|_| !model.is_empty())?;
            Some(Choice {
                model: Some(model.to_owned()),
                ..of(slot)
            })
        });
        by_prefix.or_else(|| {
            let mut slots = self.inner.slots.iter();
            slots
                .find(|slot| !name.is_empty() && slot.provider.about().model == name)
                .map(of)
        })
    }

    /// What a person reads who named somebody that is not there.
    pub fn unknown(&self, name: &str) -> String {
        let known: Vec<String> = self.inner.slots.iter().map(|s| s.name().into()).collect();
        let like = |known: &String| strsim::jaro_winkler(known, name);
        let near = known.iter().max_by(|a, b| like(a).total_cmp(&like(b)));
        let near = near
            .filter(|near| like(near) > 0.8)
            .map_or_else(String::new, |near| format!(" Did you mean `{near}`?"));
        format!(
            "There is no provider `{name}`.{near} Name one of llm.providers, or PROVIDER/MODEL; `/model` lists them."
        )
    }

    /// The provider that needs no model.
    pub fn offline(&self) -> Arc<dyn Provider> {
        self.inner.offline.clone()
    }

    /// The same as a choice.
    pub fn built_in(&self) -> Choice {
        Choice {
            provider: self.offline(),
            model: None,
            slot: None,
        }
    }

    /// What a model costs with this provider, where that is known: the configuration's word, then
    /// the list.
    pub fn price(&self, about: &About) -> Option<Price> {
        let model = &about.model;
        let configured = self.inner.prices.get(model).copied();
        let kind = self.slot(&about.name).map(|slot| slot.entry.kind.as_str());
        configured
            .or(about.price)
            .or_else(|| prices::listed(kind.unwrap_or_default(), model))
    }

    /// Forgets the failures of a provider: it is asked again at once. `false` if there is none of
    /// this name.
    pub fn reset(&self, name: &str) -> bool {
        let slot = self.slot(name);
        slot.inspect(|slot| slot.reset()).is_some()
    }

    /// Tries a provider with real requests, which cost a few tokens: whether it is reached, takes the
    /// key, has the model, streams and calls tools. None if there is none of this name.
    pub async fn probe(&self, name: &str) -> Option<Probe> {
        let slot = self.slot(name)?;
        let mut probe = probe::run(&*slot.provider).await;
        let about = slot.provider.about();
        probe.cost_usd = self.price(&about).map(|price| price.of(probe.usage));
        Some(probe)
    }

    /// Names of the configured providers, in order.
    pub fn names(&self) -> Vec<String> {
        let slots = self.inner.slots.iter();
        let known = slots.filter(|slot| slot.knock.is_none() || slot.ready());
        known.map(|slot| slot.name().to_owned()).collect()
    }

    /// What is known of each, without asking; the offline provider is last.
    pub fn states(&self) -> Vec<State> {
        let known = self.inner.slots.iter();
        // A server that nobody configured and that is not there is no news.
        let known = known.filter(|slot| slot.knock.is_none() || slot.ready());
        let mut states: Vec<State> = known.map(|slot| slot.state()).collect();
        states.extend(self.inner.broken.iter().cloned());
        let about = self.inner.offline.about();
        let kind = super::offline::NAME.to_owned();
        states.push(State::plain(
            about.name,
            kind,
            about.model,
            Condition::Ready,
        ));
        states
    }

    /// Asks each of them, all at once, and says how they do.
    pub async fn check(&self) -> Vec<State> {
        future::join_all(self.inner.slots.iter().map(|slot| slot.check())).await;
        self.states()
    }

    /// None: `auto`, or a name whose section is missing or cannot be used.
    fn named_default(&self) -> Option<&Arc<Slot>> {
        self.slot(&self.inner.default)
    }

    fn slot(&self, name: &str) -> Option<&Arc<Slot>> {
        self.inner.slots.iter().find(|slot| slot.name() == name)
    }

    async fn first_ready(&self) -> Option<Arc<Slot>> {
        if self.inner.default == super::offline::NAME {
            return None;
        }
        // All are asked at once, but the first in order that answers is taken.
        let slots = self.inner.slots.iter();
        let mut checks: FuturesOrdered<_> = slots
            .map(|slot| async move { slot.fresh_or_check().await.then_some(slot) })
            .collect();
        while let Some(slot) = checks.next().await {
            if let Some(slot) = slot {
                return Some(Arc::clone(slot));
            }
        }
        None
    }
}

fn of(slot: &Arc<Slot>) -> Choice {
    Choice {
        provider: Arc::clone(&slot.provider),
        model: None,
        slot: Some(Arc::clone(slot)),
    }
}

/// Adds one that is not among them.
fn join(chain: &mut Vec<Choice>, choice: Choice) {
    let name = choice.name();
    if chain.iter().all(|other| other.name() != name) {
        chain.push(choice);
    }
}

#[cfg(test)]
mod tests;
