//! Posting: an answer in its parts, questions with buttons, files, running turns.
//!
//! A part is never doubled, by two means. Each carries a `nonce` made of the answer's key and its number,
//! and Discord gives the message that it made before instead of making another, for some minutes. After
//! that the channel's history is read: a message of ours, after the question, with the text of that part
//! and not yet counted as another part. A draft, whose text nobody knows any more, is known by its flag:
//! drafts alone show no previews of links, and lose the flag when they become an answer.

mod find;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    interact,
    permission::{self, ATTACH, EMBED, HISTORY, SEND, VIEW},
    rest::{Ask, Failure, Rest, UNKNOWN_MESSAGE},
    wire::Id,
};
use crate::{
    connectors::{ConnectorError, Posts},
    render::discord as render,
    types::{Address, Attachment, Draft, Outgoing, Question},
};

/// The largest file that Discord takes in a server without boosts, in bytes.
const FILE: usize = 10 << 20;
/// Files of one message, and bytes of all of them.
const FILES: (usize, usize) = (10, 24 << 20);
/// The colour of a box: of what needs somebody, of what is only told.
const COLOURS: (u32, u32) = (0x00f0_b232, 0x0058_65f2);
/// The flag of a message that shows no previews of links.
const NO_PREVIEWS: u64 = 1 << 2;

pub(super) use self::find::find;

/// A message of an answer.
#[derive(Debug, Default)]
struct Part<'a> {
    text: String,
    /// Shown in a box: it is no answer.
    boxed: bool,
    question: Option<&'a Question>,
    files: Vec<Attachment>,
    /// A running turn.
    draft: bool,
}

/// What Discord answers to a post.
#[derive(Deserialize)]
struct Posted {
    id: String,
}

/// Delivers what is not posted yet.
pub(super) async fn send(
    rest: &Rest,
    to: &Address,
    what: &Outgoing,
    posts: &dyn Posts,
) -> Result<(), ConnectorError> {
    for (number, part) in parts(what).iter().enumerate().skip(what.posted.len()) {
        let replaced = what.replaces.as_deref().filter(|_| number == 0);
        let sent = match replaced {
            Some(post) => match edit(rest, to, post, part).await {
                Err(failure) if failure.is(UNKNOWN_MESSAGE) => {
                    post_new(rest, to, (what, number), part).await
                }
                edited => edited,
            },
            None => post_new(rest, to, (what, number), part).await,
        };
        let post = match sent {
            Ok(post) => post,
            Err(failure) => return Err(explained(rest, to, part, failure).await),
        };
        posts.add(&post).await?;
    }
    Ok(())
}

async fn post_new(
    rest: &Rest,
    to: &Address,
    (what, number): (&Outgoing, usize),
    part: &Part<'_>,
) -> Result<String, Failure> {
    let mut body = body(part);
    let nonce = nonce(&what.idempotency_key, &number.to_string());
    let reply = what.in_reply_to.as_deref().filter(|_| number == 0);
    address(&mut body, nonce, reply);
    let ask = Ask::new(Method::POST, format!("/channels/{}/messages", to.chat));
    let posted: Posted = rest.ask(ask.json(body).files(&part.files)).await?;
    Ok(posted.id)
}

async fn edit(rest: &Rest, to: &Address, post: &str, part: &Part<'_>) -> Result<String, Failure> {
    let ask = Ask::new(
        Method::PATCH,
        format!("/channels/{}/messages/{post}", to.chat),
    );
    let ask = ask.json(body(part)).files(&part.files);
    rest.tell(ask.only_shown(part.draft)).await?;
    Ok(post.to_owned())
}

/// Makes a body that of a new message.
fn address(body: &mut Value, nonce: String, reply: Option<&str>) {
    let Some(body) = body.as_object_mut() else {
        return;
    };
    body.insert("nonce".to_owned(), nonce.into());
    body.insert("enforce_nonce".to_owned(), true.into());
    if let Some(reply) = reply.filter(|id| id.parse::<Id>().is_ok()) {
        let reference = json!({ "message_id": reply, "fail_if_not_exists": false });
        body.insert("message_reference".to_owned(), reference);
    }
}

/// What a message shows. All of it is said, so that an edit takes away what was there.
fn body(part: &Part<'_>) -> Value {
    let (content, embeds) = if part.boxed {
        let colour = if part.question.is_some() {
            COLOURS.0
        } else {
            COLOURS.1
        };
        ("", json!([{ "description": part.text, "color": colour }]))
    } else {
        (part.text.as_str(), json!([]))
    };
    let mut body = json!({
        "content": content,
        "embeds": embeds,
        "components": part.question.map(buttons).unwrap_or_default(),
        "allowed_mentions": { "parse": [] },
        "flags": if part.draft { NO_PREVIEWS } else { 0 },
    });
    if !part.files.is_empty() {
        let files = part.files.iter().enumerate();
        let files: Vec<Value> = files
            .map(|(id, file)| json!({ "id": id, "filename": file.name }))
            .collect();
        if let Some(body) = body.as_object_mut() {
            body.insert("attachments".to_owned(), files.into());
        }
    }
    body
}

