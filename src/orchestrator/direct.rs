//! A skill that a person runs themselves, outside a conversation: the rules hold for them too.

use serde_json::Value;

use super::Orchestrator;
use crate::{
    policy::{self, Case, Flow, Verdict},
    skills::Skill,
    store::{approvals::Who, users::Role},
    tools::skill::effects,
};

impl Orchestrator {
    /// Whether somebody may run a skill with this input; who may decide has decided by asking for it.
    ///
    /// # Errors
    /// Why not, for a person.
    pub fn may_run(
        &self,
        skill: &Skill,
        input: &Value,
        (role, channel): (Role, &str),
    ) -> Result<(), String> {
        let live = self.core.parts.live();
        let case = Case {
            tool: &skill.name,
            args: input,
            effects: effects(skill),
            hash: &skill.hash,
            confirm: skill.manifest.confirm,
            channel,
            role,
            flow: &Flow::default(),
            grants: &[],
            planned: false,
        };
        match policy::decide(&live.approvals, &case) {
            Verdict::Allow(_) => Ok(()),
            Verdict::Ask(why) if role == Role::Owner || why.who == Who::Asker => Ok(()),
            Verdict::Ask(why) => Err(format!(
                "the owner has to approve it ({}); ask for it in a conversation",
                why.reason
            )),
            Verdict::Deny(reason) => Err(reason),
        }
    }
}
