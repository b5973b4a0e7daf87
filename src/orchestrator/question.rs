//! Questions as posts: what somebody on a platform reads of one, and what becomes of that post once the
//! question is settled, through whichever door.

use super::decide::Choice;
use crate::{
    store::{
        Result, Tx,
        approvals::{self, Approval, Kind, State},
        outbox::{self, Parcel},
    },
    types::{
        ApprovalId, MessageId, Timestamp,
        secret::mask,
        text::{clean, head_and_tail, shorten},
    },
};

/// A question is one post on every platform: the smallest takes 2,000 characters. In bytes: what is
/// shown of a command or a difference, of what is done, and of why.
const DETAIL: usize = 800;
const SUMMARY: usize = 400;
const WHY: usize = 240;

/// What can be said to it, in order.
pub(super) fn choices(question: &Approval) -> Vec<&'static str> {
    let lasts = question.pattern.is_some();
    let all = [
        (Choice::Once, true),
        (Choice::Session, lasts),
        (Choice::Always, lasts),
        (Choice::Deny, true),
    ];
    let valid = all.into_iter().filter(|(_, valid)| *valid);
    valid.map(|(choice, _)| choice.as_str()).collect()
}

/// Puts what a turn asks in the outbox, a post each; `like` says where to.
pub(super) fn ask<'a>(
    tx: &Tx<'_>,
    like: &Parcel,
    asked: impl Iterator<Item = &'a Approval>,
) -> Result<()> {
    let mut pending: Vec<&Approval> = asked.filter(|q| q.state == State::Pending).collect();
    pending.sort_by_key(|q| q.id);
    for question in pending {
        if outbox::about(tx, question.id)?.is_some() {
            continue;
        }
        let parcel = Parcel {
            id: MessageId::new(),
            text: text(question),
            question: Some(question.id),
            ..like.clone()
        };
        outbox::insert(tx, &parcel)?;
    }
    Ok(())
}

/// What is to be decided, for a person.
fn text(question: &Approval) -> String {
    let mut parts = vec![match question.kind {
        Kind::Call => format!("**May this be done?** {}", code(&question.tool)),
        Kind::Plan => "**Is this plan all right?**".to_owned(),
    }];
    match (&question.command, &question.diff) {
        (Some(command), _) => parts.push(fence("sh", command, DETAIL)),
        (None, Some(diff)) => {
            parts.push(code(&shorten(&question.summary, SUMMARY)));
            parts.push(fence("diff", diff, DETAIL));
        }
        (None, None) => parts.push(fence("", &question.summary, DETAIL)),
    }
    parts.push(format!("Asked because {}.", line(&question.reason)));
    if let Some(source) = &question.source {
        parts.push(format!("Beware: {}.", line(source)));
    }
    let pattern = question.pattern.as_ref().and_then(|p| p.get("text"));
    if let Some(lasting) = pattern.and_then(|text| text.as_str()) {
        parts.push(format!(
            "Saying it for longer would allow: {}.",
            line(lasting)
        ));
    }
    let until = question.expires_at.utc().format("%Y-%m-%d %H:%M UTC");
    parts.push(format!("It can be decided until {until}."));
    parts.join("\n\n")
}

/// What became of it, for a person.
pub(super) fn outcome(question: &Approval) -> String {
    let lasts = match question.decision.as_deref() {
        Some("session") => " for this conversation",
        Some("always") => " from now on",
        _ => "",
    };
    let what = match (question.state, question.kind) {
        (State::Pending, _) => "Not decided yet".to_owned(),
        (State::Approved, Kind::Call) => format!("Allowed{lasts}"),
        (State::Approved, Kind::Plan) => format!("Plan approved{}", steps(question)),
        (State::Denied, _) => "Denied".to_owned(),
        (State::Expired, _) => "Expired: nobody decided in time".to_owned(),
        (State::Cancelled, _) => "Taken back".to_owned(),
    };
    let by = match (question.state, &question.decided_by, &question.decided_via) {
        (State::Approved | State::Denied, Some(by), Some(via)) => {
            format!(" by {} through {}", code(by), code(via))
        }
        _ => String::new(),
    };
    let why = match (question.state, question.note.as_deref()) {
        (State::Denied | State::Cancelled, Some(note)) if !note.is_empty() => {
            format!(": {}", line(note))
        }
        _ => String::new(),
    };
    format!(
        "**{what}**{by}{why}\n\n{}",
        fence("", &shorten(&question.summary, SUMMARY), DETAIL)
    )
}

/// Which steps of a plan were approved, where not all were.
fn steps(question: &Approval) -> String {
    let some = question.steps.as_ref().and_then(|steps| steps.as_array());
    some.map_or_else(String::new, |some| {
        let numbers: Vec<String> = some.iter().map(ToString::to_string).collect();
        format!(", steps {}", numbers.join(", "))
    })
}

/// A question is settled, in this transaction: its post changes. What was not posted for certain yet
/// does not go out any more.
pub(super) fn settled(tx: &Tx<'_>, id: ApprovalId, now: Timestamp) -> Result<()> {
    let (Some(last), Some(question)) = (outbox::about(tx, id)?, approvals::get(tx, id)?) else {
        return Ok(());
    };
    let waits = matches!(last.state.as_str(), "prepared" | "retry");
    let untold = waits && last.posts.is_empty() && !last.unsure;
    if untold {
        outbox::withdraw(tx, last.id, false, now)?;
    }
    // Where this one did not change anything yet, the next one changes what it would have.
    let replaces = if untold { last.replaces } else { Some(last.id) };
    let Some(replaces) = replaces else {
        return Ok(());
    };
    let to = (last.to, last.external_user);
    let parcel = Parcel {
        turn: last.turn,
        in_reply_to: last.in_reply_to,
        also_in_reply_to: last.also_in_reply_to,
        notice: true,
        question: Some(id),
        replaces: Some(replaces),
        ..Parcel::new(
            (MessageId::new(), last.session),
            to,
            outcome(&question),
            now,
        )
    };
    outbox::insert(tx, &parcel)
}

/// One line of somebody else's words.
fn line(text: &str) -> String {
    let text = clean(&mask(text));
    let words: Vec<&str> = text.split_whitespace().collect();
    shorten(words.join(" ").trim_end_matches('.'), WHY)
}

/// The same as it is, so that no mark in it changes how it reads.
fn code(text: &str) -> String {
    let text = line(text);
    let ticks = "`".repeat(longest_run(&text) + 1);
    if text.starts_with('`') || text.ends_with('`') {
        format!("{ticks} {text} {ticks}")
    } else {
        format!("{ticks}{text}{ticks}")
    }
}

/// A block of it that nothing in it ends.
fn fence(language: &str, text: &str, limit: usize) -> String {
    let text = head_and_tail(&clean(&mask(text)), limit);
    let ticks = "`".repeat(longest_run(&text).max(2) + 1);
    format!("{ticks}{language}\n{}\n{ticks}", text.trim_end())
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests;
