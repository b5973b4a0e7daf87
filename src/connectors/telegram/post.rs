//! Posting: an answer as messages, in order, each once.

use std::{sync::PoisonError, time::Duration};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    Telegram,
    client::{Fault, PATIENCE, Refusal},
    read::{Spot, message_id},
    target::{Target, keyboard},
    wire::Posted,
};
use crate::{
    connectors::{ConnectorError, Posts},
    render::telegram::{self as render, Post},
    types::{Address, Attachment, Draft, Outgoing},
};

/// What Telegram takes from bots of a file at most, and of a photo.
const LARGEST: usize = 50 << 20;
const LARGEST_PHOTO: usize = 10 << 20;
/// How long a file may take to get there.
const UPLOAD: Duration = Duration::from_mins(3);
/// How long a post waits for its turn here; longer, and it comes again later.
const WAIT: Duration = Duration::from_secs(4);
/// A refusal for as long as this is told to the owner.
const HELD: Duration = Duration::from_secs(5);
/// While the token is refused, only the owner can help.
const TOKEN: Duration = Duration::from_mins(1);

/// One message of an answer.
pub(super) enum Piece<'a> {
    Text(Post),
    File(&'a Attachment),
}

/// The messages of an answer; the same at every try.
pub(super) fn pieces(what: &Outgoing) -> Vec<Piece<'_>> {
    let texts = render::posts(&what.said()).into_iter().map(Piece::Text);
    texts.chain(what.files.iter().map(Piece::File)).collect()
}

impl Telegram {
    pub(super) async fn post_all(
        &self,
        to: &Address,
        what: &Outgoing,
        posts: &dyn Posts,
    ) -> Result<(), ConnectorError> {
        let spot = spot(to)?;
        let pieces = pieces(what);
        let last_text = pieces
            .iter()
            .rposition(|piece| matches!(piece, Piece::Text(_)));
        for (n, piece) in pieces.iter().enumerate().skip(what.posted.len()) {
            let question = what.question.as_ref().filter(|_| Some(n) == last_text);
            let mut target = Target {
                chat: self.now_at(spot.chat),
                thread: spot.thread,
                reply_to: None,
                keyboard: question.map(keyboard),
            };
            let replaced = what.replaces.as_ref().filter(|_| n == 0);
            let mut id = None;
            if let (Some(post), Piece::Text(text)) = (replaced, piece) {
                id = self.edit(&mut target, (post, text), false).await?;
            }
            let id = if let Some(id) = id {
                id
            } else {
                let asked = what.in_reply_to.as_deref().filter(|_| n == 0);
                target.reply_to = asked.and_then(|id| message_id(id, spot.chat));
                match piece {
                    Piece::Text(text) => self.post(&mut target, text, false).await?,
                    Piece::File(file) => self.post_file(&mut target, file).await?,
                }
            };
            posts.add(&id.to_string()).await?;
        }
        Ok(())
    }

    pub(super) async fn post_draft(
        &self,
        to: &Address,
        draft: &Draft,
    ) -> Result<String, ConnectorError> {
        let spot = spot(to)?;
        let text = render::draft(&draft.text, &draft.status);
        let mut target = Target {
            chat: self.now_at(spot.chat),
            thread: spot.thread,
            reply_to: None,
            keyboard: None,
        };
        if let Some(post) = &draft.post
            && let Some(id) = self.edit(&mut target, (post, &text), true).await?
        {
            return Ok(id.to_string());
        }
        let asked = draft.in_reply_to.as_deref();
        target.reply_to = asked.and_then(|id| message_id(id, spot.chat));
        Ok(self.post(&mut target, &text, true).await?.to_string())
    }

    pub(super) async fn show_typing(&self, to: &Address) -> Result<(), ConnectorError> {
        let spot = spot(to)?;
        let chat = self.now_at(spot.chat);
        let mut body = json!({ "chat_id": chat, "action": "typing" });
        if let (Some(thread), Some(body)) = (spot.thread, body.as_object_mut()) {
            body.insert("message_thread_id".to_owned(), thread.into());
        }
        let shown: Result<bool, Fault> = self.api_call("sendChatAction", &body, PATIENCE).await;
        shown.map(drop).map_err(|fault| self.failed(chat, &fault))
    }

    /// Posts a text.
    async fn post(
        &self,
        target: &mut Target,
        post: &Post,
        draft: bool,
    ) -> Result<i64, ConnectorError> {
        let mut body = target.body(post);
        loop {
            self.wait_for_turn(target.chat, draft).await?;
            let posted = self
                .api_call::<Posted>("sendMessage", &body, PATIENCE)
                .await;
            let fault = match posted {
                Ok(posted) => return Ok(posted.message_id),
                Err(fault) => fault,
            };
            if self.follow(target, &fault) {
                body = target.body(post);
            } else if !plainly(&mut body, post, &fault) {
                return Err(self.failed(target.chat, &fault));
            }
        }
    }

