//! What a model is told: who it is, what it may use, what was said before, as much as fits.

mod past;

use rusqlite::Connection;

pub(super) use past::said_in;

use past::{fit, past};

use super::{attachments, flow, preface, work::Work};
use crate::{
    policy::Flow,
    providers::About,
    store::{Result, inbox::Waiting, memories::Hit, messages, users::Role},
    types::{
        Attachment, MessageId,
        chat::{Message, estimate_tokens},
    },
};

/// The part of a request that stays the same through a turn.
pub(super) struct Context {
    pub(super) system: String,
    /// The past, and the message that is being answered.
    pub(super) past: Vec<Message>,
    /// What of that is private, and what somebody else wrote.
    pub(super) flow: Flow,
}

/// Gathers the context of a turn.
pub(super) async fn gather(work: &Work) -> Result<Context> {
    let parts = &work.core.parts;
    attachments::unpack(work).await?;
    let files = images(work).await?;
    let asked = Message::User {
        text: work.asked.text.clone(),
        images: files,
    };
    let mut flow = asked_flow(work).await?;
    if work.by_command() {
        return Ok(Context {
            system: String::new(),
            past: vec![asked],
            flow,
        });
    }
    let Some(about) = first(work).await else {
        return Ok(Context {
            system: String::new(),
            past: vec![asked],
            flow,
        });
    };
    let (session, turn) = (work.turn.session, work.turn.id);
    let hits = recalled(work).await?;
    // What the owner's files tell of them is for nobody else.
    let private = work.room.is_some() || work.role != Role::Owner;
    let (system, profile) = work.core.prompts.system(&work.toolbox, private);
    let mut now = volatile(work, &hits);
    let fixed = estimate_tokens(&system)
        + estimate_tokens(&now)
        + estimate_tokens(&work.asked.preface)
        + estimate_tokens(&work.asked.text)
        + work.toolbox.tokens()
        + u64::from(parts.live().turns.max_output_tokens);
    // Results of this turn's tools need room too.
    let room = u64::from(about.context_tokens).saturating_sub(fixed) * 3 / 4;
    let past = parts.store.read(move |c| past(c, session, turn)).await?;
    let (mut messages, dropped, earlier) = fit(past, room);
    flow.take_in(earlier);
    let remembered = (!hits.is_empty()).then_some("what is kept in memory");
    flow.take_in(Flow {
        untrusted: None,
        private: remembered.or(profile).map(str::to_owned),
    });
    now.push_str(&before(&work.asked.preface, dropped));
    messages.push(Message::User {
        text: now,
        images: Vec::new(),
    });
    messages.push(asked);
    Ok(Context {
        system,
        past: messages,
        flow,
    })
}

/// What is remembered that may matter here: in a room nothing of any person.
async fn recalled(work: &Work) -> Result<Vec<Hit>> {
    if work.room.is_some() {
        return Ok(Vec::new());
    }
    let memory = &work.core.parts.kit.memory;
    let except = (work.asked.id, work.turn.session);
    memory
        .recall(work.place.person, &work.asked.text, except)
        .await
}

/// What else stands before the text: its preface, and that not all of the past is there.
fn before(preface: &str, dropped: usize) -> String {
    let mut text = String::new();
    if !preface.is_empty() {
        text.push_str(&format!("\n{preface}"));
    }
    if dropped > 0 {
        tracing::info!(dropped, "earlier turns do not fit the model's window");
        text.push_str(&format!("\n{dropped} earlier turns of this conversation are left out because they do not fit; use `recall` to search them."));
    }
    text
}

/// The model that will be asked first, if there is one.
async fn first(work: &Work) -> Option<About> {
    let live = work.core.parts.live();
    // Nobody of that name: the turn fails with what to write instead.
    let chain = live.providers.route(&work.wish).await.ok()?;
    let first = chain.first()?.about();
    (!first.offline).then_some(first)
}

/// What changes from message to message, kept apart from what a provider can cache.
fn volatile(work: &Work, hits: &[Hit]) -> String {
    let schedules = &work.core.parts.kit.schedules;
    let now = work
        .core
        .parts
        .clock
        .now()
        .utc()
        .with_timezone(&schedules.zone());
    let mut text = format!(
        "(From Nexflow, not from the person. Now: {} {}. Channel: {}.",
        now.format("%A %Y-%m-%d %H:%M"),
        schedules.zone().name(),
        work.turn.reply_to.connector,
    );
    if let Some(room) = &work.room {
        text.push_str(&format!(
            " This is the room “{}” with several people: what you say, all of them read.",
            preface::one_line(&room.name)
        ));
    }
    if !hits.is_empty() {
        text.push_str(" Possibly relevant from memory:");
        for hit in hits {
            let source = match hit.kind {
                "fact" => "kept fact".to_owned(),
                _ => format!("said {} in another conversation", schedules.show(hit.at)),
            };
            text.push_str(&format!("\n- {} [{source}]", hit.text));
        }
        text.push('\n');
    }
    text.push(')');
    text
}

async fn images(work: &Work) -> Result<Vec<Attachment>> {
    let asked = work.also.iter().filter(|m| m.joined.is_none());
    let ids: Vec<MessageId> = asked.chain([&work.asked]).map(|m| m.id).collect();
    let store = &work.core.parts.store;
    let files = store.read(move |c| {
        let all = ids.into_iter().map(|id| messages::attachments(c, id));
        all.collect::<Result<Vec<_>>>()
    });
    Ok(only_images(files.await?.into_iter().flatten().collect()))
}

/// What joined a turn while it ran, as it is told to a model.
pub(super) fn joined(c: &Connection, joined: Vec<Waiting>) -> Result<Vec<(u32, Message)>> {
    let said = joined.into_iter().filter_map(|m| Some((m.joined?, m)));
    said.map(|(before, message)| {
        let images = only_images(messages::attachments(c, message.id)?);
        let text = preface::told(&message.preface, &message.text);
        Ok((before, while_running(&text, images)))
    })
    .collect()
}

/// The model is to know that this came in the middle of its work.
fn while_running(text: &str, images: Vec<Attachment>) -> Message {
    Message::User {
        text: format!("(Said while you were working on this:)\n{text}"),
        images,
    }
}

/// What the message that is answered brings in.
async fn asked_flow(work: &Work) -> Result<Flow> {
    let also = work.also.iter().map(|m| m.id);
    flow_of(work, also.chain([work.asked.id]).collect()).await
}

/// What these messages bring in.
pub(super) async fn flow_of(work: &Work, ids: Vec<MessageId>) -> Result<Flow> {
    let read = work.core.parts.store.read(move |c| {
        let mut flow = Flow::default();
        for id in ids {
            if let Some(message) = messages::get(c, id)? {
                let note = messages::note(c, id)?;
                flow.take_in(flow::of_message(&message, note.quoted.as_deref()));
            }
        }
        Ok(flow)
    });
    read.await
}

fn only_images(mut files: Vec<Attachment>) -> Vec<Attachment> {
    files.retain(|f| f.media_type.starts_with("image/"));
    files
}

#[cfg(test)]
mod wire;
