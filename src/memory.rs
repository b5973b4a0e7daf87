//! What is remembered of a person: facts they asked to keep, and what they said before.

use serde::{Deserialize, Serialize};

use crate::{
    store::{
        Result, Store,
        memories::{self, Fact, Hit, Search},
    },
    types::{Clock, MemoryId, MessageId, SessionId, UserId, text::shorten},
};

/// `memory` in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Config {
    /// Whether memory is searched for each message.
    pub enabled: bool,
    /// How many facts and past messages go into a context at most.
    pub max_hits: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            max_hits: 5,
        }
    }
}

/// The longest fact in bytes.
const LONGEST: usize = 2000;

/// The memory of this daemon. Cheap to clone.
#[derive(Clone)]
pub struct Memory {
    store: Store,
    clock: Clock,
    config: Config,
}

impl Memory {
    /// A memory in `store`.
    pub fn new(store: Store, clock: Clock, config: Config) -> Self {
        Self {
            store,
            clock,
            config,
        }
    }

    /// Keeps a fact. The same text is kept once.
    pub async fn add(&self, person: UserId, text: &str, source: Option<MessageId>) -> Result<Fact> {
        let fact = Fact {
            id: MemoryId::new(),
            text: shorten(text.trim(), LONGEST),
            source,
            created_at: self.clock.now(),
        };
        self.store
            .write(move |tx| {
                let known = memories::list(tx, person, 10_000)?;
                if let Some(same) = known.into_iter().find(|f| f.text == fact.text) {
                    return Ok(same);
                }
                memories::insert(tx, person, &fact)?;
                Ok(fact)
            })
            .await
    }

    /// A person's facts, newest first.
    pub async fn list(&self, person: UserId, limit: u32) -> Result<Vec<Fact>> {
        self.store
            .read(move |c| memories::list(c, person, limit))
            .await
    }

    /// Forgets a fact by its id, or the end of its id that lists show. Answers what was forgotten.
    pub async fn forget(&self, person: UserId, id: &str) -> Result<Option<Fact>> {
        let wanted = id.trim().to_lowercase();
        self.store
            .write(move |tx| {
                let fact = memories::list(tx, person, 10_000)?.into_iter().find(|f| {
                    let full = f.id.to_string();
                    full == wanted || (wanted.len() >= 4 && full.ends_with(&wanted))
                });
                if let Some(fact) = &fact {
                    memories::forget(tx, person, fact.id)?;
                }
                Ok(fact)
            })
            .await
    }

    /// Facts and past messages that have some of the words, facts first.
    pub async fn search(&self, search: Search) -> Result<Vec<Hit>> {
        self.store
            .read(move |c| {
                let mut hits = memories::search_facts(c, &search)?;
                hits.extend(memories::search_messages(c, &search)?);
                Ok(hits)
            })
            .await
    }

    /// What goes into the context of a message: facts, and what was said in other sessions.
    pub async fn recall(
        &self,
        person: UserId,
        words: &str,
        (message, session): (MessageId, SessionId),
    ) -> Result<Vec<Hit>> {
        if !self.config.enabled {
            return Ok(Vec::new());
        }
        let search = Search {
            person,
            words: shorten(words, 1000),
            except: Some(message),
            except_session: Some(session),
            limit: self.config.max_hits,
        };
        let mut hits = self.search(search).await?;
        hits.truncate(self.config.max_hits as usize);
        Ok(hits)
    }
}
