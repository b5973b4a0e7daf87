use serde_json::{Value, json};

use super::*;
use crate::connectors::telegram::Config;

const COMMANDS: &[Command] = &[Command {
    name: "usage",
    description: "What was spent",
    argument: "",
}];

fn read(config: &Value, parts: &[Value]) -> Read {
    let mut whole = json!({ "bot_token": "42:x" });
    whole
        .as_object_mut()
        .unwrap()
        .extend(config.as_object().unwrap().clone());
    let config: Config = serde_json::from_value(whole).unwrap();
    let me = Me {
        id: 42,
        username: "NexBot".to_owned(),
    };
    let parts: Vec<Message> = parts
        .iter()
        .map(|part| serde_json::from_value(part.clone()).unwrap())
        .collect();
    let reader = Reader {
        me: &me,
        config: &config,
        commands: COMMANDS,
    };
    reader.message(&parts)
}

fn heard(config: &Value, parts: &[Value]) -> (Inbound, Vec<Sent>) {
    match read(config, parts) {
        Read::Heard(inbound, files) => (*inbound, files),
        Read::Pass(why) => panic!("passed: {why}"),
    }
}

fn passed(config: &Value, message: &Value) -> &'static str {
    match read(config, std::slice::from_ref(message)) {
        Read::Pass(why) => why,
        Read::Heard(inbound, _) => panic!("heard: {inbound:?}"),
    }
}

/// A message of Ada with more fields.
fn private(more: Value) -> Value {
    message(json!({ "id": 7, "type": "private" }), more)
}

fn group(more: Value) -> Value {
    message(
        json!({ "id": -100, "type": "supergroup", "title": "Family" }),
        more,
    )
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "tests write the fields where they call"
)]
fn message(chat: Value, more: Value) -> Value {
    let from = json!({ "id": 7, "first_name": "Ada", "last_name": "L", "username": "ada" });
    let mut message = json!({ "message_id": 5, "date": 1, "from": from, "chat": chat });
    message
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    message
}

#[test]
fn a_private_message_has_its_sender_and_place() {
    let (inbound, files) = heard(&json!({}), &[private(json!({ "text": "hello" }))]);
    assert_eq!(inbound.from, Address::new("telegram", "42", "7"));
    assert_eq!(
        (inbound.external_id.as_str(), inbound.user.as_str()),
        ("7:5", "7")
    );
    assert_eq!(
        (inbound.name.as_str(), inbound.text.as_str()),
        ("Ada L", "hello")
    );
    assert_eq!(
        (inbound.admission, inbound.room),
        (Admission::Unlisted, None)
    );
    assert!(files.is_empty());
}

#[test]
fn the_lists_tell_talking_from_operating() {
    let text = private(json!({ "text": "hello" }));
    for (config, admission) in [
        (json!({ "allowed_users": [7] }), Admission::Listed),
        (json!({ "allowed_users": ["@ADA"] }), Admission::Listed),
        (
            json!({ "operators": ["7"], "allowed_users": [7] }),
            Admission::Operator,
        ),
        (
            json!({ "operators": [8], "allowed_users": ["eve"] }),
            Admission::Unlisted,
        ),
    ] {
        assert_eq!(
            heard(&config, std::slice::from_ref(&text)).0.admission,
            admission,
            "{config}"
        );
    }
}

#[test]
fn in_a_group_the_bot_has_to_be_spoken_to() {
    let listed = json!({ "allowed_chats": [-100] });
    let mention = json!([{ "type": "mention", "offset": 0, "length": 7 }]);
    let named = json!({ "text": "@nexbot what time is it?", "entities": mention });
    let (inbound, _) = heard(&listed, &[group(named.clone())]);
    assert_eq!(inbound.text, "what time is it?");
    assert_eq!(inbound.admission, Admission::Listed);
    assert_eq!(inbound.room.unwrap().name, "Family");
    // Anywhere else in the text it stays.
    let later = json!([{ "type": "mention", "offset": 4, "length": 7 }]);
    let (inbound, _) = heard(
        &listed,
        &[group(json!({ "text": "hey @NexBot!", "entities": later }))],
    );
    assert_eq!(inbound.text, "hey @NexBot!");
    // By its name where it has no @name, by a reply, by a command.
    let meant = json!([{ "type": "text_mention", "offset": 0, "length": 3, "user": { "id": 42, "is_bot": true, "first_name": "Nex" } }]);
    heard(
        &listed,
        &[group(json!({ "text": "Nex, hi", "entities": meant }))],
    );
    let ours = json!({ "message_id": 3, "chat": { "id": -100 }, "from": { "id": 42, "is_bot": true }, "text": "before" });
    let (inbound, _) = heard(
        &listed,
        &[group(
            json!({ "text": "and now?", "reply_to_message": ours }),
        )],
    );
    let reply = inbound.reply.unwrap();
    assert_eq!(
        (
            reply.external_id.as_str(),
            reply.author.as_str(),
            reply.text.as_str()
        ),
        ("-100:3", "", "before")
    );
    assert_eq!(
        heard(&listed, &[group(json!({ "text": "/usage" }))]).0.text,
        "/usage"
    );
    assert_eq!(
        heard(&listed, &[group(json!({ "text": "/usage@NEXBOT day" }))])
            .0
            .text,
        "/usage day"
    );
    // And else not.
    for text in [
        "hello all",
        "/usage@otherbot",
        "/unknown",
        "@nexbot without an entity",
    ] {
        let why = passed(&listed, &group(json!({ "text": text })));
        assert_eq!(why, "the bot is not spoken to", "{text}");
    }
    assert!(passed(&json!({}), &group(named)).contains("allowed_chats"));
}

