//! Who let a call run that somebody would have been asked about: written with its step, for the audit.

use serde_json::json;

use crate::{
    store::{
        Result, Tx,
        approvals::{Approval, Kind},
        audit::{self, Entry, Origin},
        grants, parking,
        turns::Turn,
    },
    types::{GrantId, StepId, Timestamp, chat::Call},
};

/// By whom, and by which grant, if it was one.
#[derive(Clone)]
pub(super) struct Allowed {
    pub(super) grant: Option<GrantId>,
    /// In words.
    pub(super) by: String,
}

impl Allowed {
    /// Writes it; the use of a grant is an entry of its own, for tools that leave no other.
    pub(super) fn write(
        &self,
        tx: &Tx<'_>,
        turn: &Turn,
        (id, call): (StepId, &Call),
        now: Timestamp,
    ) -> Result<()> {
        parking::set_allowed(tx, id, &self.by)?;
        let Some(grant) = self.grant else {
            return Ok(());
        };
        grants::used(tx, grant, now)?;
        let detail = json!({ "tool": call.tool, "args": call.args, "turn_id": turn.id });
        let used = Entry::new(now, "agent", "grant.use", grant).with(detail);
        let origin = Origin {
            from: turn.reply_to.connector.clone(),
            decided_by: Some(self.by.clone()),
        };
        audit::append_from(tx, &used, &origin)
    }
}

/// Who said yes to a question, through which door and how.
pub(super) fn by(question: &Approval) -> String {
    let word = |text: &Option<String>| text.clone().unwrap_or_default();
    let how = match question.kind {
        Kind::Call => word(&question.decision),
        Kind::Plan => "plan".to_owned(),
    };
    let (by, via) = (word(&question.decided_by), word(&question.decided_via));
    format!("{by} via {via} ({how})")
}
