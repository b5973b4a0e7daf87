//! The methods of the Bot API that bots of ours call, with what the real one refuses.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json};

use super::world::{BOT, NAME, World};

/// UTF-16 units of a text, and of what is said with a file.
const TEXT: usize = 4096;
const CAPTION: usize = 1024;
/// Bytes that may be fetched, and that a photo may have.
const FETCH: usize = 20 << 20;
const PHOTO: usize = 10 << 20;

const NOT_MODIFIED: &str = "Bad Request: message is not modified: specified new message content and reply markup are exactly the same as a current content and reply markup of the message";

pub struct Input {
    pub fields: Map<String, Value>,
    pub files: HashMap<String, (String, Vec<u8>)>,
}

#[derive(Debug)]
pub struct Refusal {
    pub code: u16,
    pub description: String,
    pub parameters: Option<Value>,
}

pub fn refuse(code: u16, description: &str) -> Refusal {
    Refusal {
        code,
        description: description.to_owned(),
        parameters: None,
    }
}

fn bad(description: &str) -> Refusal {
    refuse(400, &format!("Bad Request: {description}"))
}

impl Input {
    fn text(&self, key: &str) -> Option<&str> {
        self.fields.get(key).and_then(Value::as_str)
    }

    fn number(&self, key: &str) -> Option<i64> {
        let value = self.fields.get(key)?;
        value.as_i64().or_else(|| value.as_str()?.parse().ok())
    }
}

pub fn run(world: &mut World, method: &str, input: &Input) -> Result<Value, Refusal> {
    match method {
        "getme" => Ok(json!({
            "id": BOT, "is_bot": true, "first_name": "Nex", "username": NAME,
            "can_join_groups": true, "can_read_all_group_messages": false, "supports_inline_queries": false,
        })),
        "deletewebhook" => {
            if input.fields.get("drop_pending_updates") == Some(&Value::Bool(true)) {
                world.dropped += world.updates.len();
                world.updates.clear();
            }
            world.webhook = None;
            Ok(true.into())
        }
        "setwebhook" => set_webhook(world, input),
        "getwebhookinfo" => Ok(json!({
            "url": world.webhook.as_ref().map_or("", |(url, _)| url),
            "has_custom_certificate": false,
            "pending_update_count": world.updates.len(),
            "last_error_message": world.webhook_error,
        })),
        "setmycommands" => set_commands(world, input),
        "sendmessage" => send_message(world, input),
        "sendphoto" => send_file(world, input, "photo"),
        "senddocument" => send_file(world, input, "document"),
        "editmessagetext" => edit_text(world, input),
        "stopmessagelivelocation" => {
            own(world, input)?;
            Err(bad("there is no live location in the message to edit"))
        }
        "deletemessage" => {
            let at = (chat(world, input)?, input.number("message_id").unwrap_or(0));
            let there = world.messages.remove(&at);
            there
                .map(|_| true.into())
                .ok_or_else(|| bad("message to delete not found"))
        }
        "sendchataction" => {
            chat(world, input)?;
            match input.text("action") {
                Some("typing" | "upload_photo" | "upload_document") => Ok(true.into()),
                _ => Err(bad("wrong parameter action in request")),
            }
        }
        "getfile" => get_file(world, input),
        "answercallbackquery" => answer_callback(world, input),
        _ => Err(refuse(404, "Not Found")),
    }
}

fn set_webhook(world: &mut World, input: &Input) -> Result<Value, Refusal> {
    let secret = input.text("secret_token").unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if secret.len() > 256 || !secret.chars().all(plain) {
        return Err(bad("secret token contains unallowed characters"));
    }
    if input.fields.get("drop_pending_updates") == Some(&Value::Bool(true)) {
        world.dropped += world.updates.len();
        world.updates.clear();
    }
    let url = input.text("url").unwrap_or_default();
    world.webhook = (!url.is_empty()).then(|| (url.to_owned(), secret.to_owned()));
    Ok(true.into())
}

fn set_commands(world: &mut World, input: &Input) -> Result<Value, Refusal> {
    let commands = input.fields.get("commands").and_then(Value::as_array);
    let commands = commands.ok_or_else(|| bad("can't parse BotCommand"))?;
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    for command in commands {
        let name = command["command"].as_str().unwrap_or_default();
        let about = command["description"].as_str().unwrap_or_default();
        if name.is_empty() || name.len() > 32 || !name.chars().all(fits) {
            return Err(bad("BOT_COMMAND_INVALID"));
        }
        if about.is_empty() || about.chars().count() > 256 {
            return Err(bad("BOT_COMMAND_DESCRIPTION_INVALID"));
        }
    }
    world.commands = commands.clone().into();
    Ok(true.into())
}

