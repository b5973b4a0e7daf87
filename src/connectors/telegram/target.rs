//! A message as the Bot API takes it: where it goes, what it says, what can be pressed.

use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use super::take::button;
use crate::{
    render::telegram::{Entity, Kind, Post},
    types::{Attachment, Question},
};

/// Where and as what a message is posted.
pub(super) struct Target {
    pub chat: i64,
    pub thread: Option<i64>,
    pub reply_to: Option<i64>,
    pub keyboard: Option<Value>,
}

impl Target {
    fn fields(&self) -> Vec<(&'static str, Value)> {
        let mut fields = vec![("chat_id", self.chat.into())];
        if let Some(thread) = self.thread {
            fields.push(("message_thread_id", thread.into()));
        }
        if let Some(id) = self.reply_to {
            let reply = json!({ "message_id": id, "allow_sending_without_reply": true });
            fields.push(("reply_parameters", reply));
        }
        if let Some(keyboard) = &self.keyboard {
            fields.push(("reply_markup", keyboard.clone()));
        }
        fields
    }

    pub(super) fn body(&self, post: &Post) -> Value {
        let mut body: serde_json::Map<String, Value> = self
            .fields()
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect();
        body.insert("text".to_owned(), post.text.as_str().into());
        if !post.entities.is_empty() {
            let entities: Vec<Value> = post.entities.iter().map(entity).collect();
            body.insert("entities".to_owned(), entities.into());
        }
        // A preview is a request to whatever address the text names: nobody asked for that.
        let no_preview = json!({ "is_disabled": true });
        body.insert("link_preview_options".to_owned(), no_preview);
        Value::Object(body)
    }

    pub(super) fn form(&self, field: &'static str, file: &Attachment) -> Form {
        let mut form = Form::new();
        for (key, value) in self.fields() {
            form = form.text(key, value.to_string());
        }
        let part = Part::bytes(file.data.clone()).file_name(file.name.clone());
        let part = match part.mime_str(&file.media_type) {
            Ok(part) => part,
            Err(_) => Part::bytes(file.data.clone()).file_name(file.name.clone()),
        };
        form.part(field, part)
    }
}

pub(super) fn keyboard(question: &Question) -> Value {
    let name = |choice: &str| match choice {
        "once" => "Once".to_owned(),
        "session" => "This chat".to_owned(),
        "always" => "Always".to_owned(),
        "deny" => "Deny".to_owned(),
        other => other.to_owned(),
    };
    let press = |choice: &&'static str| json!({ "text": name(choice), "callback_data": button(question.id, choice) });
    // Two in a row, so that their words are read on a small screen.
    let buttons: Vec<Value> = question.choices.iter().map(press).collect();
    json!({ "inline_keyboard": buttons.chunks(2).collect::<Vec<_>>() })
}

fn entity(entity: &Entity) -> Value {
    let (kind, more) = match &entity.kind {
        Kind::Bold => ("bold", None),
        Kind::Italic => ("italic", None),
        Kind::Underline => ("underline", None),
        Kind::Strikethrough => ("strikethrough", None),
        Kind::Spoiler => ("spoiler", None),
        Kind::Code => ("code", None),
        Kind::Pre { language } => ("pre", language.as_ref().map(|l| ("language", l))),
        Kind::Link { url } => ("text_link", Some(("url", url))),
        Kind::Blockquote => ("blockquote", None),
    };
    let mut value = json!({ "type": kind, "offset": entity.offset, "length": entity.length });
    if let (Some((key, more)), Some(value)) = (more, value.as_object_mut()) {
        value.insert(key.to_owned(), more.as_str().into());
    }
    value
}
