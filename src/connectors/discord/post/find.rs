//! Looks in the channel for a part whose fate is unknown.

use serde_json::Value;

use super::{NO_PREVIEWS, Part, nonce, parts};
use crate::{
    connectors::{
        ConnectorError,
        discord::{
            rest::{Ask, Failure, Rest},
            wire::{Id, Message, User, id_at},
        },
    },
    types::{Address, Outgoing},
};

/// Messages that are looked through for a part: of a page, and pages.
const LOOKED_THROUGH: (usize, usize) = (100, 5);
/// By how much a time of this machine, put right by what Discord says, may still be wrong: milliseconds.
const CLOCKS: i64 = 2 * 60 * 1000;

/// Looks whether the next part is there already.
pub(in crate::connectors::discord) async fn find(
    rest: &Rest,
    to: &Address,
    what: &Outgoing,
) -> Result<Option<String>, ConnectorError> {
    let number = what.posted.len();
    let parts = parts(what);
    let Some(part) = parts.get(number) else {
        return Ok(None);
    };
    if number == 0 && what.replaces.is_some() {
        // An edit that is made twice is made once.
        return Ok(None);
    }
    let made = made_at(&what.idempotency_key, ahead(rest).await?);
    // It cannot be older than what it follows.
    let before = what.posted.last().or(what.in_reply_to.as_ref());
    let mut after = before.and_then(|id| id.parse::<Id>().ok()).or(made);
    let nonce = nonce(&what.idempotency_key, &number.to_string());
    for _ in 0..LOOKED_THROUGH.1 {
        let page = page(rest, to, after).await?;
        let found = page.iter().find(|message| {
            let id = message.id.to_string();
            let author = message.author.as_ref().map(|author| author.id.to_string());
            let ours = author.as_ref() == Some(&to.account);
            let new = !what.posted.contains(&id);
            let same = message.nonce.as_ref() == Some(&nonce);
            ours && new && (same || shows(message, part, (what, number), made))
        });
        if let Some(found) = found {
            return Ok(Some(found.id.to_string()));
        }
        match page.last() {
            Some(last) if page.len() >= LOOKED_THROUGH.0 && after.is_some() => {
                after = Some(last.id);
            }
            _ => return Ok(None),
        }
    }
    Ok(None)
}

/// The messages that come next after one, or the newest; the oldest first.
async fn page(rest: &Rest, to: &Address, after: Option<Id>) -> Result<Vec<Message>, Failure> {
    let from = after
        .map(|after| format!("&after={after}"))
        .unwrap_or_default();
    let path = format!(
        "/channels/{}/messages?limit={}{from}",
        to.chat, LOOKED_THROUGH.0
    );
    let page: Vec<Value> = rest.ask(Ask::get(path)).await?;
    let read = page
        .into_iter()
        .filter_map(|m| serde_json::from_value(m).ok());
    let mut page: Vec<Message> = read.collect();
    page.sort_by_key(|message| message.id);
    Ok(page)
}

/// Seconds by which this machine's clock is ahead of Discord's; asks where nothing was heard yet.
async fn ahead(rest: &Rest) -> Result<i64, Failure> {
    if let Some(ahead) = rest.skew().ahead() {
        return Ok(ahead);
    }
    let _me: User = rest.ask(Ask::get("/users/@me")).await?;
    Ok(rest.skew().ahead().unwrap_or_default())
}

/// Whether a message says what a part says, to the same question. A draft must be younger than `made`.
pub(super) fn shows(
    message: &Message,
    part: &Part<'_>,
    (what, number): (&Outgoing, usize),
    made: Option<Id>,
) -> bool {
    let referred = message.reference.as_ref().and_then(|r| r.message_id);
    let asked = what.in_reply_to.as_ref().filter(|_| number == 0);
    let asked = asked.and_then(|id| id.parse().ok());
    if message.flags & NO_PREVIEWS != 0 {
        let young = made.is_some_and(|made| message.id >= made);
        return number == 0 && asked.is_some() && referred == asked && young;
    }
    let described = message
        .embeds
        .iter()
        .find_map(|embed| embed.description.as_deref());
    let content = message.content.as_deref().unwrap_or_default();
    let said = if part.boxed {
        described.unwrap_or_default()
    } else {
        content
    };
    let files = message.attachments.len() == part.files.len();
    let same = referred.is_none() || referred == asked;
    said.trim() == part.text.trim() && files && same
}

/// The id that a message made with this key would at least have, by a clock that is so many seconds ahead
/// of Discord's; none if the key does not tell its time.
pub(super) fn made_at(key: &str, ahead: i64) -> Option<Id> {
    let key: uuid::Uuid = key.parse().ok()?;
    let (seconds, nanos) = key.get_timestamp()?.to_unix();
    let seconds = i64::try_from(seconds).ok()?.checked_sub(ahead)?;
    let millis = seconds.checked_mul(1000)? + i64::from(nanos / 1_000_000);
    Some(id_at(millis - CLOCKS))
}