/// The chat of a call, where the bot may write.
fn chat(world: &mut World, input: &Input) -> Result<i64, Refusal> {
    let id = input
        .number("chat_id")
        .ok_or_else(|| bad("chat_id is empty"))?;
    let Some(chat) = world.chats.get(&id) else {
        return Err(bad("chat not found"));
    };
    if let Some(now) = chat.moved_to {
        return Err(Refusal {
            parameters: Some(json!({ "migrate_to_chat_id": now })),
            ..bad("group chat was upgraded to a supergroup chat")
        });
    }
    if chat.blocked {
        let why = if id > 0 {
            "Forbidden: bot was blocked by the user"
        } else {
            "Forbidden: bot was kicked from the supergroup chat"
        };
        return Err(refuse(403, why));
    }
    Ok(id)
}

/// Where a post goes: checks the pace, the topic and what it replies to.
fn target(world: &mut World, input: &Input) -> Result<(i64, Map<String, Value>), Refusal> {
    let chat = chat(world, input)?;
    let mut fields = Map::new();
    if let Some(thread) = input.number("message_thread_id") {
        if !world.chats[&chat].threads.contains(&thread) {
            return Err(bad("message thread not found"));
        }
        fields.insert("message_thread_id".to_owned(), thread.into());
        fields.insert("is_topic_message".to_owned(), true.into());
    }
    if let Some(reply) = input.fields.get("reply_parameters") {
        let id = reply["message_id"].as_i64().unwrap_or(0);
        match world.messages.get(&(chat, id)) {
            Some(there) => {
                let mut there = there.clone();
                // Only one level is told.
                there.as_object_mut().unwrap().remove("reply_to_message");
                fields.insert("reply_to_message".to_owned(), there);
            }
            None if reply["allow_sending_without_reply"] == true => {}
            None => return Err(bad("message to be replied not found")),
        }
    }
    if let Some(markup) = input.fields.get("reply_markup") {
        fields.insert("reply_markup".to_owned(), checked(markup)?);
    }
    if let Some(wait) = world.too_fast(chat) {
        return Err(Refusal {
            parameters: Some(json!({ "retry_after": wait })),
            ..refuse(429, &format!("Too Many Requests: retry after {wait}"))
        });
    }
    Ok((chat, fields))
}

/// A keyboard whose buttons the real server takes.
fn checked(markup: &Value) -> Result<Value, Refusal> {
    let rows = markup["inline_keyboard"].as_array();
    let rows = rows.ok_or_else(|| bad("object expected as reply markup"))?;
    for button in rows.iter().flat_map(|row| row.as_array().unwrap()) {
        let data = button["callback_data"].as_str().unwrap_or_default();
        if data.is_empty() || data.len() > 64 {
            return Err(bad("BUTTON_DATA_INVALID"));
        }
        if button["text"].as_str().unwrap_or_default().is_empty() {
            return Err(bad("text buttons are unallowed in the inline keyboard"));
        }
    }
    Ok(markup.clone())
}

fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

/// What the server makes of a text: control characters go, and white space at its ends.
fn cleaned(text: &str, most: usize, too_long: &str) -> Result<String, Refusal> {
    let clean = |c: char| match c {
        '\n' | '\t' => c,
        c if c < ' ' => ' ',
        c => c,
    };
    let text: String = text.chars().filter(|c| *c != '\r').map(clean).collect();
    let text = text.trim_end().to_owned();
    if units(&text) > most {
        return Err(bad(too_long));
    }
    Ok(text)
}

/// Entities that the server takes.
fn entities(text: &str, given: Option<&Value>) -> Result<Vec<Value>, Refusal> {
    const KINDS: &[&str] = &[
        "bold",
        "italic",
        "underline",
        "strikethrough",
        "spoiler",
        "code",
        "pre",
        "text_link",
        "blockquote",
        "expandable_blockquote",
    ];
    let mut places = HashSet::new();
    let mut at = 0;
    for c in text.chars() {
        places.insert(at);
        at += c.len_utf16();
    }
    places.insert(at);
    let given = given.and_then(Value::as_array).cloned().unwrap_or_default();
    for entity in &given {
        let kind = entity["type"].as_str().unwrap_or_default();
        if !KINDS.contains(&kind) {
            return Err(bad("can't parse MessageEntity: wrong entity type"));
        }
        let number = |key: &str| entity[key].as_u64().map(|n| usize::try_from(n).unwrap());
        let (Some(offset), Some(length)) = (number("offset"), number("length")) else {
            return Err(bad(
                "can't parse MessageEntity: offset or length is missing",
            ));
        };
        if length == 0 || offset + length > at {
            return Err(bad(&format!(
                "entity at {offset} ends after the end of the text: can't parse entities"
            )));
        }
        if !places.contains(&offset) || !places.contains(&(offset + length)) {
            return Err(bad(
                "entity begins or ends in the middle of a UTF-16 symbol: can't parse entities",
            ));
        }
        let url = entity["url"].as_str().unwrap_or_default();
        if kind == "text_link"
            && !(url.contains("://") || url.starts_with("mailto:") || url.starts_with("tel:"))
        {
            return Err(bad("can't parse MessageEntity: wrong URL"));
        }
    }
    Ok(given)
}

