//! Whether a post that may have arrived is there. The Bot API has no history, so ids are tried, not many:
//! those after what it follows, and the newest, because what may have arrived was sent a moment ago. Ids
//! of private chats are counted over all of them, so that between the two there may be many of others. A
//! silent message, deleted at once, tells which id is the newest.
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
    connectors::{ConnectorError, Found},
    render::telegram as render,
    types::{Address, Outgoing},
};

/// What a silent message says: nothing else of ours does, so that one is known that was left behind.
const WHISPER: &str = "⋯";
/// Ids that are tried at either end.
const PROBES: i64 = 100;

impl Telegram {
    pub(super) async fn find_post(
        &self,
        to: &Address,
        what: &Outgoing,
    ) -> Result<Found, ConnectorError> {
        let spot = spot(to)?;
        let chat = self.now_at(spot.chat);
        if what.replaces.is_some() && what.posted.is_empty() {
            // An edit is done again: nothing is doubled by that.
            return Ok(Found::Absent);
        }
        let wanted = match &what.draft {
            Some(status) => Some(Piece::Text(render::draft(&what.text, status))),
            None => pieces(what).into_iter().nth(what.posted.len()),
        };
        let Some(wanted) = wanted else {
            return Ok(Found::Absent);
        };
        let asked = what.in_reply_to.iter().chain(&what.also_in_reply_to);
        let asked = asked.filter_map(|id| message_id(id, spot.chat));
        let posted = what.posted.iter().chain(&what.replaces);
        let posted = posted.chain(&what.follows);
        let posted = posted.filter_map(|id| id.parse().ok());
        // Ids grow: it comes after everything that is known to come before it.
        let before = asked.chain(posted).max().unwrap_or(0);
        let (newest, _) = self.whisper((chat, spot.thread), None).await?;
        let Some(newest) = newest else {
            return Ok(Found::Absent);
        };
        let ids: Vec<i64> = tried(before, newest).collect();
        let between = usize::try_from(newest - before - 1).unwrap_or(0);
        let all = before > 0 && ids.len() >= between;
        for id in ids {
            if !self.is_ours(chat, id).await? {
                continue;
            }
            let (_, there) = self.whisper((chat, spot.thread), Some(id)).await?;
            let Some(there) = there else { continue };
            if there.text.as_deref() == Some(WHISPER) {
                // An earlier search was cut off after it.
                self.delete(chat, id).await;
            } else if is_same(&wanted, &there) {
                return Ok(Found::Post(id.to_string()));
            }
        }
        Ok(if all { Found::Absent } else { Found::Unknown })
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
            Err(fault) => Err(self.failed(chat, &fault)),
        }
    }

    /// Says something silently that is deleted at once: its id, and the message that it replied to.
    async fn whisper(
        &self,
        (chat, thread): (i64, Option<i64>),
        reply_to: Option<i64>,
    ) -> Result<(Option<i64>, Option<Message>), ConnectorError> {
        let mut body = json!({ "chat_id": chat, "text": WHISPER, "disable_notification": true });
        if let Some(body) = body.as_object_mut() {
            if let Some(id) = reply_to {
                let reply = json!({ "message_id": id });
                body.insert("reply_parameters".to_owned(), reply);
            }
            if let Some(thread) = thread {
                body.insert("message_thread_id".to_owned(), thread.into());
            }
        }
        // It counts as any other post.
        self.wait_for_turn(chat, false).await?;
        let said: Result<Posted, Fault> = self.api_call("sendMessage", &body, PATIENCE).await;
        let said = match said {
            Ok(said) => said,
            Err(fault) if fault.says(400, &[""]) => return Ok((None, None)),
            Err(fault) => return Err(self.failed(chat, &fault)),
        };
        self.delete(chat, said.message_id).await;
        let message = said.reply_to_message.map(|message| *message);
        Ok((Some(said.message_id), message))
    }

    async fn delete(&self, chat: i64, id: i64) {
        let body = json!({ "chat_id": chat, "message_id": id });
        let gone: Result<bool, Fault> = self.api_call("deleteMessage", &body, PATIENCE).await;
        if let Err(fault) = gone {
            tracing::warn!(%fault, "a silent message could not be deleted");
        }
    }
}

/// The ids that are tried of those between two: the newest first, then from the oldest.
fn tried(before: i64, newest: i64) -> impl Iterator<Item = i64> {
    let from = (before + 1).max(newest - PROBES);
    // It may follow nothing that is known.
    let old = if before > 0 { PROBES } else { 0 };
    (from..newest)
        .rev()
        .chain(before + 1..from.min(before + 1 + old))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_are_tried_and_no_id_twice() {
        let all = |before, newest| tried(before, newest).collect::<Vec<_>>();
        assert_eq!(all(5, 9), [8, 7, 6]);
        assert_eq!(all(5, 6), [0; 0]);
        // An answer to nothing, such as a reminder.
        assert_eq!(all(0, 1000).len(), 100);
        let many = all(100, 1000);
        let ends = [many[0], many[99], many[100], many[199]];
        assert_eq!(ends, [999, 900, 101, 200]);
        let mut some = all(100, 260);
        some.sort_unstable();
        assert_eq!(some, (101..260).collect::<Vec<_>>());
    }
}
