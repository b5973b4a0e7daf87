//! Where what a model is told came from: what the gate decides on. Derived from rows, of those messages
//! and results that are really sent.

use rusqlite::Connection;

use crate::{
    policy::{Flow, words},
    store::{
        Result,
        messages::{self, Author},
        sessions,
        turns::{Step, StepKind},
        users::{self, Role},
    },
    types::{
        Admission, Inbound, SessionId, UserId,
        effect::{Effects, Provenance},
        frame::CallStatus,
        text::shorten,
    },
};

/// The longest piece of a message that names it, in bytes.
const EXCERPT: usize = 80;

/// The role of a person: an account of the owner's on a platform is the owner.
pub(super) fn role(c: &Connection, user: UserId) -> Result<Role> {
    let Some(account) = users::get(c, user)? else {
        return Ok(Role::Viewer);
    };
    if account.person == user {
        return Ok(account.role);
    }
    let person = users::get(c, account.person)?;
    Ok(person.map_or(account.role, |person| person.role.max(account.role)))
}

/// Whose words a message is.
pub(super) fn speaker(
    c: &Connection,
    inbound: &Inbound,
    (session, user): (SessionId, UserId),
) -> Result<Provenance> {
    if role(c, user)? == Role::Owner {
        return Ok(Provenance::Owner);
    }
    let theirs = sessions::place(c, session)?.is_some_and(|(owner, _)| owner == user);
    let let_in = inbound.admission != Admission::Open;
    let known = inbound.person.is_some() || inbound.vouched || let_in;
    Ok(if theirs && known {
        Provenance::Member
    } else {
        Provenance::Stranger
    })
}

/// What a message brings in; `quoted` names whose words it quotes.
pub(super) fn of_message(message: &messages::Message, quoted: Option<&str>) -> Flow {
    let untrusted =
        message.author == Author::User && message.provenance.is_none_or(Provenance::is_untrusted);
    if let Some(author) = quoted.filter(|_| !untrusted) {
        return Flow {
            untrusted: Some(format!(
                "a message of “{author}” is quoted in this conversation"
            )),
            private: None,
        };
    }
    let excerpt = || {
        let line = message.text.trim().lines().next().unwrap_or_default();
        format!(
            "somebody other than the owner wrote “{}” in this conversation",
            shorten(line, EXCERPT)
        )
    };
    Flow {
        untrusted: untrusted.then(excerpt),
        private: None,
    }
}

/// What the results of calls bring in.
pub(super) fn of_steps(steps: &[Step]) -> Flow {
    let mut flow = Flow::default();
    for step in steps {
        let there = matches!(
            step.status,
            CallStatus::Ok | CallStatus::Failed | CallStatus::Interrupted
        );
        if let StepKind::Tool {
            call,
            effects,
            provenance,
            ..
        } = &step.kind
            && there
        {
            let outside = effects.any(Effects::INGESTS_UNTRUSTED);
            let origin = if outside {
                Some(words::origin(&call.tool, &call.args))
            } else if provenance.is_some_and(Provenance::is_untrusted) {
                Some(words::file_origin(&call.tool, &call.args))
            } else {
                None
            };
            let private = effects.any(Effects::READS_PRIVATE);
            flow.take_in(Flow {
                untrusted: origin,
                private: private.then(|| format!("what `{}` read", call.tool)),
            });
        }
    }
    flow
}
