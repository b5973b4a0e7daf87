//! Accepting: one transaction writes the message, and only then it counts as received.

use async_trait::async_trait;

use super::{Orchestrator, attachments, events, flow, pairing, preface, running::Interrupt};
use crate::{
    connectors::{AcceptError, Inbox, PressError},
    fail::{self, Point},
    store::{
        Result, Tx,
        inbox::{self, Accepted, Refusal},
        messages::{self, Author, Message},
        sessions,
    },
    types::{
        Address, Command, Cursor, Inbound, Press, Timestamp, UserId, WhenBusy,
        effect::Provenance,
        frame::{AttachmentInfo, Body},
        text::shorten,
    },
};

/// The longest title of a session in bytes.
const TITLE: usize = 80;

#[async_trait]
impl Inbox for Orchestrator {
    async fn knows(&self, message: &Inbound) -> std::result::Result<bool, AcceptError> {
        let message = message.clone();
        let store = &self.core.parts.store;
        Ok(store.read(move |c| inbox::is_known(c, &message)).await?)
    }

    async fn accept(&self, message: Inbound) -> std::result::Result<Accepted, AcceptError> {
        let parts = &self.core.parts;
        // Nothing is promised that may not fit on the disk any more.
        parts.store.has_room()?;
        let now = parts.clock.now();
        let mode = when_busy(&message, parts.live().turns.when_busy);
        let accepted = parts
            .store
            .write(move |tx| {
                let accepted = write(tx, (&message, mode), now)?;
                let stranger = accepted == Err(Refusal::Stranger) && message.room.is_none();
                Ok((accepted, stranger && pairing::knock(tx, &message, now)?))
            })
            .await?;
        let (accepted, letter) = accepted;
        if letter {
            self.core.posted.notify_one();
        }
        let accepted = accepted.map_err(|refusal| match refusal {
            Refusal::NoSession(id) => AcceptError::NoSession(id),
            Refusal::Stranger => AcceptError::Stranger,
        })?;
        if let Accepted::New(id, session) = accepted {
            fail::point(Point::AcceptCommitted);
            tracing::info!(message_id = %id, session_id = %session, "accepted");
            if let Some(interrupt) = Interrupt::of(id, mode) {
                self.core.running.interrupt(session, interrupt);
            }
            self.wake(session).await;
        }
        Ok(accepted)
    }

    async fn edited(&self, message: Inbound) -> std::result::Result<(), AcceptError> {
        let mode = when_busy(&message, self.core.parts.live().turns.when_busy);
        self.amend(message, mode).await
    }

    async fn deleted(
        &self,
        from: &Address,
        external_id: &str,
        cursor: Option<Cursor>,
    ) -> std::result::Result<(), AcceptError> {
        let (from, external_id) = (from.clone(), external_id.to_owned());
        Ok(self.retract(from, external_id, cursor).await?)
    }

    async fn passed(&self, from: &Address, cursor: Cursor) -> std::result::Result<(), AcceptError> {
        let (store, from) = (&self.core.parts.store, from.clone());
        Ok(store
            .write(move |tx| inbox::set_cursor(tx, &from, &cursor))
            .await?)
    }

    async fn position(
        &self,
        from: &Address,
        of: &str,
    ) -> std::result::Result<Option<String>, AcceptError> {
        let (from, of) = (from.clone(), of.to_owned());
        Ok(self
            .core
            .parts
            .store
            .read(move |c| inbox::cursor(c, &from, &of))
            .await?)
    }

    async fn pressed(&self, press: Press) -> std::result::Result<String, PressError> {
        self.press(press).await
    }

    fn commands(&self) -> &'static [Command] {
        crate::providers::COMMANDS
    }
}

/// What a message does when a turn runs. A command has a turn of its own, and only `/stop` ends others.
fn when_busy(message: &Inbound, usual: WhenBusy) -> WhenBusy {
    if crate::providers::is_stop(&message.text) {
        WhenBusy::Stop
    } else if crate::providers::is_decision(&message.text) {
        WhenBusy::Beside
    } else if crate::providers::is_command(&message.text) {
        WhenBusy::Queue
    } else {
        message.mode.unwrap_or(usual)
    }
}

/// Inbox row, message, attachments and frame, all or nothing.
pub(super) fn write(
    tx: &Tx<'_>,
    (inbound, mode): (&Inbound, WhenBusy),
    now: Timestamp,
) -> Result<std::result::Result<Accepted, Refusal>> {
    let accepted = match inbox::accept(tx, inbound, mode, now)? {
        Ok(Accepted::New(id, session)) => Accepted::New(id, session),
        other => return Ok(other),
    };
    let (id, session) = accepted.ids();
    let user = inbox::get(tx, id)?.map_or_else(UserId::new, |asked| asked.user);
    let message = Message {
        id,
        session,
        turn: None,
        author: Author::User,
        origin: "turn".to_owned(),
        status: "ok".to_owned(),
        text: inbound.text.clone(),
        provenance: Some(flow::speaker(tx, inbound, (session, user))?),
        at: now,
    };
    messages::insert(tx, &message)?;
    for file in &inbound.attachments {
        messages::attach(tx, id, file)?;
    }
    let preface = preface::of(tx, inbound, (id, user), None)?;
    if preface != preface::Preface::default() {
        messages::set_preface(tx, id, (&preface.text, preface.quoted.as_deref()))?;
    }
    let outside = message.provenance.is_some_and(Provenance::is_untrusted);
    if outside && attachments::kept(&inbound.attachments).next().is_some() {
        sessions::taint(
            tx,
            session,
            "a file that somebody other than the owner sent",
        )?;
    }
    let first_line = inbound.text.trim().lines().next().unwrap_or_default();
    let title = if first_line.is_empty() {
        "(a file)"
    } else {
        first_line
    };
    sessions::touch(tx, session, &shorten(title, TITLE), now)?;
    events::received(tx, (id, session), inbound, now)?;
    tx.show(session, accepted_frame(inbound, &message))?;
    fail::point(Point::AcceptWritten);
    Ok(Ok(accepted))
}

fn accepted_frame(inbound: &Inbound, message: &Message) -> Body {
    // The page's ids are kept as SESSION/ID, because only within a session they are its own.
    let client_id = inbound
        .external_id
        .split_once('/')
        .map(|(_, id)| id.to_owned());
    let info = |file: &crate::types::Attachment| AttachmentInfo {
        name: file.name.clone(),
        media_type: file.media_type.clone(),
        size: file.data.len() as u64,
    };
    Body::Accepted {
        message_id: message.id,
        client_id,
        text: message.text.clone(),
        channel: inbound.from.connector.clone(),
        attachments: inbound.attachments.iter().map(info).collect(),
        at: message.at,
    }
}
