//! `message.send`: a skill says something in the conversation that it works for, and nowhere else.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::{
    skills::run::safe,
    store::{
        Result, Store, Tx,
        messages::{self, Author, Message},
        outbox::{self, Parcel},
        sessions,
    },
    tools::{Kit, Post},
    types::{
        Clock, MessageId, Place, Timestamp,
        effect::Provenance,
        frame::{Body, UsageInfo},
    },
};

/// Messages of one run at most.
const MOST: usize = 10;
/// Characters of one message at most.
const LONGEST: usize = 4000;

/// The messages of one run.
pub(super) struct Outgoing {
    store: Store,
    clock: Clock,
    post: Post,
    place: Place,
    skill: String,
    sent: AtomicUsize,
}

impl Outgoing {
    pub(super) fn new(kit: &Kit, place: &Place, skill: &str) -> Self {
        Self {
            store: kit.store.clone(),
            clock: kit.clock.clone(),
            post: kit.post.clone(),
            place: place.clone(),
            skill: skill.to_owned(),
            sent: AtomicUsize::new(0),
        }
    }

    /// Puts a message on disk, where the session and the outbox have it from then on.
    ///
    /// # Errors
    /// When there is nothing to say, too much, too often, or it cannot be written.
    pub(super) async fn send(&self, text: &str) -> std::result::Result<MessageId, String> {
        let text = safe(text).trim().to_owned();
        let length = text.chars().count();
        if length == 0 {
            return Err("there is nothing to say".to_owned());
        }
        if length > LONGEST {
            return Err(format!(
                "the message has {length} characters; at most {LONGEST} are sent"
            ));
        }
        if self.sent.fetch_add(1, Ordering::Relaxed) >= MOST {
            return Err(format!("a run sends at most {MOST} messages"));
        }
        let (id, now) = (MessageId::new(), self.clock.now());
        let (place, text) = (self.place.clone(), format!("**{}:** {text}", self.skill));
        let reads_session = (self.post.reads_session)(&place.address.connector);
        let write = self.store.write(move |tx| {
            let state = if reads_session {
                "delivered"
            } else {
                "prepared"
            };
            write(tx, (id, &place, state), text, now)
        });
        write.await.map_err(|e| e.to_string())?;
        if !reads_session {
            self.post.posted.notify_one();
        }
        Ok(id)
    }
}

fn write(
    tx: &Tx<'_>,
    (id, place, state): (MessageId, &Place, &str),
    text: String,
    now: Timestamp,
) -> Result<()> {
    let message = Message {
        id,
        session: place.session,
        turn: None,
        author: Author::Assistant,
        origin: "skill".to_owned(),
        status: "ok".to_owned(),
        text: text.clone(),
        provenance: Some(Provenance::Skill),
        at: now,
    };
    messages::insert(tx, &message)?;
    let to = (place.address.clone(), place.external_user.clone());
    let parcel = Parcel {
        state: state.to_owned(),
        finished_at: (state == "delivered").then_some(now),
        ..Parcel::new((id, place.session), to, text.clone(), now)
    };
    outbox::insert(tx, &parcel)?;
    sessions::touch(tx, place.session, "", now)?;
    let completed = Body::Completed {
        turn_id: None,
        message_id: id,
        text,
        status: "ok".to_owned(),
        attachments: Vec::new(),
        usage: UsageInfo::default(),
        provider: "skill".to_owned(),
        model: String::new(),
        at: now,
    };
    tx.show(place.session, completed)
}
