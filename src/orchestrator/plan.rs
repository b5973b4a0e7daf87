//! Plan mode: the model proposes what it is going to do, and does it once a person approved.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    allowed,
    ask::{self, Weighed},
    toolbox::Toolbox,
    work::Work,
};
use crate::{
    policy::Why,
    store::{
        Result,
        approvals::{self, Approval, Kind, State},
    },
    tools::plan::{NAME, Step, steps},
    types::{
        StepId,
        chat::{Call, ToolSpec},
    },
};

/// Whether a plan comes first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Planning {
    /// No plan is wanted.
    Off,
    /// Nothing is done before a plan is approved.
    Wanted,
    /// A plan was approved.
    Approved {
        /// The tools that it names.
        tools: BTreeSet<String>,
        /// Who approved it, for the audit.
        by: String,
    },
}

/// Whether a turn needs a plan, and whether it has one.
pub(super) async fn of(work: &Work) -> Result<Planning> {
    let wanted = work.asked.plan || work.core.parts.live().approvals.plan;
    if !wanted || work.by_command() {
        return Ok(Planning::Off);
    }
    let turn = work.turn.id;
    let store = &work.core.parts.store;
    let all = store.read(move |c| approvals::of_turn(c, turn)).await?;
    let approved = all
        .iter()
        .rfind(|one| one.kind == Kind::Plan && one.state == State::Approved);
    Ok(approved.map_or(Planning::Wanted, approved_tools))
}

/// What an approved plan allows.
pub(super) fn approved_tools(plan: &Approval) -> Planning {
    let tools = chosen(plan).into_iter().filter_map(|(_, step)| step.tool);
    Planning::Approved {
        tools: tools.collect(),
        by: allowed::by(plan),
    }
}

/// The approved steps, numbered from 1.
fn chosen(plan: &Approval) -> Vec<(usize, Step)> {
    let all = steps(&plan.args).unwrap_or_default();
    let numbers: Option<Vec<usize>> = plan
        .steps
        .clone()
        .and_then(|numbers| serde_json::from_value(numbers).ok());
    let numbered = (1..).zip(all);
    numbered
        .filter(|(n, _)| numbers.as_ref().is_none_or(|some| some.contains(n)))
        .collect()
}

/// What the model is told once its plan is approved.
pub(super) fn go_on(plan: &Approval) -> String {
    let all = steps(&plan.args).map(|all| all.len()).unwrap_or_default();
    let chosen = chosen(plan);
    if chosen.len() == all {
        return "The person approved the whole plan. Carry it out now.".to_owned();
    }
    let named: Vec<String> = chosen
        .iter()
        .map(|(n, step)| format!("{n}. {}", step.title))
        .collect();
    format!(
        "The person approved only these steps of the plan; do them and no others:\n{}",
        named.join("\n")
    )
}

/// The plan of a call of the tool, as a question; any other call while a plan is wanted is refused.
pub(super) fn weigh(work: &Work, (id, call): (StepId, &Call), offline: bool) -> Option<Weighed> {
    if offline && !work.asks_again_at_all() {
        return None;
    }
    match (&work.planning, call.tool == NAME) {
        (Planning::Wanted, true) => {}
        (Planning::Wanted, false) => {
            let text = format!("the person wants to see a plan first; call `{NAME}`");
            return Some(Weighed::Refuse(text));
        }
        _ => return None,
    }
    let Ok(all) = steps(&call.args) else {
        // The tool says what is wrong.
        return Some(Weighed::Run(None));
    };
    let why = Why {
        reason: "a plan is wanted before anything is done".to_owned(),
        source: None,
        gated: false,
        who: work.core.parts.live().approvals.who,
    };
    let titles = (1..)
        .zip(&all)
        .map(|(n, step): (usize, _)| format!("{n}. {}", step.title));
    let summary = titles.collect::<Vec<_>>().join("\n");
    Some(Weighed::Ask(Box::new(Approval {
        kind: Kind::Plan,
        summary,
        ..ask::plain(work, (id, call), why)
    })))
}

impl Planning {
    /// Whether an approved plan names a tool.
    pub(super) fn names(&self, tool: &str) -> bool {
        self.approved_by(tool).is_some()
    }

    /// Who approved the plan that names a tool.
    pub(super) fn approved_by(&self, tool: &str) -> Option<&str> {
        match self {
            Self::Approved { tools, by } if tools.contains(tool) => Some(by),
            _ => None,
        }
    }

    /// What the model is told while a plan is wanted.
    pub(super) fn word(&self) -> Option<String> {
        (*self == Self::Wanted).then(|| {
            format!(
                "(From Nexflow: the person wants to see a plan before anything is done. If nothing has to be done, answer. Else call `{NAME}` with the steps, naming the tool of each.)"
            )
        })
    }

    /// The tools that a model is shown.
    pub(super) fn tools(&self, toolbox: &Toolbox, commands: bool) -> Vec<ToolSpec> {
        if *self != Self::Wanted || commands {
            return toolbox.specs(commands);
        }
        let mut plan: Vec<ToolSpec> = toolbox
            .get(NAME)
            .map(|tool| tool.spec())
            .into_iter()
            .collect();
        // What can be named in a plan has to be known.
        let others = toolbox.specs(false);
        if let Some(plan) = plan.first_mut() {
            let names: Vec<String> = others
                .iter()
                .map(|spec| format!("{} ({})", spec.name, first_sentence(&spec.description)))
                .collect();
            plan.description.push_str(" Tools: ");
            plan.description.push_str(&names.join("; "));
        }
        plan
    }
}

fn first_sentence(text: &str) -> &str {
    text.split_once(". ").map_or(text, |(first, _)| first)
}

/// Numbers of steps that a decision names; none stands for all.
pub(super) fn numbers(plan: &Approval, wanted: &[usize]) -> std::result::Result<Value, String> {
    let all = steps(&plan.args).map(|all| all.len()).unwrap_or_default();
    match wanted.iter().find(|n| **n == 0 || **n > all) {
        Some(n) => Err(format!("the plan has no step {n}; it has {all}")),
        None if wanted.is_empty() => Err("no step is named; deny the plan instead".to_owned()),
        None => Ok(wanted.to_vec().into()),
    }
}
