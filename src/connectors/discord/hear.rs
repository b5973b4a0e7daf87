//! Makes of Discord's message what the agent takes: who it is from, whether it is meant, what it says.

use futures_util::StreamExt as _;
use url::Url;

use super::{
    rest::Rest,
    wire::{File, Id, Message},
    world::World,
};
use crate::types::{Attachment, Reply};

/// The most that the files of a message may have together, in bytes.
const FILES: u64 = 25 << 20;
/// How long a file may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_mins(1);

/// Whether a message in a server is meant for the bot.
pub(super) fn is_meant(message: &Message, me: Id, world: &World) -> bool {
    let replied = message.replied.as_ref();
    message.mentions.iter().any(|user| user.id == me)
        || message
            .mention_roles
            .iter()
            .any(|role| world.is_own_role(*role))
        || replied
            .and_then(|m| m.author.as_ref())
            .is_some_and(|author| author.id == me)
}

/// What a message says, in words: mentions by their names, and not that of the bot.
pub(super) fn text(message: &Message, me: Id, world: &World) -> String {
    let content = message.content.as_deref().unwrap_or_default();
    let said = |me| plain(content, &|mark| named(mark, message, me, world));
    let mut out = said(me).trim().to_owned();
    if out.is_empty() {
        // Nothing but a mention is a word too.
        said(0).trim().clone_into(&mut out);
    }
    for snapshot in &message.snapshots {
        append(
            &mut out,
            &format!("(forwarded) {}", snapshot.message.content.trim()),
        );
    }
    for sticker in &message.sticker_items {
        append(&mut out, &format!("(sticker: {})", sticker.name));
    }
    if out.is_empty() && message.attachments.is_empty() {
        out.push_str("(a message without text)");
    }
    out
}

/// Adds a paragraph.
fn append(text: &mut String, more: &str) {
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(more);
}

/// What stands for a mark such as `@123`; none to leave it as it is.
fn named(mark: &str, message: &Message, me: Id, world: &World) -> Option<String> {
    if let Some(role) = mark.strip_prefix("@&") {
        let role = role.parse().ok()?;
        if me != 0 && world.is_own_role(role) {
            return Some(String::new());
        }
        return Some(format!("@{}", world.role_name(role)?));
    }
    if let Some(user) = mark.strip_prefix('@') {
        let id: Id = user.trim_start_matches('!').parse().ok()?;
        if id == me {
            return Some(String::new());
        }
        let user = message.mentions.iter().find(|user| user.id == id)?;
        let nick = user.member.as_ref().and_then(|m| m.nick.as_deref());
        return Some(format!("@{}", nick.unwrap_or(user.name())));
    }
    if let Some(channel) = mark.strip_prefix('#') {
        return Some(format!("#{}", world.channel_name(channel.parse().ok()?)?));
    }
    // `:name:id` and `a:name:id`: an emoji of a server.
    let (kind, rest) = mark.split_once(':')?;
    let (name, id) = rest.split_once(':')?;
    let emoji = (kind.is_empty() || kind == "a") && id.parse::<Id>().is_ok();
    emoji.then(|| format!(":{name}:"))
}

