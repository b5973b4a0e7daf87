//! What one turn answers: the oldest message that waits, and what else waits and belongs to it.

use super::{
    events, flow,
    preface::told,
    turn::{Claim, place},
};
use crate::{
    fail::{self, Point},
    store::{
        Result, Tx,
        inbox::{self, State, Waiting},
        messages, sessions,
        turns::{self, Turn},
    },
    types::{MessageId, SessionId, StepId, Timestamp, TurnId, WhenBusy, frame::Body, money::Usd},
};

/// Messages that one turn answers at most.
const MOST: u32 = 32;
/// Their texts together, in bytes, beyond which no more are taken.
const LONGEST: usize = 64 << 10;

fn begun(asked: &Waiting, now: Timestamp) -> Turn {
    Turn {
        id: TurnId::new(),
        session: asked.session,
        message: asked.id,
        reply_to: asked.from.clone(),
        state: "running".to_owned(),
        attempt: 1,
        stops: 0,
        provider: None,
        model: None,
        error: None,
        started_at: now,
        finished_at: None,
        parked_at: None,
        waited: 0,
    }
}

/// Takes what waits, and begins its turn with its first model call. `alone` takes one message only.
pub(super) fn claim(
    tx: &Tx<'_>,
    session: SessionId,
    alone: bool,
    now: Timestamp,
) -> Result<Option<Claim>> {
    let stop = inbox::stopping(tx, session)?;
    let mut also = match &stop {
        Some(_) => Vec::new(),
        None => inbox::pending(tx, session, MOST)?,
    };
    also.truncate(if alone { 1 } else { together(&also) });
    match stop.or_else(|| also.pop()) {
        Some(asked) => begin(tx, (asked, also), now).map(Some),
        None => Ok(None),
    }
}

/// Takes a decision that waits, while the turn that is to be decided about waits for it.
pub(super) fn beside(tx: &Tx<'_>, session: SessionId, now: Timestamp) -> Result<Option<Claim>> {
    match inbox::beside(tx, session)? {
        Some(asked) => begin(tx, (asked, Vec::new()), now).map(Some),
        None => Ok(None),
    }
}

/// Begins the turn of a message, and of others that it answers too.
fn begin(tx: &Tx<'_>, (mut asked, also): (Waiting, Vec<Waiting>), now: Timestamp) -> Result<Claim> {
    let session = asked.session;
    let turn = begun(&asked, now);
    turns::start(tx, &turn)?;
    if asked.mode == WhenBusy::Stop {
        drop_waiting(tx, (session, turn.id), asked.id, now)?;
    }
    for message in &also {
        inbox::take(tx, message.id, turn.id, None)?;
        joins(tx, (session, turn.id), message.id)?;
    }
    inbox::take(tx, asked.id, turn.id, None)?;
    messages::set_turn(tx, asked.id, turn.id)?;
    let open = StepId::new();
    turns::start_model(tx, turn.id, (open, 0), now)?;
    events::begun(tx, &turn, asked.user, now)?;
    tx.show(
        session,
        Body::Started {
            turn_id: turn.id,
            message_id: asked.id,
            attempt: 1,
        },
    )?;
    let place = place(tx, &asked)?;
    let room = sessions::room(tx, session)?;
    let role = flow::role(tx, asked.user)?;
    question(&also, &mut asked);
    fail::point(Point::ClaimWritten);
    Ok(Claim {
        turn,
        asked,
        also,
        ended_by: None,
        gone: false,
        place,
        room,
        role,
        steps: Vec::new(),
        open: Some(open),
        spent: Usd(0),
        past: Point::ClaimCommitted,
    })
}

/// What a turn was asked, in one text. Of several messages each has before it what belongs there.
pub(super) fn question(also: &[Waiting], asked: &mut Waiting) {
    let others: Vec<&Waiting> = also.iter().filter(|m| m.joined.is_none()).collect();
    if others.is_empty() {
        return;
    }
    let all = others.into_iter().chain([&*asked]);
    let texts: Vec<String> = all.map(|m| told(&m.preface, &m.text)).collect();
    asked.text = texts.join("\n\n");
    asked.preface.clear();
}

