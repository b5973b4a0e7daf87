//! What a message would cost, before it is sent.

use serde::Serialize;

use super::{Orchestrator, model, spend, toolbox::Toolbox};
use crate::{
    budget::{self, Left},
    providers::{About, Wish},
    store::{Result, reservations::Bill, usage, users},
    types::{
        SessionId, Task, TurnId, UserId,
        chat::{Usage, estimate_tokens},
        money::{Quote, Usd},
    },
};

/// What a session is assumed to answer as long as it has not answered yet, in tokens.
const ANSWER: u64 = 400;
/// Time, channel and facts that go with every message, in tokens.
const AROUND: u64 = 80;

/// What is to be estimated.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The message.
    pub text: String,
    /// Images with it.
    pub images: u64,
    /// Its conversation, if it has begun.
    pub session: Option<SessionId>,
    /// A provider or `PROVIDER/MODEL`, if the message names one.
    pub model: Option<String>,
    /// Whose message it is.
    pub user: UserId,
    /// Through which connector it will come.
    pub channel: String,
}

/// What one call of the model would take. A message whose answer needs tools takes several.
#[derive(Debug, Clone, Serialize)]
pub struct Estimate {
    /// Who would answer.
    pub provider: String,
    /// With which model.
    pub model: String,
    /// Tokens that it would read.
    pub input_tokens: u64,
    /// Tokens that it may write.
    pub max_output_tokens: u64,
    /// What the call would cost with an answer as long as the last one.
    pub cost_usd: Usd,
    /// What it would cost with the longest answer: what is reserved.
    pub max_cost_usd: Usd,
    /// At what price.
    pub price: Quote,
    /// Whether it costs nothing.
    pub free: bool,
    /// What is left of the limits that hold for it.
    pub budget: Vec<Left>,
}

impl Orchestrator {
    /// Estimates for whoever would be asked first; asks no model. `None` if there is no provider of the
    /// name.
    pub async fn estimate(&self, draft: Draft) -> Result<Option<Estimate>> {
        let live = self.core.parts.live();
        let wish = self.wish(&draft).await?;
        let Ok(about) = live.providers.first(&wish).await else {
            return Ok(None);
        };
        let quote = live.budgets.quote(&live.providers, &about);
        let (last, budget) = self.so_far(&draft).await?;
        let input_tokens = self.reads(&about, &draft, last);
        let max_output_tokens = match live.turns.max_output_tokens {
            0 => spend::LONGEST,
            limit => u64::from(limit),
        };
        let usual = last.map_or(ANSWER, |usage| usage.output_tokens.max(1));
        let cost = |input_tokens, output_tokens| {
            quote.price.of(Usage {
                input_tokens,
                output_tokens,
                ..Usage::default()
            })
        };
        Ok(Some(Estimate {
            cost_usd: cost(input_tokens, usual.min(max_output_tokens)),
            max_cost_usd: cost(budget::with_margin(input_tokens), max_output_tokens),
            free: quote.price.is_free(),
            provider: about.name,
            model: about.model,
            input_tokens,
            max_output_tokens,
            price: quote,
            budget,
        }))
    }

    /// Who would be asked for it.
    async fn wish(&self, draft: &Draft) -> Result<Wish> {
        let named = (draft.text.as_str(), draft.model.clone());
        model::wish_for(&self.core, Task::Chat, named, (draft.session, draft.user)).await
    }

    /// What the last call of the session took, and how the limits stand.
    async fn so_far(&self, draft: &Draft) -> Result<(Option<Usage>, Vec<Left>)> {
        let parts = &self.core.parts;
        let budgets = parts.live().budgets.clone();
        let now = (parts.clock.now(), parts.kit.schedules.zone());
        let (session, user, channel) = (draft.session, draft.user, draft.channel.clone());
        let read = parts.store.read(move |c| {
            let person = users::get(c, user)?.map_or(user, |user| user.person);
            let bill = Bill {
                step: None,
                turn: Some(TurnId::new()),
                session: session.unwrap_or_else(SessionId::new),
                user,
                person,
                agent: spend::AGENT.to_owned(),
                channel,
                schedule: None,
                purpose: "chat".to_owned(),
            };
            let last = match session {
                Some(session) => usage::last_of_session(c, session)?,
                None => None,
            };
            Ok((last, budgets.left(c, &bill, now)?))
        });
        read.await
    }

    /// A conversation is read again each time, with what was answered last.
    fn reads(&self, about: &About, draft: &Draft, last: Option<Usage>) -> u64 {
        let message = estimate_tokens(&draft.text) + budget::IMAGE * draft.images;
        if about.offline {
            return message;
        }
        let before = last.map_or_else(
            || {
                let toolbox = Toolbox::now(&self.core);
                let (system, _) = self.core.prompts.system(&toolbox, false);
                estimate_tokens(&system) + toolbox.tokens() + AROUND
            },
            |usage| usage.input_tokens + usage.output_tokens,
        );
        before + message
    }
}