/// A text with each `<mark>` replaced that has a name.
fn plain(text: &str, name: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        out.push_str(before);
        let mark = after.split_once('>').filter(|(mark, _)| mark.len() <= 64);
        if let Some((word, more)) = mark.and_then(|(mark, more)| Some((name(mark)?, more))) {
            out.push_str(&word);
            let gap = word.is_empty() && (out.is_empty() || out.ends_with(' '));
            rest = if gap {
                more.trim_start_matches(' ')
            } else {
                more
            };
        } else {
            out.push('<');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

/// The message that this one replies to.
pub(super) fn reply(message: &Message, me: Id, world: &World) -> Option<Reply> {
    let replied = message.replied.as_deref()?;
    let own = replied
        .author
        .as_ref()
        .is_some_and(|author| author.id == me);
    let described = replied
        .embeds
        .iter()
        .filter_map(|embed| embed.description.as_deref());
    let said = text(replied, 0, world);
    Some(Reply {
        external_id: replied.id.to_string(),
        author: if own {
            String::new()
        } else {
            replied.author_name().to_owned()
        },
        text: if replied.content.as_deref().unwrap_or_default().is_empty() && own {
            described.collect::<Vec<_>>().join("\n")
        } else {
            said
        },
    })
}

/// The files that came with a message, also those of one that it forwards.
pub(super) fn attached(message: &Message) -> impl Iterator<Item = &File> {
    let forwarded = message.snapshots.iter();
    let forwarded = forwarded.flat_map(|s| &s.message.attachments);
    message.attachments.iter().chain(forwarded)
}

/// The files of a message, and a line for each that could not be had.
pub(super) async fn files(rest: &Rest, message: &Message) -> (Vec<Attachment>, Vec<String>) {
    let (mut files, mut notes, mut left) = (Vec::new(), Vec::new(), FILES);
    for file in attached(message) {
        match fetch(rest, file, left).await {
            Ok(data) => {
                left = left.saturating_sub(data.len() as u64);
                files.push(Attachment {
                    name: file.filename.clone(),
                    media_type: media_type(file),
                    data,
                });
            }
            Err(why) => {
                tracing::warn!(
                    file = file.filename,
                    why,
                    "a file of a message was not fetched"
                );
                notes.push(format!("(the file {} did not come: {why})", file.filename));
            }
        }
    }
    (files, notes)
}

fn media_type(file: &File) -> String {
    let given = file
        .content_type
        .as_deref()
        .unwrap_or("application/octet-stream");
    given.split(';').next().unwrap_or(given).trim().to_owned()
}

/// The content of a file, of at most so many bytes; tried twice.
async fn fetch(rest: &Rest, file: &File, most: u64) -> Result<Vec<u8>, String> {
    if file.size > most {
        return Err(format!(
            "the files of a message may have {} MB together",
            FILES >> 20
        ));
    }
    let first = fetch_once(rest, file, most).await;
    match first {
        Ok(data) => Ok(data),
        Err(_) => fetch_once(rest, file, most).await,
    }
}

async fn fetch_once(rest: &Rest, file: &File, most: u64) -> Result<Vec<u8>, String> {
    let url: Url = file
        .url
        .parse()
        .map_err(|e: url::ParseError| e.to_string())?;
    if !rest.is_ours(&url) {
        return Err("it is not kept by Discord".to_owned());
    }
    let client = rest.http().client(&url).map_err(|e| e.to_string())?;
    let request = client.get(url).timeout(PATIENCE);
    let failed = |error: reqwest::Error| error.without_url().to_string();
    let answer = request.send().await.map_err(failed)?;
    if !answer.status().is_success() {
        return Err(format!("Discord answered {}", answer.status()));
    }
    let mut data = Vec::new();
    let mut pieces = answer.bytes_stream();
    while let Some(piece) = pieces.next().await {
        data.extend_from_slice(&piece.map_err(failed)?);
        if data.len() as u64 > most {
            return Err("it is larger than was said".to_owned());
        }
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ME: Id = 900;

    fn world() -> World {
        let mut world = World::default();
        let guild = json!({
            "id": "1",
            "channels": [{ "id": "20", "type": 0, "name": "garden" }],
            "roles": [{ "id": "30", "name": "Crew" }, { "id": "31", "name": "Bot", "tags": { "bot_id": ME.to_string() } }],
        });
        world.guild(ME, &serde_json::from_value(guild).unwrap());
        world
    }

    fn message(more: &Value) -> Message {
        let mut message =
            json!({ "id": "5", "channel_id": "20", "author": { "id": "7", "username": "ada" } });
        message
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        serde_json::from_value(message).unwrap()
    }

    #[test]
    fn mentions_become_names_and_the_own_one_goes() {
        let said = |content: &str| {
            let mentions = json!([{ "id": "900", "username": "nexflow" }, { "id": "8", "username": "bob", "global_name": "Bob B." }]);
            text(
                &message(&json!({ "content": content, "mentions": mentions })),
                ME,
                &world(),
            )
        };
        assert_eq!(
            said("<@900> ask <@!8> in <#20>, <@&30>"),
            "ask @Bob B. in #garden, @Crew"
        );
        assert_eq!(said("well <@900> then"), "well then");
        assert_eq!(said("<@&31> hello <a:wave:5>"), "hello :wave:");
        assert_eq!(said("<@900>"), "@nexflow");
        // What is no mention, or of nobody known, stays.
        assert_eq!(
            said("a < b and <@77> <https://x.example> <"),
            "a < b and <@77> <https://x.example> <"
        );
    }

    #[test]
    fn a_server_message_is_meant_by_mention_role_or_reply() {
        let is = |more: Value| is_meant(&message(&more), ME, &world());
        assert!(!is(json!({ "content": "hello all" })));
        assert!(is(json!({ "mentions": [{ "id": "900" }] })));
        assert!(is(json!({ "mention_roles": ["31"] })));
        assert!(!is(json!({ "mention_roles": ["30"] })));
        let reply = |author: &str| json!({ "referenced_message": { "id": "4", "channel_id": "20", "author": { "id": author } } });
        assert!(is(reply("900")));
        assert!(!is(reply("8")));
    }

    #[test]
    fn a_reply_tells_what_it_is_about() {
        let more = json!({ "referenced_message": { "id": "4", "channel_id": "20", "author": { "id": "900" }, "content": "", "embeds": [{ "description": "May I?" }] } });
        let told = reply(&message(&more), ME, &world()).unwrap();
        assert_eq!((told.author.as_str(), told.text.as_str()), ("", "May I?"));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read(content in "(<|>|@|&|#|!|:|a|[0-9]|\\PC){0,80}") {
            let said = text(&message(&json!({ "content": content })), ME, &world());
            proptest::prop_assert!(!said.is_empty());
        }
    }
}
