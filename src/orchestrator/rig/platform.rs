//! For tests: a platform whose posts can be changed and seen, and on which things go wrong.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    connectors::{
        Abilities, Condition, Connector, ConnectorError, Found, Health, Inbox, Posts, Resend,
    },
    types::{Address, Draft, Outgoing},
};

type Result<T> = std::result::Result<T, ConnectorError>;

/// What a platform was asked.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::orchestrator) enum Asked {
    Typing(String),
    Draft(String, Draft),
    Send(String, Outgoing),
}

/// A post, with what can be pressed on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::orchestrator) struct Posted {
    pub(in crate::orchestrator) chat: String,
    pub(in crate::orchestrator) text: String,
    pub(in crate::orchestrator) choices: Vec<&'static str>,
}

/// What goes wrong with a request.
#[derive(Debug, Clone)]
pub(in crate::orchestrator) enum Wrong {
    /// It is answered so, and does nothing.
    Fails(ConnectorError),
    /// It does what it should, and its answer is lost.
    Lost,
    /// It does what it should, and is never answered.
    Hangs,
}

#[derive(Default)]
pub(in crate::orchestrator) struct State {
    pub(in crate::orchestrator) posts: Vec<Posted>,
    pub(in crate::orchestrator) asked: Vec<(Instant, Asked)>,
    keys: HashMap<String, usize>,
    /// How it says that it stands.
    pub(in crate::orchestrator) stands: Condition,
    /// What goes wrong next, in a chat.
    pub(in crate::orchestrator) wrong: HashMap<String, VecDeque<Wrong>>,
}

/// A platform on which posts can be changed.
pub(in crate::orchestrator) struct Platform {
    resend: Resend,
    pace: Duration,
    state: Mutex<State>,
}

impl Platform {
    pub(in crate::orchestrator) fn new(resend: Resend, pace: Duration) -> Arc<Self> {
        Arc::new(Self {
            resend,
            pace,
            state: Mutex::default(),
        })
    }

    pub(in crate::orchestrator) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(in crate::orchestrator) fn posts(&self) -> Vec<Posted> {
        self.state().posts.clone()
    }

    pub(in crate::orchestrator) fn texts(&self) -> Vec<String> {
        self.posts().into_iter().map(|post| post.text).collect()
    }

    pub(in crate::orchestrator) fn breaks(
        &self,
        chat: &str,
        wrong: impl IntoIterator<Item = Wrong>,
    ) {
        let wrong = wrong.into_iter().collect();
        self.state().wrong.insert(chat.to_owned(), wrong);
    }

    /// When drafts of a chat were asked for, with what they said.
    pub(in crate::orchestrator) fn drafts(&self, chat: &str) -> Vec<(Instant, Draft)> {
        let state = self.state();
        let drafts = state.asked.iter().filter_map(|(at, asked)| match asked {
            Asked::Draft(to, draft) if to == chat => Some((*at, draft.clone())),
            _ => None,
        });
        drafts.collect()
    }

    pub(in crate::orchestrator) fn typed(&self, chat: &str) -> usize {
        let typed = Asked::Typing(chat.to_owned());
        let state = self.state();
        state.asked.iter().filter(|(_, a)| *a == typed).count()
    }

    fn ask(&self, asked: Asked) {
        self.state().asked.push((Instant::now(), asked));
    }

    fn wrong(&self, chat: &str) -> Option<Wrong> {
        self.state().wrong.get_mut(chat)?.pop_front()
    }

    /// Posts, or changes what is there.
    fn put(&self, (key, part): (&str, usize), post: Option<&str>, posted: Posted) -> String {
        let mut state = self.state();
        let key = format!("{key}/{part}");
        let known = match post {
            Some(post) => Some(post.parse().unwrap()),
            None if self.resend == Resend::WithKey => state.keys.get(&key).copied(),
            None => None,
        };
        let at = match known {
            // The same key again changes nothing.
            Some(at) if post.is_none() => return at.to_string(),
            Some(at) => {
                state.posts[at] = posted;
                at
            }
            None => {
                state.posts.push(posted);
                state.posts.len() - 1
            }
        };
        state.keys.insert(key, at);
        at.to_string()
    }

    async fn answer(&self, wrong: Option<Wrong>, post: String) -> Result<String> {
        match wrong {
            Some(Wrong::Lost) => Err(lost()),
            Some(Wrong::Hangs) => std::future::pending().await,
            _ => Ok(post),
        }
    }
}

pub(in crate::orchestrator) fn lost() -> ConnectorError {
    ConnectorError::Unsure {
        reason: "the line is dead".to_owned(),
    }
}

pub(in crate::orchestrator) fn later(after: Duration) -> ConnectorError {
    ConnectorError::Later {
        reason: "not so fast".to_owned(),
        after: Some(after),
    }
}

#[async_trait]
impl Connector for Platform {
    async fn run(&self, _inbox: &dyn Inbox, cancel: CancellationToken) -> Result<()> {
        cancel.cancelled().await;
        Ok(())
    }

    /// Parts are what blank lines separate.
    async fn send(&self, to: &Address, what: &Outgoing, posts: &dyn Posts) -> Result<()> {
        self.ask(Asked::Send(to.chat.clone(), what.clone()));
        let text = what.said().into_owned();
        for (n, part) in text.split("\n---\n").enumerate().skip(what.posted.len()) {
            let wrong = self.wrong(&to.chat);
            if let Some(Wrong::Fails(error)) = wrong {
                return Err(error);
            }
            let choices = what.question.as_ref().map(|q| q.choices.clone());
            let posted = Posted {
                chat: to.chat.clone(),
                text: part.to_owned(),
                choices: choices.unwrap_or_default(),
            };
            let instead = what.replaces.as_deref().filter(|_| n == 0);
            let post = self.put((&what.idempotency_key, n), instead, posted);
            posts.add(&self.answer(wrong, post).await?).await?;
        }
        Ok(())
    }

    async fn find(&self, to: &Address, what: &Outgoing) -> Result<Found> {
        if let Some(status) = &what.draft {
            // A draft is known by what it says.
            let text = format!("{}[{status}]", what.text);
            let same = |post: &Posted| post.chat == to.chat && post.text == text;
            let found = self.state().posts.iter().position(same);
            return Ok(found.map(|at| at.to_string()).into());
        }
        let key = format!("{}/{}", what.idempotency_key, what.posted.len());
        Ok(self.state().keys.get(&key).map(ToString::to_string).into())
    }

    async fn draft(&self, to: &Address, draft: &Draft) -> Result<String> {
        self.ask(Asked::Draft(to.chat.clone(), draft.clone()));
        let wrong = self.wrong(&to.chat);
        if let Some(Wrong::Fails(error)) = wrong {
            return Err(error);
        }
        let posted = Posted {
            chat: to.chat.clone(),
            text: format!("{}[{}]", draft.text, draft.status),
            choices: Vec::new(),
        };
        let post = self.put((&draft.idempotency_key, 0), draft.post.as_deref(), posted);
        self.answer(wrong, post).await
    }

    async fn typing(&self, to: &Address) -> Result<()> {
        self.ask(Asked::Typing(to.chat.clone()));
        Ok(())
    }

    fn health(&self) -> Health {
        Health {
            state: self.state().stands,
            ..Health::default()
        }
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            reads_session: false,
            resend: self.resend,
            drafts: Some(self.pace),
        }
    }
}
