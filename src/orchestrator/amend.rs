//! Messages that their senders change or delete after they were taken: each in one transaction, so that
//! a crash leaves either the old or the new.

use super::{Orchestrator, decide, inbox::write, preface, running::Interrupt};
use crate::{
    connectors::AcceptError,
    store::{
        Result, StoreError, Tx,
        inbox::{self, Accepted, State, Waiting},
        messages,
    },
    types::{
        Address, Cursor, Inbound, MessageId, SessionId, Timestamp, TurnId, WhenBusy, frame::Body,
    },
};

/// What follows from a change once it is on disk.
#[derive(Debug, Default)]
struct Then {
    /// Look at this session.
    wake: Option<SessionId>,
    /// What runs there is ended by this message.
    interrupt: Option<Interrupt>,
    /// This turn answers nothing any more.
    stop: Option<TurnId>,
    /// Somebody who may not talk any more.
    stranger: bool,
}

impl Orchestrator {
    /// A message has another text.
    pub(super) async fn amend(
        &self,
        message: Inbound,
        mode: WhenBusy,
    ) -> std::result::Result<(), AcceptError> {
        let now = self.core.parts.clock.now();
        let store = &self.core.parts.store;
        store.has_room()?;
        let then = store
            .write(move |tx| edit(tx, (message, mode), now))
            .await?;
        let stranger = then.stranger;
        self.follow(then).await;
        if stranger {
            return Err(AcceptError::Stranger);
        }
        Ok(())
    }

    /// A message is no more.
    pub(super) async fn retract(
        &self,
        from: Address,
        external_id: String,
        cursor: Option<Cursor>,
    ) -> std::result::Result<(), StoreError> {
        let now = self.core.parts.clock.now();
        let store = &self.core.parts.store;
        let write = store.write(move |tx| {
            if let Some(cursor) = &cursor {
                inbox::set_cursor(tx, &from, cursor)?;
            }
            match inbox::find(tx, &from, &external_id)? {
                Some((id, _)) => delete(tx, id, now),
                None => Ok(Then::default()),
            }
        });
        let then = write.await?;
        self.follow(then).await;
        Ok(())
    }

    async fn follow(&self, then: Then) {
        let Some(session) = then.wake else { return };
        if let Some(by) = then.interrupt {
            self.core.running.interrupt(session, by);
        }
        if let Some(turn) = then.stop {
            self.core.running.cancel(turn);
        }
        self.wake(session).await;
    }
}

fn edit(tx: &Tx<'_>, (message, mode): (Inbound, WhenBusy), now: Timestamp) -> Result<Then> {
    if let Some(cursor) = &message.cursor {
        inbox::set_cursor(tx, &message.from, cursor)?;
    }
    let found = inbox::find(tx, &message.from, &message.external_id)?;
    let earlier = found.map(|(id, _)| inbox::get(tx, id)).transpose()?;
    let Some(earlier) = earlier.flatten() else {
        return Ok(Then::default());
    };
    let theirs = earlier.external_user == message.user && !earlier.deleted;
    if !theirs || earlier.text == message.text {
        return Ok(Then::default());
    }
    if inbox::sender(tx, &message, now)?.is_none() {
        return Ok(Then {
            stranger: true,
            ..Then::default()
        });
    }
    let state = inbox::state(tx, earlier.id)?.map(|(state, _)| state);
    if state.as_deref() != Some(State::Pending.as_str()) {
        return again(tx, (message, mode), &earlier, now);
    }
    inbox::reword(tx, earlier.id, &message.text, mode)?;
    messages::reword(tx, earlier.id, &message.text, now)?;
    let edited = Body::Edited {
        message_id: earlier.id,
        text: message.text,
        at: now,
    };
    tx.show(earlier.session, edited)?;
    // It may be a command now that goes before others, or ends what runs.
    Ok(Then {
        wake: Some(earlier.session),
        interrupt: Interrupt::of(earlier.id, mode),
        ..Then::default()
    })
}

/// It is being answered or was: its new text is a message in its place. What it was answered together
/// with is answered again too.
fn again(
    tx: &Tx<'_>,
    (mut message, mode): (Inbound, WhenBusy),
    earlier: &Waiting,
    now: Timestamp,
) -> Result<Then> {
    inbox::supersede(tx, earlier.id)?;
    let running = running(tx, earlier.id)?;
    if let Some(turn) = running {
        inbox::put_back(tx, turn, earlier.id)?;
    }
    let mode = if running.is_some() {
        WhenBusy::Interrupt
    } else {
        mode
    };
    if message.attachments.is_empty() {
        message.attachments = messages::attachments(tx, earlier.id)?;
    }
    message.session = Some(earlier.session);
    // Its position is written already.
    message.cursor = None;
    let Ok(Accepted::New(id, session)) = write(tx, (&message, mode), now)? else {
        return Ok(Then::default());
    };
    let user = inbox::get(tx, id)?.map_or(earlier.user, |taken| taken.user);
    let preface = preface::of(tx, &message, (id, user), Some(&earlier.text))?;
    messages::set_preface(tx, id, (&preface.text, preface.quoted.as_deref()))?;
    messages::set_edited(tx, id, now)?;
    Ok(Then {
        wake: Some(session),
        interrupt: running.and_then(|_| Interrupt::of(id, mode)),
        ..Then::default()
    })
}

fn delete(tx: &Tx<'_>, id: MessageId, now: Timestamp) -> Result<Then> {
    let Some(message) = inbox::get(tx, id)?.filter(|message| !message.deleted) else {
        return Ok(Then::default());
    };
    let state = inbox::state(tx, id)?.map(|(state, _)| state);
    let waits = state.as_deref() == Some(State::Pending.as_str());
    let stop = running(tx, id)?;
    inbox::set_deleted(tx, id, now)?;
    messages::set_deleted(tx, id, now)?;
    if waits {
        inbox::set_state(tx, id, State::Cancelled, now)?;
    }
    if let Some(turn) = stop {
        // What was asked with it is answered without it.
        inbox::put_back(tx, turn, id)?;
        decide::withdraw(tx, turn, now)?;
    }
    let deleted = Body::Deleted {
        message_id: id,
        at: now,
    };
    tx.show(message.session, deleted)?;
    Ok(Then {
        wake: stop.map(|_| message.session),
        stop,
        ..Then::default()
    })
}

/// The turn that answers a message now.
fn running(tx: &Tx<'_>, id: MessageId) -> Result<Option<TurnId>> {
    let state = inbox::state(tx, id)?.map(|(state, _)| state);
    if state.as_deref() != Some(State::Running.as_str()) {
        return Ok(None);
    }
    inbox::turn(tx, id)
}