    /// Edits a post into this text; none if it cannot be edited any more.
    async fn edit(
        &self,
        target: &mut Target,
        (id, post): (&str, &Post),
        draft: bool,
    ) -> Result<Option<i64>, ConnectorError> {
        let Ok(id) = id.parse::<i64>() else {
            return Ok(None);
        };
        let mut body = target.body(post);
        if let Some(body) = body.as_object_mut() {
            body.insert("message_id".to_owned(), id.into());
            body.remove("message_thread_id");
        }
        loop {
            self.wait_for_turn(target.chat, draft).await?;
            let edited = self.api_call::<Value>("editMessageText", &body, PATIENCE);
            let Err(fault) = edited.await else {
                return Ok(Some(id));
            };
            if fault.says(400, &["is not modified"]) {
                return Ok(Some(id));
            }
            let gone = ["edit not found", "can't be edited", "message_id_invalid"];
            if fault.says(400, &gone) {
                return Ok(None);
            }
            if let Fault::Refused(Refusal {
                moved_to: Some(now),
                ..
            }) = fault
            {
                // Messages of the old group are not edited through the new one.
                self.moved(target.chat, now);
                target.chat = now;
                return Ok(None);
            }
            if !plainly(&mut body, post, &fault) {
                // Nothing is doubled by another edit.
                return Err(match self.failed(target.chat, &fault) {
                    ConnectorError::Unsure { reason } => ConnectorError::Later {
                        reason,
                        after: None,
                    },
                    error => error,
                });
            }
        }
    }

    /// Posts a file; one that is not taken is named, so that nothing goes missing unsaid.
    async fn post_file(
        &self,
        target: &mut Target,
        file: &Attachment,
    ) -> Result<i64, ConnectorError> {
        let size = file.data.len();
        if size > LARGEST && self.config.api_url.is_none() {
            let most = LARGEST >> 20;
            let why = format!("it is larger than the {most} MB that Telegram takes from bots");
            return self.name_file(target, file, &why).await;
        }
        let picture = matches!(
            file.media_type.as_str(),
            "image/jpeg" | "image/png" | "image/webp"
        );
        let mut photo = picture && size <= LARGEST_PHOTO;
        loop {
            self.wait_for_turn(target.chat, false).await?;
            let (method, field) = if photo {
                ("sendPhoto", "photo")
            } else {
                ("sendDocument", "document")
            };
            let form = target.form(field, file);
            let posted = self.api.upload::<Posted>(method, form, UPLOAD).await;
            let fault = match posted {
                Ok(posted) => return Ok(posted.message_id),
                Err(fault) => fault,
            };
            if self.follow(target, &fault) {
                continue;
            }
            let Fault::Refused(Refusal {
                code: 400 | 413,
                description,
                ..
            }) = &fault
            else {
                return Err(self.failed(target.chat, &fault));
            };
            if !photo {
                return self.name_file(target, file, description).await;
            }
            // Telegram is choosy about pictures; as a document it takes any.
            photo = false;
        }
    }

    async fn name_file(
        &self,
        target: &mut Target,
        file: &Attachment,
        why: &str,
    ) -> Result<i64, ConnectorError> {
        let size = file.data.len() >> 20;
        let text = format!(
            "The file {} ({size} MB) could not be sent: {why}.",
            file.name
        );
        let post = Post {
            text,
            entities: Vec::new(),
        };
        self.post(target, &post, false).await
    }

    /// Where a message has to go instead, if that is what a refusal says.
    fn follow(&self, target: &mut Target, fault: &Fault) -> bool {
        if let Fault::Refused(Refusal {
            moved_to: Some(now),
            ..
        }) = fault
        {
            self.moved(target.chat, *now);
            target.chat = *now;
            target.reply_to = None;
            return true;
        }
        // The topic was deleted: the group itself is still there.
        fault.says(400, &["thread not found"]) && target.thread.take().is_some()
    }

    pub(super) async fn wait_for_turn(&self, chat: i64, draft: bool) -> Result<(), ConnectorError> {
        let began = Instant::now();
        while let Err(wait) = self.pace.take(chat, draft) {
            if draft || began.elapsed() + wait > WAIT {
                return Err(ConnectorError::Later {
                    reason: "as much was posted in this chat as Telegram takes".to_owned(),
                    after: Some(wait),
                });
            }
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }

    /// What a failure means for a delivery.
    pub(super) fn failed(&self, chat: i64, fault: &Fault) -> ConnectorError {
        let later = |after| ConnectorError::Later {
            reason: fault.to_string(),
            after,
        };
        let refusal = match fault {
            Fault::Unreachable(_) => return later(None),
            Fault::Cut(reason) => {
                return ConnectorError::Unsure {
                    reason: reason.clone(),
                };
            }
            Fault::Refused(refusal) => refusal,
        };
        match refusal.code {
            401 | 404 | 409 => later(Some(TOKEN)),
            429 => {
                let after = refusal.after.unwrap_or(WAIT);
                self.pace.quiet(chat, after);
                if after >= HELD {
                    let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
                    *held = Some(Instant::now() + after);
                }
                later(Some(after))
            }
            403 => ConnectorError::Refused(format!(
                "{fault} (the bot was blocked, removed, or may not write there)"
            )),
            // It may have been done before the server failed.
            500.. => ConnectorError::Unsure {
                reason: fault.to_string(),
            },
            _ => ConnectorError::Refused(fault.to_string()),
        }
    }
}

/// The same message without entities, if it was refused for them. Whether that is something else.
fn plainly(body: &mut Value, post: &Post, fault: &Fault) -> bool {
    let Some(body) = body.as_object_mut() else {
        return false;
    };
    if !fault.says(400, &["entit", "parse"]) || body.remove("entities").is_none() {
        return false;
    }
    body.insert("text".to_owned(), post.clone().into_plain().into());
    true
}

pub(super) fn spot(to: &Address) -> Result<Spot, ConnectorError> {
    Spot::parse(&to.chat)
        .ok_or_else(|| ConnectorError::Refused(format!("`{}` is no chat of Telegram", to.chat)))
}
