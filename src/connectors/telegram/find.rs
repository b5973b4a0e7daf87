//! Whether a post that may have arrived is there. The Bot API has no history, so ids are tried, from the
//! newest down and not many: what may have arrived was sent a moment ago. A silent message, deleted at
//! once, tells which id is the newest.
//!
//! A call that changes nothing whatever it meets tells our own messages from others: to stop a live
//! location is refused for a text of ours in other words than for somebody else's. A message of ours is
//! then read: a silent reply to it, deleted at once, is answered with its text. So a post is taken for
//! the one that is looked for only if it says the same.

use serde_json::json;

use super::{
    Telegram,
    client::{Fault, PATIENCE},
    post::{Piece, pieces, spot},
    read::message_id,
    wire::{Message, Posted},
};
use crate::{
    connectors::ConnectorError,
    types::{Address, Outgoing},
};

/// Ids that are tried.
const PROBES: i64 = 40;

impl Telegram {
    pub(super) async fn find_post(
        &self,
        to: &Address,
        what: &Outgoing,
    ) -> Result<Option<String>, ConnectorError> {
        let spot = spot(to)?;
        let chat = self.now_at(spot.chat);
        if what.replaces.is_some() && what.posted.is_empty() {
            // An edit is done again: nothing is doubled by that.
            return Ok(None);
        }
        let pieces = pieces(what);
        let Some(wanted) = pieces.get(what.posted.len()) else {
            return Ok(None);
        };
        let asked = what.in_reply_to.iter().chain(&what.also_in_reply_to);
        let asked = asked.filter_map(|id| message_id(id, spot.chat));
        let posted = what.posted.iter().chain(&what.replaces);
        let posted = posted.filter_map(|id| id.parse().ok());
        // Ids grow: it comes after everything that is known to come before it.
        let before = asked.chain(posted).max().unwrap_or(0);
        let (newest, _) = self.whisper((chat, spot.thread), None).await?;
        let Some(newest) = newest else {
            return Ok(None);
        };
        for id in (before.max(newest - PROBES - 1) + 1..newest).rev() {
            if !self.is_ours(chat, id).await? {
                continue;
            }
            let (_, there) = self.whisper((chat, spot.thread), Some(id)).await?;
            if there.is_some_and(|message| is_same(wanted, &message)) {
                return Ok(Some(id.to_string()));
            }
        }
        Ok(None)
    }

    async fn is_ours(&self, chat: i64, id: i64) -> Result<bool, ConnectorError> {
        let body = json!({ "chat_id": chat, "message_id": id });
        let probe: Result<serde_json::Value, Fault> = self
            .api_call("stopMessageLiveLocation", &body, PATIENCE)
            .await;
        match probe {
            Ok(_) => Ok(true),
            Err(fault) if fault.says(400, &["live location", "is not modified"]) => Ok(true),
            Err(fault) if fault.says(400, &[""]) => Ok(false),
            Err(fault) => Err(self.unsettled(chat, &fault)),
        }
    }

    /// Says something silently that is deleted at once: its id, and the message that it replied to.
    async fn whisper(
        &self,
        (chat, thread): (i64, Option<i64>),
        reply_to: Option<i64>,
    ) -> Result<(Option<i64>, Option<Message>), ConnectorError> {
        let mut body = json!({ "chat_id": chat, "text": "…", "disable_notification": true });
        if let Some(body) = body.as_object_mut() {
            if let Some(id) = reply_to {
                let reply = json!({ "message_id": id });
                body.insert("reply_parameters".to_owned(), reply);
            }
            if let Some(thread) = thread {
                body.insert("message_thread_id".to_owned(), thread.into());
            }
        }
        let said: Result<Posted, Fault> = self.api_call("sendMessage", &body, PATIENCE).await;
        let said = match said {
            Ok(said) => said,
            Err(fault) if fault.says(400, &[""]) => return Ok((None, None)),
            Err(fault) => return Err(self.unsettled(chat, &fault)),
        };
        let body = json!({ "chat_id": chat, "message_id": said.message_id });
        let gone: Result<bool, Fault> = self.api_call("deleteMessage", &body, PATIENCE).await;
        if let Err(fault) = gone {
            tracing::warn!(%fault, "a silent message could not be deleted");
        }
        let message = said.reply_to_message.map(|message| *message);
        Ok((Some(said.message_id), message))
    }

    /// Looking failed: it is looked again later.
    fn unsettled(&self, chat: i64, fault: &Fault) -> ConnectorError {
        match self.failed(chat, fault) {
            ConnectorError::Refused(why) => ConnectorError::Refused(why),
            ConnectorError::Later { after, .. } => ConnectorError::Unsure {
                reason: match after {
                    Some(after) => format!("{fault}; looking again in {} s", after.as_secs()),
                    None => fault.to_string(),
                },
            },
            unsure @ ConnectorError::Unsure { .. } => unsure,
        }
    }
}

fn is_same(wanted: &Piece<'_>, found: &Message) -> bool {
    match wanted {
        Piece::Text(post) => {
            let said = found.text.as_deref().unwrap_or_default();
            let plain = post.clone().into_plain();
            [post.text.as_str(), &plain]
                .iter()
                .any(|text| said.trim() == text.trim())
        }
        Piece::File(file) => {
            let named = found.document.as_ref().and_then(|d| d.file_name.as_deref());
            named == Some(file.name.as_str()) || !found.photo.is_empty()
        }
    }
}
