//! What may be done without asking: decides each tool call from the configuration's rules, the skill's
//! own wish, lasting answers of a person ([`Grant`]) and the flow of data ([`Flow`]). Pure: no I/O, no
//! clock, no model.

pub mod fingerprint;
pub mod pattern;
pub mod words;

mod command;
mod rules;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use crate::store::grants::Grant;
use crate::{
    store::{approvals::Who, users::Role},
    types::{GrantId, effect::Effects},
};
use pattern::Arguments;

/// `approvals` in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    /// What holds for a call that no rule is about: `allow`, `ask` or `deny`.
    pub default: Choice,
    /// Minutes after which a request that nobody decided expires.
    pub expire_minutes: u64,
    /// Days for which "always" holds.
    pub grant_days: u64,
    /// Who decides: `owner`, or `asker`: also the member whose call it is.
    pub who: Who,
    /// Whether a plan is shown and approved before anything is done.
    pub plan: bool,
    /// Rules, in order; the first that fits decides.
    pub rules: Vec<Rule>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            default: Choice::Allow,
            expire_minutes: 60,
            grant_days: 90,
            who: Who::Owner,
            plan: false,
            rules: Vec::new(),
        }
    }
}

impl Config {
    /// What holds where the configuration could not be understood: everything asks.
    pub fn careful() -> Self {
        Self {
            default: Choice::Ask,
            ..Self::default()
        }
    }
}

/// What a rule says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Choice {
    /// It is done.
    Allow,
    /// A person is asked.
    Ask,
    /// It is not done.
    Deny,
}

/// One rule. What it leaves out fits everything.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct Rule {
    /// Name of the skill or tool; `*` stands for any text.
    #[serde(default)]
    pub skill: Option<String>,
    /// Arguments and what their text must look like; `*` stands for any text.
    #[serde(default)]
    pub when: BTreeMap<String, String>,
    /// Name of the channel that the message came through.
    #[serde(default)]
    pub channel: Option<String>,
    /// Role of the person whose message it is.
    #[serde(default)]
    pub role: Option<Role>,
    /// What then holds.
    pub decision: Choice,
    /// Why, for the person and the model.
    #[serde(default)]
    pub reason: Option<String>,
    /// Who decides, where it asks.
    #[serde(default)]
    pub who: Option<Who>,
}

/// What a context holds, as far as the gate is concerned: words for a person.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flow {
    /// What brought in somebody else's words.
    pub untrusted: Option<String>,
    /// What brought in private data.
    pub private: Option<String>,
}

impl Flow {
    /// Adds what something else brought in; what was there first is named.
    pub fn take_in(&mut self, other: Self) {
        self.untrusted = self.untrusted.take().or(other.untrusted);
        self.private = self.private.take().or(other.private);
    }

    /// Whether a call with these effects needs a person. One that reads and sends in one go needs
    /// nothing private to be here before.
    pub fn holds_up(&self, effects: Effects) -> bool {
        let alone = effects.any(Effects::READS_PRIVATE) && effects.any(Effects::SENDS_OUT);
        self.untrusted.is_some()
            && (self.private.is_some() || alone)
            && effects.any(Effects::SENDS_OUT.and(Effects::CHANGES_STATE))
    }
}

/// One call, and everything that the decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// Name of the tool.
    pub tool: &'a str,
    /// Its arguments.
    pub args: &'a Value,
    /// What it does.
    pub effects: Effects,
    /// Hash of the skill; empty for a built-in tool.
    pub hash: &'a str,
    /// Whether the skill itself wants to be confirmed.
    pub confirm: bool,
    /// Through which channel the message came.
    pub channel: &'a str,
    /// Role of the person whose message it is.
    pub role: Role,
    /// What is in the context.
    pub flow: &'a Flow,
    /// Grants that hold now for this person and conversation.
    pub grants: &'a [Grant],
    /// Whether it is named in a plan that was approved.
    pub planned: bool,
}

/// What is to be done with a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It runs; with the grant that made it so.
    Allow(Option<GrantId>),
    /// It does not; why.
    Deny(String),
    /// A person decides.
    Ask(Why),
}

/// Why a person is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    /// In words.
    pub reason: String,
    /// What the gate saw.
    pub source: Option<String>,
    /// Whether the gate asks.
    pub gated: bool,
    /// Who may decide.
    pub who: Who,
}

/// Decides one call.
pub fn decide(config: &Config, case: &Case<'_>) -> Verdict {
    if case.role == Role::Viewer {
        return Verdict::Deny("viewers may look, not do".to_owned());
    }
    let rule = config.rules.iter().find(|rule| rules::fits(rule, case));
    let (choice, reason) = match rule {
        Some(rule) => (rule.decision, rule.reason.clone()),
        None if case.confirm && config.default == Choice::Allow => (
            Choice::Ask,
            Some(format!("`{}` wants every run to be confirmed", case.tool)),
        ),
        None => (config.default, None),
    };
    let gated = case.flow.holds_up(case.effects);
    match choice {
        Choice::Deny => {
            let because = reason.map(|r| format!(": {r}")).unwrap_or_default();
            return Verdict::Deny(format!("a rule of the owner forbids it{because}"));
        }
        Choice::Allow if !gated => return Verdict::Allow(None),
        Choice::Ask if !gated && case.planned => return Verdict::Allow(None),
        Choice::Allow | Choice::Ask => {}
    }
    if let Some(grant) = granted(case, gated) {
        return Verdict::Allow(Some(grant));
    }
    if gated {
        return Verdict::Ask(gate(case));
    }
    Verdict::Ask(Why {
        reason: reason.unwrap_or_else(|| match rule {
            Some(_) => "a rule of the configuration asks about it".to_owned(),
            None => "the configuration asks about every call".to_owned(),
        }),
        source: None,
        gated,
        who: rule.and_then(|rule| rule.who).unwrap_or(config.who),
    })
}

/// The grant that a call falls under. One that was given without the gate does not open it.
fn granted(case: &Case<'_>, gated: bool) -> Option<GrantId> {
    let args = Arguments::of(case.args);
    let fits = |grant: &&Grant| {
        grant.tool == case.tool
            && grant.hash == case.hash
            && (grant.gated || !gated)
            && args.fit(&grant.pattern)
    };
    case.grants.iter().find(fits).map(|grant| grant.id)
}

fn gate(case: &Case<'_>) -> Why {
    let outward = if case.effects.any(Effects::SENDS_OUT) {
        "send something out"
    } else {
        "change something"
    };
    let untrusted = case.flow.untrusted.clone().unwrap_or_default();
    let private = match case.flow.private.as_deref() {
        Some(private) => format!("private data is here too ({private})"),
        None => "it reads private data itself".to_owned(),
    };
    Why {
        reason: format!("it can {outward}, {untrusted}, and {private}"),
        source: Some(untrusted),
        gated: true,
        who: Who::Owner,
    }
}

#[cfg(test)]
mod tests;
