//! Whatever comes as updates, for the fuzzer and for property tests, with what must hold.

use serde_json::Value;

use super::{
    Config, batch,
    markdown::markdown,
    read::{Me, Read, Reader, message_id},
    take::parse_button,
    wire::{Message, Update},
};

/// Any bytes as one update or a list of them.
pub(super) fn updates(bytes: &[u8]) {
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else {
        return;
    };
    let updates = batch::raw(match value {
        Value::Array(updates) => updates,
        one => vec![one],
    });
    for update in &updates {
        if let Ok(update) = serde_json::from_value::<Update>(update.body.clone()) {
            one(update);
        }
    }
    let last = updates.last().map(|update| update.id);
    let count = updates.len();
    let units = batch::units(updates, false);
    assert_eq!(
        units.iter().map(|unit| unit.parts.len()).sum::<usize>(),
        count
    );
    assert_eq!(units.last().map(|unit| unit.position), last);
    assert!(units.is_sorted_by_key(|unit| unit.position));
}

fn one(update: Update) {
    if let Some(data) = update.callback_query.and_then(|press| press.data) {
        parse_button(&data);
    }
    let Ok(config) = serde_json::from_str::<Config>(r#"{ "bot_token": "42:x" }"#) else {
        return;
    };
    let me = Me {
        id: 42,
        username: "NexBot".to_owned(),
    };
    let reader = Reader {
        me: &me,
        config: &config,
        commands: &[],
    };
    for message in update.message.into_iter().chain(update.edited_message) {
        text(&message);
        let chat = message.chat.id;
        if let Read::Heard(inbound, files) = reader.message(&[message]) {
            assert!(!inbound.text.is_empty() || !files.is_empty());
            assert!(message_id(&inbound.external_id, chat).is_some());
        }
    }
}

/// Nothing of what was written is lost by how it looks.
fn text(message: &Message) {
    let Some(text) = &message.text else { return };
    let shown = markdown(text, &message.entities);
    let mut rest = shown.chars();
    let there = text.chars().all(|c| rest.any(|shown| shown == c));
    assert!(there, "{text:?} became {shown:?}");
}
