//! One update, taken in: it is on disk, with the position, when this returns.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;

use super::{
    Telegram,
    batch::Raw,
    client::{Fault, PATIENCE, refused},
    read::{Me, Read, Reader, Sent, Spot},
    wire::{Callback, Message, Stored, Update},
};
use crate::{
    connectors::{AcceptError, Inbox, NOT_FETCHED, PressError},
    store::inbox::Accepted,
    types::{Address, ApprovalId, Attachment, Cursor, Inbound, Press},
};

/// What Telegram gives bots of a file at most; a server of one's own gives more.
const LARGEST: u64 = 20 << 20;
/// What we keep of a file at most, wherever it comes from.
const LARGEST_OWN_SERVER: u64 = 200 << 20;
/// How long a file may take.
const DOWNLOAD: Duration = Duration::from_secs(90);
/// A press is acknowledged with at most so many characters.
const ALERT: usize = 200;

/// What became of an update.
pub(super) enum Taken {
    Message(Accepted),
    Other,
}

impl Telegram {
    /// Takes in an update, or the updates of an album, and the position with it.
    pub(super) async fn take(
        &self,
        inbox: &dyn Inbox,
        me: &Me,
        (parts, cursor): (&[Raw], Option<Cursor>),
    ) -> Result<Taken, AcceptError> {
        let here = Address::new("telegram", me.id.to_string(), "");
        let mut messages = Vec::new();
        for part in parts {
            let parsed = serde_json::from_value::<Update>(part.body.clone());
            match parsed {
                Err(error) => {
                    tracing::warn!(update_id = part.id, %error, "an update that cannot be read is passed over");
                }
                Ok(Update {
                    callback_query: Some(press),
                    ..
                }) => {
                    self.press(inbox, me, press).await?;
                }
                Ok(Update {
                    edited_message: Some(message),
                    ..
                }) => return self.edited(inbox, me, (message, cursor)).await,
                Ok(Update { message, .. }) => messages.extend(message),
            }
        }
        match self.reader(me, inbox).message(&messages) {
            Read::Pass(why) => note_passed(&messages, why),
            Read::Heard(mut inbound, files) => {
                self.heard_event();
                if files.is_empty() || inbox.knows(&inbound).await? {
                    self.attach(&mut inbound, &files).await;
                } else {
                    inbound.append(NOT_FETCHED);
                }
                inbound.cursor.clone_from(&cursor);
                match inbox.accept(*inbound).await {
                    Ok(accepted) => return Ok(Taken::Message(accepted)),
                    // The position is written.
                    Err(AcceptError::Stranger) => return Ok(Taken::Other),
                    Err(AcceptError::NoSession(session)) => {
                        tracing::warn!(%session, "a message for a session that is gone is passed over");
                    }
                    Err(later) => return Err(later),
                }
            }
        }
        if let Some(cursor) = cursor {
            inbox.passed(&here, cursor).await?;
        }
        Ok(Taken::Other)
    }

    pub(super) fn reader<'a>(&'a self, me: &'a Me, inbox: &dyn Inbox) -> Reader<'a> {
        Reader {
            me,
            config: &self.config,
            commands: inbox.commands(),
        }
    }

    async fn edited(
        &self,
        inbox: &dyn Inbox,
        me: &Me,
        (message, cursor): (Message, Option<Cursor>),
    ) -> Result<Taken, AcceptError> {
        let here = Address::new("telegram", me.id.to_string(), "");
        let read = self.reader(me, inbox).message(&[message]);
        if let Read::Heard(mut inbound, _) = read {
            // An edit changes words; the files of the message stay.
            self.heard_event();
            inbound.cursor = cursor;
            return match inbox.edited(*inbound).await {
                Ok(()) | Err(AcceptError::Stranger) => Ok(Taken::Other),
                Err(error) => Err(error),
            };
        }
        if let Some(cursor) = cursor {
            inbox.passed(&here, cursor).await?;
        }
        Ok(Taken::Other)
    }

    async fn press(&self, inbox: &dyn Inbox, me: &Me, press: Callback) -> Result<(), AcceptError> {
        let said = match self.pressed(inbox, me, &press).await {
            Ok(said) => said,
            Err(PressError::Refused(why)) => why,
            Err(PressError::Later(error)) => return Err(error.into()),
        };
        let text: String = said.chars().take(ALERT).collect();
        let answer = json!({ "callback_query_id": press.id, "text": text });
        let answered = self
            .api_call::<bool>("answerCallbackQuery", &answer, Duration::from_secs(5))
            .await;
        if let Err(fault) = answered {
            // Only the little wheel on the button goes on turning for a while.
            tracing::debug!(%fault, "a press was not acknowledged");
        }
        Ok(())
    }