#[test]
fn a_room_has_its_own_settings() {
    let config = json!({
        "allowed_chats": ["@family"],
        "rooms": { "-100": { "skills": ["reminder"], "always_answer": true } },
    });
    let mut said = group(json!({ "text": "hello all" }));
    said["chat"]["username"] = "Family".into();
    let (inbound, _) = heard(&config, &[said]);
    assert_eq!(inbound.room.unwrap().skills.unwrap(), ["reminder"]);
}

#[test]
fn a_topic_is_a_conversation_of_its_own() {
    let opened =
        json!({ "message_id": 9, "chat": { "id": -100 }, "from": { "id": 8 }, "text": "?" });
    let listed = json!({ "allowed_chats": [-100], "rooms": { "-100": { "always_answer": true } } });
    let said = json!({ "text": "x", "message_thread_id": 9, "is_topic_message": true, "reply_to_message": opened });
    let (inbound, _) = heard(&listed, &[group(said)]);
    assert_eq!(
        (inbound.from.chat.as_str(), inbound.reply),
        ("-100/9", None)
    );
    // Elsewhere a thread is only a reply.
    let (inbound, _) = heard(
        &listed,
        &[group(json!({ "text": "x", "message_thread_id": 9 }))],
    );
    assert_eq!(inbound.from.chat, "-100");
    for spot in ["-100", "-100/9"] {
        assert_eq!(Spot::parse(spot).unwrap().to_string(), spot);
    }
    assert_eq!(Spot::parse("x"), None);
    assert_eq!(Spot::parse("1/x"), None);
}

#[test]
fn an_album_is_one_message_with_all_its_files() {
    let sizes = |id: &str| {
        json!([
            { "file_id": "small", "width": 90, "height": 90 },
            { "file_id": id, "width": 900, "height": 900, "file_size": 5 },
            { "file_id": "middle", "width": 300, "height": 300 },
        ])
    };
    let first = private(json!({ "photo": sizes("a"), "caption": "two of us" }));
    let mut second = private(json!({ "photo": sizes("b") }));
    second["message_id"] = 6.into();
    let (inbound, files) = heard(&json!({}), &[first, second]);
    assert_eq!(
        (inbound.external_id.as_str(), inbound.text.as_str()),
        ("7:5", "two of us")
    );
    let files: Vec<_> = files
        .iter()
        .map(|f| (f.id.as_str(), f.name.as_str()))
        .collect();
    assert_eq!(files, [("a", "photo-5.jpg"), ("b", "photo-6.jpg")]);
}

#[test]
fn every_kind_of_file_is_taken_once() {
    let animation = json!({ "file_id": "a", "mime_type": "video/mp4", "file_name": "cat.mp4" });
    for (part, name, kind) in [
        (
            json!({ "voice": { "file_id": "v", "mime_type": "audio/ogg" } }),
            "voice-5.ogg",
            "audio/ogg",
        ),
        (
            json!({ "video_note": { "file_id": "n" } }),
            "video-note-5.mp4",
            "video/mp4",
        ),
        (
            json!({ "document": { "file_id": "d", "file_name": "a.pdf", "mime_type": "application/pdf" } }),
            "a.pdf",
            "application/pdf",
        ),
        (
            json!({ "animation": animation, "document": animation }),
            "cat.mp4",
            "video/mp4",
        ),
    ] {
        let (inbound, files) = heard(&json!({}), &[private(part.clone())]);
        assert_eq!(inbound.text, "");
        assert_eq!(files.len(), 1, "{part}");
        assert_eq!(
            (files[0].name.as_str(), files[0].media_type.as_str()),
            (name, kind)
        );
    }
}

#[test]
fn what_nobody_said_is_passed_over() {
    let mut bot = private(json!({ "text": "beep" }));
    bot["from"]["is_bot"] = true.into();
    assert_eq!(passed(&json!({}), &bot), "no person wrote it");
    for service in [
        json!({ "new_chat_title": "x" }),
        json!({ "pinned_message": { "message_id": 1 } }),
        json!({ "forum_topic_created": { "name": "x" } }),
        json!({ "text": "  " }),
    ] {
        assert_eq!(passed(&json!({}), &private(service)), "it says nothing");
    }
    let mut nobody = private(json!({ "text": "x" }));
    nobody.as_object_mut().unwrap().remove("from");
    passed(&json!({}), &nobody);
}

#[test]
fn what_others_wrote_is_named_as_theirs() {
    let origin = json!({ "type": "user", "sender_user": { "id": 3, "first_name": "Eve" } });
    let (inbound, _) = heard(
        &json!({}),
        &[private(
            json!({ "text": "pay me", "forward_origin": origin }),
        )],
    );
    assert_eq!(inbound.text, "(forwarded from Eve)\n\npay me");
}

#[test]
fn ids_are_only_those_of_the_chat() {
    assert_eq!(message_id(&external_id(-100, 7), -100), Some(7));
    assert_eq!(message_id("-100:7", 5), None);
    assert_eq!(message_id("nonsense", 5), None);
}