/// A question's choices in one row.
fn buttons(question: &Question) -> Vec<Value> {
    let button = |choice: &&'static str| {
        let (label, style) = match *choice {
            "once" => ("Allow once", 3),
            "session" => ("Allow in this conversation", 1),
            "always" => ("Always allow", 2),
            "deny" => ("Deny", 4),
            other => (other, 2),
        };
        json!({ "type": 2, "style": style, "label": label, "custom_id": interact::button(question.id, choice) })
    };
    let row: Vec<Value> = question.choices.iter().take(5).map(button).collect();
    if row.is_empty() {
        row
    } else {
        vec![json!({ "type": 1, "components": row })]
    }
}

/// An answer as messages: its text, then its files. The same answer always gives the same.
fn parts(what: &Outgoing) -> Vec<Part<'_>> {
    let boxed = what.notice || what.aside || what.question.is_some();
    let mut text = what.said().into_owned();
    let mut files = Vec::new();
    for file in &what.files {
        if file.data.len() > FILE {
            let note = format!(
                "\n\n(The file {} has {} MB and was not sent: Discord takes {} MB.)",
                file.name,
                file.data.len() >> 20,
                FILE >> 20
            );
            text.push_str(&note);
        } else {
            files.push(file.clone());
        }
    }
    let mut parts: Vec<Part<'_>> = render::posts(&text)
        .into_iter()
        .map(|text| Part {
            text,
            boxed,
            ..Part::default()
        })
        .collect();
    if parts.is_empty() && files.is_empty() {
        parts.push(Part {
            text: "(no text)".to_owned(),
            boxed,
            ..Part::default()
        });
    }
    attach(&mut parts, files);
    if let (Some(question), Some(last)) = (&what.question, parts.last_mut()) {
        last.question = Some(question);
    }
    parts
}

/// Puts files into the last message, as many as fit, and the others into messages of their own.
fn attach(parts: &mut Vec<Part<'_>>, files: Vec<Attachment>) {
    for file in files {
        let fits = parts.last().is_some_and(|last| {
            let size: usize = last.files.iter().map(|file| file.data.len()).sum();
            last.files.len() < FILES.0 && size + file.data.len() <= FILES.1
        });
        match parts.last_mut() {
            Some(last) if fits => last.files.push(file),
            _ => parts.push(Part {
                files: vec![file],
                ..Part::default()
            }),
        }
    }
}

/// The same for the same part of the same answer; at most 25 characters.
fn nonce(key: &str, part: &str) -> String {
    let hash = Sha256::digest(format!("{key}/{part}"));
    let mut text = URL_SAFE_NO_PAD.encode(hash);
    text.truncate(24);
    text
}

/// A refusal in words that the owner can act on.
async fn explained(rest: &Rest, to: &Address, part: &Part<'_>, failure: Failure) -> ConnectorError {
    let Failure::Refused {
        status: 403, said, ..
    } = &failure
    else {
        return failure.into();
    };
    let mut wanted = vec![VIEW, SEND, HISTORY];
    if part.boxed {
        wanted.push(EMBED);
    }
    if !part.files.is_empty() {
        wanted.push(ATTACH);
    }
    match permission::missing(rest, &to.account, &to.chat, &wanted).await {
        Ok(missing) if !missing.is_empty() => ConnectorError::Refused(format!(
            "the bot lacks {} in the channel {}: give it in the channel's settings, `Permissions`",
            missing
                .iter()
                .map(|name| format!("`{name}`"))
                .collect::<Vec<_>>()
                .join(", "),
            to.chat
        )),
        Ok(_) => ConnectorError::Refused(format!(
            "Discord does not let the bot write in the channel {}: {said}",
            to.chat
        )),
        Err(Failure::Refused { .. }) => failure.into(),
        Err(other) => other.into(),
    }
}

/// Shows a running turn.
pub(super) async fn draft(
    rest: &Rest,
    to: &Address,
    draft: &Draft,
) -> Result<String, ConnectorError> {
    let text = render::draft(&draft.text, &draft.status);
    let part = Part {
        text,
        draft: true,
        ..Part::default()
    };
    if let Some(post) = &draft.post {
        match edit(rest, to, post, &part).await {
            Ok(post) => return Ok(post),
            Err(failure) if failure.is(UNKNOWN_MESSAGE) => {}
            Err(failure) => return Err(explained(rest, to, &part, failure).await),
        }
    }
    let mut body = body(&part);
    // One that somebody deleted is not the same again.
    let which = draft.post.as_deref().unwrap_or("draft");
    address(
        &mut body,
        nonce(&draft.idempotency_key, which),
        draft.in_reply_to.as_deref(),
    );
    let ask = Ask::new(Method::POST, format!("/channels/{}/messages", to.chat));
    match rest.ask::<Posted>(ask.json(body).only_shown(true)).await {
        Ok(posted) => Ok(posted.id),
        Err(failure) => Err(explained(rest, to, &part, failure).await),
    }
}

/// Shows for ten seconds that something is being written.
pub(super) async fn typing(rest: &Rest, to: &Address) -> Result<(), ConnectorError> {
    let ask = Ask::new(Method::POST, format!("/channels/{}/typing", to.chat));
    Ok(rest.tell(ask.only_shown(true)).await?)
}

#[cfg(test)]
mod tests;
