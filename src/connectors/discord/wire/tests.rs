use proptest::prelude::*;
use serde_json::json;

use super::*;

fn frame(name: &str, data: &Value) -> String {
    json!({ "op": 0, "s": 1, "t": name, "d": data }).to_string()
}

#[test]
fn a_message_is_read_although_some_of_it_has_another_shape() {
    let data = json!({
        "id": "1300000000000000001", "channel_id": "1300000000000000002", "type": 19, "tts": false,
        "author": { "id": "7", "username": "ada", "global_name": null, "discriminator": "0", "avatar": null },
        "member": { "nick": 5, "roles": ["1", "x", 3] },
        "content": "hi", "mentions": [{ "id": "nobody" }, { "id": "8", "username": "bob" }],
        "attachments": [{ "size": "large" }, { "filename": "a.png", "size": 3, "url": "https://x.example/a.png" }],
        "referenced_message": { "id": "broken" }, "poll": { "new": true }, "flags": 0,
    });
    let Ok(Some(Event::Message(message))) = event(&frame("MESSAGE_CREATE", &data)) else {
        panic!("it was not read")
    };
    assert_eq!(message.author_name(), "ada");
    assert_eq!(message.member.as_ref().unwrap().roles, [1, 3]);
    assert_eq!((message.mentions.len(), message.attachments.len()), (1, 1));
    assert!(message.replied.is_none() && message.is_said());
}

#[test]
fn machines_and_notices_of_discord_are_not_persons() {
    let said = |more: Value| {
        let mut data =
            json!({ "id": "1", "channel_id": "2", "author": { "id": "7" }, "content": "x" });
        data.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        match event(&frame("MESSAGE_CREATE", &data)) {
            Ok(Some(Event::Message(message))) => message.is_said(),
            other => panic!("{other:?}"),
        }
    };
    assert!(said(json!({})));
    assert!(!said(json!({ "author": { "id": "7", "bot": true } })));
    assert!(!said(json!({ "webhook_id": "9" })));
    assert!(!said(json!({ "type": 7 })), "somebody joined");
    assert!(!said(json!({ "author": null })));
}

#[test]
fn a_message_without_an_id_is_an_error_and_other_frames_are_nothing() {
    assert!(event(&frame("MESSAGE_CREATE", &json!({ "channel_id": "2" }))).is_err());
    assert!(event(r#"{"op":11}"#).unwrap().is_none());
    assert!(event(&frame("TYPING_START", &json!({}))).unwrap().is_none());
    assert!(event("{").is_err());
}

/// Any JSON, of little depth.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[0-9]{1,20}".prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-z_]{1,10}", inner, 0..4)
                .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

const FIELDS: &[&str] = &[
    "id",
    "channel_id",
    "guild_id",
    "author",
    "member",
    "content",
    "edited_timestamp",
    "mentions",
    "mention_roles",
    "attachments",
    "embeds",
    "sticker_items",
    "webhook_id",
    "type",
    "nonce",
    "message_reference",
    "referenced_message",
    "message_snapshots",
    "ids",
    "token",
    "application_id",
    "user",
    "data",
    "channels",
    "threads",
    "roles",
    "role",
    "application",
    "name",
    "parent_id",
];

const EVENTS: &[&str] = &[
    "READY",
    "GUILD_CREATE",
    "CHANNEL_CREATE",
    "THREAD_UPDATE",
    "GUILD_ROLE_CREATE",
    "MESSAGE_CREATE",
    "MESSAGE_UPDATE",
    "MESSAGE_DELETE",
    "MESSAGE_DELETE_BULK",
    "INTERACTION_CREATE",
];

proptest! {
    /// Whatever shape the fields have, reading ends with an event, nothing or an error.
    #[test]
    fn fields_of_any_shape_are_read_or_refused(
        name in prop::sample::select(EVENTS),
        fields in prop::collection::vec((prop::sample::select(FIELDS), any_json()), 0..12),
    ) {
        let data: serde_json::Map<String, Value> =
            fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        drop(event(&frame(name, &data.into())));
    }

    /// A message whose ids are right is read whatever the rest is: `kind` and booleans aside, nothing of
    /// it can cost the message.
    #[test]
    fn no_odd_field_costs_a_message(
        fields in prop::collection::vec((prop::sample::select(&FIELDS[3..13]), any_json()), 0..8),
    ) {
        let mut data = json!({ "id": "1", "channel_id": "2" });
        let map = data.as_object_mut().unwrap();
        map.extend(fields.into_iter().map(|(key, value)| (key.to_owned(), value)));
        prop_assert!(matches!(event(&frame("MESSAGE_CREATE", &data)), Ok(Some(Event::Message(_)))));
    }

    #[test]
    fn any_bytes_are_no_event(text in "\\PC{0,200}") {
        prop_assert!(!matches!(event(&text), Ok(Some(_))));
    }
}