fn content(input: &Input) -> Result<(String, Vec<Value>), Refusal> {
    let text = cleaned(
        input.text("text").unwrap_or_default(),
        TEXT,
        "message is too long",
    )?;
    let entities = entities(
        input.text("text").unwrap_or_default(),
        input.fields.get("entities"),
    )?;
    if text.trim().is_empty() {
        return Err(bad("message text is empty"));
    }
    Ok((text, entities))
}

fn send_message(world: &mut World, input: &Input) -> Result<Value, Refusal> {
    let (text, entities) = content(input)?;
    let (chat, mut fields) = target(world, input)?;
    fields.insert("text".to_owned(), text.into());
    if !entities.is_empty() {
        fields.insert("entities".to_owned(), entities.into());
    }
    Ok(world.post(chat, &Value::Object(fields)))
}

fn send_file(world: &mut World, input: &Input, kind: &str) -> Result<Value, Refusal> {
    let Some((name, data)) = input.files.get(kind) else {
        return Err(bad(&format!("there is no {kind} in the request")));
    };
    if data.is_empty() {
        return Err(bad("file must be non-empty"));
    }
    let caption = input.text("caption").unwrap_or_default();
    cleaned(caption, CAPTION, "message caption is too long")?;
    let picture =
        data.starts_with(b"\x89PNG") || data.starts_with(b"\xff\xd8") || data.starts_with(b"RIFF");
    if kind == "photo" && !picture {
        return Err(bad("IMAGE_PROCESS_FAILED"));
    }
    if kind == "photo" && data.len() > PHOTO {
        return Err(bad("file is too big for a photo"));
    }
    let (chat, mut fields) = target(world, input)?;
    let file = json!({ "file_id": format!("out-{}", world.uploads.len()), "file_size": data.len(), "file_name": name });
    let file = if kind == "photo" {
        json!([{ "file_id": file["file_id"], "width": 9, "height": 9, "file_size": data.len() }])
    } else {
        file
    };
    fields.insert(kind.to_owned(), file);
    let post = world.post(chat, &Value::Object(fields));
    let id = post["message_id"].as_i64().unwrap();
    world.uploads.insert((chat, id), data.clone());
    Ok(post)
}

/// A message that the bot may change.
fn own(world: &mut World, input: &Input) -> Result<(i64, i64), Refusal> {
    let at = (chat(world, input)?, input.number("message_id").unwrap_or(0));
    let message = world.messages.get(&at);
    let message = message.ok_or_else(|| bad("message to edit not found"))?;
    if message["from"]["id"] == BOT {
        Ok(at)
    } else {
        Err(bad("message can't be edited"))
    }
}

fn edit_text(world: &mut World, input: &Input) -> Result<Value, Refusal> {
    let at = own(world, input)?;
    let (text, entities) = content(input)?;
    let markup = input.fields.get("reply_markup").map(checked).transpose()?;
    let before = &world.messages[&at];
    if !before["text"].is_string() {
        return Err(bad("there is no text in the message to edit"));
    }
    let entities = if entities.is_empty() {
        Value::Null
    } else {
        entities.into()
    };
    let now = (Value::from(text), entities, markup.unwrap_or(Value::Null));
    let was = |key: &str| before.get(key).cloned().unwrap_or(Value::Null);
    if now == (was("text"), was("entities"), was("reply_markup")) {
        return Err(refuse(400, NOT_MODIFIED));
    }
    if let Some(wait) = world.too_fast(at.0) {
        return Err(Refusal {
            parameters: Some(json!({ "retry_after": wait })),
            ..refuse(429, &format!("Too Many Requests: retry after {wait}"))
        });
    }
    let message = world.messages.get_mut(&at).unwrap();
    message["text"] = now.0;
    for (key, value) in [("entities", now.1), ("reply_markup", now.2)] {
        message.as_object_mut().unwrap().remove(key);
        if !value.is_null() {
            message[key] = value;
        }
    }
    message["edit_date"] = 2.into();
    Ok(message.clone())
}

fn get_file(world: &mut World, input: &Input) -> Result<Value, Refusal> {
    let id = input.text("file_id").unwrap_or_default();
    let Some((path, data)) = world.files.get(id) else {
        return Err(bad("wrong file_id or the file is temporarily unavailable"));
    };
    if data.len() > FETCH {
        return Err(bad("file is too big"));
    }
    Ok(json!({ "file_id": id, "file_size": data.len(), "file_path": path }))
}

fn answer_callback(world: &mut World, input: &Input) -> Result<Value, Refusal> {
    let text = input.text("text").unwrap_or_default().to_owned();
    if text.chars().count() > 200 {
        return Err(bad("MESSAGE_TOO_LONG"));
    }
    let id = input.text("callback_query_id").unwrap_or_default();
    let Some(said) = world.callbacks.get_mut(id) else {
        return Err(bad(
            "query is too old and response timeout expired or query ID is invalid",
        ));
    };
    *said = Some(text);
    Ok(true.into())
}