    async fn pressed(
        &self,
        inbox: &dyn Inbox,
        me: &Me,
        press: &Callback,
    ) -> Result<String, PressError> {
        let refused = |why: &str| PressError::Refused(why.to_owned());
        let (question, choice) = press
            .data
            .as_deref()
            .and_then(parse_button)
            .ok_or_else(|| refused("This button is not one that Nexflow knows any more."))?;
        let message = press
            .message
            .as_ref()
            .ok_or_else(|| refused("This message is too old."))?;
        self.heard_event();
        let spot = Spot::new(
            message.chat.id,
            message.message_thread_id,
            message.is_topic_message,
        );
        let reader = self.reader(me, inbox);
        let in_group = !message.chat.is_private() && reader.listed(&message.chat);
        let press = Press {
            from: Address::new("telegram", me.id.to_string(), spot.to_string()),
            user: press.from.id.to_string(),
            name: press.from.name(),
            admission: reader.admission(&press.from, in_group),
            question,
            choice: choice.to_owned(),
        };
        inbox.pressed(press).await
    }

    /// Fetches files; one that cannot be had is named in the text, so that nothing goes missing unsaid.
    async fn attach(&self, inbound: &mut Inbound, files: &[Sent]) {
        for file in files {
            match self.fetch(file).await {
                Ok(data) => inbound.attachments.push(Attachment {
                    name: file.name.clone(),
                    media_type: file.media_type.clone(),
                    data,
                }),
                Err(why) => {
                    tracing::warn!(file = file.name, why, "a file is left out");
                    let name = &file.name;
                    inbound.append(&format!("(The file {name} could not be fetched: {why}.)"));
                }
            }
        }
    }

    async fn fetch(&self, file: &Sent) -> Result<Vec<u8>, String> {
        let own = self.config.api_url.is_some();
        let limit = if own { LARGEST_OWN_SERVER } else { LARGEST };
        let too_large = || {
            let most = limit >> 20;
            format!("it is larger than the {most} MB that bots may fetch")
        };
        if file.size > limit {
            return Err(too_large());
        }
        let mut tries = 0;
        loop {
            tries += 1;
            match self.fetch_once(file, limit).await {
                Ok(data) => return Ok(data),
                Err(fault) if fault.says(400, &["too big"]) || fault.says(413, &[""]) => {
                    let size = file.size >> 20;
                    return Err(format!("with {size} MB it is larger than bots may fetch"));
                }
                Err(fault @ Fault::Refused(_)) if tries > 1 => return Err(fault.to_string()),
                Err(fault) if tries > 2 => return Err(fault.to_string()),
                Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
            }
        }
    }

    async fn fetch_once(&self, file: &Sent, limit: u64) -> Result<Vec<u8>, Fault> {
        let asked = json!({ "file_id": file.id });
        let stored: Stored = self.api_call("getFile", &asked, PATIENCE).await?;
        let path = stored
            .file_path
            .ok_or_else(|| Fault::Cut("the file has no path".to_owned()))?;
        if path.starts_with('/') && self.config.api_url.is_some() {
            return local(&path, limit).await;
        }
        self.api.file(&path, limit, DOWNLOAD).await
    }
}

/// A server of one's own in its local mode names a file of this machine. Its folder has the token for its
/// name: no error shows it.
async fn local(path: &str, limit: u64) -> Result<Vec<u8>, Fault> {
    let unreadable = |e: std::io::Error| {
        Fault::Cut(format!(
            "the file that the Bot API server names cannot be read here: {e}"
        ))
    };
    let size = tokio::fs::metadata(path).await.map_err(unreadable)?.len();
    if size > limit {
        return Err(refused(413, "the file is too large"));
    }
    tokio::fs::read(path).await.map_err(unreadable)
}

fn note_passed(messages: &[Message], why: &str) {
    let Some(first) = messages.first() else {
        return;
    };
    let (chat, title) = (first.chat.id, first.chat.title.as_deref().unwrap_or(""));
    if let Some(now) = first.migrate_to_chat_id {
        tracing::warn!(
            chat,
            title,
            now,
            "this group has a new id: put it in channels.telegram.allowed_chats"
        );
    } else {
        tracing::debug!(chat, title, why, "a message is passed over");
    }
}

/// The data of a button: at most 64 bytes, and all that a press needs, so that buttons outlive restarts.
pub(super) fn button(question: ApprovalId, choice: &str) -> String {
    let id = URL_SAFE_NO_PAD.encode(question.0.as_bytes());
    format!("a:{id}:{choice}")
}

pub(super) fn parse_button(data: &str) -> Option<(ApprovalId, &str)> {
    let (id, choice) = data.strip_prefix("a:")?.split_once(':')?;
    let bytes: [u8; 16] = URL_SAFE_NO_PAD.decode(id).ok()?.try_into().ok()?;
    Some((ApprovalId(uuid::Uuid::from_bytes(bytes)), choice))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_button_fits_and_is_understood() {
        let id = ApprovalId::new();
        for choice in ["once", "session", "always", "deny"] {
            let data = button(id, choice);
            assert!(data.len() <= 64, "{data}");
            assert_eq!(parse_button(&data), Some((id, choice)));
        }
        for data in ["", "a:", "a:x:once", "b:AAAA:once", "a:AAAA:once"] {
            assert_eq!(parse_button(data), None, "{data}");
        }
    }
}
