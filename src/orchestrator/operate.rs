//! What people say to Nexflow itself in a chat: which questions wait and what is decided, who is let in,
//! what was used. Commands alone reach these; no model does.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Choice, Core, DecideError, Decider, Decision, Orchestrator, flow,
    pairing::{Asked, PeopleError},
};
use crate::{
    store::{
        Result as Stored, StoreError,
        approvals::{self, Approval, Wanted},
        audit::Origin,
        usage::{self, By},
        users::{self, Role},
    },
    tools::{Done, Scope, Tool},
    types::{Place, chat::ToolSpec, effect::Effects, money::Usd, text::shorten},
};

/// Questions that a list shows.
const SHOWN: u32 = 20;
/// Of a question, in bytes.
const LINE: usize = 300;
/// What `/usage` looks back at.
const DAYS: Duration = Duration::from_hours(24 * 30);

/// Every tool of this kind.
pub(super) fn tools(core: &Weak<Core>) -> [Arc<dyn Tool>; 3] {
    [Kind::Decide, Kind::Pair, Kind::Usage].map(|kind| {
        Arc::new(Operate {
            kind,
            core: Weak::clone(core),
        }) as Arc<dyn Tool>
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Decide,
    Pair,
    Usage,
}

struct Operate {
    kind: Kind,
    /// The core holds its tools.
    core: Weak<Core>,
}

#[derive(Deserialize)]
struct Said {
    /// `list`, or a choice.
    choice: String,
    /// Its number in the list, or the end of its id.
    #[serde(default)]
    which: String,
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize)]
struct Code {
    code: String,
    #[serde(default)]
    role: String,
}

#[async_trait]
impl Tool for Operate {
    fn spec(&self) -> ToolSpec {
        let (name, description) = match self.kind {
            Kind::Decide => ("decide", "Show what waits for a decision, or decide it."),
            Kind::Pair => ("pair", "Let somebody in."),
            Kind::Usage => ("usage", "Show what was used."),
        };
        ToolSpec {
            name: name.to_owned(),
            description: description.to_owned(),
            input_schema: json!({ "type": "object", "properties": {} }),
        }
    }

    fn for_models(&self) -> bool {
        false
    }

    fn operates(&self) -> bool {
        true
    }

    fn effects(&self) -> Effects {
        match self.kind {
            Kind::Usage => Effects::READS_PRIVATE,
            Kind::Decide | Kind::Pair => Effects::CHANGES_STATE,
        }
    }

    async fn call(&self, scope: Scope, args: Value) -> Done {
        let Some(core) = self.core.upgrade() else {
            return Done::failed("nexflow is stopping");
        };
        let agent = Orchestrator { core };
        let by = match agent.decider(&scope.place).await {
            Ok(by) => by,
            Err(error) => return Done::failed(error.to_string()),
        };
        let done = match self.kind {
            Kind::Decide => agent.said(&scope.place, args, by).await,
            Kind::Pair => agent.code(args, by).await,
            Kind::Usage => agent.used(&scope.place, by.role).await,
        };
        done.unwrap_or_else(|error| Done::failed(error.to_string()))
    }
}

impl Orchestrator {
    /// Who says it, with the rights that they have now.
    async fn decider(&self, place: &Place) -> Stored<Decider> {
        let (user, at) = (place.user, place.address.clone());
        let read = self.core.parts.store.read(move |c| {
            let name = users::get(c, user)?.map(|account| account.name);
            Ok((name.unwrap_or_default(), flow::role(c, user)?))
        });
        let (name, role) = read.await?;
        Ok(Decider {
            user,
            name,
            role,
            from: Origin::from(format!("{} {}/{}", at.connector, at.account, at.chat)),
            via: at.connector,
        })
    }

    async fn said(&self, place: &Place, args: Value, by: Decider) -> Stored<Done> {
        let said: Said = match serde_json::from_value(args) {
            Ok(said) => said,
            Err(error) => return Ok(Done::failed(format!("wrong arguments: {error}"))),
        };
        let waiting = self.waiting(place, &by).await?;
        let Some(choice) = Choice::parse(&said.choice) else {
            return Ok(Done::text(self.listed(&waiting)));
        };
        let Some(question) = chosen(&waiting, &said.which) else {
            let none = format!("Nothing waits under `{}`.", said.which);
            return Ok(Done::failed(format!("{none} {}", self.listed(&waiting))));
        };
        let decision = Decision {
            id: question.id,
            choice,
            steps: None,
            reason: Some(said.reason),
        };
        match self.decide(decision, by).await {
            Ok(settled) => Ok(Done::text(format!(
                "{}: {}",
                choice.word(),
                settled.summary
            ))),
            Err(DecideError::Store(error)) => Err(error),
            Err(error) => Ok(Done::failed(error.to_string())),
        }
    }

    /// What waits and is for this person to see, the oldest first; in a room what belongs there.
    async fn waiting(&self, place: &Place, by: &Decider) -> Stored<Vec<Approval>> {
        let wanted = Wanted {
            user: (by.role != Role::Owner).then_some(by.user),
            session: place.room.then_some(place.session),
            pending: true,
            limit: SHOWN,
        };
        let store = &self.core.parts.store;
        let mut found = store.read(move |c| approvals::list(c, &wanted)).await?;
        found.reverse();
        Ok(found)
    }

    fn listed(&self, waiting: &[Approval]) -> String {
        if waiting.is_empty() {
            return "Nothing waits for a decision.".to_owned();
        }
        let schedules = &self.core.parts.kit.schedules;
        let mut text = "What waits for a decision:\n".to_owned();
        for (n, one) in (1..).zip(waiting) {
            text.push_str(&format!(
                "\n{n}. {} – {} (`{}`, until {})",
                shorten(&one.summary, LINE),
                shorten(&one.reason, LINE),
                short(one),
                schedules.show(one.expires_at)
            ));
        }
        text.push_str("\n\n`/approve 1` allows it once; `/approve 1 session` and `/approve 1 always` for longer; `/deny 1 REASON` does not.");
        text
    }

    async fn code(&self, args: Value, by: Decider) -> Stored<Done> {
        let given: Code = match serde_json::from_value(args) {
            Ok(given) => given,
            Err(error) => return Ok(Done::failed(format!("wrong arguments: {error}"))),
        };
        if by.role != Role::Owner {
            return Ok(Done::failed("Only the owner lets people in."));
        }
        let role = match given.role.as_str() {
            "" => Role::Member,
            other => match Role::parse(other) {
                Some(role) => role,
                None => {
                    let text = format!("`{other}` is no role: viewer, member or owner.");
                    return Ok(Done::failed(text));
                }
            },
        };
        match self.pair(Asked::Code(given.code), role, by).await {
            Ok(account) => Ok(Done::text(format!(
                "{} ({}) is let in as {}.",
                account.name,
                account.channel,
                account.role.as_str()
            ))),
            Err(PeopleError::Store(error)) => Err(error),
            Err(error) => Ok(Done::failed(error.to_string())),
        }
    }

    /// Of everybody for the owner alone; else the person's own.
    async fn used(&self, place: &Place, role: Role) -> Stored<Done> {
        let parts = &self.core.parts;
        let (now, zone) = (parts.clock.now(), parts.kit.schedules.zone());
        let all = role == Role::Owner && !place.room;
        let (person, budgets) = (place.person.to_string(), parts.live().budgets.clone());
        let read = parts.store.read(move |c| {
            let by = if all { By::Model } else { By::User };
            let mut lines = usage::report(c, by, (now.minus(DAYS), zone))?;
            lines.retain(|line| all || line.key == person);
            let left = if all {
                budgets.overview(c, (now, zone))?
            } else {
                Vec::new()
            };
            Ok::<_, StoreError>((lines, left))
        });
        let (lines, left) = read.await?;
        if lines.is_empty() {
            return Ok(Done::text("No model was asked in the last 30 days."));
        }
        let mut text = "In the last 30 days:\n".to_owned();
        for line in &lines {
            let name = if all { line.key.as_str() } else { "you" };
            text.push_str(&format!(
                "\n- {name}: {} calls, {} tokens read, {} written, ${}",
                line.calls, line.input_tokens, line.output_tokens, line.cost
            ));
        }
        let sum = lines
            .iter()
            .fold(Usd(0), |sum, line| sum.plus(line.cost_usd));
        text.push_str(&format!("\n\nTogether ${sum}."));
        for one in &left {
            text.push_str(&format!("\n- {}", one.text));
        }
        Ok(Done::text(text))
    }
}

/// The end of its id, which people can type.
fn short(one: &Approval) -> String {
    let id = one.id.to_string();
    let from = id.len().saturating_sub(6);
    id.get(from..).unwrap_or_default().to_owned()
}

/// The one that is meant: its number in the list, or the end of its id. Without either the only one.
fn chosen<'a>(waiting: &'a [Approval], which: &str) -> Option<&'a Approval> {
    if which.is_empty() {
        return waiting.first().filter(|_| waiting.len() == 1);
    }
    if which.len() < 4 {
        let number: usize = which.parse().ok()?;
        return waiting.get(number.checked_sub(1)?);
    }
    let wanted = which.to_ascii_lowercase();
    waiting
        .iter()
        .find(|one| one.id.to_string().ends_with(&wanted))
}