/// How many of the oldest messages one turn answers.
fn together(waiting: &[Waiting]) -> usize {
    let Some(first) = waiting.first() else {
        return 0;
    };
    if !joinable(first) {
        return 1;
    }
    let mut room = LONGEST.saturating_sub(first.text.len());
    let more = waiting.iter().skip(1).take_while(|message| {
        let fits = message.text.len() <= room;
        room = room.saturating_sub(message.text.len());
        fits && joinable(message) && belongs(message, first) && message.model == first.model
    });
    1 + more.count()
}

/// Commands are answered alone.
fn joinable(message: &Waiting) -> bool {
    let alone = [WhenBusy::Queue, WhenBusy::Stop, WhenBusy::Beside];
    !alone.contains(&message.mode) && !crate::providers::is_command(&message.text)
}

/// One person at one place: one answer reaches them, and they may do the same.
fn belongs(message: &Waiting, to: &Waiting) -> bool {
    message.from == to.from && message.user == to.user && message.external_user == to.external_user
}

/// Messages that join a running turn before the step with an ordinal, written so.
pub(super) fn steer(
    tx: &Tx<'_>,
    turn: &Turn,
    asked: &Waiting,
    ordinal: u32,
) -> Result<Vec<Waiting>> {
    let mut joining = inbox::pending(tx, turn.session, MOST)?;
    joining.retain(|m| m.mode == WhenBusy::Steer && joinable(m) && belongs(m, asked));
    for message in &mut joining {
        inbox::take(tx, message.id, turn.id, Some(ordinal))?;
        joins(tx, (turn.session, turn.id), message.id)?;
        message.joined = Some(ordinal);
    }
    Ok(joining)
}

fn joins(
    tx: &Tx<'_>,
    (session, turn_id): (SessionId, TurnId),
    message_id: MessageId,
) -> Result<()> {
    messages::set_turn(tx, message_id, turn_id)?;
    tx.show(
        session,
        Body::Joined {
            turn_id,
            message_id,
        },
    )
}

/// `/stop`: what came before it and waits ends with it.
fn drop_waiting(
    tx: &Tx<'_>,
    (session, turn): (SessionId, TurnId),
    stop: MessageId,
    now: Timestamp,
) -> Result<()> {
    for id in inbox::pending_before(tx, session, stop)? {
        inbox::drop_with(tx, id, turn, now)?;
        joins(tx, (session, turn), id)?;
    }
    Ok(())
}

/// Ends every message of a turn.
pub(super) fn finish(tx: &Tx<'_>, turn: &Turn, state: State, now: Timestamp) -> Result<()> {
    inbox::end(tx, (turn.message, turn.id), state, now)?;
    inbox::merge(tx, turn.id, now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Address, UserId};

    fn message(text: &str, mode: WhenBusy) -> Waiting {
        Waiting {
            id: MessageId::new(),
            session: SessionId(uuid::Uuid::nil()),
            user: UserId(uuid::Uuid::nil()),
            external_user: "u".to_owned(),
            from: Address::new("webhook", "home", "u"),
            external_id: text.to_owned(),
            text: text.to_owned(),
            preface: String::new(),
            deleted: false,
            model: None,
            mode,
            joined: None,
            plan: false,
            received_at: Timestamp(0),
        }
    }

    #[test]
    fn what_waits_is_answered_together_unless_it_says_otherwise() {
        let plain = |text| message(text, WhenBusy::Collect);
        let other_user = Waiting {
            external_user: "v".to_owned(),
            ..plain("from another")
        };
        let other_model = Waiting {
            model: Some("big".to_owned()),
            ..plain("with another model")
        };
        for (waiting, expected) in [
            (vec![], 0),
            (vec![plain("a")], 1),
            (
                vec![plain("a"), plain("b"), message("c", WhenBusy::Steer)],
                3,
            ),
            (
                vec![plain("a"), message("b", WhenBusy::Queue), plain("c")],
                1,
            ),
            (vec![message("a", WhenBusy::Queue), plain("b")], 1),
            (vec![plain("a"), plain("/status"), plain("b")], 1),
            (vec![plain("/status"), plain("b")], 1),
            (vec![plain("a"), other_user, plain("b")], 1),
            (vec![plain("a"), other_model, plain("b")], 1),
            (
                vec![plain(&"long ".repeat(13_000)), plain(&"b".repeat(9000))],
                1,
            ),
        ] {
            assert_eq!(together(&waiting), expected, "{waiting:?}");
        }
    }
}
