//! One try of a delivery: what is sent is put together, and what an earlier try left open is settled.

use async_trait::async_trait;

use crate::{
    connectors::{Connector, ConnectorError, Found, Posts, Resend},
    fail::{self, Point},
    orchestrator::{Core, draft, question},
    providers,
    store::{
        StoreError,
        approvals::{self, Approval, State},
        inbox, messages,
        outbox::{self, Parcel, Standing},
        turns,
    },
    types::{ApprovalId, MessageId, Outgoing, Question},
};

type Result<T> = std::result::Result<T, ConnectorError>;

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    Delivered,
    /// It was not sent: what it says does not hold any more.
    Withdrawn {
        /// Whether it may have arrived before.
        unsure: bool,
    },
}

/// Delivers a parcel.
pub(super) async fn parcel(
    core: &Core,
    connector: &dyn Connector,
    parcel: &Parcel,
) -> Result<Sent> {
    let posts = Kept {
        core,
        parcel: parcel.id,
    };
    let mut what = outgoing(parcel);
    if parcel.unsure {
        what.follows = follows(core, parcel).await?;
    }
    match (parcel.replaces, parcel.question) {
        (Some(earlier), _) => match standing(core, earlier).await? {
            Standing::Post(post) => what.replaces = Some(post),
            // Twice is better than never.
            Standing::Unknown => {}
            Standing::Nowhere => return Ok(Sent::Withdrawn { unsure: false }),
        },
        (None, Some(id)) => match asked(core, id).await? {
            Some(open) if open.state == State::Pending => {
                what.question = Some(Question {
                    id,
                    choices: question::choices(&open),
                });
            }
            settled => return late(connector, (parcel, what), settled.as_ref(), &posts).await,
        },
        (None, None) => {
            what.aside = aside(core, parcel).await?;
            what.replaces = draft::settle(core, connector, parcel).await?;
            what.files = files(core, parcel).await?;
        }
    }
    send(connector, parcel, what, &posts).await?;
    Ok(Sent::Delivered)
}

/// The newest post that stands before a parcel: what goes to a chat goes in order.
async fn follows(core: &Core, parcel: &Parcel) -> Result<Option<String>> {
    let (session, to, id) = (parcel.session, parcel.to.clone(), parcel.id);
    let read = core
        .parts
        .store
        .read(move |c| outbox::last_post(c, session, &to, id));
    read.await.map_err(|e| unread(&e))
}

/// A parcel without what the database knows besides.
pub(super) fn outgoing(parcel: &Parcel) -> Outgoing {
    Outgoing {
        idempotency_key: parcel.id.to_string(),
        session: parcel.session,
        in_reply_to: parcel.in_reply_to.clone(),
        also_in_reply_to: parcel.also_in_reply_to.clone(),
        follows: None,
        user: parcel.external_user.clone(),
        text: parcel.text.clone(),
        files: Vec::new(),
        notice: parcel.notice,
        aside: false,
        question: None,
        replaces: None,
        posted: parcel.posts.clone(),
        again: false,
        draft: None,
    }
}

/// Sends it; a part that may have arrived already is first settled as the platform lets us.
pub(super) async fn send(
    connector: &dyn Connector,
    parcel: &Parcel,
    mut what: Outgoing,
    posts: &dyn Posts,
) -> Result<()> {
    // A change of a post may be made twice.
    let changes = what.replaces.is_some() && what.posted.is_empty();
    if parcel.unsure && !changes {
        match connector.abilities().resend {
            Resend::WithKey => {}
            Resend::ReadBack => match connector.find(&parcel.to, &what).await? {
                Found::Post(post) => {
                    posts.add(&post).await?;
                    what.posted.push(post);
                }
                Found::Absent => {}
                Found::Unknown => what.again = true,
            },
            Resend::Marked => what.again = true,
        }
    }
    connector.send(&parcel.to, &what, posts).await
}

/// A question that was settled before it was posted for certain: it must not appear as an open one.
async fn late(
    connector: &dyn Connector,
    (parcel, mut what): (&Parcel, Outgoing),
    settled: Option<&Approval>,
    posts: &dyn Posts,
) -> Result<Sent> {
    if !parcel.posts.is_empty() {
        return Ok(Sent::Delivered);
    }
    if !parcel.unsure {
        return Ok(Sent::Withdrawn { unsure: false });
    }
    match connector.abilities().resend {
        // What tells of the outcome is posted anew.
        Resend::Marked => Ok(Sent::Withdrawn { unsure: true }),
        Resend::ReadBack => match connector.find(&parcel.to, &what).await? {
            Found::Post(post) => posts.add(&post).await.map(|()| Sent::Delivered),
            Found::Absent => Ok(Sent::Withdrawn { unsure: false }),
            Found::Unknown => Ok(Sent::Withdrawn { unsure: true }),
        },
        // The same key finds what arrived; if nothing did, this tells the outcome.
        Resend::WithKey => {
            what.text = settled.map(question::outcome).unwrap_or_default();
            connector.send(&parcel.to, &what, posts).await?;
            Ok(Sent::Delivered)
        }
    }
}

fn unread(error: &StoreError) -> ConnectorError {
    ConnectorError::Later {
        reason: format!("the database could not be read: {error}"),
        after: None,
    }
}

async fn standing(core: &Core, of: MessageId) -> Result<Standing> {
    let read = core.parts.store.read(move |c| outbox::standing(c, of));
    read.await.map_err(|e| unread(&e))
}

async fn asked(core: &Core, id: ApprovalId) -> Result<Option<Approval>> {
    let read = core.parts.store.read(move |c| approvals::get(c, id));
    read.await.map_err(|e| unread(&e))
}

/// Whether it is a command's result, or tells why there is no answer.
async fn aside(core: &Core, parcel: &Parcel) -> Result<bool> {
    let Some(turn) = parcel.turn else {
        return Ok(false);
    };
    let read = core.parts.store.read(move |c| {
        let Some(turn) = turns::get(c, turn)? else {
            return Ok(false);
        };
        let asked = inbox::get(c, turn.message)?;
        let command = asked.is_some_and(|asked| providers::is_command(&asked.text));
        Ok(command || turn.state == "failed")
    });
    read.await.map_err(|e| unread(&e))
}

/// The files of an answer.
async fn files(core: &Core, parcel: &Parcel) -> Result<Vec<crate::types::Attachment>> {
    let id = parcel.id;
    let read = core.parts.store.read(move |c| messages::attachments(c, id));
    read.await.map_err(|e| unread(&e))
}

/// Keeps the posts of a parcel.
struct Kept<'a> {
    core: &'a Core,
    parcel: MessageId,
}

#[async_trait]
impl Posts for Kept<'_> {
    async fn add(&self, post: &str) -> Result<()> {
        fail::point(Point::PartPosted);
        let (id, post) = (self.parcel, post.to_owned());
        let write = self.core.parts.store.keep(move |tx| {
            outbox::posted(tx, id, &post)?;
            fail::point(Point::PartWritten);
            Ok(())
        });
        write.await.map_err(|error| ConnectorError::Unsure {
            reason: format!("what was posted could not be written down: {error}"),
        })?;
        fail::point(Point::PartCommitted);
        Ok(())
    }
}
